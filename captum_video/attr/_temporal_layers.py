"""Which layers have temporal parameters, or kernels to fit them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor
from torch.nn import Module

from captum_video._core.guards import module_of
from captum_video.layers import layer_name, resolve_layer


def chosen_layers(
    model: Callable[..., Any], layer: Module | str | None, types: tuple[type[Module], ...]
) -> dict[str, Module]:
    """The layers that are meant, by name, of these types."""
    if layer is not None:
        module = resolve_layer(model, layer)
        return {layer_name(model, module): module} if isinstance(module, types) else {}
    owner = module_of(model)
    if owner is None:
        raise ValueError("layer is needed where the model is a function, got None")
    found = {name: module for name, module in owner.named_modules() if isinstance(module, types)}
    return {name or type(module).__name__: module for name, module in found.items()}


def explained_by_equal_slices(kernel: Tensor) -> Tensor:
    """The share of each kernel's energy that its mean over time accounts for."""
    wide = kernel.detach().double()
    mean = wide.mean(2).square().sum((1, 2, 3)) * wide.shape[2]
    return (mean / wide.square().sum((1, 2, 3, 4))).to(kernel.dtype)


def has_motion(module: Module) -> bool:
    """Whether a kernel has slices to compare and taps to move."""
    depth, height, width = cast(tuple[int, int, int], module.kernel_size)
    return depth > 1 and height * width > 1


def what_has_none(model: Callable[..., Any], layer: Module | str | None) -> str:
    """The beginning of a message about what has no such layer."""
    if layer is None:
        return "the model has"
    module = resolve_layer(model, layer)
    return f"layer {layer_name(model, module)!r} ({type(module).__name__}) is"
