"""Relevance is neither made nor lost: with biases left aside it sums to the seed.

Random nets on random clips hardly meet the units that lose relevance, those with nothing to give
to. Hence clips with dark parts, nets so narrow that whole units go dark, and biases that keep the
output of such units alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video import DeepTaylor
from captum_video.relevance import Epsilon, Flat, WSquare
from tests.relevance._tools import Explained, explain, normal, randomise, uniform


class Depthwise(nn.Module):
    """Inverted residuals: a unit of a depthwise convolution sees one channel, often all zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.BatchNorm3d(4), nn.ReLU6())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(4, 6, 1, bias=False),
                nn.BatchNorm3d(6),
                nn.ReLU6(True),
                nn.Conv3d(6, 6, 3, 1, 1, groups=6, bias=False),
                nn.BatchNorm3d(6),
                nn.Hardswish(True) if swish else nn.ReLU6(True),
                nn.Conv3d(6, 4, 1, bias=False),
                nn.BatchNorm3d(4),
            )
            for swish in (False, True, False)
        )
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3, 4)))


class PreActivation(nn.Module):
    """Norm and activation before each convolution, so that no norm can be folded into its skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 3, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm3d(3),
                nn.ReLU(),
                nn.Conv3d(3, 3, 3, 1, 1),
                nn.BatchNorm3d(3),
                nn.ReLU(),
                nn.Dropout(0.5),
                nn.Conv3d(3, 3, 3, 1, 1),
            )
            for _ in range(3)
        )
        self.norm, self.head = nn.BatchNorm3d(3), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            out = block(x)
            out += x
            x = F.max_pool3d(out, (1, 2, 2)) if number == 1 else out
        return self.head(F.adaptive_avg_pool3d(F.relu(self.norm(x)), 1).flatten(1))


class Branches(nn.Module):
    """Parallel branches joined by ``cat``, as in Inception and DenseNet, and a gate by constants."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 2, 3, padding=1), nn.ReLU(), nn.MaxPool3d(3, 2, 1))
        self.one = nn.Sequential(nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2), nn.ReLU())
        self.two = nn.Sequential(
            nn.MaxPool3d(3, 1, 1), nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0))
        )
        self.up = nn.ConvTranspose3d(4, 2, 2, 2)
        self.head = nn.Conv3d(2, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = torch.cat([self.one(y), F.leaky_relu(self.two(y), 0.1)], 1)
        y = F.interpolate(self.up(y), scale_factor=0.5, mode="trilinear")
        return self.head(F.silu(y) / 3 - 0.1).amax((3, 4)).mean(2)


def c3d() -> nn.Module:
    """Plain convolutions with biases that are all positive."""
    net = nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2, 2, (0, 1, 1)),
        nn.Conv3d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d((1, 2, 2)),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.ReLU(),
        nn.Linear(6, 5),
    )
    return positive(randomise(net, 2))


def positive(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv3d) and module.bias is not None:
                module.bias.abs_().add_(0.5)
    return net


NETS: dict[str, Callable[[], nn.Module]] = {
    "depthwise": lambda: randomise(Depthwise(), 1),
    "depthwise, other weights": lambda: randomise(Depthwise(), 5),
    "pre-activation": lambda: randomise(PreActivation(), 1),
    "branches": lambda: randomise(Branches(), 3),
    "c3d": c3d,
}


def clip(kind: str) -> Tensor:
    x = uniform(2, 3, 4, 8, 8, seed=6)
    if kind == "dark half":
        x[..., 3:] = 0
    elif kind == "dark frames":
        x[:, :, 1:] = 0
    elif kind == "dark":
        x[:] = 0
    elif kind == "dark and light":
        x[..., :4, :] = 0
        x[..., 4:, :] = 1
    elif kind == "dim":
        x *= 1e-4
    return x


def conserved(result: Explained, tolerance: float) -> None:
    """Seed = relevance + what was absorbed, and relevance does not grow without bounds."""
    seed = float(result.seed.sum(dtype=torch.float64))
    assert abs(seed - result.total - result.absorbed) <= tolerance * abs(seed)


KINDS = ("light", "dark half", "dark frames", "dark", "dark and light", "dim")


@pytest.mark.parametrize("input_range", [(0, 1), None], ids=["z-beta", "w2"])
@pytest.mark.parametrize("alpha", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_ignored_biases_leave_the_seed_to_the_inputs(
    name: str, kind: str, alpha: int, input_range: Any
) -> None:
    net, x = NETS[name](), clip(kind)
    seed = torch.zeros(2, 5, dtype=torch.float64)
    seed[0, 1], seed[1, 3] = 1.0, 2.0
    settings: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "input_range": input_range}
    result = explain(net, x, seed=seed, bias="ignore", **settings)
    conserved(result, 1e-8)
    assert result.absorbed == 0
    for number in range(2):
        part = result.relevance[number].sum()
        assert float(part) == pytest.approx(float(seed[number].sum()), rel=1e-8)
    net, x, seed = net.float(), x.float(), seed.float()
    conserved(explain(net, x, seed=seed, bias="ignore", **settings), 1e-3)


