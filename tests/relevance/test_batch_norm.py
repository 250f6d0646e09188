"""Batch norm: folded into the weights before it, or on its own, where it passes relevance."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import (
    AlphaBeta,
    Epsilon,
    Flat,
    Rule,
    Settings,
    UnsupportedOperationError,
    WSquare,
    ZBeta,
    record,
)
from captum_video.relevance.settings import Context
from tests.relevance._tools import Explained, assert_same, explain, normal, randomise, uniform

RULES: list[Rule] = [
    AlphaBeta(1, 0),
    AlphaBeta(2, 1),
    ZBeta(-3, 4),
    WSquare(),
    Flat(),
    Epsilon(0),
    Epsilon(0.1),
]


def folded(layer: Any, norm: Any) -> nn.Module:
    """One layer with the norm's factor in its weights and its shift in its bias."""
    result = deepcopy(layer)
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = torch.zeros_like(scale)
    if norm.affine:
        scale, shift = scale * norm.weight, norm.bias
    offset = layer.bias if layer.bias is not None else torch.zeros_like(scale)
    with torch.no_grad():
        result.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        result.bias = nn.Parameter((offset - norm.running_mean) * scale + shift)
    return result


LAYERS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "1d": (nn.Conv1d(2, 4, 3, 2), nn.BatchNorm1d(4), (2, 2, 7)),
    "2d, no bias": (nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.1), (2, 2, 4, 5)),
    "3d, groups": (nn.Conv3d(2, 4, 2, groups=2, padding=1), nn.BatchNorm3d(4), (2, 2, 2, 3, 3)),
    "3d, not affine": (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4, affine=False), (1, 2, 3, 4, 3)),
    "linear": (nn.Linear(5, 4), nn.BatchNorm1d(4), (3, 5)),
    "sync": (nn.Conv3d(2, 4, 2), nn.SyncBatchNorm(4), (1, 2, 3, 4, 3)),
}


def pair(name: str) -> tuple[Any, Any, Tensor]:
    layer, norm, shape = LAYERS[name]
    layer, norm = deepcopy(layer), deepcopy(norm)
    if getattr(norm, "affine", True):
        randomise(nn.Sequential(layer, norm), 1)
    else:
        randomise(layer, 1)
        norm.double().eval()
        norm.running_mean, norm.running_var = normal(4, seed=5), 0.5 + uniform(4, seed=6)
    x = normal(*shape, seed=2).clamp(-3, 3)
    x[..., :2] = 0
    return layer, norm, x


