"""The page that plays an explanation of skeletons."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_video.cli._kind import Result
from captum_video.cli._page import new_report, note_of, target_name
from captum_video.cli._skeleton import Skeletons, joint_weights
from captum_video.io import split_joints
from captum_video.visualization import Report, robust_maximum, skeleton_frames

_RELEVANCE = (
    "Relevance is the decision handed back to the joints' coordinates, layer by layer; a dot sums it "
    "over the three axes. Red (or orange) counts for what was explained, the larger a dot, the more, "
    "on one scale for all classes. The rules show no evidence against it: blue (or purple) shows only "
    "where the score that is handed back is negative.\n"
    "It hands one decision back by fixed rules. It does not say what would happen if those joints "
    "moved otherwise, and it does not tell posture from motion."
)


def page(result: Result[Skeletons], rate: float) -> Report:
    """A page with the drawn skeletons, and how much each layer or class makes of every frame.

    Args:
        result: what came of a clip.
        rate: frames per second.

    Returns:
        The page.
    """
    source, explanation = result.source, result.explanation
    sequences = {"input": source.sequence}
    sequences |= {layer.layer: layer.picture for layer in explanation.decoded}
    films = {name: skeleton_frames({name: values}) for name, values in sequences.items()}
    report = new_report(
        result,
        films.pop("input"),
        rate,
        source.numbers,
        source.clip.path,
        caption=None if explanation.decoded else _RELEVANCE,
    )
    for name, frames in films.items():
        report.panel(name, frames)
    if explanation.decoded:
        curves = {f"movement, {name}": _movement(values) for name, values in sequences.items()}
        return report.add({}, curves=curves)
    explained = (result, *result.others)
    every = [joint_weights(told.explanation.maps[told.explanation.ranked]) for told in explained]
    scale = robust_maximum(*(weights.numpy() for weights in every)) or None  # one for all classes
    for told, weights in zip(explained, every, strict=True):
        name = target_name(told)
        drawn = skeleton_frames(
            {"input": source.sequence}, weights=weights, cmap=result.cmap, saturation=scale
        )
        report.panel(f"relevance for {name}", drawn)
        report.add({}, name, curves={"relevance": weights.sum(0)}, note=note_of(told))
    return report


def _movement(sequence: Tensor) -> Tensor:
    """How far all joints move from the frame before, together; 0 in the first frame."""
    places = split_joints(sequence.double())  # (actors, joints, 3, T)
    steps = (places[..., 1:] - places[..., :-1]).norm(dim=2).sum((0, 1))
    return torch.cat([steps.new_zeros(1), steps])
