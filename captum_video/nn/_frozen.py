"""Parameters that are frozen for a while, and trainable again where they were."""

from __future__ import annotations

from torch import nn

_NAMES = "_trainable_before"


def trains(module: nn.Module, name: str) -> bool:
    """Whether training changes a tensor of a module, which may be computed from its parameters.

    Args:
        module: such as a convolution, with parametrizations or without.
        name: ``"weight"`` or ``"bias"``.

    Returns:
        The parameter's flag, or whether any parameter that it may be computed from is trainable.
    """
    own = module._parameters.get(name)
    return any(p.requires_grad for p in (module.parameters() if own is None else [own]))


def freeze(model: nn.Module) -> None:
    """Freezes all parameters and remembers which were trainable.

    Args:
        model: a network, which is changed.
    """
    names = tuple(name for name, one in model.named_parameters() if one.requires_grad)
    setattr(model, _NAMES, names)
    model.requires_grad_(False)


def thaw(model: nn.Module) -> None:
    """Makes trainable again what :func:`freeze` froze in a network or in parts of it.

    Args:
        model: a network, which is changed.
    """
    for module in model.modules():
        named = dict(module.named_parameters())
        for name in module.__dict__.pop(_NAMES, ()):
            if name in named:
                named[name].requires_grad_(True)
