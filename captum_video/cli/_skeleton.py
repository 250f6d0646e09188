"""Skeletons: the actors that the model saw, their joints, and how much these move."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from captum_video.cli._errors import ModelError
from captum_video.cli._model import Facts
from captum_video.io import KINECT_JOINTS, SkeletonClip, read_skeleton, split_joints
from captum_video.metrics import amplification, joint_motion

ACTORS = 2
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Skeletons:
    """A file of skeletons as the model saw it.

    Attributes:
        clip: all that is in the file.
        sequence: what the model saw, in metres, (D, T).
        numbers: the frames' numbers in the file.
        actors: which of the file's bodies the actors are; fewer than the sequence has room for if
            there are not as many.
    """

    clip: SkeletonClip
    sequence: Tensor
    numbers: list[int]
    actors: list[int]

    @property
    def held(self) -> int:
        """How often the last frame is repeated, as the file is short."""
        return len(self.numbers) - len(set(self.numbers))

    def joint(self, place: int) -> str:
        """What to call a joint.

        Args:
            place: its number, of all joints of all actors.

        Returns:
            Such as ``left hand``; with several actors there, ``left hand of actor 2``, and ``left
            hand of absent actor 2`` if that one is all zeros.
        """
        actor, number = divmod(place, len(KINECT_JOINTS))
        words = KINECT_JOINTS[number].split("_")
        sides = [word for word in words if word in _SIDES]
        name = " ".join(sides + [word for word in words if word not in _SIDES])
        if actor >= len(self.actors):
            return f"{name} of absent actor {actor + 1}"
        return name if len(self.actors) < 2 else f"{name} of actor {actor + 1}"


@dataclass(frozen=True)
class Joint:
    """A joint's motion in a decoded layer.

    Attributes:
        place: its number, of all joints of all actors.
        share: of all motion in the decoded sequence.
        before: its share of all motion in the input.
        amplification: how much more that is, as a power of two; infinite for one that stands still
            when decoded.
    """

    place: int
    share: float
    before: float
    amplification: float


def read_skeletons(
    path: Path, facts: Facts, options: argparse.Namespace
) -> tuple[Skeletons, Tensor]:
    """Reads a file as the model is to see it.

    Args:
        path: the ``.skeleton`` file.
        facts: what is known of the model.
        options: the parsed command line.

    Returns:
        The skeletons, and (1, D, T).

    Raises:
        SkeletonError: if the file cannot be read, or has no body.
        FileNotFoundError: if there is none.
        ModelError: if what the model subtracts does not fit the sequence.
    """
    clip = read_skeleton(path)
    actors = options.actors or ACTORS
    sequence = clip.sequence(actors, facts.frames or None)
    used = clip.actors(actors)
    shown = clip.tracked[:, used].any(1).nonzero().flatten()
    places = torch.arange(sequence.shape[1]).clamp_max(len(shown) - 1)
    mean, std = statistics(facts, sequence.shape[0])
    inputs = ((sequence - mean) / std).unsqueeze(0)
    return Skeletons(clip, sequence, shown[places].tolist(), used), inputs


def statistics(facts: Facts, dimensions: int) -> tuple[Tensor, Tensor]:
    """What sequences have subtracted and are divided by before they come to the model.

    Args:
        facts: what is known of the model.
        dimensions: of a frame.

    Returns:
        Mean and standard deviation, (D, 1) or (1, 1).

    Raises:
        ModelError: if these are neither one number nor one for each dimension.
    """
    for name, values in (("mean", facts.mean), ("std", facts.std)):
        if len(values) not in (1, dimensions):
            raise ModelError(
                f"model.info.{name} has {len(values)} numbers for {dimensions} dimensions. Check "
                "--actors"
            )
    mean, std = (torch.tensor(values).unsqueeze(1) for values in (facts.mean, facts.std))
    return mean, std


def joint_weights(relevance: Tensor) -> Tensor:
    """Relevance of each joint: the sum over its three axes.

    Args:
        relevance: (D, T).

    Returns:
        float64, (actors * joints, T).
    """
    return split_joints(relevance.double()).sum(2).flatten(0, 1)


def strongest(relevance: Tensor, count: int = 3) -> tuple[list[tuple[int, float]], ...]:
    """The joints and the frames that carry most of the positive relevance.

    Args:
        relevance: (D, T).
        count: how many of each at most.

    Returns:
        Joints, then frames, by place and share of all positive relevance, from the largest share
        down; both empty if nothing is positive.
    """
    positive = joint_weights(relevance).clamp(min=0)
    if not positive.sum() > 0:
        return [], []
    found = []
    for axis in (1, 0):
        shares = positive.sum(axis) / positive.sum()
        order = shares.argsort(descending=True, stable=True)[:count].tolist()
        found.append([(place, float(shares[place])) for place in order if shares[place] > 0])
    return tuple(found)


def joints(source: Skeletons, decoded: Tensor) -> list[Joint]:
    """How much each joint moves in a decoded layer, from the most amplified to the most lost.

    Args:
        source: what the model saw.
        decoded: (D, T).

    Returns:
        The joints that move in the input; none if nothing decoded moves.
    """
    before = joint_motion(source.sequence.double().unsqueeze(0))[0]
    after = joint_motion(decoded.double().unsqueeze(0))[0] * (before > 0)
    if not before.sum() > 0 or not after.sum() > 0:
        return []
    gain = amplification(decoded.double().unsqueeze(0), source.sequence.double().unsqueeze(0))[0]
    found = [
        Joint(place, float(share), float(was), float(more))
        for place, (share, was, more) in enumerate(
            zip(after / after.sum(), before / before.sum(), gain, strict=True)
        )
        if not math.isnan(more)
    ]
    return sorted(found, key=lambda joint: -joint.amplification)
