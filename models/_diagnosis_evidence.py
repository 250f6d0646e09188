"""What a net makes of fresh clips: answers, decoded motion, filter responses, views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from captum_video import FeatureMapDecoder
from captum_video._core.skeletons import KINECT_BONES, KINECT_JOINTS, split_joints
from captum_video.metrics import (
    ViewDistance,
    amplification,
    joint_motion,
    response_profiles,
    view_distance,
)
from models._diagnosis_net import Net
from models.data.actions import Actions

BATCH = 64
#: the seeds of training, validation, score, diagnosis and measurement lie a million apart
MOST_SEED = 999_999
#: performances that are seen by all cameras
PERFORMANCES = 96
#: frames in the means whose differences say how a joint moves
SCALES = (1, 2, 4, 8, 16, 32)

_SWAPPED = {"left": "right", "right": "left"}
_MIRRORED = [
    KINECT_JOINTS.index("_".join(_SWAPPED.get(word, word) for word in joint.split("_")))
    for joint in KINECT_JOINTS
]


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis is made of; nothing in it comes from the ground truth of a generator but labels.

    Attributes:
        labels: the class of each clip, ``(N,)``.
        predicted: the class that the net answers, ``(N,)``.
        features: how each joint of a clip moves, ``(N, joints, features)``, by
            :func:`motion_features`.
        layers: dotted names of the decoded layers.
        amplification: by layer, ``(N, joints)``, the mean over the actors who are there.
        profiles: by layer, ``(N, 2 F)``, as :func:`captum_video.metrics.response_profiles` gives them.
        views: distance of views of the input, and of what each layer decodes to; empty if they were
            not asked for.
    """

    labels: Tensor
    predicted: Tensor
    features: Tensor
    layers: tuple[str, ...]
    amplification: tuple[Tensor, ...]
    profiles: tuple[Tensor, ...]
    views: tuple[ViewDistance, ...]


def gather(
    net: Net,
    layers: Sequence[str],
    data: Actions,
    *,
    views: bool = True,
    what: str = "diagnosis",
    show_progress: bool | None = False,
) -> Evidence:
    """Runs the net on all clips of a data set and decodes its layers.

    Args:
        net: in evaluation mode.
        layers: dotted names.
        data: the clips.
        views: whether to compare views too.
        what: what the progress bar is called.
        show_progress: whether to draw a progress bar; ``None`` for a terminal only.

    Returns:
        The evidence, on the CPU.
    """
    held = [FeatureMapDecoder(net, layer, ends="held") for layer in layers]
    parts: list[list[Tensor]] = [[] for _ in range(3 + 2 * len(layers))]
    performances = min(PERFORMANCES, len(data)) if views else 0
    with tqdm(
        total=len(data) + performances, desc=what, unit="clip",
        disable=None if show_progress is None else not show_progress,
    ) as bar:  # fmt: skip
        for indices in _batches(len(data)):
            samples = [data[index] for index in indices]
            inputs = torch.stack([sample.clip for sample in samples])
            found = [
                torch.tensor([sample.action for sample in samples]),
                answers(net, inputs),
                motion_features(inputs),
            ]
            for decoder in held:
                found += _decoded(decoder, inputs, _device(net))
            for part, values in zip(parts, found, strict=True):
                part.append(values)
            bar.update(len(samples))
        distances: tuple[ViewDistance, ...] = ()
        if views:
            distances = _views(held, data, performances, _device(net), bar.update)
    labels, predicted, features, *rest = [torch.cat(part) for part in parts]
    return Evidence(
        labels, predicted, features, tuple(layers), tuple(rest[::2]), tuple(rest[1::2]), distances
    )


def answers(net: Net, inputs: Tensor) -> Tensor:
    """The class that the net answers for each sequence.

    Args:
        net: in evaluation mode.
        inputs: ``(N, D, T)``.

    Returns:
        ``(N,)``, on the CPU.
    """
    with torch.no_grad():
        return net(inputs.to(_device(net))).argmax(1).cpu()


