"""Which axis of a traced forward's tensors is which, on an image and on a clip."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from captum_video.nn._inflate_layers import LAYERS
from captum_video.nn._inflate_options import NotInflatable

Labels = tuple[str, ...]

ONE = "1"  # an axis of size one, which broadcasts
TIME = "T"
PLACES = "P"  # places of all frames, one after the other
#: what counts places, so that a clip of equal frames gives something else than its frame
COUNTING = {
    *("sum", "nansum", "prod", "norm", "linalg_vector_norm", "linalg_norm", "logsumexp"),
    *("std", "var", "var_mean", "std_mean", "numel", "nelement", "count_nonzero", "cumsum"),
}
AVERAGING = {"mean", "amax", "amin"}
SEVERAL = {
    *("chunk", "split", "tensor_split", "unbind", "var_mean", "std_mean", "sort", "topk", "max"),
    *("min", "median", "mode", "kthvalue", "cummax", "cummin", "aminmax", "split_with_sizes"),
}
CHANNELS_AT_ONE = {"batch_norm", "group_norm", "instance_norm", "prelu", "local_response_norm"}
LAST_AXIS = {"linear", "layer_norm", "rms_norm"}


@dataclass(frozen=True)
class Axes:
    """The axes of a tensor in the 2D forward, and where a clip has time among them.

    ``time`` is None where both have the same axes. ``sure`` is whether they were followed from a
    layer; what comes from outside of the module is taken for maps ``(N, C, H, W)``. ``several`` is
    whether it is a sequence of such tensors.
    """

    flat: Labels
    time: int | None = None
    sure: bool = True
    several: bool = False

    @property
    def clip(self) -> Labels:
        """The axes on a clip."""
        if self.time is None:
            return self.flat
        return (*self.flat[: self.time], TIME, *self.flat[self.time :])


MAPS = Axes(("N", "C", "H", "W"), 2)
ASSUMED = replace(MAPS, sure=False)


def both(flat: Labels, clip: Labels, like: Axes) -> Axes | None:
    """Axes from those of a frame and of a clip; None if they differ in more than time."""
    if tuple(label for label in clip if label != TIME) != flat:
        return None
    time = clip.index(TIME) if TIME in clip else None
    spatial = {"H", "W"} & set(flat) or any(label.startswith("p") for label in flat)
    if time is not None and not spatial:
        return None  # height and width are gone, and time is not
    return Axes(flat, time, like.sure)


def plain(rank: int) -> Axes:
    """Axes that are the same on a clip."""
    return Axes(tuple(f"a{axis}" for axis in range(rank)))


def parameter(tensor: torch.Tensor, widened: bool) -> Axes:
    """Axes of a module's own tensor; one that is widened gets an axis third from the end."""
    flat = tuple(ONE if size == 1 else f"p{-axis}" for axis, size in enumerate(tensor.shape))
    return Axes(flat, max(len(flat) - 2, 0) if widened else None)


def dimensions(node: fx.Node) -> list[int]:
    """The axes that a call names by number, also by default."""
    found: list[int] = []
    for names, given in _arguments(node):
        for name, value in given.items():
            if _is_dimension(name):
                found.extend(_whole_numbers(value))
        if found or names:
            break
    return found


def keeps(node: fx.Node) -> bool | None:
    """Whether a reduction keeps its axes with size one; None for what is no reduction."""
    for names, given in _arguments(node):
        if "keepdim" in names or "keepdims" in names:
            return bool(given.get("keepdim", given.get("keepdims", False)))
    return None


def _arguments(node: fx.Node) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The call's arguments by name, in each signature that it may have."""
    signatures, fitted = list(_signatures(node)), False
    aliases = {"axis": "dim", "keepdims": "keepdim"}
    known = {name for names, _ in signatures for name in names}
    kwargs = {k if k in known else aliases.get(k, k): v for k, v in node.kwargs.items()}
    # signatures that name axes come first: others of the same name count or scale
    for names, defaults in sorted(signatures, key=lambda s: -sum(map(_is_dimension, s[0]))):
        if len(names) < len(node.args) and _is_dimension(names[-1]):
            values = [*node.args[: len(names) - 1], node.args[len(names) - 1 :]]
        else:
            values = list(node.args)
        if set(kwargs) <= set(names):
            fitted = True
            yield names, {**defaults, **dict(zip(names, values, strict=False)), **kwargs}
    if not fitted and getattr(node.target, "__module__", "") != "_operator":
        numbers = [v for given in (*node.args[1:], *kwargs.values()) for v in _whole_numbers(given)]
        yield ["dim"], {"dim": numbers}  # of a call that is not known, any may be an axis


def _signatures(node: fx.Node) -> Iterator[tuple[list[str], dict[str, Any]]]:
    target: Any = node.target
    if node.op == "call_function" and inspect.isfunction(target):
        parameters = inspect.signature(target).parameters.values()
        own = {p.name: p.default for p in parameters if p.default is not p.empty}
        yield [p.name for p in parameters], own
        if any(_is_dimension(p.name) for p in parameters):
            return
    name = target if node.op == "call_method" else getattr(target, "__name__", "")
    packet = getattr(torch.ops.aten, str(name), None) if name else None
    if packet is None:
        return
    for overload in packet.overloads():
        if "Dimname" in str(arguments := getattr(packet, overload)._schema.arguments):
            continue
        own = {a.name: a.default_value for a in arguments if a.has_default_value()}
        yield [a.name for a in arguments if not a.is_out], own


