"""What the watched forward pass sees, what it refuses, and what it leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import Settings, UnsupportedOperationError, record
from captum_video.relevance.settings import Context
from tests.relevance._tools import Explained, assert_same, explain, hidden, normal, randomise


class Head(nn.Module):
    """Softmax, and a gate that multiplies two values."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.weigh(x) * x.cumsum(1)


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(2, 3, 3), nn.LayerNorm(6))
        self.head = Head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)).mean(2)


def test_error_lists_every_operation_at_once_with_its_module() -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        explain(Outer().double(), normal(1, 2, 8))
    assert caught.value.operations == (
        "layer_norm in module 'features.1' (LayerNorm)",
        "softmax in module 'head.weigh' (Softmax)",
        "cumsum in module 'head' (Head)",
        "mul in module 'head' (Head) (a product of two values that both depend on the input)",
    )
    text = str(caught.value)
    assert all(f"\n  - {operation}\n" in text for operation in caught.value.operations)
    assert "InputXGradient" in text


def test_error_names_an_operation_once() -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        explain(lambda x: x.cumsum(1).cumsum(1), normal(1, 3))
    assert caught.value.operations == ("cumsum",)


def side_branches(x: Tensor) -> Tensor:
    x.softmax(1)
    y = x.relu()
    (y * y).cumsum(1).detach().numpy()
    weights = y.softmax(1)
    weights += 1
    assert "tensor" in f"{weights}{y}{y.sum():.2f}"
    y.data.sum().item()
    return y * 2


def test_error_lists_operations_behind_one_that_is_changed_in_place() -> None:
    def net(x: Tensor) -> Tensor:
        y = x.softmax(1)
        y *= 2
        return y.cumsum(1)

    with pytest.raises(UnsupportedOperationError) as caught:
        explain(net, normal(1, 3))
    assert caught.value.operations[0] == "softmax"
    assert caught.value.operations[-1] == "cumsum"


def test_side_branches_are_ignored() -> None:
    with pytest.warns(UserWarning, match=r"another library \(numpy\)"):
        result = explain(side_branches, normal(2, 3))
    assert torch.equal(result.relevance, result.seed)


def test_masks_indices_and_shapes_are_constants() -> None:
    """Of what is not floating-point nothing can be said; its values are taken as given."""
    x = normal(2, 4)

    def net(v: Tensor) -> Tensor:
        assert v.shape[1] == v.size(1) == len(v[0]) == 4
        order = v.argsort(1)
        mask = (v > 0) & (v < 5)
        kept = v.gather(1, order) * torch.ones_like(v) + torch.zeros_like(v)
        return torch.where(mask, kept, 0.0) if v.sum() > -1e9 and v.dim() == 2 else v

    result = explain(net, x)
    assert torch.equal(result.output, net(x))
    given = torch.where(x > 0, result.seed, 0.0)
    assert torch.equal(result.relevance, torch.zeros_like(x).scatter(1, x.argsort(1), given))


def test_model_that_gives_its_input_back() -> None:
    result = explain(nn.Identity(), normal(2, 3))
    assert torch.equal(result.relevance, result.seed)


def test_input_that_the_output_does_not_depend_on() -> None:
    x, y = normal(1, 3), normal(1, 4).float()
    result = explain(lambda a, b: a * 2 + 0 * a.sum() if b.sum() < 1e9 else a, x, y)
    assert result.parts[1].shape == y.shape
    assert result.parts[1].dtype == torch.float32
    assert not result.parts[1].any()


def test_constants_may_be_made_by_any_means() -> None:
    """Kernel building and weight norms need no rule, whatever they are made of."""
    weight, x = normal(3, 4, seed=1), normal(2, 4)
    made: list[Callable[[], Tensor]] = [
        lambda: weight.softmax(1) * weight.cumsum(0),
        lambda: torch.vmap(torch.sin)(weight),
        lambda: torch.func.vmap(lambda row: row / row.norm())(weight),
        lambda: torch.linalg.qr(weight.T).Q.T,
        lambda: F.normalize(weight.detach()).data,
        lambda: weight.clone().masked_fill_(weight > 0, 0.5).index_fill_(1, torch.tensor([0]), 1),
        lambda: torch.from_numpy(weight.numpy() * 2),
    ]
    for make in made:
        kernel = make()
        result = explain(lambda v, make=make: F.linear(hidden(v), make()), x, alpha=2, beta=1)
        expected = explain(lambda v, w=kernel: F.linear(hidden(v), w), x, alpha=2, beta=1)
        assert_same(result.relevance, expected.relevance)