def all_answers(net: Net, data: Actions) -> Tensor:
    """The class that the net answers for each clip of a data set.

    Args:
        net: in evaluation mode.
        data: the clips.

    Returns:
        ``(len(data),)``, on the CPU.
    """
    return torch.cat([
        answers(net, torch.stack([data[index].clip for index in indices]))
        for indices in _batches(len(data))
    ])  # fmt: skip


def motion_features(inputs: Tensor) -> Tensor:
    r"""How much each joint moves at several time scales, relative to the joint that bears it.

    With the joint's position :math:`r(t)` relative to its parent in the skeleton (the base of the
    spine, which has none, relative to the camera):

    .. math::
        f_w = \sqrt{\operatorname*{mean}_t \Bigl\lVert
        \tfrac1w \sum_{k=0}^{w-1} r(t + w + k) - r(t + k) \Bigr\rVert^2}

    for :math:`w = 1, 2, 4, \dots, 32` frames, as far as two such windows fit into the sequence, and
    :math:`f_w / f_1`, from which the error of a depth camera, larger for farther people and mostly
    independent from frame to frame, cancels. Since people act with either hand, a joint and its mirror
    image share the larger value of both.

    Args:
        inputs: ``(N, D, T)``, at least four frames of skeletons of 25 joints.

    Returns:
        ``(N, joints, features)``, the mean over the actors who are there; 0 if none is.
    """
    position = split_joints(inputs).double()
    parent = list(range(position.shape[2]))
    for bearer, joint in KINECT_BONES:
        parent[joint] = bearer
    relative = position - position[:, :, parent]
    root = [joint for joint, bearer in enumerate(parent) if joint == bearer]
    relative[:, :, root] = position[:, :, root]
    changes = []
    for width in SCALES:
        if 2 * width <= inputs.shape[-1]:
            mean = relative.unfold(-1, width, 1).mean(-1)
            step = mean[..., width:] - mean[..., :-width]
            changes.append(step.square().sum(3).mean(-1).sqrt())
    least = torch.finfo(position.dtype).tiny
    shares = [change / changes[0].clamp(min=least) for change in changes[1:]]
    features = torch.stack([*changes, *shares], dim=-1)
    there = present(inputs)[:, :, None, None]
    features = (features * there).sum(1) / there.sum(1).clamp(min=1)
    return torch.maximum(features, features[:, _MIRRORED])


def present(inputs: Tensor) -> Tensor:
    """Which actors are there at all: those who move.

    Args:
        inputs: ``(N, D, T)`` of skeletons of 25 joints.

    Returns:
        bool, ``(N, actors)``.
    """
    position = split_joints(inputs)
    return (position != position[..., :1]).flatten(2).any(2)


def _decoded(
    decoder: FeatureMapDecoder, inputs: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Amplification of each joint and profile of each filter."""
    given = inputs.to(device)
    gain = amplification(decoder.attribute(given), given).cpu()
    actors = split_joints(inputs).shape[1]
    return (
        gain.unflatten(1, (actors, -1)).nanmean(1),
        response_profiles(decoder.responses(given)).cpu(),
    )


def _views(
    held: Sequence[FeatureMapDecoder],
    data: Actions,
    performances: int,
    device: torch.device,
    done: Callable[[int], Any],
) -> tuple[ViewDistance, ...]:
    """Distances of views before and after each layer; actors who are not there do not count."""
    seen: list[list[Tensor]] = [[] for _ in range(1 + len(held))]
    for indices in _batches(performances):
        views = torch.stack([data.views(index) for index in indices])
        inputs = views.flatten(0, 1).to(device)
        absent = (joint_motion(inputs) == 0).repeat_interleave(3, 1).unsqueeze(2)
        for part, decoder in zip(seen, [None, *held], strict=True):
            decoded = inputs if decoder is None else decoder.attribute(inputs)
            part.append(decoded.masked_fill(absent, 0).cpu().view_as(views))
        done(len(indices))
    if performances < 2:
        return tuple(ViewDistance(*3 * [float("nan")]) for _ in seen)
    return tuple(view_distance(torch.cat(part)) for part in seen)


def _batches(length: int) -> Iterator[range]:
    """Indices in groups of ``BATCH``."""
    for start in range(0, length, BATCH):
        yield range(start, min(start + BATCH, length))


def _device(net: Net) -> torch.device:
    return net.mean.device