def _is_dimension(name: str) -> bool:
    if name in ("source", "destination"):
        return True
    return name in ("axis", "axis0", "axis1") or ("dim" in name and not name.startswith("keepdim"))


def _whole_numbers(value: Any) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool)]


def at(labels: Labels, dim: int) -> str | None:
    """The axis of that number, or None if there is none."""
    return labels[dim] if -len(labels) <= dim < len(labels) else None


def same_axes(axes: Axes, dims: list[int]) -> bool:
    """Whether numbers name the same axes of a clip as of a frame."""
    return all(at(axes.flat, dim) == at(axes.clip, dim) for dim in dims)


def reduced(node: fx.Node, name: str, axes: Axes, dims: list[int], keep: bool) -> Axes | None:
    """What a reduction leaves; None if it is not the same on a clip."""
    if not dims:
        return None if name in COUNTING and axes.time is not None else Axes((), None, axes.sure)
    gone = [at(axes.flat, dim) for dim in dims]
    if None in gone or (name in COUNTING and PLACES in gone):
        return None
    if name in AVERAGING and {"H", "W"} <= set(gone) and axes.time is not None:
        gone.append(TIME)
        if {at(axes.clip, dim) for dim in with_time(dims)} != set(gone):
            return None
    elif not same_axes(axes, dims):
        return None

    def left(labels: Labels) -> Labels:
        if keep:
            return tuple(ONE if label in gone and label != TIME else label for label in labels)
        return tuple(label for label in labels if label not in gone)

    if keep:  # time is then of size one, where it was
        return Axes(left(axes.flat), axes.time, axes.sure)
    return both(left(axes.flat), left(axes.clip), axes)


def with_time(dims: list[int]) -> tuple[int, ...]:
    """Axes of maps ``(N, C, H, W)`` that name height and width, on a clip and with time."""
    if {2, 3} <= set(dims):
        return (*dims, 4)
    return (*(d if d > -3 else d - 1 for d in dims), -3)


def broadcast(operands: list[Axes]) -> Axes | None:
    """What an operation element by element gives; None if a clip's axes meet otherwise."""
    result = operands[0]
    for other in operands[1:]:
        on_frame = _meetings(result.flat, other.flat)
        for one, two in _meetings(result.clip, other.clip):
            if TIME in (one, two):
                if one != two:
                    return None
            elif (one, two) not in on_frame:
                return None
        first, second = sorted((result, other), key=lambda axes: -len(axes.flat))
        shift = len(first.flat) - len(second.flat)
        tail = zip(first.flat[shift:], second.flat, strict=True)
        flat = (*first.flat[:shift], *(b if a == ONE else a for a, b in tail))
        time = first.time if first.time is not None or second.time is None else second.time + shift
        result = Axes(flat, time, first.sure and second.sure)
    return result


def _meetings(one: Labels, two: Labels) -> set[tuple[str, str]]:
    pairs = zip(reversed(one), reversed(two), strict=False)
    return {(a, b) for a, b in pairs if ONE not in (a, b)}


def indexed(axes: Axes, index: Any) -> Axes | None:
    """What ``x[index]`` gives; None if it cuts other axes of a clip."""
    parts = list(index) if isinstance(index, tuple) else [index]
    results = []
    for labels in (axes.flat, axes.clip):
        taken = sum(part is not None and part is not Ellipsis for part in parts)
        fill = [slice(None)] * max(len(labels) - taken, 0)
        place = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
        whole = [*parts[:place], *fill, *parts[place + 1 :]]
        rest, left, cut = iter(labels), [], []
        for part in whole:
            if part is None:
                left.append(ONE)
                continue
            label = next(rest, ONE)
            if part != slice(None):
                cut.append(label)
            if not isinstance(part, int):
                left.append(label)
        results.append((tuple(left), cut))
    (flat, cut_flat), (clip, cut_clip) = results
    return both(flat, clip, axes) if cut_flat == cut_clip else None


def flattened(axes: Axes, start: int) -> Axes:
    """What is flat from an axis on: places, or features, which a pool should have come before."""
    kept = axes.flat[:start]
    return Axes((*kept, PLACES if len(kept) > 1 and axes.time is not None else "F"))


def moved(axes: Axes, move: Callable[[list[str]], list[str]]) -> Axes | None:
    """What a change of the order gives; None if a clip's axes end in another order."""
    try:
        return both(tuple(move(list(axes.flat))), tuple(move(list(axes.clip))), axes)
    except IndexError:
        return None


def of_layer(layer: nn.Module, source: Axes) -> Axes:
    """What a child gives.

    Raises:
        NotInflatable: it works along an axis that is another one on a clip.
    """
    kind = type(layer)
    if isinstance(layer, nn.Flatten):
        start = layer.start_dim
        same = source.flat[:start] == source.clip[:start] if start >= 0 else source.time is None
        return flattened(source, start) if same and layer.end_dim == -1 else ASSUMED
    if isinstance(layer, nn.Linear | nn.LayerNorm):
        if at(source.flat, -1) != at(source.clip, -1):
            raise NotInflatable(f"it gives {kind.__name__} an axis that is another one of a clip")
        return source
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
        return replace(source, several=True)
    if kind in LAYERS and not hasattr(layer, "dim"):
        return MAPS
    if isinstance(layer, nn.Unflatten):
        return ASSUMED
    own = kind.forward.__module__.startswith("torch.nn.modules.")
    return source if own and not layer._modules else ASSUMED
