"""Actions: skeletons of people who do one of sixteen things, as a Kinect sees them.

A procedural stand-in for NTU RGB+D, on which paper 5 trains: the same 25 joints, up to two people,
three cameras. What is known here, and not there, is which joints an action moves, when it goes on,
how the same performance looks from the other cameras, and without the camera's errors.

Chosen here:

* People differ in size (0.85 to 1.1), in the length of each bone (4 %), in tempo, vigour and in the
  hand that they prefer (which does an action in 85 % of their clips). The splits share nobody.
* An action takes 40 to 90 % of the clip. Gestures are repeated as long as it goes on; a throw, a
  push, sitting down and standing up happen once. Before and after, people stand, sit or hold
  something, and all the time they sway and breathe, a centimetre or so, below 0.5 Hz; standing
  feet stay where they are.
* One person, or the point between two, is 3 to 3.6 m away and up to 0.1 m to a side, as people stand
  on a mark; the person faces the middle camera within 10 degrees. Two people face each other across
  its view, within 10 degrees; which of them is the first actor is drawn.
* The cameras stand at -45, 0 and 45 degrees about that point, the last to the right of a person who
  faces the middle one, and at one height, 1 to 1.1 m.
* Reading, writing, typing and playing with a phone share one posture: both forearms raised in
  front, the head bowed, half of the people seated. Who reads or plays holds the hands 14 cm higher
  than who writes or types, which is about what the posture varies by; the rest is told by
  motions of the hands: a page turned every 1.5 to 3 s (0.6 s, its hand's tip goes 13 to 20 cm);
  strokes of 2 to 4 Hz and 14 to 22 mm while the wrist drifts 11 to 18 cm to the side and returns;
  finger tips that tap in turn at 2 to 4 Hz, 20 to 30 mm; one thumb at 1.5 to 3 Hz, 22 to 32 mm
  (times tempo and vigour).
* The camera's errors are those of :mod:`models.data._kinect`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS
from models.data._body import SUBJECTS, Array, Controls, solve, subject
from models.data._choreography import (
    ACTIONS,
    FINE_GRAINED,
    MOVED,
    PROGRAMS,
    RATE,
    TWO_PERSON,
    Scene,
    hold_in_front,
)
from models.data._kinect import CAMERAS, seen, turn
from models.data._seeded import SeededClips
from models.data._sprites import SPLITS

__all__ = [
    "ACTIONS", "CAMERAS", "FINE_GRAINED", "FRAMES", "GROUPS", "RATE", "TWO_PERSON",
    "ActionSample", "Actions", "informative_joints",
]  # fmt: skip

FRAMES = 96
GROUPS = {"action": range(len(ACTIONS))}

_ACTORS = 2
_WAVES = 3  # sinusoids that make up the sway
#: amplitudes of the sway: pelvis, trunk, head, shoulders, wrists, and what the arms' bones bend
_SWAY = np.concatenate([
    [0.007, 0.001, 0.007], [0.007] * 3, [0.02, 0.03, 0.01], [0.01], [0.005] * 6, [0.0] * 6, [0.02] * 18,
])  # fmt: skip


class ActionSample(NamedTuple):
    """One clip with all that is known about it.

    Attributes:
        clip: ``(150, T)`` float32: two actors, 25 joints, three axes, in the camera's coordinates
            in metres, as :mod:`captum_video.io` lays skeletons out; a second actor who is not there
            is 0.
        action: index into ``ACTIONS``.
        camera: index into ``CAMERAS``.
        subject: number of the first actor.
        informative: ``(2, 25)`` bool, the joints of each actor that the action moves in this clip.
        active: ``(T,)`` bool, the frames in which it goes on.
    """

    clip: Tensor
    action: int
    camera: int
    subject: int
    informative: Tensor
    active: Tensor


class _Performance(NamedTuple):
    """What happens, before any camera looks: ``joints`` is ``(A, 25, 3, T)`` about ``centre``."""

    joints: Array
    centre: Array
    subject: int
    informative: NDArray[np.bool_]
    active: NDArray[np.bool_]


class Actions(SeededClips[ActionSample]):
    """Procedural skeleton clips, ``(150, T)`` at 20 frames a second.

    Sample ``i`` is a function of ``(seed, i)`` and the split. The splits share no person.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``.
        frames: of a clip, at least 32.

    Attributes:
        classes: names of the actions.
        groups: ``{"action": range(16)}``.

    Raises:
        ValueError: a negative length or seed, an unknown split, or too few frames.
    """

    classes = ACTIONS
    groups = GROUPS

    def __init__(
        self, length: int, seed: int = 0, split: str = "train", *, frames: int = FRAMES
    ) -> None:
        super().__init__(length, seed, split)
        if frames < 32:
            raise ValueError(f"frames must be at least 32, got {frames}.")
        self.frames = frames

    def __getitem__(self, index: int) -> ActionSample:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with what is known about it.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, action, camera = self._begin(index)
        done = self._perform(rng, action)
        return ActionSample(
            self._view(index, done, camera),
            action,
            camera,
            done.subject,
            torch.from_numpy(done.informative),
            torch.from_numpy(done.active),
        )

    def labels(self, index: int) -> tuple[int]:
        """The action of a clip, without drawing it.

        Args:
            index: as for the clip.

        Returns:
            One index into ``ACTIONS``.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        return (self._begin(index)[1],)

    def views(self, index: int) -> Tensor:
        """One performance as all three cameras see it at the same time.

        Args:
            index: as for the clip.

        Returns:
            ``(3, 150, T)``, in the order of ``CAMERAS``, each with errors of its own; the
            sample's own camera gives its clip.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, action, _ = self._begin(index)
        done = self._perform(rng, action)
        return torch.stack([self._view(index, done, camera) for camera in range(len(CAMERAS))])

    def clean(self, index: int, *, camera: int | None = None, moving: bool = True) -> Tensor:
        """A clip without the camera's errors.

        Args:
            index: as for the clip.
            camera: index into ``CAMERAS``; ``None`` for the sample's own.
            moving: whether the action takes place; without it the same people only sway.

        Returns:
            ``(150, T)`` like the clip.

        Raises:
            IndexError: the index is negative or not below the length.
            ValueError: there is no such camera.
        """
        rng, action, own = self._begin(index)
        if camera is not None and not 0 <= camera < len(CAMERAS):
            raise ValueError(f"camera must be from 0 to {len(CAMERAS) - 1} or None, got {camera}.")
        done = self._perform(rng, action, float(moving))
        return _layout(_from_camera(done, own if camera is None else camera))

    def _generator(self, index: int, *more: int) -> np.random.Generator:
        """The clip's source of randomness, of which the split is a part, and ``more``."""
        self._check(index)
        split = SPLITS.index(self.split)
        return np.random.default_rng(np.random.SeedSequence([self.seed, index, split, *more]))

    def _begin(self, index: int) -> tuple[np.random.Generator, int, int]:
        """The clip's source of randomness, and action and camera, which are the first it gives."""
        rng = self._generator(index)
        return rng, int(rng.integers(len(ACTIONS))), int(rng.integers(len(CAMERAS)))

    def _view(self, index: int, done: _Performance, camera: int) -> Tensor:
        """What one camera makes of a performance."""
        joints = _from_camera(done, camera)
        return _layout(seen(joints, self._generator(index, 1 + camera), RATE))

    def _perform(self, rng: np.random.Generator, action: int, going: float = 1.0) -> _Performance:
        """Draws people and manner, and lets them act."""
        name, u = ACTIONS[action], rng.random(48)
        actors = 2 if name in TWO_PERSON else 1
        crowd = SUBJECTS[self.split]
        who = rng.choice(len(crowd), 2, replace=False)[:actors] + crowd.start
        people = [subject(int(number)) for number in who]
        long = round(self.frames * (0.4 + 0.5 * float(u[0])))
        start = int((self.frames - long + 1) * u[1])
        side = people[0].hand if u[2] < 0.85 else 1 - people[0].hand
        walk = name == "walking towards each other"
        scene = Scene(
            time=(np.arange(self.frames) - start) / RATE,
            seconds=(long - 1) / RATE,
            going=going,
            side=side,
            tempo=people[0].tempo * (0.9 + 0.2 * u[3]),
            vigour=people[0].vigour * (0.85 + 0.3 * u[4]),
            apart=2.4 + 0.8 * u[5] if walk else 0.8 + 0.25 * u[5],
            scales=tuple(person.scale for person in people),
            u=u[24:],
        )
        controls = Controls.standing(actors, self.frames)
        if name in FINE_GRAINED:
            hold_in_front(controls, scene)
        PROGRAMS[action](controls, scene)
        _sway(controls, rng)
        joints = _place(solve(people, controls), u, scene.apart)
        parts = MOVED[name]
        if actors == 2 and u[6] < 0.5:
            joints, parts, who = joints[::-1], parts[::-1], who[::-1]
        active = np.zeros(self.frames, dtype=bool)
        active[start : start + long] = True
        centre = np.array([0.2 * u[7] - 0.1, -(1.0 + 0.1 * u[8]), 3.0 + 0.6 * u[9]])
        return _Performance(joints, centre, int(who[0]), _table(parts, side), active)


