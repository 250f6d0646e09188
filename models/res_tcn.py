"""The bundled nets of skeleton sequences: Res-TCN and MS-Res-TCN (paper 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from captum_video._core.skeletons import joint_dimensions
from models._classes import class_names
from models._res_tcn import MSResTCN, ResTCN
from models.data import actions, exercises
from models.data.ntu import NTU_ACTIONS
from models.info import BundledModel, ModelInfo
from models.registry import register

Joints = str | Sequence[str | int]
SMALL: dict[str, Any] = {"widths": (32, 64, 128), "units": 2}
#: the joints that the attention stream of the bundled net sees
TARGET_JOINTS = (
    "wrist_left", "hand_left", "hand_tip_left", "thumb_left",
    "wrist_right", "hand_right", "hand_tip_right", "thumb_right",
)  # fmt: skip


@register("res_tcn")
def res_tcn(
    dimensions: int = 150, classes: int | Sequence[str] | None = None, frames: int = 150
) -> tuple[BundledModel, ModelInfo]:
    """Res-TCN in the paper's size; 1,874,492 parameters for 150 dimensions and 60 classes.

    Args:
        dimensions: of a frame.
        classes: number of outputs or their names; 60 are named as in NTU RGB+D, None is one for each
            of ``models.data.actions.ACTIONS``.
        frames: length of the sequences that it is trained on; the paper's are of 300.

    Returns:
        The model and its facts.

    Raises:
        ValueError: a number that is not positive, or a class name that comes twice.
    """
    names = _names(classes)
    return ResTCN(dimensions, len(names)), _info("res_tcn", names, frames, "layer10")


@register("res_tcn_small", bundled=True)
def res_tcn_small(
    dimensions: int = 150, classes: int | Sequence[str] | None = None, frames: int = actions.FRAMES
) -> tuple[BundledModel, ModelInfo]:
    """Res-TCN with 32, 64 and 128 filters and two residual units of each.

    Args:
        dimensions: as for :func:`res_tcn`.
        classes: as for :func:`res_tcn`.
        frames: length of the sequences that it is trained on.

    Returns:
        The model and its facts.

    Raises:
        ValueError: a number that is not positive, or a class name that comes twice.
    """
    names = _names(classes)
    model = ResTCN(dimensions, len(names), **SMALL)
    return model, _info("res_tcn_small", names, frames, "layer7")


@register("ms_res_tcn")
def ms_res_tcn(
    dimensions: int = 150,
    classes: int | Sequence[str] | None = None,
    frames: int = 150,
    target_joints: Joints = TARGET_JOINTS,
    target_dimensions: Iterable[int] | None = None,
) -> tuple[BundledModel, ModelInfo]:
    """MS-Res-TCN in the paper's size, with a stream that sees some joints alone.

    Args:
        dimensions: as for :func:`res_tcn`.
        classes: as for :func:`res_tcn`.
        frames: as for :func:`res_tcn`.
        target_joints: names or numbers of the joints, of either actor, that the attention stream
            sees; as one string they are separated by commas.
        target_dimensions: the dimensions that it sees, in place of joints, for other data than
            skeletons of 25 joints.

    Returns:
        The model and its facts.

    Raises:
        ValueError: an unknown joint, a dimension that there is not, a number that is not positive,
            or a class name that comes twice.
    """
    names, target = _names(classes), _target(dimensions, target_joints, target_dimensions)
    model = MSResTCN(dimensions, len(names), target=target)
    return model, _info("ms_res_tcn", names, frames, "layer10.main")


@register("ms_res_tcn_small", bundled=True)
def ms_res_tcn_small(
    dimensions: int = 150,
    classes: int | Sequence[str] | None = None,
    frames: int = actions.FRAMES,
    target_joints: Joints = TARGET_JOINTS,
    target_dimensions: Iterable[int] | None = None,
) -> tuple[BundledModel, ModelInfo]:
    """MS-Res-TCN with streams of 32, 64 and 128 filters and two residual units of each.

    Args:
        dimensions: as for :func:`res_tcn`.
        classes: as for :func:`res_tcn`.
        frames: length of the sequences that it is trained on.
        target_joints: as for :func:`ms_res_tcn`.
        target_dimensions: as for :func:`ms_res_tcn`.

    Returns:
        The model and its facts.

    Raises:
        ValueError: an unknown joint, a dimension that there is not, a number that is not positive,
            or a class name that comes twice.
    """
    names, target = _names(classes), _target(dimensions, target_joints, target_dimensions)
    model = MSResTCN(dimensions, len(names), target=target, **SMALL)
    return model, _info("ms_res_tcn_small", names, frames, "layer7.main")


@register("res_tcn_exercises", bundled=True)
def res_tcn_exercises(frames: int = 150) -> tuple[BundledModel, ModelInfo]:
    """Res-TCN on a watch's six axes, with 16, 32 and 64 filters and two residual units of each.

    Args:
        frames: length of the sequences that it is trained on.

    Returns:
        The model and its facts; its classes are the exercises of ``models.data.Exercises``.
    """
    model = ResTCN(len(exercises.CHANNELS), len(exercises.CLASSES), widths=(16, 32, 64), units=2)
    info = _info("res_tcn_exercises", exercises.CLASSES, frames, "layer7")
    return model, replace(info, groups=exercises.GROUPS)


def _names(classes: int | Sequence[str] | None) -> tuple[str, ...]:
    """A name for each output."""
    if classes is None:
        return actions.ACTIONS
    if classes == len(NTU_ACTIONS):
        return NTU_ACTIONS
    return class_names(classes, first=1)


def _target(
    dimensions: int, joints: Joints, target_dimensions: Iterable[int] | None
) -> Iterable[int]:
    """The dimensions that the attention stream sees."""
    if target_dimensions is not None:
        return target_dimensions
    actors, rest = divmod(dimensions, 75)
    if rest:
        raise ValueError(
            f"target_dimensions must be given for {dimensions} dimensions, since they are no "
            "skeletons of 25 joints."
        )
    names = joints.split(",") if isinstance(joints, str) else joints
    return joint_dimensions([n.strip() if isinstance(n, str) else n for n in names], actors=actors)


def _info(name: str, classes: tuple[str, ...], frames: int, layer: str) -> ModelInfo:
    """Facts of a net of skeleton sequences, which takes them as they are."""
    return ModelInfo(
        name=name,
        classes=classes,
        groups={"action": range(len(classes))},
        frames=frames,
        size=(),
        mean=(0.0,),
        std=(1.0,),
        layer=layer,
    )