class Twice(nn.Module):
    """Modules, among them activations and norms, that run twice or are two copies."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        first = nn.Sequential(
            nn.Conv1d(3, 3, 3, padding=1), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.MaxPool1d(2)
        )
        randomise(first, 5)
        self.parts = nn.ModuleList([first, first if shared else deepcopy(first)])

    def forward(self, x: Tensor) -> Tensor:
        return self.parts[1](self.parts[0](x))


@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_module_used_twice_is_as_two_modules(bias: str) -> None:
    x = normal(2, 3, 8)
    settings: dict[str, Any] = {"alpha": 2, "beta": 1, "bias": bias, "input_range": (-9, 9)}
    shared, apart = (explain(Twice(way), x, **settings) for way in (True, False))
    assert torch.equal(shared.output, apart.output)
    assert_same(shared.relevance, apart.relevance)
    assert float(shared.relevance.abs().sum()) > 0


class Zoo(nn.Module):
    """A bit of everything, with a submodule used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1, bias=False), nn.BatchNorm3d(4))
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(
            nn.BatchNorm3d(4),
            nn.ReLU(True),
            nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=4),
        )
        self.pool, self.drop = nn.MaxPool3d((1, 2, 2)), nn.Dropout(0.5, inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.relu(self.stem(x)))
        for _ in range(2):
            y = y + self.block(y)
        return self.head(self.drop(F.adaptive_avg_pool3d(y, 1).flatten(1)))


def zoo() -> nn.Module:
    return randomise(Zoo(), 4)


def explain_zoo(net: nn.Module, seed: int) -> Explained:
    return explain(net, normal(2, 2, 3, 4, 4, seed=seed), alpha=2, beta=1)


def test_output_is_the_plain_forward_to_the_bit() -> None:
    net, x = zoo(), normal(2, 2, 3, 4, 4)
    with torch.no_grad():
        plain = net(x)
    before = x.clone()
    for dtype in (torch.float64, torch.float32):
        net, x = net.to(dtype), x.to(dtype)
        with torch.no_grad():
            plain = net(x)
        result = explain(net, x)
        assert torch.equal(result.output, plain)
        assert result.relevance.dtype == dtype
        assert not result.relevance.requires_grad
        assert not result.output.requires_grad
    assert torch.equal(x, before.float())


def test_same_call_twice_gives_the_same_bits() -> None:
    net = zoo()
    assert torch.equal(explain_zoo(net, 1).relevance, explain_zoo(net, 1).relevance)


def test_batch_gives_what_its_examples_give() -> None:
    net, x = zoo(), normal(3, 2, 3, 4, 4)
    x[1] = 0
    x[2] = x[2].abs()
    seed = normal(3, 3, seed=5)
    for bias in ("absorb", "ignore"):
        settings: dict[str, Any] = {"alpha": 2, "beta": 1, "bias": bias, "input_range": (-9, 9)}
        whole = explain(net, x, seed=seed, **settings)
        single = [explain(net, x[n : n + 1], seed=seed[n : n + 1], **settings) for n in range(3)]
        assert_same(whole.relevance, torch.cat([s.relevance for s in single]))
        assert whole.absorbed == pytest.approx(sum(s.absorbed for s in single))


def test_memory_layout_of_the_input_does_not_matter() -> None:
    net, x = zoo(), normal(2, 2, 3, 4, 4)
    expected = explain(net, x)
    odd = x.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    for other in (odd, x.contiguous(memory_format=torch.channels_last_3d)):
        assert not other.is_contiguous()
        result = explain(net, other)
        assert_same(result.relevance, expected.relevance)
        assert result.relevance.is_contiguous()


def test_two_threads_at_once_give_what_one_gives() -> None:
    net = zoo()
    expected = [explain_zoo(net, seed).relevance for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda seed: explain_zoo(net, seed).relevance, range(6)))
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def without_cycles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_tensors() -> int:
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


@pytest.mark.usefixtures("without_cycles")
def test_calls_leave_nothing_behind() -> None:
    """Not even reference cycles, which would keep activations until the collector runs."""
    net = zoo()
    explain_zoo(net, 0)
    gc.collect()
    before = live_tensors()
    for seed in range(3):
        explain_zoo(net, seed)
    assert live_tensors() == before
    for module in net.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        assert not any(hooks)


def test_refusal_leaves_nothing_behind() -> None:
    net = nn.Sequential(zoo(), nn.Softmax(1))
    x = normal(2, 2, 3, 4, 4)
    for _ in range(2):
        with pytest.raises(UnsupportedOperationError):
            explain(net, x)
    assert torch.is_grad_enabled()
    plain = zoo()(x)  # modes are gone: this is recorded by autograd alone
    assert plain.requires_grad


def test_the_model_may_raise_half_way() -> None:
    def net(x: Tensor) -> Tensor:
        raise KeyError("half way") if float(x.relu().sum()) > -1 else ValueError

    with pytest.raises(KeyError, match="half way"):
        explain(net, normal(1, 3))
    assert torch.is_grad_enabled()
    assert not torch.overrides._get_current_function_mode_stack()


def test_autocast_around_the_call_changes_nothing() -> None:
    net, x = zoo().float(), normal(2, 2, 3, 4, 4).float()
    expected = explain(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        result = explain(net, x, pure=False)
    assert torch.equal(result.output, expected.output)
    assert torch.equal(result.relevance, expected.relevance)


def test_absorbed_adds_up_over_passes() -> None:
    net, x = randomise(nn.Linear(4, 3)), normal(2, 4).abs()
    context = Context(Settings(), net)
    amounts = []
    for _ in range(2):
        recording = record(lambda v: net(hidden(v)), [x], (), context)
        recording.relevance(torch.ones_like(recording.output))
        amounts.append(recording.absorbed)
    assert amounts[0] != 0
    assert amounts[1] == pytest.approx(2 * amounts[0])
