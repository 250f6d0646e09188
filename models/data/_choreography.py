"""What the people of ``Actions`` do: one program per action, and the joints that each of them moves.

A program adds the action's own motion to the controls of bodies that stand, sit or hold something.
All of it is weighted by ``Scene.going``, so that with the motion switched off the same bodies sway
through the clip in their first posture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.data._body import LENGTHS, SHOULDER_HEIGHT, SIDES, Array, Controls, sided

RATE = 20
FINE_GRAINED = ("reading", "writing", "typing on a keyboard", "playing with phone")
TWO_PERSON = ("hand shaking", "pushing", "punching", "walking towards each other")
ACTIONS = (
    "jump up", "cheer up", "hand waving", "kicking something",
    "sitting down", "standing up", "throw", "nod head",
    *FINE_GRAINED, *TWO_PERSON,
)  # fmt: skip

_HAND = ("wrist_*", "hand_*", "hand_tip_*", "thumb_*")
_ARM = ("elbow_*", *_HAND)


def _both(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.replace("*", side) for part in parts for side in ("left", "right"))


_TRUNK = ("spine_mid", "spine_shoulder", "neck", "head", "shoulder_left", "shoulder_right")
_UPPER = (*_TRUNK, *_both(_ARM))
_SITTING = ("spine_base", "hip_left", "hip_right", "knee_left", "knee_right", *_UPPER)
_ALL = (*_SITTING, *_both(("ankle_*", "foot_*")))

#: the joints that each role moves; ``*`` stands for the side with which this clip's action is done
MOVED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "jump up": (_ALL, ()),
    "cheer up": (_both(_ARM), ()),
    "hand waving": (_ARM, ()),
    "kicking something": (("knee_*", "ankle_*", "foot_*"), ()),
    "sitting down": (_SITTING, ()),
    "standing up": (_SITTING, ()),
    "throw": (_ARM, ()),
    "nod head": (("head",), ()),
    "reading": (_HAND, ()),
    "writing": (_HAND, ()),
    "typing on a keyboard": (_both(_HAND), ()),
    "playing with phone": (("thumb_*",), ()),
    "hand shaking": (_ARM, _ARM),
    "pushing": (_both(_ARM), _ALL),
    "punching": (_ARM, _UPPER),
    "walking towards each other": (_ALL, _ALL),
}


@dataclass
class Scene:
    """What a program is given.

    Attributes:
        time: ``(T,)`` seconds since the action began, negative before.
        seconds: how long the action takes.
        going: 1, or 0 with the action's motion switched off.
        side: 0 if it is done with the left side, 1 for the right.
        tempo: factor of its speed.
        vigour: factor of its amplitude.
        apart: metres between the pelvises of two people.
        scales: heights of the people.
        u: ``(24,)`` uniform draws from [0, 1) that vary the action.
    """

    time: Array
    seconds: float
    going: float
    side: int
    tempo: float
    vigour: float
    apart: float
    scales: tuple[float, ...]
    u: Array

    @property
    def done(self) -> Array:
        """The share of the action that is over, ``(T,)``, 0 to 1."""
        return np.clip(self.time / self.seconds, 0, 1)

    def hold(self, ramp: float) -> Array:
        """From 0 up to 1 and back to 0 within the action, in ``ramp`` seconds each."""
        left = np.minimum(self.time, self.seconds - self.time)
        return self.going * ease(left / min(ramp, self.seconds / 2))

    def between(self, low: float, high: float, draw: int) -> float:
        """A number between two others by one of the draws."""
        return low + (high - low) * float(self.u[draw])

    def wave(self, low: float, high: float, draw: int, shift: float = 0.0) -> Array:
        """A sine of a drawn frequency in hertz, and a phase by the next draw."""
        frequency = self.tempo * self.between(low, high, draw)
        phase = frequency * self.time + self.u[draw + 1] + shift
        return np.sin(2 * np.pi * phase)

    def cycles(self, seconds: float) -> Array:
        """The phase, 0 to 1, of repetitions that take about so long each and fill the action."""
        times = max(1, round(self.seconds * self.tempo / seconds))
        phase = self.done * times
        return np.where(self.done < 1, phase % 1, 0.0)


def ease(share: Array) -> Array:
    """0 below 0, 1 above 1, smooth in between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def bump(share: Array, start: float, end: float) -> Array:
    """From 0 to 1 and back between two points, smooth; 0 elsewhere."""
    return np.square(np.sin(np.pi * np.clip((share - start) / (end - start), 0, 1)))


