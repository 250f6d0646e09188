"""Skeletons in ``.skeleton`` files, the format of NTU RGB+D (Shahroudy et al., CVPR 2016)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captum_video.io._skeleton_text import JOINTS, SkeletonError, parse

EMPTY = ("drop", "keep", "repeat")
FITS = ("pad", "loop", "resample")
_SHORT = 11  # frames; bodies that are tracked no longer count as noise beside longer ones


@dataclass(frozen=True, eq=False)
class SkeletonClip:
    """The bodies that a Kinect tracked, frame by frame.

    Bodies are in order of first appearance. Where a body is not tracked its positions are zeros.

    Attributes:
        path: where the clip came from.
        positions: float32, (T, B, 25, 3): x (to the camera's left), y (up), z (away) in metres.
        tracked: bool, (T, B): whether the body is in the frame.
        states: uint8, (T, B, 25): 0 where the joint is not tracked, 1 inferred, 2 tracked.
        body_ids: the sensor's number of each body.
    """

    path: Path
    positions: Tensor
    tracked: Tensor
    states: Tensor
    body_ids: tuple[int, ...]

    def __len__(self) -> int:
        """The number of frames."""
        return self.positions.shape[0]

    @property
    def motion(self) -> Tensor:
        """How much each body moves: (B,) float64, in square metres.

        The variance of a joint's position over the frames in which the body is tracked, summed over
        the three axes and averaged over the joints.
        """
        shown = self.tracked.double()[..., None, None]
        count = shown.sum(0).clamp_min(1)
        positions = self.positions.double()
        mean = (positions * shown).sum(0) / count
        variance = ((positions - mean).square() * shown).sum(0) / count
        return variance.sum(-1).mean(-1)

    def actors(self, count: int = 2) -> list[int]:
        """Which bodies are the actors.

        Furniture and passers-by are tracked as bodies too. Bodies in 11 frames or fewer are left out
        if there is a longer one, as is usual with NTU RGB+D, and of the others those with the largest
        :attr:`motion` are taken, as the data set's authors do (they add up the variances of x, y and
        z of all joints; they also suggest to drop bodies by their proportions, which is not done
        here, since people lie and sit). A person whom the sensor lost and found again has a new id
        and is a new body.

        Args:
            count: how many there are at most.

        Returns:
            Numbers of bodies, the one with most motion first; equal ones in order of appearance.

        Raises:
            ValueError: if ``count`` is not positive.
            SkeletonError: if no frame has a body.
        """
        if count < 1:
            raise ValueError(f"There must be at least one actor, got {count}.")
        if not self.body_ids:
            found = f"no body in any of {len(self)} frames"
            raise SkeletonError(self.path, None, found, "at least one")
        long = (self.tracked.sum(0) > _SHORT).tolist()
        motion = self.motion.tolist()
        bodies = [body for body in range(len(motion)) if long[body] or not any(long)]
        return sorted(bodies, key=lambda body: -motion[body])[:count]

    def sequence(
        self,
        actors: int = 2,
        frames: int | None = None,
        *,
        empty: str = "drop",
        fit: str = "pad",
    ) -> Tensor:
        """The actors as one sequence, the input of a network.

        Args:
            actors: how many the sequence has; they are chosen by :meth:`actors`. Those that there
                are not, and an actor in frames without it, are zeros.
            frames: the sequence's length; ``None`` for the frames that there are.
            empty: what becomes of frames that have none of the actors: ``"drop"`` takes them out,
                wherever they are; ``"keep"`` leaves zeros; ``"repeat"`` shows the last frame that is
                not empty again (at the beginning, the first one).
            fit: how the length becomes ``frames``. ``"pad"`` holds the last frame (zeros would
                invent a motion) and ``"loop"`` starts again from the first; both cut what is too
                long at the end. ``"resample"`` plays the sequence faster or slower, interpolating
                linearly, from its first frame to its last; an actor that only one of the two
                neighbouring frames has is taken from the nearer one.

        Returns:
            float32, (actors * 75, T): actor by actor, joint by joint, x, y, z.

        Raises:
            ValueError: for an ``actors`` or ``frames`` that is not positive, or an unknown ``empty``
                or ``fit``.
            SkeletonError: if no frame has a body.
        """
        if frames is not None and frames < 1:
            raise ValueError(f"frames must be positive, got {frames}.")
        for name, value, known in (("empty", empty, EMPTY), ("fit", fit, FITS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
        chosen = self.actors(actors)
        positions, tracked = self.positions[:, chosen], self.tracked[:, chosen]
        if empty != "keep":
            kept = _shown(tracked.any(1), repeat=empty == "repeat")
            positions, tracked = positions[kept], tracked[kept]
        if frames is not None:
            positions = _fit(positions, tracked, frames, fit)
        absent = actors - len(chosen)
        padded = torch.nn.functional.pad(positions, (0, 0, 0, 0, 0, absent))
        return padded.reshape(len(padded), -1).T.contiguous()


def read_skeleton(path: str | os.PathLike[str]) -> SkeletonClip:
    """Reads a ``.skeleton`` file of NTU RGB+D.

    A file in which no frame has a body is read; its :meth:`SkeletonClip.sequence` is an error.

    Args:
        path: the file.

    Returns:
        Its bodies.

    Raises:
        FileNotFoundError: there is no such file.
        SkeletonError: the file is cut short, has something else than numbers where they belong or
            after the last frame, a wrong number of joints, coordinates that are not finite, a body
            twice in a frame, or no frames; the message has the line.
    """
    path = Path(path)
    seen, positions, states = parse(path)
    body_ids = tuple(dict.fromkeys(seen.bodies))
    column = {body: k for k, body in enumerate(body_ids)}
    at = seen.frames, [column[body] for body in seen.bodies]
    shape = seen.length, len(body_ids)
    clip = np.zeros((*shape, JOINTS, 3), np.float32)
    tracked = np.zeros(shape, bool)
    joints = np.zeros((*shape, JOINTS), np.uint8)
    clip[at], tracked[at], joints[at] = positions, True, states
    return SkeletonClip(
        path,
        torch.from_numpy(clip),
        torch.from_numpy(tracked),
        torch.from_numpy(joints),
        body_ids,
    )


def _shown(tracked: Tensor, *, repeat: bool) -> Tensor:
    """The frames to take: those that are tracked (T,), or as many as there are, none empty."""
    full = tracked.nonzero().flatten()
    if not repeat:
        return full
    last = torch.searchsorted(full, torch.arange(len(tracked)), right=True) - 1
    return full[last.clamp_min(0)]


def _fit(positions: Tensor, tracked: Tensor, frames: int, fit: str) -> Tensor:
    """Positions (T, A, 25, 3) of another length."""
    length = len(positions)
    if fit == "pad":
        return positions[torch.arange(frames).clamp_max(length - 1)]
    if fit == "loop":
        return positions[torch.arange(frames) % length]
    time = torch.linspace(0, length - 1, frames, dtype=torch.float64)
    before = time.floor().long()
    after = (before + 1).clamp_max(length - 1)
    both = (tracked[before] & tracked[after])[..., None, None]
    share = (time - before)[:, None, None, None].float()
    between = torch.lerp(positions[before], positions[after], share)
    return torch.where(both, between, positions[(time + 0.5).floor().long()])
