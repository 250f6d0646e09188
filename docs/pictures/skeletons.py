"""Pictures of skeletons: what layers decode to, filters, and which joints a decision rests on."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

import models
from captum_video import DeepTaylor, FeatureMapDecoder
from captum_video.relevance.rules import AlphaBeta
from captum_video.visualization import (
    filter_figure,
    filter_responses,
    joint_relevance,
    motion_primitives_figure,
    skeleton_strip,
)
from models.data.actions import ACTIONS, Actions, ActionSample
from pictures import picture

SEED = 20_000
FACING = 1  # the camera in the middle
NET = "res_tcn_small"


def samples(action: str, count: int) -> list[ActionSample]:
    """Clips of an action from the middle camera."""
    data = Actions(2000, seed=SEED, split="validation")
    numbers = (n for n in range(len(data)) if ACTIONS[data.labels(n)[0]] == action)
    found = (sample for sample in map(data.__getitem__, numbers) if sample.camera == FACING)
    return [sample for sample, _ in zip(found, range(count), strict=False)]


@picture("decoded", NET)
def decoded() -> Figure:
    """A jump, and what four layers decode it to."""
    net: Any = models.load(NET)
    (sample,) = samples("jump up", 1)
    sequence = sample.clip[None]
    rows = {"input": sequence[0]}
    for number in (1, 3, 5, 7):
        decoder = FeatureMapDecoder(net, f"layer{number}", scale="input")
        rows[f"layer {number}"] = decoder.attribute(sequence)[0]
    active = sample.active.nonzero().flatten()
    frames = torch.linspace(int(active[0]), int(active[-1]), 8).round().int().tolist()
    return skeleton_strip(rows, frames=frames, title="'jump up', decoded from res_tcn_small")[0]


@picture("joint-relevance", NET, width=1000)
def relevance() -> Figure:
    """Which joints a decision rests on, and when."""
    net: Any = models.load(NET)
    for sample in samples("throw", 20):
        if int(net(sample.clip[None]).argmax()) == sample.action:
            break
    method = DeepTaylor(net, rules={"first": AlphaBeta(1, 0)})
    values = method.attribute(sample.clip[None], target=sample.action)
    return joint_relevance(
        values[0],
        actors=1,
        informative=sample.informative,
        active=sample.active,
        title="'throw': relevance by deep Taylor, joint by joint",
    )[0]


@picture("motion-primitives", NET)
def primitives() -> Figure:
    """Figure 3 of paper 5: filters of the first layer as skeletons that move."""
    net: Any = models.load(NET)
    found = FeatureMapDecoder(net, "layer3").motion_primitives()
    return motion_primitives_figure(found, filters=4, mean=net.mean[:, 0])[0]


@picture("filters", NET, width=1000)
def filters() -> Figure:
    """The same filters as maps, beside the gates of a deeper layer."""
    net: Any = models.load(NET)
    decoder = FeatureMapDecoder(net, "layer3")
    gates = {"layer 3": decoder.gates()}
    return filter_figure(decoder.motion_primitives(), gates, mean=net.mean[:, 0])[0]


@picture("filter-responses", NET)
def responses() -> Figure:
    """Figure 8 of paper 5: how strongly each filter responds, over time."""
    last = FeatureMapDecoder(models.load(NET), "layer7")
    rows = {
        action: last.responses(torch.stack([sample.clip for sample in samples(action, 5)]))
        for action in ("jump up", "hand waving", "reading", "writing")
    }
    return filter_responses(rows, title="layer 7 of res_tcn_small")[0]
