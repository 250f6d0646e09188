"""The torch functions of one forward pass, as a graph from the input on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from captum_video._core.calls import canonical_name

#: calls whose result holds none of their arguments' values
_SILENT = frozenset(
    "shape size dim ndim numel dtype device layout requires_grad is_floating_point grad_fn is_leaf "
    "is_cuda is_contiguous stride data_ptr _version len zeros_like ones_like empty_like rand_like "
    "randn_like new_zeros new_ones new_empty".split()
)
#: calls of which all arguments but the first only say what is wanted
_LIKE = frozenset(("to", "type_as", "expand_as", "view_as", "reshape_as"))
_IN_PLACE = frozenset(("iadd", "isub", "imul", "itruediv"))


@dataclass(frozen=True, eq=False)
class Node:
    """What one call made of tensors that descend from the input.

    Attributes:
        name: the function, ``"add"`` for all its spellings and for its in-place form; ``"input"``
            for the input itself; ``"a write into ..."`` for a tensor that was changed otherwise than
            as the result of a call, such as by ``x[:, 0] = 0`` or through a view.
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

    A call that gives back one of its arguments as it was (``x.contiguous()``, dropout that is off) is
    none. Writes that torch does not count, such as those to ``x.numpy()``, are not noticed.

    Args:
        tensor: the input.
        keep: names of the functions whose results are copied.
    """

    def __init__(self, tensor: Tensor, keep: frozenset[str]) -> None:
        super().__init__()
        self.input = Node("input", shape=tuple(tensor.shape))
        self._keep = keep
        # tensors are held as well, lest another one gets their number
        self._known: dict[int, tuple[Tensor, Node, int]] = {}
        self._set(tensor, self.input)

    def node(self, tensor: object) -> Node | None:
        """What is known of a tensor as it stands now.

        Args:
            tensor: any object.

        Returns:
            The call that made it or wrote into it last; None if it does not descend from the input.
        """
        found = self._known.get(id(tensor))
        if found is None:
            return None
        known, node, version = found
        if _version(known) != version:
            node = self._set(known, Node("a write into it", shape=tuple(known.shape)))
        return node

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
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = tuple(node for tensor in tensors if (node := self.node(tensor)) is not None)
        if not sources:
            return func(*args, **kwargs)
        places = tuple(place for place, arg in enumerate(args) if self.node(arg) is not None)
        constants = [tensor for tensor in tensors if self.node(tensor) is None]
        versions = [_version(tensor) for tensor in tensors]
        with ExitStack() as stack:
            if torch.is_inference_mode_enabled():  # whose tensors do not count writes
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
            result = func(*args, **kwargs)
        if name in _SILENT or (name in _LIKE and 0 not in places):
            return result
        name = name.removesuffix("_")
        name = name[1:] if name in _IN_PLACE else name
        written = [
            t for t, version in zip(tensors, versions, strict=True) if _version(t) != version
        ]
        for tensor in written:
            self._overwrite(tensor)
        for made in tree_leaves(result):
            if not isinstance(made, Tensor) or (_in(made, tensors) and not _in(made, written)):
                continue
            if _in(made, written) and _in(made, constants):
                self._set(made, Node("a write into a constant", shape=tuple(made.shape)))
                continue
            value = made.detach().clone() if name in self._keep else None
            self._set(made, Node(name, sources, places, args, kwargs, value, tuple(made.shape)))
        return result

    def _set(self, tensor: Tensor, node: Node) -> Node:
        self._known[id(tensor)] = (tensor, node, _version(tensor))
        return node

    def _overwrite(self, tensor: Tensor) -> None:
        """Forgets what is known of tensors that share memory with one that was written to."""
        for known, _, _ in list(self._known.values()):
            if known is tensor or _memory(known) == _memory(tensor) is not None:
                self._set(known, Node("a write into it", shape=tuple(known.shape)))


def _in(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(tensor is other for other in tensors)


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to, as far as that is counted."""
    return 0 if tensor.is_inference() else tensor._version


def _memory(tensor: Tensor) -> int | None:
    """Where a tensor's numbers are; None if it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # sparse and opaque tensors
        return None
