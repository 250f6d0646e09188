"""The torch functions of one forward pass, as a graph from the input on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from captum_video._core.calls import canonical_name

#: calls that give no new values
_SILENT = frozenset(
    "shape size dim ndim numel dtype device layout requires_grad is_floating_point grad_fn is_leaf "
    "is_cuda is_contiguous stride data_ptr _version len".split()
)
_IN_PLACE = frozenset(("iadd", "isub", "imul", "itruediv"))


@dataclass(frozen=True, eq=False)
class Node:
    """What one call made of tensors that descend from the input.

    Attributes:
        name: the function, ``"add"`` for all its spellings and for its in-place form; ``"input"``
            for the input itself.
        sources: the nodes among its arguments, in order.
        places: which of the positional arguments they are.
        args: its arguments, positional.
        kwargs: and by name.
        value: a copy of what it gave if that may be wanted later; else None.
        shape: the result's shape.
    """

    name: str
    sources: tuple[Node, ...] = ()
    places: tuple[int, ...] = ()
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    value: Tensor | None = None
    shape: tuple[int, ...] = ()


class Recording(TorchFunctionMode):
    """Writes down each call of this thread that takes a tensor which descends from the input.

    Args:
        tensor: the input.
        keep: names of the functions whose results are copied.
    """

    def __init__(self, tensor: Tensor, keep: frozenset[str]) -> None:
        super().__init__()
        self.input = Node("input", shape=tuple(tensor.shape))
        self._keep = keep
        # tensors are held as well, lest another one gets their number
        self._known: dict[int, tuple[Tensor, Node]] = {id(tensor): (tensor, self.input)}

    def node(self, tensor: object) -> Node | None:
        """What is known of a tensor as it stands now.

        Args:
            tensor: any object.

        Returns:
            The call that made it or wrote into it last; None if it does not descend from the input.
        """
        found = self._known.get(id(tensor))
        return found[1] if found is not None else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs and records one call."""
        kwargs = kwargs or {}
        name = canonical_name(func)
        leaves = tree_leaves((args, kwargs))
        sources = tuple(node for leaf in leaves if (node := self.node(leaf)) is not None)
        result = func(*args, **kwargs)
        if not sources or name in _SILENT:
            return result
        name = name.removesuffix("_")
        name = name[1:] if name in _IN_PLACE else name
        places = tuple(place for place, arg in enumerate(args) if self.node(arg) is not None)
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                value = made.detach().clone() if name in self._keep else None
                node = Node(name, sources, places, args, kwargs, value, tuple(made.shape))
                self._known[id(made)] = (made, node)
        return result