def reach(
    c: Controls, actor: int, side: int, place: tuple[float, float, float], how: Array
) -> None:
    """Brings a wrist to a place (outward, up, forward of its shoulder), by an arc at its front.

    Args:
        c: the controls to change.
        actor: whose wrist.
        side: 0 for the left, 1 for the right one.
        place: metres.
        how: ``(T,)`` the share of the way.
    """
    wrist = c.wrists[actor, side]
    wrist += how * (sided(*place)[side][:, None] - wrist)
    wrist[0] += 0.5 * SIDES[side] * how * (1 - how)
    wrist[2] -= 0.6 * how * (1 - how)


def sit(c: Controls, actor: int, amount: Array) -> None:
    """Sits a body down by an amount from 0 to 1; its hands come to lie on the thighs."""
    c.root[actor, 1] -= 0.41 * amount
    c.root[actor, 2] += 0.37 * amount
    c.lean[actor, 0] += 0.9 * amount * (1 - amount) * 2
    for side in (0, 1):
        reach(c, actor, side, (0.0, -0.36, 0.27), amount)


def hold_in_front(c: Controls, s: Scene) -> None:
    """The posture that the four fine actions share: head bowed, both forearms raised in front."""
    if s.u[8] < 0.5:
        sit(c, 0, np.ones_like(s.time))
    c.head[0, 0] += s.between(0.25, 0.65, 9)
    height, far, tilt = s.between(-0.34, -0.22, 10), s.between(0.22, 0.32, 11), s.u[12] - 0.5
    for side in (0, 1):
        own = 0.04 * (s.u[13 + 3 * side : 16 + 3 * side] - 0.5)
        place = sided(-0.08 + own[0], height + own[1], far + own[2])[side]
        c.wrists[0, side] = place[:, None]
        c.bends[0, 1, side, 1] += tilt
        c.bends[0, 1, side, 0] -= 0.3 * SIDES[side]
        c.bends[0, 1, side, 2] -= 0.4


def _jump(c: Controls, s: Scene) -> None:
    phase = s.cycles(1.05)
    crouch = s.going * (bump(phase, 0, 0.45) + 0.5 * bump(phase, 0.8, 1.0))
    rise = s.going * np.sin(np.pi * np.clip((phase - 0.42) / 0.43, 0, 1))
    height = rise * s.vigour * s.between(0.15, 0.28, 0)
    c.root[0, 1] += height - 0.14 * crouch
    c.ankles[0, :, 1] += height
    c.lean[0, 0] += 0.4 * crouch
    for side in (0, 1):
        reach(c, 0, side, (0.1, s.between(-0.2, 0.2, 1), 0.35), s.going * bump(phase, 0.05, 1.0))


def _cheer(c: Controls, s: Scene) -> None:
    up = s.hold(0.6)
    shake = 0.07 * s.vigour * s.wave(1.4, 2.4, 0) * up
    for side in (0, 1):
        reach(c, 0, side, (s.between(0.05, 0.25, 2), s.between(0.3, 0.4, 3), 0.08), up)
        c.wrists[0, side, 1] += shake


def _wave(c: Controls, s: Scene) -> None:
    up = s.hold(0.6)
    reach(c, 0, s.side, (s.between(0.12, 0.25, 2), s.between(0.1, 0.3, 3), 0.15), up)
    c.wrists[0, s.side, 0] += 0.12 * s.vigour * s.wave(1.0, 1.8, 0) * up


