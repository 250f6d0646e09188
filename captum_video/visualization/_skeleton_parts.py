"""Joints in the order of body parts, and their names beside a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from captum_video.visualization._plots import INK, LINE, QUIET
from captum_video.visualization._skeleton import side
from captum_video.visualization._skeleton_page import text_width

_ARM = {"shoulder", "elbow", "wrist", "hand", "thumb", "finger", "arm"}
_LEG = {"hip", "knee", "ankle", "foot", "heel", "toe", "leg"}
_DOWNWARDS = ("head", "neck", "spine_shoulder", "spine_mid", "spine_base")
_SIZE = 7  # points


class Row(NamedTuple):
    """A joint's row.

    Attributes:
        actor: from 0.
        joint: its number.
        part: of the body.
        label: the joint's name without its side.
    """

    actor: int
    joint: int
    part: str
    label: str


def body_part(joint: str) -> str:
    """The part of the body that a joint belongs to, by its name.

    Args:
        joint: its name, such as ``"hand_tip_left"``.

    Returns:
        ``"trunk"``, ``"left arm"``, ``"right leg"``, ...; the side alone for joints of no known limb.
    """
    where = side(joint)
    words = set(joint.lower().replace("-", "_").replace(" ", "_").split("_"))
    if not where:
        return "trunk"
    return f"{where} {'arm' if words & _ARM else 'leg' if words & _LEG else 'side'}"


def grouped_rows(joints: Sequence[str], actors: Sequence[int]) -> list[Row]:
    """Joints by actor and part of the body: trunk from the head down, then arms, then legs.

    Args:
        joints: all names of one actor.
        actors: those that have rows, from 0.

    Returns:
        The rows from top to bottom.
    """
    parts = [body_part(joint) for joint in joints]
    order = ["trunk", "left arm", "right arm", "left leg", "right leg", "left side", "right side"]

    def rank(joint: int) -> tuple[int, int, int]:
        name = joints[joint]
        down = _DOWNWARDS.index(name) if name in _DOWNWARDS else len(_DOWNWARDS)
        return order.index(parts[joint]), down, joint

    rows = []
    for actor in actors:
        for joint in sorted(range(len(joints)), key=rank):
            words = joints[joint].replace("_", " ").split()
            label = " ".join(word for word in words if word not in ("left", "right"))
            rows.append(Row(actor, joint, parts[joint], label or joints[joint]))
    return rows


def names_width(rows: Sequence[Row], *, labels: bool = True) -> float:
    """How many inches :func:`name_rows` needs to the left of the map."""
    several = len({row.actor for row in rows}) > 1
    return _widest(rows, "label") * labels + _widest(rows, "part") + 0.42 + 0.22 * several


def _widest(rows: Sequence[Row], what: str) -> float:
    return max(text_width(word, _SIZE) for word in {getattr(row, what) for row in rows})


def name_rows(axes: Axes, rows: Sequence[Row], *, per_row: int = 1, labels: bool = True) -> None:
    """Writes joints, body parts and actors to the left of a map, and draws lines between them.

    Args:
        axes: of the map; row ``k`` of it takes ``per_row`` units from ``k * per_row - 0.5`` on.
        rows: from top to bottom.
        per_row: how many rows of the map belong to a joint.
        labels: whether joints have room for their names, or only parts of the body have.
    """
    dots = axes.figure.dpi
    wide = axes.bbox.width / dots
    centres = [(k + 0.5) * per_row - 0.5 for k in range(len(rows))]
    axes.set_yticks(centres, [row.label for row in rows] if labels else [""] * len(rows))
    axes.tick_params(axis="y", length=0, pad=8, labelsize=_SIZE, labelcolor=QUIET)
    label = _widest(rows, "label") if labels else -0.12
    bracket = -(label + 8 / 72 + 0.08) / wide
    part = _widest(rows, "part")
    several = len({row.actor for row in rows}) > 1
    for first, last in _runs([(row.actor, row.part) for row in rows]):
        low, high = first * per_row - 0.5, (last + 1) * per_row - 0.5
        inset = 0.15 * per_row
        axes.add_line(_beside(axes, bracket, low + inset, high - inset))
        axes.text(bracket - 0.06 / wide, (low + high) / 2, rows[first].part, fontsize=_SIZE,
                  color=INK, ha="right", va="center", transform=axes.get_yaxis_transform())  # fmt: skip
    separate_rows(axes, rows, per_row=per_row)
    for first, last in _runs([row.actor for row in rows]) if several else ():
        axes.text(bracket - (part + 0.2) / wide, ((first + last + 1) * per_row - 1) / 2,
                  f"actor {rows[first].actor + 1}", fontsize=8, color=INK, rotation=90,
                  ha="center", va="center", transform=axes.get_yaxis_transform())  # fmt: skip


def separate_rows(axes: Axes, rows: Sequence[Row], *, per_row: int = 1) -> None:
    """Draws lines between the parts of the body, and a stronger one between actors.

    Args:
        axes: as in :func:`name_rows`.
        rows: from top to bottom.
        per_row: how many rows of the map belong to a joint.
    """
    for first, _ in _runs([(row.actor, row.part) for row in rows])[1:]:
        new = rows[first].actor != rows[first - 1].actor
        axes.axhline(
            first * per_row - 0.5, color=INK if new else LINE, linewidth=1.0 if new else 0.5
        )


def _beside(axes: Axes, x: float, low: float, high: float) -> Line2D:
    return Line2D([x, x], [low, high], color=LINE, linewidth=1.2, clip_on=False,
                  transform=axes.get_yaxis_transform(), solid_capstyle="butt")  # fmt: skip


def _runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """First and last places of equal neighbours."""
    starts = [k for k in range(len(keys)) if not k or keys[k] != keys[k - 1]]
    return list(zip(starts, [start - 1 for start in [*starts[1:], len(keys)]], strict=True))
