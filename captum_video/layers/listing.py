"""The layers of a model as one clip passes through: shapes, and the frames that slices cover."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_leaves

from captum_video._core.checks import check_inputs
from captum_video._core.guards import module_of, untouched
from captum_video.layers.arrangement import Arrangement, arrangement
from captum_video.layers.capture import observed
from captum_video.layers.clip_axes import ClipAxes
from captum_video.layers.question import Question
from captum_video.layers.tracing import Trace


@dataclass(frozen=True)
class LayerFacts:
    """What one layer gives for a clip.

    Attributes:
        name: its dotted name.
        kind: its type.
        shape: of the first floating-point tensor in its output, at its first call.
        calls: how often it is called.
        arrangement: how its axes belong to the clip's; None if that cannot be known.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    arrangement: Arrangement | None

    @property
    def slices(self) -> int | None:
        """The number of time slices; None if it cannot be known."""
        return None if self.arrangement is None else self.arrangement.slices

    @property
    def explainable(self) -> bool:
        """Whether Grad-CAM can give a map at clip size: one call, a known layout, and space."""
        return self.calls == 1 and self.arrangement is not None and bool(self.arrangement.space)


def list_layers(
    forward: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    extra: tuple[Any, ...] = (),
    *,
    time_dim: int | None = None,
    frames_per_clip: int | None = None,
    until: Module | None = None,
) -> list[LayerFacts]:
    """The layers in the order in which they end, by one forward pass without gradients.

    Args:
        forward: the model, or a method of one.
        inputs: a batch, or several in a tuple.
        extra: further arguments of the model.
        time_dim: the input's time axis, as for :class:`~captum_video.VideoGradCam`.
        frames_per_clip: likewise.
        until: list only layers that end before this one begins.

    Returns:
        One entry for each layer that is called and gives a floating-point tensor.

    Raises:
        TypeError: for an input that is no tensor, or not of a floating-point type.
        ValueError: for an input without values or batch axis, or of NaN or infinity.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    check_inputs(inputs)
    model = module_of(forward)
    if model is None:
        return []
    modules = {name: module for name, module in model.named_modules() if name}
    axes = tuple(ClipAxes.of(clip, time_dim) for clip in inputs)
    shapes = tuple(tuple(clip.shape) for clip in inputs)
    found: dict[str, LayerFacts] = {}
    begun, thread = False, threading.get_ident()

    def see(name: str, module: Module, output: Any) -> None:
        if begun:
            return
        if name in found:
            facts = found[name]
            found[name] = LayerFacts(name, facts.kind, facts.shape, facts.calls + 1, None)
            return
        tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
        tensor = next((t for t in tensors if t.is_floating_point()), None)
        if tensor is None:
            return
        question = Question(
            name, tuple(tensor.shape), trace.layout(tensor), shapes, axes, frames_per_clip, False
        )
        try:
            placed = arrangement(question)
        except ValueError:
            placed = None
        found[name] = LayerFacts(name, type(module).__name__, question.shape, 1, placed)

    def begin(module: Module, args: Any) -> None:
        nonlocal begun
        begun = begun or threading.get_ident() == thread

    handle = until.register_forward_pre_hook(begin) if until is not None else None
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            untouched(forward, inputs[0].device),
        ):
            copies = tuple(clip.detach().clone() for clip in inputs)
            with Trace(copies) as trace, observed(modules, see):
                forward(*copies, *extra)
    finally:
        if handle is not None:
            handle.remove()
    return list(found.values())


def deepest_with_time(
    forward: Callable[..., Any],
    layer: Module,
    inputs: tuple[Tensor, ...],
    extra: tuple[Any, ...],
    time_dim: int | None,
) -> LayerFacts | None:
    """The last layer before ``layer`` that has space and more than one time slice.

    Args:
        forward: the model, or a method of one.
        layer: the layer with one.
        inputs: checked inputs.
        extra: further arguments of the model.
        time_dim: the input's time axis.

    Returns:
        What is known of it, or None if there is none.
    """
    before = list_layers(forward, inputs, extra, time_dim=time_dim, until=layer)
    several = [facts for facts in before if facts.explainable and (facts.slices or 1) > 1]
    return several[-1] if several else None
