"""The published C3D weights, brought to this package's names.

Two layouts are known, both of the PyTorch code that paper 2 builds on: the Sports-1M weights
(``features.0`` to ``features.18`` and ``classifier.0`` to ``classifier.6``, once converted from
Caffe) and its checkpoints fine-tuned on UCF101 (``{"state_dict": {"conv1.weight": ...}}``, from
several GPUs with ``module.`` in front). Both were trained on frames in BGR order, from 0 to 255
less (90, 98, 102); reversing the input channels of ``conv1`` makes them take RGB, so that
``model.info.normalize`` serves here as everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from torch import Tensor

from models._files import read_tensors
from models.info import BundledModel

_SPORTS1M = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3a",
    "features.8": "conv3b",
    "features.11": "conv4a",
    "features.13": "conv4b",
    "features.16": "conv5a",
    "features.18": "conv5b",
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": "fc8",
}
_HEAD = ("fc8.weight", "fc8.bias")


def load_published(
    model: BundledModel,
    weights: str | os.PathLike[str] | Mapping[str, object],
    *,
    strict_head: bool = True,
    channel_order: str = "bgr",
) -> tuple[str, ...]:
    """Fills a C3D with published weights, all or nothing.

    Args:
        model: the model from ``models.build("c3d")``.
        weights: the file, read with ``weights_only=True``, or what it holds.
        strict_head: whether scores of another number of classes (or none at all) are an error;
            otherwise the model keeps its freshly drawn ``fc8``.
        channel_order: that of the frames the weights were trained on, ``"bgr"`` or ``"rgb"``; the
            filled model takes RGB.

    Returns:
        The names of the parameters that kept their fresh values: none, or those of ``fc8``.

    Raises:
        ValueError: keys are missing, unexpected or of another shape (all of them are named), the
            file holds something else, or the channel order is unknown.
        FileNotFoundError: there is no such file.
    """
    if channel_order not in ("bgr", "rgb"):
        raise ValueError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}.")
    if not isinstance(weights, Mapping):
        weights = read_tensors(weights)
    state = convert_keys(weights)
    wanted = model.state_dict()
    fresh: tuple[str, ...] = ()
    if not strict_head and any(
        name not in state or state[name].shape != wanted[name].shape for name in _HEAD
    ):
        fresh = _HEAD
        state = {**state, **{name: wanted[name] for name in _HEAD}}
    problems = _problems(state, wanted)
    if problems:
        raise ValueError("The weights do not fit this model: " + "; ".join(problems) + ".")
    if channel_order == "bgr":
        state = {**state, "conv1.weight": state["conv1.weight"].flip(1)}
    model.load_state_dict(state)
    return fresh


def convert_keys(weights: Mapping[str, object]) -> dict[str, Tensor]:
    """Brings a published state dict to this package's names.

    Args:
        weights: a state dict of either layout, or a checkpoint with one as ``"state_dict"``.

    Returns:
        The same tensors by new names; names that no layout knows stay as they are.

    Raises:
        ValueError: an entry is no tensor.
    """
    nested = weights.get("state_dict", weights)
    if not isinstance(nested, Mapping):
        raise ValueError(f"'state_dict' must be a mapping, got {type(nested).__name__}.")
    state: dict[str, Tensor] = {}
    for key, value in nested.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"Every entry must be a tensor, but {key!r} is {value!r:.60}.")
        layer, _, kind = str(key).removeprefix("module.").rpartition(".")
        state[f"{_SPORTS1M.get(layer, layer)}.{kind}"] = value
    return state


def _problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps the state from fitting, in words."""
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    other_shape = [
        f"{name} has shape {tuple(state[name].shape)} where {tuple(wanted[name].shape)} is needed"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    problems = [f"missing {', '.join(missing)}"] if missing else []
    problems += [f"unexpected {', '.join(unexpected)}"] if unexpected else []
    problems += other_shape
    if any(text.startswith("fc8.") for text in other_shape):
        problems.append("strict_head=False keeps a fresh fc8")
    return problems
