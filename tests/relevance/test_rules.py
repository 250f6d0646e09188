"""Every rule on every weighted operation against its formula in plain matrix algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.relevance import AlphaBeta, Epsilon, Flat, Rule, WSquare, ZBeta
from tests.relevance._dense import Array, Dense, matrix
from tests.relevance._tools import Explained, assert_same, explain, normal, uniform

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@dataclass(frozen=True)
class Case:
    """A weighted operation.

    Attributes:
        call: of input, weight and bias.
        x: the input's shape.
        w: the weight's shape.
        units: the number of biases, 0 for none.
        pad: copies of the border put around the input before.
    """

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    x: tuple[int, ...]
    w: tuple[int, ...]
    units: int = 0
    pad: tuple[int, ...] = ()

    def padded(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad, mode="replicate") if self.pad else x

    @property
    def weight(self) -> Tensor:
        weight = normal(*self.w, seed=1)
        # a weight of zero is still one of the unit's; and a unit whose weights are all positive
        return weight.masked_fill(uniform(*self.w, seed=5) < 0.15, 0)

    @property
    def bias(self) -> Tensor | None:
        if not self.units:
            return None
        return normal(self.units, seed=2) * torch.tensor([1.0, 0.0, 1.0, -1.0])[: self.units]


def of(function: Callable[..., Tensor], **options: Any) -> Callable[..., Tensor]:
    return lambda x, w, b: function(x, w, b, **options)


CASES: dict[str, Case] = {
    "conv1d": Case(of(F.conv1d), (2, 2, 9), (3, 2, 3), 3),
    "conv1d stride dilation": Case(
        of(F.conv1d, stride=2, padding=3, dilation=2), (2, 2, 9), (3, 2, 3), 3
    ),
    "conv1d unbatched": Case(of(F.conv1d, padding=1), (2, 9), (3, 2, 3), 3),
    "conv1d same, even kernel": Case(of(F.conv1d, padding="same"), (2, 2, 7), (3, 2, 4), 3),
    "conv1d valid": Case(of(F.conv1d, padding="valid"), (2, 2, 7), (3, 2, 4), 3),
    "conv2d groups": Case(of(F.conv2d, padding=1, groups=2), (2, 4, 4, 5), (4, 2, 3, 3), 4),
    "conv2d depthwise": Case(of(F.conv2d, padding=(1, 0), groups=3), (2, 3, 4, 5), (3, 1, 3, 2), 3),
    "conv2d wide padding": Case(of(F.conv2d, padding=2), (1, 2, 3, 3), (3, 2, 2, 2), 3),
    "conv2d same, even and dilated": Case(
        of(F.conv2d, padding="same", dilation=(2, 1)), (1, 2, 5, 5), (3, 2, 2, 4), 3
    ),
    "conv2d replicate": Case(
        of(F.conv2d, stride=(1, 2)), (1, 2, 4, 5), (3, 2, 3, 3), 3, (1, 2, 2, 0)
    ),
    "conv3d": Case(of(F.conv3d), (2, 2, 3, 4, 3), (3, 2, 2, 3, 2), 3),
    "conv3d stride": Case(
        of(F.conv3d, stride=(1, 2, 2), padding=(1, 1, 0)), (2, 2, 3, 4, 4), (3, 2, 3, 3, 2), 3
    ),
    "conv3d dilation groups": Case(
        of(F.conv3d, padding=1, dilation=(1, 2, 1), groups=2), (2, 2, 3, 4, 3), (4, 1, 3, 2, 3), 4
    ),
    "conv3d unbatched": Case(of(F.conv3d, stride=2), (2, 3, 4, 5), (3, 2, 2, 2, 3), 3),
    "conv3d same, even kernel": Case(
        of(F.conv3d, padding="same"), (1, 2, 3, 4, 3), (3, 2, 2, 3, 4), 3
    ),
    "conv_transpose1d": Case(
        of(F.conv_transpose1d, stride=3, output_padding=1), (2, 2, 5), (2, 3, 2), 3
    ),
    "conv_transpose1d dilation": Case(
        of(F.conv_transpose1d, dilation=2, padding=1), (2, 2, 5), (2, 3, 3), 3
    ),
    "conv_transpose2d": Case(
        of(F.conv_transpose2d, stride=2, padding=1, groups=2), (1, 4, 3, 4), (4, 2, 3, 3), 4
    ),
    "conv_transpose3d": Case(
        of(F.conv_transpose3d, stride=(1, 2, 2), padding=(0, 1, 0), output_padding=(0, 1, 1)),
        (1, 2, 2, 3, 3),
        (2, 3, 2, 3, 2),
        3,
    ),
    "conv_transpose2d unbatched": Case(
        of(F.conv_transpose2d, stride=2, dilation=(1, 2)), (2, 3, 4), (2, 3, 2, 2), 3
    ),
    "linear": Case(F.linear, (3, 6), (4, 6), 4),
    "linear on a sequence": Case(F.linear, (2, 3, 5), (4, 5), 4),
    "linear without bias": Case(F.linear, (3, 6), (4, 6)),
    "matmul": Case(lambda x, w, b: x @ w, (3, 5), (5, 4)),
    "matmul, constant first": Case(lambda x, w, b: w @ x, (3, 5), (4, 3)),
    "matmul, broadcast constant": Case(lambda x, w, b: torch.matmul(x, w), (2, 1, 3, 4), (2, 4, 3)),
    "matmul, vector": Case(lambda x, w, b: torch.matmul(x, w), (3, 5), (5,)),
    "mm": Case(lambda x, w, b: torch.mm(w, x), (3, 5), (4, 3)),
    "bmm": Case(lambda x, w, b: torch.bmm(x, w), (2, 3, 4), (2, 4, 3)),
    "bmm, constant first": Case(lambda x, w, b: w.bmm(x), (2, 3, 4), (2, 4, 3)),
    "einsum": Case(lambda x, w, b: torch.einsum("nctv,kvw->nkctw", x, w), (1, 2, 3, 4), (2, 4, 3)),
    "einsum, constant first": Case(
        lambda x, w, b: torch.einsum("oc,nct->not", w, x), (2, 3, 4), (4, 3)
    ),
    "einsum, list": Case(lambda x, w, b: torch.einsum("nc,co->no", [x, w]), (3, 5), (5, 3)),
    "einsum, summed axis": Case(
        lambda x, w, b: torch.einsum("nctv,ck->nkt", x, w), (1, 3, 2, 3), (3, 4)
    ),
    "einsum, diagonal": Case(lambda x, w, b: torch.einsum("nct,ct->nt", x, w), (2, 3, 4), (3, 4)),
}

RULES: dict[str, Rule] = {
    "alpha1": AlphaBeta(1, 0),
    "alpha2": AlphaBeta(2, 1),
    "alpha1.5": AlphaBeta(1.5, 0.5),
    "alpha4": AlphaBeta(4, 3),
    "z-beta": ZBeta(),
    "z-beta own": ZBeta(-3, 2.5),
    "w2": WSquare(),
    "flat": Flat(),
    "epsilon0": Epsilon(0),
    "epsilon": Epsilon(0.25),
}

INPUTS = ("signed", "positive")


def sample(case: Case, kind: str) -> Tensor:
    """An input with a dark half, in which whole units get nothing but zeros."""
    x = normal(*case.x, seed=3).clamp(-2.5, 2.5)
    if kind == "positive":
        x = x.abs()
    x[..., : case.x[-1] // 2 + 1] = 0
    if x.dim() > 2:
        x[..., 0, :] = 0
    return x


@lru_cache(maxsize=2)
def written_out(name: str) -> tuple[Array, Array, Array, Array]:
    """Weights, biases, reach of the units, and the copies that padding made."""
    case = CASES[name]
    copies = matrix(case.padded, case.x)
    inner = case.padded(torch.zeros(case.x, dtype=torch.float64)).shape
    plain = matrix(lambda x: case.call(x, case.weight, None), inner)
    ones = torch.ones(case.w, dtype=torch.float64)
    reach = (matrix(lambda x: case.call(x, ones, None), inner) > 0).astype(float)
    bias = case.call(torch.zeros(inner, dtype=torch.float64), case.weight, case.bias)
    return plain, bias.flatten().numpy(), reach, copies


def bounds(case: Case) -> tuple[Tensor, Tensor]:
    """A range of its own for each channel, 0 inside it, and for one channel 0 at its edge."""
    channels = case.x[1]
    low = -2.5 - uniform(channels, seed=8)
    high = 2.5 + uniform(channels, seed=9)
    return low, high


def expected(name: str, rule: Rule, x: Tensor, seed: Tensor, absorbs: bool) -> tuple[Tensor, float]:
    case = CASES[name]
    w, b, reach, copies = written_out(name)
    dense, r, flat = Dense(w, b, reach, absorbs), seed.flatten().numpy(), laid_out(case, x)
    if isinstance(rule, AlphaBeta):
        given, absorbed = dense.alpha_beta(flat, r, rule.alpha, rule.beta)
    elif isinstance(rule, ZBeta):
        along = (-1, *[1] * (x.dim() - 2))
        low, high = (laid_out(case, end.view(along).expand(x.shape)) for end in bounds(case))
        if rule.low is not None and rule.high is not None:
            low, high = np.full_like(flat, rule.low), np.full_like(flat, rule.high)
        given, absorbed = dense.z_beta(flat, r, low, high)
    elif isinstance(rule, Epsilon):
        given, absorbed = dense.epsilon(flat, r, rule.epsilon)
    else:
        given, absorbed = dense.weighted(w**2 if isinstance(rule, WSquare) else reach, r)
    return torch.from_numpy(given @ copies).view(x.shape), absorbed


def laid_out(case: Case, x: Tensor) -> Array:
    result: Array = case.padded(x).flatten().numpy()
    return result


def explained(name: str, rule: Rule, x: Tensor, bias: str) -> Explained:
    case = CASES[name]
    settings: dict[str, Any] = {"bias": bias, "rules": {"first": rule}}
    if isinstance(rule, ZBeta) and rule.low is None:
        settings["input_range"] = bounds(case)
    return explain(lambda v: case.call(case.padded(v), case.weight, case.bias), x, **settings)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("bias", ["absorb", "ignore"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", CASES)
def test_rule_is_its_formula(name: str, rule: Rule, bias: str, kind: str) -> None:
    x = sample(CASES[name], kind)
    result = explained(name, rule, x, bias)
    given, absorbed = expected(name, rule, x, result.seed, bias == "absorb")
    assert_same(result.relevance, given)
    assert result.absorbed == pytest.approx(absorbed, abs=1e-10 * float(result.seed.abs().sum()))


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r != ZBeta()], ids=str)
@pytest.mark.parametrize("name", ["conv3d stride", "linear on a sequence", "conv_transpose2d"])
def test_rule_behind_other_operations(name: str, rule: Rule) -> None:
    """A rule does the same where its operation does not see the input itself."""
    x = sample(CASES[name], "signed")
    net = torch.nn.Sequential(torch.nn.Hardtanh(-9, 9), Wrapped(CASES[name]))
    result = explain(net, x, rules={"1": rule}, bias="ignore")
    given, _ = expected(name, rule, x, result.seed, False)
    assert_same(result.relevance, given)


class Wrapped(torch.nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def forward(self, x: Tensor) -> Tensor:
        return self.case.call(x, self.case.weight, self.case.bias)


def test_samples_hold_every_kind_of_unit() -> None:
    """Units of one sign, of both, and without anything to give to: none of them goes untested."""
    kinds = np.zeros(4, dtype=int)
    for name, case in CASES.items():
        w = written_out(name)[0]
        for kind in INPUTS:
            z = w * laid_out(case, sample(case, kind))
            above, below = (z > 0).any(1), (z < 0).any(1)
            found = [above & ~below, below & ~above, above & below, ~above & ~below]
            kinds += [int(f.sum()) for f in found]
    assert kinds.min() > 100
    assert any(not written_out(name)[2].any(1).all() for name in CASES)  # nothing but padding
    assert sum(bool((written_out(name)[3].sum(0) > 1).any()) for name in CASES) == 1
