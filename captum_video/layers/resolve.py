"""Layers by module or by dotted name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn import Module

from captum_video._core.errors import close_matches
from captum_video._core.guards import module_of


def resolve_layer(
    forward: Callable[..., Any], layer: Module | str, argument: str = "layer"
) -> Module:
    """The module that a caller means.

    Args:
        forward: the model, or a callable.
        layer: a module, or its dotted name in the model.
        argument: what the caller calls ``layer``.

    Returns:
        The module.

    Raises:
        TypeError: if ``layer`` is neither, or a name is given for a callable that is no module.
        ValueError: if the model has no layer of that name.
    """
    if isinstance(layer, Module):
        return layer
    if not isinstance(layer, str):
        raise TypeError(
            f"{argument} must be a module or its dotted name, got {type(layer).__name__}"
        )
    model = module_of(forward)
    if model is None:
        raise TypeError(
            f"{argument} {layer!r} is a name, but the model is a {type(forward).__name__} and not a "
            "torch.nn.Module: give the module itself"
        )
    model = getattr(model, "_orig_mod", model)  # behind torch.compile
    named = dict(model.named_modules(remove_duplicate=False))
    if not layer or layer not in named:
        known = [name for name in named if name]
        raise ValueError(
            f"{argument} {layer!r}: the model has no such layer. {close_matches(layer, known)}"
        )
    return named[layer]


def layer_name(forward: Callable[..., Any], layer: Module) -> str:
    """What to call a module in messages: its dotted name in the model, or its type.

    Args:
        forward: the model, or a callable.
        layer: the module.

    Returns:
        ``'layer4.1'``, or ``'Conv3d'`` for a module that the model does not hold.
    """
    model = module_of(forward)
    for name, module in model.named_modules() if model is not None else ():
        if module is layer:
            return name or type(layer).__name__
    return type(layer).__name__
