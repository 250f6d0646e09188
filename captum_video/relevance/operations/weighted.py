"""Recognises weighted calls and the batch norms that fold into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum_video.relevance.flow import Saved
from captum_video.relevance.operations.affine import Affine, Convolution, Linear, Product
from captum_video.relevance.operations.call import Call, Entry, modules_around
from captum_video.relevance.operations.plain import Pass
from captum_video.relevance.rules import Rule
from captum_video.relevance.settings import BatchNorm


def per_axis(value: Any, rank: int) -> list[int]:
    """An integer or a sequence as one integer for each axis."""
    values = list(value) if isinstance(value, Sequence) else [int(value)]
    return [int(v) for v in (values * rank if len(values) == 1 else values)]


def convolution(call: Call) -> Entry | None:
    """``conv1d``, ``conv2d``, ``conv3d`` with a constant kernel."""
    x, weight, bias = call.input, call.get(1, "weight"), call.get(2, "bias")
    if not call.is_tracked(x) or call.is_tracked(weight) or call.is_tracked(bias):
        return None
    rank = weight.dim() - 2
    stride, dilation = (
        per_axis(call.get(p, n, 1), rank) for p, n in ((3, "stride"), (5, "dilation"))
    )
    padding, extra = call.get(4, "padding", 0), [0] * rank
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding, extra = [t // 2 for t in total], [t % 2 for t in total]
    geometry = {
        "stride": stride,
        "padding": per_axis(padding, rank),
        "dilation": dilation,
        "output_padding": [0] * rank,
        "extra": extra,
    }
    operation = Convolution(
        call.context,
        _rule(call, x),
        call.save(x),
        call.save(weight),
        _kept(call, bias),
        geometry,
        call.get(6, "groups", 1),
        False,
    )
    return Entry(operation, [x])


def transposed_convolution(call: Call) -> Entry | None:
    """``conv_transpose1d/2d/3d`` with a constant kernel."""
    x, weight, bias = call.input, call.get(1, "weight"), call.get(2, "bias")
    if not call.is_tracked(x) or call.is_tracked(weight) or call.is_tracked(bias):
        return None
    rank = weight.dim() - 2
    geometry = {
        "stride": per_axis(call.get(3, "stride", 1), rank),
        "padding": per_axis(call.get(4, "padding", 0), rank),
        "output_padding": per_axis(call.get(5, "output_padding", 0), rank),
        "dilation": per_axis(call.get(7, "dilation", 1), rank),
    }
    operation = Convolution(
        call.context,
        _rule(call, x),
        call.save(x),
        call.save(weight),
        _kept(call, bias),
        geometry,
        call.get(6, "groups", 1),
        True,
    )
    return Entry(operation, [x])


def linear(call: Call) -> Entry | None:
    """``linear`` with a constant weight."""
    x, weight, bias = call.input, call.get(1, "weight"), call.get(2, "bias")
    if not call.is_tracked(x) or call.is_tracked(weight) or call.is_tracked(bias):
        return None
    return Entry(
        Linear(call.context, _rule(call, x), call.save(x), call.save(weight), _kept(call, bias)),
        [x],
    )


def product(call: Call) -> Entry | None:
    """``matmul``, ``mm``, ``bmm``, ``mv`` and ``einsum`` of the input with one constant."""
    if len(call.tracked) != 1 or len(call.constants) != 1 or call.mutated is not None:
        return None
    (x,), (weight,) = call.tracked, call.constants
    tensors = [leaf for leaf in (*call.args, *call.kwargs.values()) if isinstance(leaf, Tensor)]
    if len(tensors) != 2:
        tensors = [t for a in call.args if isinstance(a, (list, tuple)) for t in a]
    place = next(i for i, t in enumerate(tensors) if t is weight)

    def function(x: Tensor, weight: Tensor) -> Tensor:
        pair = (weight, x) if place == 0 else (x, weight)
        if call.name == "einsum":
            result: Tensor = torch.einsum(call.args[0], *pair)
        elif call.name == "rmatmul":
            result = torch.matmul(pair[1], pair[0])
        else:
            result = torch.matmul(*pair)
        return result

    return Entry(
        Product(call.context, _rule(call, x), call.save(x), call.save(weight), function), [x]
    )


def batch_norm(call: Call) -> Entry | None:
    """``batch_norm`` with running statistics: folded into the weights before it where it can be.

    Relevance passes the norm unchanged in any case; folding makes the weighted operation before it
    divide by what left the norm.
    """
    x = call.input
    names = ["running_mean", "running_var", "weight", "bias"]
    if call.function is torch.batch_norm:
        names = ["weight", "bias", "running_mean", "running_var"]
    given = {name: call.get(place, name) for place, name in enumerate(names, start=1)}
    mean, variance, weight, bias = (
        given[n] for n in ("running_mean", "running_var", "weight", "bias")
    )
    eps = call.get(7, "eps", 1e-5)
    if call.get(5, "training", False) or mean is None or variance is None or len(call.tracked) != 1:
        return None
    value = call.flow.value(x)
    before = call.flow.producer(value)
    if isinstance(before, Affine) and before.can_fold(x) and value.consumers == 0:
        norm = BatchNorm(mean, variance, weight, bias, eps)
        before.fold = call.context.fold(norm)
    return Entry(Pass(), [x], carries=True)


def _kept(call: Call, tensor: Tensor | None) -> Saved | None:
    return None if tensor is None else call.save(tensor)


def _rule(call: Call, x: Tensor) -> Rule:
    """The rule for the weighted operation that takes ``x``."""
    raw = call.flow.value(x).raw
    names = call.context.module_names
    modules = modules_around(names) if call.context.settings.rules else []
    return call.context.rule_for(modules, raw is not None, raw is not None and raw.low is not None)