def _kick(c: Controls, s: Scene) -> None:
    phase = s.cycles(1.3)
    back, front = s.going * bump(phase, 0.0, 0.45), s.going * bump(phase, 0.3, 0.9)
    far = s.vigour * s.between(0.45, 0.65, 0)
    c.ankles[0, s.side, 1] += 0.1 * back + s.between(0.2, 0.4, 1) * front
    c.ankles[0, s.side, 2] += 0.25 * back - far * front


def _sit_down(c: Controls, s: Scene) -> None:
    sit(c, 0, s.going * ease(s.done))


def _stand_up(c: Controls, s: Scene) -> None:
    sit(c, 0, 1 - s.going * ease(s.done))


def _throw(c: Controls, s: Scene) -> None:
    done = s.done
    wind = s.going * ease(done / 0.4) * (1 - ease((done - 0.4) / 0.2))
    throw = s.going * ease((done - 0.42) / 0.15) * (1 - ease((done - 0.62) / 0.3))
    reach(c, 0, s.side, (s.between(0.2, 0.3, 0), s.between(0.15, 0.25, 1), -0.08), wind)
    reach(c, 0, s.side, (0.0, s.between(-0.1, 0.15, 2), 0.5), throw)


def _nod(c: Controls, s: Scene) -> None:
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * s.tempo * s.between(0.8, 1.5, 0) * s.time)
    c.head[0, 0] += s.vigour * s.between(0.3, 0.5, 1) * swing * s.hold(0.3)


def _raise_hands(c: Controls, up: float) -> None:
    """Holds both hands higher than the shared posture, or lower."""
    for side in (0, 1):
        c.wrists[0, side] += sided(0, up, 0)[side][:, None]


def _read(c: Controls, s: Scene) -> None:
    _raise_hands(c, 0.07)
    begin = s.between(0.1, 0.6, 0)
    turn = np.zeros_like(s.time)
    while begin + 0.6 < s.seconds:
        turn += s.going * bump(s.time, begin, begin + 0.6)
        begin += 1.5 + 1.5 * ((s.u[1] + 7 * begin) % 1)
    inward = -SIDES[s.side] * s.vigour * turn
    c.bends[0, 0, s.side, 0] += inward * s.between(0.16, 0.26, 2) / LENGTHS["forearm"]
    c.bends[0, 1, s.side, 0] += inward * 0.45
    c.bends[0, 1, s.side, 1] += turn * 0.2


def _write(c: Controls, s: Scene) -> None:
    _raise_hands(c, -0.07)
    writing, size = s.hold(0.2), s.vigour * s.between(0.014, 0.022, 2)
    strokes = size * writing * np.stack([s.wave(2, 4, 0), s.wave(2, 4, 0, 0.3), 0 * s.time])
    c.bends[0, 2, s.side] += strokes / LENGTHS["tip"]
    c.bends[0, 3, s.side] += strokes / LENGTHS["thumb"]
    line = (s.time * s.tempo / s.between(2.0, 3.0, 3)) % 1
    drift = s.between(0.11, 0.17, 4) * (ease(line / 0.8) - ease((line - 0.8) / 0.2)) * s.hold(0.4)
    c.bends[0, 0, s.side, 0] += SIDES[s.side] * drift / LENGTHS["forearm"]


def _type(c: Controls, s: Scene) -> None:
    _raise_hands(c, -0.07)
    typing, size = s.hold(0.2), s.vigour * s.between(0.020, 0.030, 2)
    drift = 0.006 * s.hold(0.4) * s.wave(0.3, 0.7, 3) / LENGTHS["forearm"]
    for side in (0, 1):
        tap = np.maximum(s.wave(2, 4, 0, side / 2), 0) * size * typing
        c.bends[0, 2, side, 1] -= tap / LENGTHS["tip"]
        c.bends[0, 0, side, 0] += drift


def _phone(c: Controls, s: Scene) -> None:
    _raise_hands(c, 0.07)
    press = s.hold(0.2) * s.vigour * s.between(0.022, 0.032, 2) / LENGTHS["thumb"]
    c.bends[0, 3, s.side, 1] += press * s.wave(1.5, 3, 0)
    c.bends[0, 3, s.side, 2] += 0.6 * press * s.wave(1.5, 3, 0, 0.2)


