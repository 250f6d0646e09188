"""How many frames and pixels of the input lie between neighbouring places of a layer's input."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from captum_video._core.guards import untouched
from captum_video.layers.clip_axes import ClipAxes
from captum_video.layers.layout import Axis
from captum_video.layers.tracing import Trace


def input_strides(
    forward: Callable[..., Any],
    layers: Mapping[str, Module],
    inputs: tuple[Tensor, ...],
    extra: tuple[Any, ...] = (),
    *,
    time_dim: int | None = None,
) -> dict[str, tuple[float, float, float]]:
    """The strides of layers that take ``(N, C, T, H, W)``, by one forward pass without gradients.

    Args:
        forward: the model, or a callable.
        layers: by name.
        inputs: checked inputs.
        extra: further arguments of the model.
        time_dim: the input's time axis, as for :class:`~captum_video.VideoGradCam`.

    Returns:
        For each layer frames, rows and columns of the first input that leads to it.

    Raises:
        ValueError: for a layer that is not called, is called at several strides, or sees time
            reversed, or whose axes cannot be followed or have a single place along one.
    """
    found: dict[str, list[tuple[Axis, ...] | None]] = {}

    def see(name: str, tensor: Tensor) -> None:
        layout = trace.layout(tensor)
        found.setdefault(name, []).append(layout.axes[-3:] if layout is not None else None)

    with torch.inference_mode(False), torch.no_grad(), untouched(forward, inputs[0].device):
        copies = tuple(clip.detach().clone() for clip in inputs)
        with Trace(copies) as trace, _entering(layers, see):
            forward(*copies, *extra)
    result = {}
    for name in layers:
        if name not in found:
            raise ValueError(
                f"layer {name!r} is not called in the model's forward pass for these inputs, so its "
                "stride is not known: ask for units='feature'"
            )
        strides = {_strides(name, axes, inputs, time_dim) for axes in found[name]}
        if len(strides) > 1:
            raise ValueError(
                f"layer {name!r} is called at several strides (frames, rows, columns), "
                f"{sorted(strides)}: ask for units='feature'"
            )
        (result[name],) = strides
    return result


def _strides(
    name: str, axes: tuple[Axis, ...] | None, inputs: tuple[Tensor, ...], time_dim: int | None
) -> tuple[float, float, float]:
    """The distances between neighbouring centres along time, height and width."""
    known = [axis[0][0] for axis in axes or () if len(axis) == 1 and len(axis[0]) == 1]
    sources = [extent.source for extent in known if extent.source is not None]
    if len(known) == len(sources) == 3:
        own = ClipAxes.of(inputs[sources[0][0]], time_dim)
        wanted = [(sources[0][0], axis) for axis in (own.time, *own.space)]
        if sources == wanted:
            single = [axis for axis, extent in zip("THW", known, strict=True) if extent.size == 1]
            if single:
                raise ValueError(
                    f"layer {name!r} sees a single place along {', '.join(single)} of inputs of "
                    f"shape {tuple(inputs[0].shape)}, so its stride is not known: give a larger clip "
                    "in read(inputs=...), or ask for units='feature'"
                )
            first, second, third = (_spacing(extent.centres or ()) for extent in known)
            if first <= 0:
                raise ValueError(
                    f"layer {name!r} sees time reversed, so what it looks for is the opposite of the "
                    "motion in the clip: ask for units='feature'"
                )
            return first, second, third
    raise ValueError(
        f"the axes of what layer {name!r} sees cannot be followed back to time, height and width of "
        f"inputs of shape {tuple(inputs[0].shape)}: ask for units='feature'"
    )


def _spacing(centres: tuple[float, ...]) -> float:
    """The usual distance between neighbours; the outermost may be cut by a rounded-up window."""
    gaps = sorted(b - a for a, b in pairwise(centres))
    return gaps[len(gaps) // 2]


@contextmanager
def _entering(layers: Mapping[str, Module], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls ``see`` with what each layer gets in calls of this thread."""
    thread = threading.get_ident()

    def hook(name: str) -> Callable[[Module, tuple[Any, ...], dict[str, Any]], None]:
        def before(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = [leaf for leaf in (*args, *kwargs.values()) if isinstance(leaf, Tensor)]
            if threading.get_ident() == thread and given:
                see(name, given[0])

        return before

    handles = [
        layer.register_forward_pre_hook(hook(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