def informative_joints(action: str, side: str = "right") -> Tensor:
    """The joints that an action moves.

    Args:
        action: one of ``ACTIONS``.
        side: ``"left"`` or ``"right"``, with which it is done.

    Returns:
        ``(2, 25)`` bool, one row per role; which role is the first actor is drawn for each clip.

    Raises:
        ValueError: an unknown action or side.
    """
    if action not in MOVED:
        raise ValueError(f"action must be one of {', '.join(map(repr, ACTIONS))}, got {action!r}.")
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}.")
    return torch.from_numpy(_table(MOVED[action], int(side == "right")))


def _table(parts: tuple[tuple[str, ...], ...], side: int) -> NDArray[np.bool_]:
    """Names of joints by role as a table, ``*`` being the side."""
    names = [{part.replace("*", ("left", "right")[side]) for part in role} for role in parts]
    return np.array([[joint in role for joint in KINECT_JOINTS] for role in names])


def _sway(controls: Controls, rng: np.random.Generator) -> None:
    """Adds the slow motions of people who stand or sit still."""
    actors, _, frames = controls.root.shape
    clock = np.arange(frames) / RATE * rng.uniform(0.1, 0.5, (_WAVES, 1)) * 2 * np.pi
    basis = np.concatenate([np.sin(clock), np.cos(clock)]) / np.sqrt(_WAVES)
    weights = rng.standard_normal((actors, len(_SWAY), 2 * _WAVES)) * _SWAY[:, None]
    parts = np.split(weights @ basis, np.cumsum([3, 3, 3, 1, 6]), axis=1)
    controls.root += parts[0]
    controls.lean += parts[1]
    controls.head += parts[2]
    controls.lift += parts[3]
    controls.wrists += parts[4].reshape(controls.wrists.shape)
    controls.bends += parts[5].reshape(controls.bends.shape)


def _place(joints: Array, u: Array, apart: float) -> Array:
    """Puts bodies into the scene, about the point on the floor between them."""
    aside = 20 * u[10] - 10
    if len(joints) == 1:
        return turn(joints, aside)
    facing = -90.0 if u[11] < 0.5 else 90.0
    placed = np.stack([turn(joints[0], facing), turn(joints[1], -facing)])
    placed[:, :, 0] += np.sign(facing) * apart / 2 * np.array([1, -1])[:, None, None]
    return turn(placed, aside)


def _from_camera(done: _Performance, camera: int) -> Array:
    """Joints in a camera's coordinates, ``(A, 25, 3, T)``."""
    return turn(done.joints, CAMERAS[camera]) + done.centre[:, None]


def _layout(joints: Array) -> Tensor:
    """``(A, 25, 3, T)`` as a clip ``(150, T)``, float32."""
    clip = np.zeros((_ACTORS * len(KINECT_JOINTS) * 3, joints.shape[-1]), dtype=np.float32)
    clip[: joints.size // joints.shape[-1]] = joints.reshape(-1, joints.shape[-1])
    return torch.from_numpy(clip)
