"""What has no rule, cannot be watched, or gives nothing to explain, is refused and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import UnsupportedOperationError
from tests.relevance._tools import assert_same, explain, hidden, normal

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def scale_and_shift(x: Tensor) -> Tensor:
    return torch.sin(x) * 2 + 1


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * 2


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def scripted_part(x: Tensor) -> Tensor:
    return torch.jit.script(scale_and_shift)(x) + 1


def in_the_middle_of_a_scripted_part(x: Tensor) -> Tensor:
    return F.relu(torch.jit.script(scale_and_shift)(F.relu(x)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (scripted_part, r"aten\.sin.*scripted or compiled code"),
        (in_the_middle_of_a_scripted_part, r"aten\.sin.*scripted or compiled code"),
        (lambda x: x + torch.jit.script(scale_and_shift)(x), "aten.sin"),
        (lambda x: torch.ops.aten.cumsum(x, 1), "cumsum"),
        (lambda x: torch.ops.aten.softmax.int(x, 1) + x, "softmax"),
        (lambda x: StraightThrough.apply(x), "cumsum"),
        (lambda x: x.detach() * 2, r"detach .*cuts relevance off"),
        (lambda x: x + x.detach(), "detach"),
        (lambda x: x + x.data, r"data .*cuts relevance off"),
        (lambda x: torch.vmap(torch.sin)(x), "no relevance rule"),
        (lambda x: x + torch.vmap(torch.sin)(x), "no relevance rule"),
        (lambda x: F.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention"),
        (lambda x: torch.lerp(x, x.relu(), 0.5), "lerp"),
        (lambda x: torch.nn.LSTM(4, 3, dtype=torch.float64)(x)[0], "lstm"),
        (lambda x: torch.fft.rfft(x).real, "fft_rfft"),
        (lambda x: x + torch.fft.irfft(torch.fft.rfft(x), 4), "fft_rfft"),
        (lambda x: torch.linalg.vector_norm(x, dim=1), "vector_norm"),
        (lambda x: x.sort(1).values, "sort"),
        (lambda x: F.normalize(x), "normalize"),
    ],
)
def test_refused(function: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=message):
        explain(lambda x: function(hidden(x)), normal(3, 4))


@pytest.mark.parametrize(
    ("function", "twin"),
    [
        (Doubling.apply, lambda x: x * 2),
        (lambda x: torch.ops.aten.relu(x), torch.relu),
        (lambda x: torch.ops.aten.add.Tensor(x, x.flip(1)), lambda x: x + x.flip(1)),
        (lambda x: torch.ops.aten.mean.dim(x, [1]), lambda x: x.mean(1)),
        (lambda x: torch.ops.aten.convolution(
            x[None], torch.ones(2, 3, 2, dtype=x.dtype), None, [1], [0], [1], False, [0], 1
        ), lambda x: F.conv1d(x[None], torch.ones(2, 3, 2, dtype=x.dtype))),
        (lambda x: torch.utils.checkpoint.checkpoint(F.relu, x, use_reentrant=False), torch.relu),
        (lambda x: torch.func.functional_call(nn.Linear(4, 2), {
            "weight": torch.ones(2, 4, dtype=x.dtype), "bias": torch.zeros(2, dtype=x.dtype)
        }, x), lambda x: F.linear(x, torch.ones(2, 4, dtype=x.dtype))),
    ],
)  # fmt: skip
def test_unusual_call_is_right_or_refused(
    function: Callable[[Tensor], Tensor], twin: Callable[[Tensor], Tensor]
) -> None:
    x = normal(3, 4)
    expected = explain(lambda v: twin(hidden(v)), x, alpha=2, beta=1)
    try:
        result = explain(lambda v: function(hidden(v)), x, alpha=2, beta=1)
    except UnsupportedOperationError as error:
        assert error.operations  # noqa: PT017
    else:
        assert_same(result.output, expected.output)
        assert_same(result.relevance, expected.relevance)


class WithScripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(4, 3)
        self.inner = nn.ModuleList([torch.jit.script(nn.Linear(3, 2))])

    def forward(self, x: Tensor) -> Tensor:
        return self.inner[0](self.before(x))


def compiled_inside() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net[1].compile()
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.script(nn.Linear(4, 2)), r"the model is scripted or traced \(Rec"),
        (
            lambda: torch.jit.trace(nn.Linear(4, 2), torch.zeros(1, 4)),
            "the model is scripted or tr",
        ),
        (lambda: torch.jit.script(scale_and_shift), r"the model is scripted .*\(ScriptFunction\)"),
        (WithScripted, r"its module 'inner.0' is scripted"),
        (
            lambda: torch.compile(nn.Linear(4, 2)),
            r"the model was compiled with torch.compile.*_orig_mod",
        ),
        (lambda: torch.compile(scale_and_shift), "the model was compiled with torch.compile"),
        (compiled_inside, "its module '1' was compiled with torch.compile"),
    ],
)
def test_scripted_and_compiled_models_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        explain(make(), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("net", "kind"),
    [
        (lambda x: (x, x), "tuple"),
        (lambda x: {"out": x}, "dict"),
        (lambda x: x.sum().item(), "float"),
        (lambda x: None, "NoneType"),
    ],
)
def test_output_that_is_no_tensor(net: Callable[[Tensor], Any], kind: str) -> None:
    with pytest.raises(TypeError, match=f"must return one tensor, got {kind}"):
        explain(net, normal(1, 3))


@pytest.mark.parametrize(
    "net", [lambda x: torch.ones(1, 3), lambda x: torch.zeros_like(x), lambda x: x.argmax(1)]
)
def test_output_that_does_not_depend_on_the_input(net: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedOperationError, match="does not depend on its inputs"):
        explain(net, normal(1, 3))


@pytest.mark.parametrize(
    ("leave", "name"),
    [
        (lambda y: torch.from_numpy(y.detach().numpy()), "numpy"),
        (lambda y: torch.from_numpy(np.asarray(y.detach())), "array"),
        (lambda y: torch.from_dlpack(y.detach()), "dlpack"),
    ],
)
def test_a_branch_through_another_library_is_said_to_be_a_constant(
    leave: Callable[[Tensor], Tensor], name: str
) -> None:
    text = rf"NumPy or another library \({name}\): .* counts as a constant and gets no relevance"
    with pytest.warns(UserWarning, match=text):
        explain(lambda x: x * 2 + leave(x), normal(1, 3))