@pytest.mark.parametrize("alpha", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_absorbed_is_what_the_inputs_did_not_get(name: str, kind: str, alpha: int) -> None:
    net, x = NETS[name](), clip(kind)
    settings: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "input_range": (0, 1)}
    result = explain(net, x, seed=uniform(2, 5, seed=4), **settings)
    conserved(result, 1e-9)
    assert abs(result.absorbed) > 1e-3
    _, delta = DeepTaylor(net, seed="one", **settings).attribute(
        x, target=[1, 3], return_convergence_delta=True
    )
    seed = torch.zeros(2, 5, dtype=torch.float64)
    seed[0, 1] = seed[1, 3] = 1
    again = explain(net, x, seed=seed, **settings)
    assert float(delta.sum()) == pytest.approx(again.absorbed, rel=1e-9)


@pytest.mark.parametrize("average", ["proportional", "uniform"])
@pytest.mark.parametrize("rule", [WSquare(), Flat(), Epsilon(0)], ids=str)
def test_other_rules_conserve(rule: Any, average: str) -> None:
    net = NETS["depthwise"]()
    rules = {nn.Conv3d: rule, "first": rule, "head": rule}
    for kind in ("light", "dark half"):
        result = explain(
            net, clip(kind), seed=uniform(2, 5), bias="ignore", average=average, rules=rules
        )
        conserved(result, 1e-7)
        assert result.absorbed == 0


def test_stabiliser_is_counted() -> None:
    rules = {nn.Conv3d: Epsilon(0.1), "first": Epsilon(0.1)}
    for bias in ("ignore", "absorb"):
        result = explain(NETS["c3d"](), clip("light"), seed=uniform(2, 5), rules=rules, bias=bias)
        conserved(result, 1e-9)
        assert result.absorbed > 0.01


@pytest.mark.parametrize("padding", [F.pad, nn.ConstantPad3d(1, 0.5)], ids=["zero", "grey"])
@pytest.mark.parametrize("input_range", [(0, 1), None], ids=["z-beta", "w2"])
def test_padding_by_hand_is_counted(padding: Any, input_range: Any) -> None:
    """Nets ported from TensorFlow pad before each convolution."""
    first, second = randomise(nn.Conv3d(3, 2, 3), 1), randomise(nn.Conv3d(2, 2, 3), 2)
    pad = (lambda v: F.pad(v, [1] * 6)) if padding is F.pad else padding

    def net(x: Tensor) -> Tensor:
        return second(pad(first(pad(x)).relu())).mean((2, 3, 4))

    for kind in ("light", "dark half"):
        for bias in ("absorb", "ignore"):
            seed = uniform(2, 2)
            conserved(explain(net, clip(kind), seed=seed, bias=bias, input_range=input_range), 1e-9)


def test_two_inputs_share_the_seed() -> None:
    rgb, flow = randomise(nn.Conv3d(3, 4, 3), 1), randomise(nn.Conv3d(2, 4, 3), 2)
    head = randomise(nn.Linear(4, 3), 3)

    def net(a: Tensor, b: Tensor) -> Tensor:
        return head((rgb(a).relu() + flow(b).relu()).mean((2, 3, 4)))

    x, y = clip("dark half"), normal(2, 2, 4, 8, 8)
    ranges = ((0, 1), (-9, 9))
    for alpha in (1, 2):
        result = explain(net, x, y, bias="ignore", alpha=alpha, beta=alpha - 1, input_range=ranges)
        conserved(result, 1e-9)
        assert all(float(part.abs().sum()) > 0.01 for part in result.parts)


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_torchvision_residual_nets(name: str) -> None:
    video = pytest.importorskip("torchvision.models.video")
    net = randomise(getattr(video, name)(num_classes=5), 1)
    x = uniform(1, 3, 8, 32, 32)
    x[..., :12] = 0
    seed = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for alpha in (1, 2):
        settings: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "input_range": (0, 1)}
        result = explain(net, x, seed=seed, bias="ignore", **settings)
        conserved(result, 1e-8)
        assert result.absorbed == 0
        result = explain(net, x[:, :, :4, :16, :16], seed=seed, **settings)
        conserved(result, 1e-8)
        assert abs(result.absorbed) > 0.01
    with torch.no_grad():
        assert torch.equal(result.output, net(x[:, :, :4, :16, :16]))


@pytest.mark.parametrize("alpha", [1, 2])
def test_torchvision_s3d(alpha: int) -> None:
    video = pytest.importorskip("torchvision.models.video")
    net = randomise(video.s3d(num_classes=5), 1)
    seed = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    settings: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "input_range": (0, 1)}
    x = uniform(1, 3, 13, 209, 209).float()  # the smallest that its pool of (2, 7, 7) takes
    x[..., :80] = 0
    result = explain(net.float(), x, seed=seed.float(), bias="ignore", **settings)
    conserved(result, 1e-3)
    assert result.absorbed == 0
    net.avgpool = nn.AvgPool3d((2, 2, 2), stride=1)
    result = explain(
        net.double(), x[..., :64, 60:124].double(), seed=seed, bias="ignore", **settings
    )
    conserved(result, 1e-8)
    assert result.absorbed == 0