def _shake_hands(c: Controls, s: Scene) -> None:
    up = s.hold(0.6)
    shake = up * s.vigour * s.between(0.03, 0.05, 2) * s.wave(2, 3, 0)
    meet = SHOULDER_HEIGHT * sum(s.scales) / 2 - 0.25
    for actor in (0, 1):
        forward = (s.apart / 2 - 0.1) / s.scales[actor]
        height = meet / s.scales[actor] - SHOULDER_HEIGHT
        reach(c, actor, s.side, (-0.15, height, forward), up)
        c.wrists[actor, s.side, 1] += shake


def _push(c: Controls, s: Scene) -> None:
    raised = s.going * ease(s.done / 0.3) * (1 - ease((s.done - 0.65) / 0.35))
    pushed = s.going * ease((s.done - 0.3) / 0.15) * (1 - ease((s.done - 0.5) / 0.2))
    far = min(0.5, (s.apart - 0.22) / s.scales[0])
    back = s.vigour * s.between(0.2, 0.35, 0)
    after = s.going * ease((s.done - 0.4) / 0.4)
    for side in (0, 1):
        reach(c, 0, side, (-0.04, -0.1, 0.2), raised)
        c.wrists[0, side, 2] -= (far - 0.2) * pushed
        step = s.going * bump(s.done, 0.4 + 0.2 * side, 0.65 + 0.2 * side)
        c.ankles[1, side, 1] += 0.07 * step
        c.ankles[1, side, 2] += back * s.going * ease((s.done - 0.4 - 0.2 * side) / 0.25)
        c.wrists[1, side, 2] -= 0.2 * s.going * bump(s.done, 0.4, 0.9)
    c.root[1, 2] += back * after
    c.lean[1, 0] -= 0.2 * s.going * bump(s.done, 0.38, 0.85)


def _punch(c: Controls, s: Scene) -> None:
    phase, guard = s.cycles(1.1), s.hold(0.4)
    hit = bump(phase, 0.25, 0.75) * guard
    far = min(0.5, (s.apart - 0.2) / s.scales[0])
    reach(c, 0, s.side, (-0.02, -0.12, 0.22), guard)
    c.wrists[0, s.side] += (
        hit * (sided(-0.14, 0.06, far) - sided(-0.02, -0.12, 0.22))[s.side][:, None]
    )
    recoil = bump(phase, 0.4, 0.95) * guard * s.vigour
    c.lean[1, 0] -= s.between(0.15, 0.3, 0) * recoil
    c.lean[1, 1] += s.between(-0.3, 0.3, 1) * recoil
    c.head[1, 0] -= 0.15 * recoil


def _walk(c: Controls, s: Scene) -> None:
    length = (s.apart - s.between(0.8, 1.05, 0)) / 2
    for actor in (0, 1):
        way = length / s.scales[actor]
        walking, gone = s.hold(0.3), s.going * way * ease(s.done)
        phase = 2 * np.pi * (s.tempo * s.between(0.8, 1.1, 1) * s.time + s.u[3 + actor])
        stride = way / s.seconds / 4
        c.root[actor, 2] -= gone
        c.root[actor, 1] -= 0.015 * walking * (1 - np.cos(2 * phase))
        for side in (0, 1):
            swing = SIDES[side] * np.sin(phase) * walking
            c.ankles[actor, side, 2] -= gone + (0.08 + stride) * swing
            lifted = SIDES[side] * np.cos(phase)
            c.ankles[actor, side, 1] += 0.07 * np.maximum(lifted, 0) * walking
            c.wrists[actor, side, 2] += 0.1 * s.vigour * swing


PROGRAMS: tuple[Callable[[Controls, Scene], None], ...] = (
    _jump, _cheer, _wave, _kick, _sit_down, _stand_up, _throw, _nod,
    _read, _write, _type, _phone, _shake_hands, _push, _punch, _walk,
)  # fmt: skip
