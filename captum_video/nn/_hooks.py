"""What a module does beside its forward, and would lose when it is replaced."""

from __future__ import annotations

from torch import nn

KINDS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def additions(module: nn.Module) -> list[str]:
    """What a module has beside what its class does.

    Args:
        module: any module.

    Returns:
        Words for the kinds of its hooks, and for a forward that was set on the instance.
    """
    found = [kind.strip("_").replace("_", " ") for kind in KINDS if getattr(module, kind)]
    return found + ["a forward of its own"] * ("forward" in module.__dict__)


def refuse_additions(module: nn.Module, name: str) -> None:
    """Refuses a module that would lose what it has beside what its class does.

    Args:
        module: any module.
        name: how errors call it.

    Raises:
        ValueError: naming what would be lost.
    """
    if lost := additions(module):
        raise ValueError(
            f"{name} has {' and '.join(lost)}, which would be lost: remove them first (weight_norm "
            "and pruning with remove_weight_norm and prune.remove)"
        )