@pytest.mark.parametrize("bias", ["absorb", "ignore"])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_folds_into_the_layer_before(name: str, rule: Rule, bias: str) -> None:
    layer, norm, x = pair(name)
    settings: dict[str, Any] = {"bias": bias, "rules": {"first": rule}}
    result = explain(nn.Sequential(layer, norm, nn.ReLU()), x, **settings)
    expected = explain(nn.Sequential(folded(layer, norm), nn.ReLU()), x, **settings)
    assert_same(result.output, expected.output)
    assert_same(result.relevance, expected.relevance, 1e-9)
    assert result.absorbed == pytest.approx(expected.absorbed, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rule", [AlphaBeta(2, 1), Epsilon(0.1)], ids=str)
def test_folding_matters(rule: Rule) -> None:
    """The twin of the test above can tell a fold from none."""
    layer, norm, x = pair("1d")
    rules = {"first": rule}
    with_fold = explain(nn.Sequential(layer, norm), x, rules=rules)
    without = explain(lambda v: norm(layer(v).clone()), x, rules=rules)
    alone = explain(layer, x, rules=rules, seed=with_fold.seed)
    assert_same(without.relevance, alone.relevance)
    difference = (with_fold.relevance - without.relevance).abs().max()
    assert float(difference) > 0.01 * float(without.relevance.abs().max())


@pytest.mark.parametrize("name", ["1d", "3d, not affine", "linear"])
def test_alone_it_passes_everything(name: str) -> None:
    _, norm, _ = pair(name)
    x = normal(3, 4, seed=3) if name == "linear" else normal(2, 4, 3, seed=3)
    x = x if name != "3d, not affine" else x[..., None, None]
    for net in (norm, nn.Sequential(nn.ReLU(), norm, nn.ReLU())):
        result = explain(net, x, alpha=2, beta=1, bias="absorb")
        assert torch.equal(result.relevance, result.seed)
        assert result.absorbed == 0


def test_behind_other_layers_it_passes_everything() -> None:
    """Transposed convolutions, sequences of features: correct without a fold."""
    x, norm = normal(2, 3, 4), randomise(nn.BatchNorm1d(4))
    for layer in (nn.ConvTranspose1d(3, 4, 3), nn.Linear(4, 5)):
        randomise(layer)
        here = norm if layer(x).shape[1] == 4 else randomise(nn.BatchNorm1d(3))
        rules = {"first": AlphaBeta(2, 1)}
        result = explain(nn.Sequential(layer, here), x, rules=rules)
        alone = explain(layer, x, rules=rules, seed=result.seed)
        assert_same(result.relevance, alone.relevance)
        assert result.absorbed == pytest.approx(alone.absorbed)


def test_channels_of_an_example_without_batch_are_not_those_of_a_norm() -> None:
    """Behind an unbatched convolution a norm takes axis 1 for its channels, which is time."""
    x, norm, conv = normal(2, 5), randomise(nn.BatchNorm1d(3)), randomise(nn.Conv1d(2, 3, 3))
    rules = {"first": AlphaBeta(2, 1)}
    result = explain(nn.Sequential(conv, norm), x, rules=rules)
    alone = explain(conv, x, rules=rules, seed=result.seed)
    assert_same(result.relevance, alone.relevance)


class Net(nn.Module):
    """Calls that share a convolution or its output."""

    def __init__(self, wiring: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.norm, self.other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.head = nn.Conv1d(3, 2, 3)
        self.wiring = wiring
        randomise(self, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wiring(self, x).relu())


def before_and_after(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    first = y.sigmoid()
    return net.norm(y) + first


def dropped(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    net.norm(y)
    return y


def only_used_for_a_mask(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return y * (net.norm(y) > 0)


def changed_behind(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    z = net.norm(y)
    y.relu_()
    return y + z


# on the left an output of the convolution that several calls take; on the right each takes its own
SHARED: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "norm and skip": (
        lambda n, x: (lambda y: n.norm(y) + y)(n.conv(x)),
        lambda n, x: (lambda y: n.norm(y.clone()) + y)(n.conv(x)),
    ),
    "skip before norm": (
        before_and_after,
        lambda n, x: (lambda y: n.norm(y.clone()) + y.sigmoid())(n.conv(x)),
    ),
    "two norms": (
        lambda n, x: (lambda y: n.norm(y) + n.other(y))(n.conv(x)),
        lambda n, x: (lambda y: n.norm(y.clone()) + n.other(y.clone()))(n.conv(x)),
    ),
    "norm that is dropped": (dropped, lambda n, x: n.conv(x)),
    "norm that makes a mask": (
        only_used_for_a_mask,
        lambda n, x: (lambda y: y * (n.norm(y.clone()) > 0))(n.conv(x)),
    ),
    "output changed in place": (
        changed_behind,
        lambda n, x: (lambda y: y.relu() + n.norm(y.clone()))(n.conv(x)),
    ),
    "one norm after another": (
        lambda n, x: n.other(n.norm(n.conv(x))),
        lambda n, x: n.other(n.norm(n.conv(x)).clone()),
    ),
}


@pytest.mark.parametrize("alpha", [1, 2])
@pytest.mark.parametrize("name", SHARED)
def test_output_that_others_use_is_not_folded(name: str, alpha: int) -> None:
    shared, plain = SHARED[name]
    x = normal(2, 2, 6)

    def relevance(wiring: Callable[[Any, Tensor], Tensor]) -> Explained:
        net, rule = Net(wiring), AlphaBeta(alpha, alpha - 1)
        return explain(net, x, alpha=alpha, beta=alpha - 1, rules={"first": rule})

    result, expected = relevance(shared), relevance(plain)
    assert torch.equal(result.output, expected.output)
    assert_same(result.relevance, expected.relevance)
    assert result.absorbed == pytest.approx(expected.absorbed)


def test_output_of_the_model_is_not_folded_into_a_norm_beside_it() -> None:
    net, rules = Net(lambda n, x: x), {"first": AlphaBeta(2, 1)}

    def with_statistics(x: Tensor) -> Tensor:
        y: Tensor = net.conv(x)
        net.norm(y).mean()
        return y

    result = explain(with_statistics, normal(2, 2, 6), rules=rules)
    assert_same(result.relevance, explain(net.conv, normal(2, 2, 6), rules=rules).relevance)


def test_one_convolution_called_twice_folds_each_norm() -> None:
    x, rules = normal(2, 2, 6), {"first": AlphaBeta(2, 1)}
    net = Net(lambda n, x: n.norm(n.conv(x)) + n.other(n.conv(x)) + n.conv(x))
    first, second = folded(net.conv, net.norm), folded(net.conv, net.other)
    twin = lambda v: net.head((first(v) + second(v) + net.conv(v)).relu())  # noqa: E731
    result = explain(net, x, rules=rules, alpha=2, beta=1)
    expected = explain(twin, x, rules=rules, alpha=2, beta=1)
    assert_same(result.relevance, expected.relevance)


def test_one_norm_behind_two_convolutions() -> None:
    net, other = Net(lambda n, x: x), randomise(nn.Conv1d(2, 3, 3, padding=1), 9)
    x, rules = normal(2, 2, 6), {"first": AlphaBeta(2, 1)}
    first, second = folded(net.conv, net.norm), folded(other, net.norm)
    result = explain(lambda v: net.norm(net.conv(v)) + net.norm(other(v)), x, rules=rules)
    expected = explain(lambda v: first(v) + second(v), x, rules=rules)
    assert_same(result.relevance, expected.relevance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_dark_units_behind_statistics_that_cancel(bias: str, dtype: torch.dtype) -> None:
    """(0 - mean) / std + bias is not quite the shift: that rounding is no contribution."""
    conv: Any = nn.Conv1d(2, 5, 3, bias=False, dtype=dtype)
    norm: Any = nn.BatchNorm1d(5, dtype=dtype).eval()
    with torch.no_grad():
        norm.running_mean.copy_(7 * normal(5))
        norm.running_var.copy_(uniform(5))
        conv.weight.copy_(normal(5, 2, 3, seed=1))
        scale = (norm.running_var + norm.eps).rsqrt()
        norm.bias.copy_(norm.running_mean * scale + 1e-3 * normal(5, seed=2))
    x = torch.zeros(1, 2, 6, dtype=dtype)
    rules = {"first": AlphaBeta(2, 1)}
    result = explain(nn.Sequential(conv, norm), x, bias=bias, rules=rules)
    seed, close = float(result.seed.sum()), 1e-3 if dtype == torch.float32 else 1e-9
    if bias == "ignore":
        assert result.total == pytest.approx(seed, rel=close)
        assert result.absorbed == 0
    else:
        assert not result.relevance.any()
        assert result.absorbed == pytest.approx(seed, rel=close)


def test_weights_that_change_between_passes_of_one_call() -> None:
    layer, norm, x = pair("1d")
    net: Any = nn.Sequential(layer, norm)
    context = Context(Settings(rules={"first": AlphaBeta(2, 1)}), net)

    def relevance(context: Context) -> Tensor:
        recording = record(net, [x], (), context)
        return recording.relevance(torch.ones_like(recording.output))[0]

    for changed in (layer.weight, layer.bias, norm.weight, norm.bias, norm.running_var):
        before = relevance(context)
        with torch.no_grad():
            changed[1:] *= -0.5 if changed is not norm.running_var else 4
        now = relevance(context)
        assert_same(now, relevance(Context(context.settings, net)), 1e-14)
        assert float((now - before).abs().max()) > 1e-3


def test_functional_forms() -> None:
    layer, norm, x = pair("2d, no bias")
    m, v, w, b = (
        getattr(norm, n).detach() for n in ("running_mean", "running_var", "weight", "bias")
    )
    rules = {"first": AlphaBeta(2, 1)}
    expected = explain(nn.Sequential(layer, norm), x, rules=rules)
    forms: list[Callable[[Tensor], Tensor]] = [
        lambda y: F.batch_norm(y, m, v, w, b, eps=0.1),
        lambda y: F.batch_norm(y, weight=w, bias=b, running_mean=m, running_var=v, eps=0.1),
        lambda y: F.batch_norm(y, m, v, w, b, False, 0.1, 0.1),
        lambda y: torch.batch_norm(y, w, b, m, v, False, 0.1, 0.1, False),
    ]
    for form in forms:
        result = explain(lambda t, form=form: form(layer(t)), x, rules=rules)
        assert torch.equal(result.output, expected.output)
        assert_same(result.relevance, expected.relevance)


def test_statistics_of_the_batch_are_refused() -> None:
    x = normal(2, 2, 4, 5)
    for norm in (nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False).eval()):
        with pytest.raises(
            UnsupportedOperationError, match=r"batch_norm .*statistics of the batch"
        ):
            explain(norm.double(), x)
    with pytest.raises(UnsupportedOperationError, match="instance_norm"):
        explain(nn.InstanceNorm2d(2).double(), x)
