"""Follows the axes of the tensors in a traced forward, and refuses what a clip's would change."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn

from captum_video.nn import _inflate_axes as ax
from captum_video.nn._inflate_axes import ASSUMED, MAPS, ONE, PLACES, Axes
from captum_video.nn._inflate_nodes import (
    ARGUMENTS,
    PERMUTATIONS,
    REFUSED,
    adds_width,
    call_name,
    indexes_map,
    is_map,
    leaves,
    sizes,
    why,
)
from captum_video.nn._inflate_options import NotInflatable, Order

_SHARE = "share"  # places after a softmax over them: their sum does not depend on their number


@dataclass
class _Size:
    """The shape of a tensor with these axes."""

    axes: Axes


def follow(graph: fx.Graph, module: nn.Module, order: Order) -> None:
    """Notes the axes of each call's input in the node's ``meta["source"]``.

    Args:
        graph: of the module's forward, before it is rewritten.
        module: the module.
        order: gets what the forward says of where channels are, or assumes.

    Raises:
        NotInflatable: a call names an axis by number that is another one of a clip, or counts
            places; or time would be left where height and width are gone.
    """
    found: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = ASSUMED
        elif node.op == "get_attr":
            found[node] = _own_tensor(module, str(node.target))
        elif node.op == "output":
            order.moved |= any(_is_moved(axes) for axes in _operands(node, found))
        elif node.op == "call_module":
            source = next(iter(_operands(node, found)), ASSUMED)
            layer = module.get_submodule(str(node.target))
            found[node] = ax.of_layer(layer, source)
            order.moved |= bool(layer._modules) and _is_moved(source)
        else:
            found[node] = _call(node, found, module, order)


def _call(node: fx.Node, found: dict[fx.Node, Any], module: nn.Module, order: Order) -> Any:
    name = call_name(node)
    first = found.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
    operands = _operands(node, found)
    source = first.axes if isinstance(first, _Size) else next(iter(operands), None)
    if source is None:
        return None
    node.meta["source"] = source
    dims = ax.dimensions(node)
    whole = name == "permute" or (name == "flatten" and 1 in dims)  # any order will do
    if not source.sure and not whole and any(dim >= 1 for dim in dims):
        order.assuming.setdefault(id(module), name)
    if isinstance(first, _Size):
        return _of_size(node, first.axes)
    if name in ARGUMENTS and name != "dropout":
        return MAPS
    if name in REFUSED or name.endswith("2d") or "2d_" in name:
        return MAPS
    if _is_opaque(node.target):
        raise NotInflatable(f"it calls {name}, into which torch.fx does not follow")
    rule = _RULES.get(name, _by_signature)
    result = rule(node, source, operands, found)
    if result is None:
        raise NotInflatable(f"it calls {name} {why(name)}")
    return None if result is _NO_TENSOR else result


_NO_TENSOR = object()


def _is_opaque(target: Any) -> bool:
    """Whether it is a function of others that was wrapped for ``torch.fx``."""
    if not inspect.isfunction(target) or target.__module__.startswith("torch."):
        return False
    # this one asks for the number of axes
    return bool(target.__module__ != "torchvision.ops.stochastic_depth")


def _operands(node: fx.Node, found: dict[fx.Node, Any]) -> list[Axes]:
    given = [found.get(n) for n in leaves([node.args, dict(node.kwargs)]) if isinstance(n, fx.Node)]
    return [axes for axes in given if isinstance(axes, Axes)]


def _own_tensor(module: nn.Module, target: str) -> Axes | None:
    value: Any = module
    for part in target.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, Tensor):
        return None
    return ax.parameter(value, is_map(module, target))


def _is_moved(axes: Axes) -> bool:
    return axes.time is not None and "C" in axes.flat and axes.flat[1:2] != ("C",)


def _of_size(node: fx.Node, axes: Axes) -> None:
    """Reading a size: not that of height, width or time, nor by a number that changes."""
    if call_name(node) != "getitem" or axes.time is None or not node.users:
        return
    index: Any = node.args[1]
    if isinstance(index, slice):
        same = axes.flat[index] == axes.clip[index] and not {"H", "W"} & set(axes.flat[index])
    else:
        label = ax.at(axes.flat, index)
        same = label not in ("H", "W") and label == ax.at(axes.clip, index)
    if not same:
        raise NotInflatable(f"it calls getitem {why('getitem')}")


Rule = Callable[[fx.Node, Axes, list[Axes], dict[fx.Node, Any]], Any]


def _by_signature(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    """Any other call: reductions, those along axes, and those element by element."""
    name, dims, keep = call_name(node), ax.dimensions(node), ax.keeps(node)
    if name in ("max", "min") and len(operands) > 1:
        return ax.broadcast(operands)
    if keep is not None or (name in ax.COUNTING and not dims):
        result = ax.reduced(node, name, source, dims, bool(keep))
        return result and replace(result, several=name in ax.SEVERAL and bool(dims))
    if name in ax.CHANNELS_AT_ONE:
        dims = [1]
    if name in ax.LAST_AXIS:
        dims = [-1]
    if name == "layer_norm" and source.time is not None and len(leaves(node.args[1:2])) > 2:
        return None
    if name == "roll" and not dims and source.time is not None:
        return None
    if not ax.same_axes(source, dims):
        return None
    over_places = any(ax.at(source.flat, dim) == PLACES for dim in dims)
    if over_places and name in ("cumsum", "cumprod", "normalize", "logcumsumexp"):
        return None
    if over_places and name == "softmax":
        return replace(source, flat=tuple(_SHARE if s == PLACES else s for s in source.flat))
    if dims or name in ax.SEVERAL or name in ax.CHANNELS_AT_ONE:
        return replace(source, several=name in ax.SEVERAL)
    return ax.broadcast(operands)


def _getattr(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    if node.args[1] == "shape":
        return _Size(source)
    if node.args[1] == "mT":
        return ax.moved(source, lambda axes: [*axes[:-2], axes[-1], axes[-2]])
    if node.args[1] == "T":
        return None if source.time is not None else replace(source, flat=source.flat[::-1])
    return _NO_TENSOR


def _size(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    if len(node.args) == 1 and not node.kwargs:
        return _Size(source)
    dims = ax.dimensions(node)
    read = {ax.at(source.flat, dim) for dim in dims}
    same = ax.same_axes(source, dims) and (source.time is None or not {"H", "W"} & read)
    return _NO_TENSOR if same else None


def _getitem(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    index: Any = node.args[1]
    if source.several:
        return replace(source, several=False)
    if isinstance(index, int) and not source.sure:
        return ASSUMED  # it may be one of several tensors
    if indexes_map(node) and (source.time is None or not source.sure):
        return Axes(("N", "C", ONE, ONE), 2)
    return ax.indexed(source, index)


def _view(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    given = sizes(node)
    if len(given) == 1 and isinstance(found.get(given[0]), _Size):
        return found[given[0]].axes
    if len(given) >= 4:  # anything but maps of size one by one is refused later
        return Axes(("N", "C", ONE, ONE), 2)
    rest = PLACES if source.time is not None and len(given) > 2 else "rest"
    return Axes(tuple(rest if s == -1 else f"a{axis}" for axis, s in enumerate(given)))


def _like_other(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    return operands[-1]


def _permute(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    order = sizes(node)
    if order in PERMUTATIONS:
        before, after = (2, 1) if order[1] == 2 else (1, 2)
        if not source.sure and before == 1:
            source = Axes(("N", "H", "W", "C"), 1, sure=False)
        if source.time != before or len(source.flat) != 4:
            return None
        return Axes(tuple(source.flat[axis] for axis in order), after, source.sure)
    if len(order) >= 4:
        return MAPS  # refused later
    if not source.sure:
        return ax.plain(len(order))
    return ax.moved(source, lambda axes: [axes[d] for d in order]) if source.time is None else None


def _transpose(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    dims = ax.dimensions(node)

    def swap(axes: list[str]) -> list[str]:
        one, two = dims
        axes[one], axes[two] = axes[two], axes[one]
        return axes

    return ax.moved(source, swap) if len(dims) == 2 else None


def _movedim(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    dims = ax.dimensions(node)

    def move(axes: list[str]) -> list[str]:
        label = axes.pop(dims[0])
        axes.insert(dims[1] if dims[1] >= 0 else dims[1] + len(axes) + 1, label)
        return axes

    return ax.moved(source, move) if len(dims) == 2 else None


def _flatten(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    start: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim", 0)
    end = node.args[2] if len(node.args) > 2 else node.kwargs.get("end_dim", -1)
    if source.time is None and end == -1:
        return ax.flattened(source, start)
    if end != -1 or source.flat[:start] != source.clip[:start] or start < 0:
        return None
    return ax.flattened(source, start)


def _unsqueeze(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    if adds_width(node):
        known_map = source.sure and source.time is not None
        return None if known_map else Axes(("N", "C", ONE, ONE), 2)
    (dim,) = ax.dimensions(node)

    def insert(axes: list[str]) -> list[str]:
        axes.insert(dim if dim >= 0 else dim + len(axes) + 1, ONE)
        return axes

    return ax.moved(source, insert)


def _squeeze(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    dims = ax.dimensions(node)
    if not dims:
        return ax.plain(2) if source.time is None or "H" in source.flat else None
    if not ax.same_axes(source, dims):
        return None
    gone = [{dim % max(len(labels), 1) for dim in dims} for labels in (source.flat, source.clip)]
    flat = tuple(s for axis, s in enumerate(source.flat) if axis not in gone[0])
    clip = tuple(s for axis, s in enumerate(source.clip) if axis not in gone[1])
    return ax.both(flat, clip, source)


def _cat(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    return source if ax.same_axes(source, ax.dimensions(node)) else None


def _stack(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    return _unsqueeze(node, source, operands, found) if source.time is None else None


def _einsum(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    if all(axes.time is None for axes in operands):
        return source
    equation = str(node.args[0]).replace(" ", "")
    terms = equation.replace("->", ",").split(",")
    long = any("..." not in term and len(term) >= 4 for term in terms)
    return None if long or any(len(p) > 2 for t in terms for p in t.split("...")) else ASSUMED


def _matmul(node: fx.Node, source: Axes, operands: list[Axes], found: Any) -> Any:
    if PLACES in source.flat[-1:]:
        return None
    last = operands[-1].flat[-1:] if len(operands) > 1 else ("a",)
    flat = (*source.flat[:-1], *last)
    return replace(source, flat=flat)


_RULES: dict[str, Rule] = {
    "getattr": _getattr,
    "size": _size,
    "dim": lambda *given: _NO_TENSOR,
    "getitem": _getitem,
    **dict.fromkeys(("view", "reshape", "expand", "repeat"), _view),
    **dict.fromkeys(("view_as", "reshape_as", "expand_as"), _like_other),
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("movedim", "moveaxis"), _movedim),
    "flatten": _flatten,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "stack": _stack,
    "einsum": _einsum,
    **dict.fromkeys(("tensordot", "kron", "dsplit", "dstack"), lambda *given: None),
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), _matmul),
}
