"""Which torch functions have a rule, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.utils._pytree import tree_map

from captum_video.relevance.flow import Unsupported
from captum_video.relevance.operations import weighted
from captum_video.relevance.operations.call import Call, Entry, modules_around
from captum_video.relevance.operations.plain import Larger, Pass, Rearrange, Sum, Write
from captum_video.relevance.operations.pooling import AdaptiveMaxPool, Average, AxisMax, MaxPool
from captum_video.relevance.operations.weighted import per_axis

Builder = Callable[[Call], "Entry | None"]

_ACTIVATIONS = """
abs atan celu clamp clamp_max clamp_min clip elu erf exp expm1 gelu hardshrink hardsigmoid hardswish
hardtanh leaky_relu log log1p logsigmoid log_sigmoid mish nan_to_num pow prelu reciprocal relu relu6
rrelu selu sigmoid silu softplus softshrink softsign sqrt rsqrt square tan tanh tanhshrink threshold
_threshold cos sin
""".split()

_REARRANGEMENTS = """
T mT alias as_strided atleast_1d atleast_2d atleast_3d bfloat16 broadcast_to cat channel_shuffle chunk
clone concat concatenate contiguous cpu cuda diagonal double dsplit dstack expand expand_as flatten flip
float gather getitem half hsplit hstack index_select masked_fill masked_select moveaxis movedim
narrow pad permute pixel_shuffle pixel_unshuffle ravel repeat repeat_interleave reshape reshape_as
roll rot90 select split split_with_sizes squeeze stack swapaxes swapdims t take tensor_split tile to
transpose tril triu type type_as unbind unflatten unfold unsqueeze view view_as vsplit vstack where
""".split()

_FILLING = frozenset("pad where masked_fill tril triu".split())

_DROPOUTS = "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()

_SUMS = "add add_ radd sub sub_ rsub subtract subtract_".split()

_FACTORS = """
neg neg_ negative mul mul_ rmul multiply multiply_ div div_ truediv divide divide_ true_divide
positive pos
""".split()

_LIKES = frozenset("to type_as expand_as view_as reshape_as".split())

_NEUTRAL = frozenset(
    """
zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full
new_tensor requires_grad_ retain_grad
""".split()
)


def find(call: Call) -> Entry | None:
    """The operation for a call.

    Args:
        call: a call with at least one tracked argument.

    Returns:
        Its entry, one with an :class:`Unsupported` operation if no rule covers it, or None for a
        call whose result does not depend on the values of its arguments.
    """
    if call.name in _NEUTRAL or (call.name in _LIKES and not call.is_tracked(call.input)):
        return None
    builder = _TABLE.get(call.name)
    entry = None
    if builder is not None and call.kwargs.get("out") is None:
        entry = builder(call)
    if entry is None:
        shares = call.name in ("detach", "detach_", "data")
        entry = Entry(Unsupported(describe(call), shares), list(call.tracked))
    return entry


def describe(call: Call) -> str:
    """The call as an error names it."""
    note = _NOTES.get(call.name.rstrip("_"), "")
    around = modules_around(call.context.module_names)
    where = ""
    if around:
        name, module = around[0]
        where = f" in module {name!r} ({type(module).__name__})"
    return f"{call.name}{where}{note}"


def _activation(call: Call) -> Entry | None:
    if len(call.tracked) != 1 or call.tracked[0] is not call.input:
        return None
    return Entry(Pass(), [call.input])


def _scaled(call: Call) -> Entry | None:
    """``neg``, and ``mul`` and ``div`` by a constant."""
    if len(call.tracked) != 1 or call.kwargs.get("rounding_mode") is not None:
        return None
    divides = call.name.startswith("div") or call.name in ("truediv", "true_divide")
    if divides and call.tracked[0] is not call.input:
        return None
    return Entry(Pass(), list(call.tracked), carries=True)


def _sum(call: Call) -> Entry | None:
    """``add`` and ``sub``: with a constant, or of two values."""
    if len(call.tracked) == 1:
        return Entry(Pass(), list(call.tracked), carries=True)
    a, b = call.tracked
    factor = float(call.kwargs.get("alpha", 1))
    factors = [1.0, -factor if call.name.startswith("sub") else factor]
    if call.name == "rsub":
        factors = [-factor, 1.0]
    return Entry(Sum(call.context, [call.save(a), call.save(b)], factors), [a, b])


def _average(call: Call) -> Entry | None:
    """Means, sums and average pools."""
    (x,) = call.tracked
    if call.kwargs.get("dtype") is not None:
        return None
    return Entry(Average(call.context, call.save(x), lambda t: call.pure([t])), [x], carries=True)


def _interpolate(call: Call) -> Entry | None:
    """Resizing with weights that are not negative."""
    if call.get(3, "mode", "nearest") == "bicubic":
        return None
    return _average(call)


def _max_pool(call: Call) -> Entry | None:
    x = call.tracked[0]
    rank = int(call.name.split("pool")[1][0])
    kernel = per_axis(call.get(1, "kernel_size"), rank)
    stride = call.get(2, "stride")
    operation = MaxPool(
        call.save(x),
        kernel,
        kernel if stride is None or stride in ([], ()) else per_axis(stride, rank),
        per_axis(call.get(3, "padding", 0), rank),
        per_axis(call.get(4, "dilation", 1), rank),
    )
    return Entry(operation, [x], carries=True)


def _adaptive_max_pool(call: Call) -> Entry | None:
    x = call.tracked[0]
    rank = int(call.name.split("pool")[1][0])
    return Entry(AdaptiveMaxPool(call.save(x), rank), [x], carries=True)


def _maximum(call: Call) -> Entry | None:
    """``max`` and ``amax`` over axes, ``maximum`` of two values."""
    other = call.get(1, "other") if call.name in ("max", "maximum", "fmax") else None
    if len(call.tracked) == 2:
        a, b = call.tracked
        return Entry(Larger([call.save(a), call.save(b)]), [a, b])
    (x,) = call.tracked
    if isinstance(other, Tensor) or x is not call.input:
        return Entry(Pass(), [x])
    axes = call.get(1, "dim")
    keepdim = bool(call.get(2, "keepdim", False))
    if axes is None or axes == ():
        axes = tuple(range(x.dim()))
    axes = tuple(axes) if isinstance(axes, (tuple, list)) else (int(axes),)
    return Entry(AxisMax(call.save(x), axes, keepdim), [x], carries=True)


def _dropout(call: Call) -> Entry | None:
    """Dropout in evaluation mode does nothing."""
    if call.get(2, "training", True) and call.get(1, "p", 0.5) > 0:
        return None
    return Entry(Pass(), [call.input], carries=True)


def _rearrangement(call: Call) -> Entry | None:
    constants = call.name in _FILLING or any(t.is_floating_point() for t in call.constants)
    call.keep()
    operation = Rearrange(call.context, list(call.tracked), call.pure, constants)
    return Entry(operation, list(call.tracked), carries=True)


def _write(call: Call) -> Entry | None:
    """``x[index] = value``."""
    target, index, value = call.args
    old, new = call.is_tracked(target), call.is_tracked(value)
    inputs = ([target] if old else []) + ([value] if new else [])
    index = tree_map(lambda i: i.clone() if isinstance(i, Tensor) else i, index)
    return Entry(Write(call.context, index, new, old), inputs)


def _copy(call: Call) -> Entry | None:
    """``x.copy_(value)`` forgets what ``x`` held."""
    value = call.args[1]
    return Entry(Write(call.context, ..., True, False), [value]) if call.is_tracked(value) else None


_NOTES = {
    "detach": " (cuts relevance off)",
    "data": " (cuts relevance off)",
    "mul": " (a product of two values that both depend on the input)",
    "batch_norm": " (with the statistics of the batch)",
    **dict.fromkeys(_DROPOUTS, " (in training mode)"),
}

_TABLE: dict[str, Builder] = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys([f"{name}_" for name in _ACTIVATIONS], _activation),
    **dict.fromkeys(_REARRANGEMENTS, _rearrangement),
    **dict.fromkeys(("squeeze_", "unsqueeze_", "transpose_", "t_"), _rearrangement),
    **dict.fromkeys(_DROPOUTS, _dropout),
    **dict.fromkeys(_SUMS, _sum),
    **dict.fromkeys(_FACTORS, _scaled),
    **dict.fromkeys(("matmul", "rmatmul", "mm", "bmm", "mv", "einsum"), weighted.product),
    "linear": weighted.linear,
    "batch_norm": weighted.batch_norm,
    **dict.fromkeys(("mean", "sum"), _average),
    **dict.fromkeys(("interpolate", "upsample"), _interpolate),
    **dict.fromkeys(("max", "amax", "maximum", "fmax"), _maximum),
    "setitem": _write,
    "copy_": _copy,
}
for _rank in (1, 2, 3):
    _TABLE[f"conv{_rank}d"] = weighted.convolution
    _TABLE[f"conv_transpose{_rank}d"] = weighted.transposed_convolution
    _TABLE[f"avg_pool{_rank}d"] = _TABLE[f"adaptive_avg_pool{_rank}d"] = _average
    for _suffix in ("", "_with_indices"):
        _TABLE[f"max_pool{_rank}d{_suffix}"] = _max_pool
        _TABLE[f"adaptive_max_pool{_rank}d{_suffix}"] = _adaptive_max_pool
