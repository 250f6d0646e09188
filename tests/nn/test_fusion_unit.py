"""The fusion unit against convolutions composed by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.nn.fusion import FusionUnit
from captum_video.nn.gates import forced_gates

KINDS = ("two", "three")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "bias": False},
    {"stride": (2, 1, 3), "kernel_size": (5, 3), "mid_channels": 6},
    {"stride": (1, 2, 1), "kernel_size": (1, 3), "padding": (0, 2), "dilation": (1, 2), "depth": 5},
    {"groups": 2, "dilation": 2, "padding": 1, "depth": 1},
    {"padding_mode": "replicate", "temporal_padding": "circular", "depth": 5},
    {"padding_mode": "circular", "temporal_padding": "reflect", "groups": 2, "stride": (3, 1, 1)},
    {"padding_mode": "reflect", "temporal_padding": "replicate", "stride": (2, 2, 2)},
]


def unit(kind: str | None, options: dict[str, Any] | None = None, seed: int = 0) -> FusionUnit:
    torch.manual_seed(seed)
    return FusionUnit(4, 6, gates=kind, dtype=torch.float64, **(options or {}))  # type: ignore[arg-type]


def clip(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    shape = shape or (3, 4, 7, 9, 10)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def padded(x: Tensor, axis: int, amount: int, mode: str) -> Tensor:
    """Padded by the numbers of the entries that are repeated."""
    n = x.shape[axis]
    numbers = torch.arange(-amount, n + amount)
    if mode == "zeros":
        inside = ((numbers >= 0) & (numbers < n)).to(x)
        shape = [-1 if a == axis else 1 for a in range(x.dim())]
        return x.index_select(axis, numbers.clamp(0, n - 1)) * inside.view(shape)
    if mode == "replicate":
        numbers = numbers.clamp(0, n - 1)
    elif mode == "circular":
        numbers = numbers % n
    else:
        numbers = (n - 1) - ((n - 1) - numbers.abs()).abs()
    return x.index_select(axis, numbers)


def twin(net: FusionUnit, options: dict[str, Any], x: Tensor, gates: Tensor) -> Tensor:
    """The formula, with gates ``(N or 1, units)``; without gates both are 1."""
    stride = options.get("stride", 1)
    time, height, width = (stride,) * 3 if isinstance(stride, int) else stride
    groups, depth = options.get("groups", 1), options.get("depth", 3)
    size = options.get("kernel_size", 3)
    size = (size, size) if isinstance(size, int) else size
    pads = options.get("padding", (size[0] // 2, size[1] // 2))
    pads = (pads, pads) if isinstance(pads, int) else pads
    dilation = options.get("dilation", 1)
    dilation = (dilation, dilation) if isinstance(dilation, int) else dilation

    def temporal(weight: Tensor) -> Tensor:
        long = padded(x, 2, weight.shape[2] // 2, options.get("temporal_padding", "zeros"))
        return F.conv3d(long, weight, stride=(time, 1, 1), groups=groups)

    paths = [(net.s.weight,), (net.st.weight,)]
    if net.both is not None:
        paths.append(tuple(p.weight for p in net.both))  # type: ignore[arg-type]
    assert net.s.weight.shape[2:] == (1, 1, 1)
    assert net.st.weight.shape[2:] == (depth, 1, 1)
    assert net.spatial.weight.shape == (6, options.get("mid_channels", 4) // groups, 1, *size)
    mixed = torch.zeros((), dtype=x.dtype)
    for number, weights in enumerate(paths):
        feature = torch.stack([temporal(w) for w in weights]).sum(0)
        mixed = mixed + gates[:, number].view(-1, 1, 1, 1, 1) * feature
    wide = padded(mixed, 3, pads[0], options.get("padding_mode", "zeros"))
    wide = padded(wide, 4, pads[1], options.get("padding_mode", "zeros"))
    shared = (wide, net.spatial.weight, net.spatial.bias, (1, height, width), 0, (1, *dilation))
    return F.conv3d(*shared, groups)


def strategies(net: FusionUnit) -> list[tuple[bool, ...]]:
    assert net.gates is not None
    return list(itertools.product([True, False], repeat=len(net.gates.units)))


def relaxed(net: FusionUnit, count: int, seed: int) -> Tensor:
    """The gates that a forward pass in training draws with this seed."""
    assert net.gates is not None
    torch.manual_seed(seed)
    u = torch.rand(count, len(net.gates.units), dtype=torch.float64)
    return torch.sigmoid((torch.logit(u) - net.gates.drop_logit) / net.gates.temperature).detach()


@pytest.mark.parametrize("options", OPTIONS)
class TestTwin:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_strategy(self, kind: str, options: dict[str, Any]) -> None:
        net, x = unit(kind, options).eval(), clip()
        assert net.gates is not None
        for kept in strategies(net):
            net.gates.set_strategy(kept)
            want = twin(net, options, x, torch.tensor([kept], dtype=torch.float64))
            torch.testing.assert_close(net(x), want, rtol=1e-12, atol=1e-13)

    def test_without_gates(self, options: dict[str, Any]) -> None:
        net, x = unit(None, options), clip()
        want = twin(net, options, x, torch.ones(1, 2, dtype=torch.float64))
        before = torch.get_rng_state()
        for training in (True, False):
            got = net.train(training)(x)
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize("kind", KINDS)
    def test_training(self, kind: str, options: dict[str, Any]) -> None:
        net, x = unit(kind, options), clip()
        eps = relaxed(net, 3, seed=5)
        torch.manual_seed(5)
        got = net(x)
        torch.testing.assert_close(got, twin(net, options, x, eps), rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("kind", KINDS)
    def test_fixed(self, kind: str, options: dict[str, Any]) -> None:
        net, x = unit(kind, options).eval(), clip()
        assert net.gates is not None
        for kept in strategies(net):
            net.gates.set_strategy(kept)
            plain = net.fixed(kept)
            assert not any(isinstance(m, FusionUnit) for m in plain.modules())
            assert not plain.training
            for each in (x, x[0]):
                torch.testing.assert_close(plain(each), net(each), rtol=1e-12, atol=1e-12)
                assert plain(each).shape == net(each).shape

    def test_fixed_without_gates(self, options: dict[str, Any]) -> None:
        net, x = unit(None, options), clip()
        torch.testing.assert_close(net.fixed((True, True))(x), net(x), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("kind", [*KINDS, None])
    def test_single_clips_and_batches(self, kind: str | None, options: dict[str, Any]) -> None:
        net, x = unit(kind, options).eval(), clip()
        batch = net(x)
        for number, single in enumerate(x):
            torch.testing.assert_close(net(single), batch[number], rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(net(single[None])[0], batch[number], rtol=1e-12, atol=1e-13)
        net.train()
        torch.manual_seed(3)
        alone = net(x[0])
        torch.manual_seed(3)
        torch.testing.assert_close(alone, net(x[:1])[0], rtol=1e-12, atol=1e-13)


class TestByHand:
    """A clip with one bright pixel, at frame 2 of 5 and the middle of 3x3."""

    #: what the shared kernel 1 .. 9 makes of it
    IMAGE = torch.tensor([[9.0, 8, 7], [6, 5, 4], [3, 2, 1]])

    @staticmethod
    def one(kind: str) -> tuple[FusionUnit, Tensor]:
        net = FusionUnit(1, 1, gates=kind, bias=False).eval()  # type: ignore[arg-type]
        with torch.no_grad():
            net.s.weight.fill_(2)
            net.st.weight.copy_(torch.tensor([1.0, 10, 100]).view(1, 1, 3, 1, 1))
            if net.both is not None:
                net.both[0].weight.fill_(1000)  # type: ignore[operator]
                net.both[1].weight.copy_(torch.tensor([0.0, 0, 3]).view(1, 1, 3, 1, 1))  # type: ignore[operator]
            net.spatial.weight.copy_(torch.arange(1.0, 10).view(1, 1, 1, 3, 3))
        x = torch.zeros(1, 1, 5, 3, 3)
        x[0, 0, 2, 1, 1] = 1
        return net, x

    @pytest.mark.parametrize(
        ("kept", "frames"),
        [
            ((1, 0), [0, 0, 2, 0, 0]),
            ((0, 1), [0, 100, 10, 1, 0]),
            ((1, 1), [0, 100, 12, 1, 0]),
            ((0, 0), [0, 0, 0, 0, 0]),
            ((1, 0, 0), [0, 0, 2, 0, 0]),
            ((0, 1, 0), [0, 100, 10, 1, 0]),
            ((0, 0, 1), [0, 3, 1000, 0, 0]),
            ((1, 1, 1), [0, 103, 1012, 1, 0]),
        ],
    )
    def test_time(self, kept: tuple[int, ...], frames: list[int]) -> None:
        net, x = self.one("two" if len(kept) == 2 else "three")
        assert net.gates is not None
        net.gates.set_strategy([bool(k) for k in kept])
        want = torch.tensor(frames).view(1, 1, 5, 1, 1) * self.IMAGE
        assert torch.equal(net(x), want)
        assert torch.equal(net.fixed([bool(k) for k in kept])(x), want)

    def test_each_clip_has_its_own_gates(self) -> None:
        net, x = self.one("two")
        assert net.gates is not None
        values = torch.tensor([[0.5, 0.0], [0.0, 2.0], [1.5, 1.0]])
        with forced_gates({net.gates: values}):
            got = net.train()(x.expand(3, -1, -1, -1, -1))
        want = torch.tensor([[0, 0, 1, 0, 0], [0, 200, 20, 2, 0], [0, 100, 13, 1, 0]])
        assert torch.equal(got, want.view(3, 1, 5, 1, 1) * self.IMAGE)

    @pytest.mark.parametrize("training", [True, False])
    def test_one_set_of_gates_for_all_clips(self, training: bool) -> None:
        net, x = self.one("two")
        assert net.gates is not None
        net.train(training)
        want = torch.tensor([0, 100, 13, 1, 0]).view(1, 5, 1, 1) * self.IMAGE
        with forced_gates({net.gates: torch.tensor([[1.5, 1.0]])}):
            assert torch.equal(net(x.expand(3, -1, -1, -1, -1)), want.expand(3, 1, 5, 3, 3))
            assert torch.equal(net(x[0]), want)


class TestGradient:
    @pytest.mark.parametrize("kind", [*KINDS, None])
    @pytest.mark.parametrize("training", [True, False])
    def test_gradcheck(self, kind: str | None, training: bool) -> None:
        torch.manual_seed(0)
        options: dict[str, Any] = {"drop_probability": 0.4, "temperature": 1.0}
        net = FusionUnit(2, 2, gates=kind, dtype=torch.float64, **options)  # type: ignore[arg-type]
        net.train(training)
        names = [n for n, _ in net.named_parameters() if training or "gates" not in n]

        def run(x: Tensor, *values: Tensor) -> Tensor:
            torch.manual_seed(2)
            return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))

        inputs = [clip(2, 2, 3, 3, 2), *(net.get_parameter(n) for n in names)]
        assert torch.autograd.gradcheck(
            run, tuple(v.detach().clone().requires_grad_() for v in inputs), fast_mode=True
        )

    def test_a_closed_path_learns_nothing(self) -> None:
        net = unit("two")
        assert net.gates is not None
        with forced_gates({net.gates: torch.tensor([[1.0, 0.0]])}):
            net(clip()).square().sum().backward()
        assert net.st.weight.grad is not None
        assert net.s.weight.grad is not None
        assert net.st.weight.grad.abs().max() == 0
        assert net.s.weight.grad.abs().max() > 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_parameter_learns(self, kind: str) -> None:
        net = unit(kind, {"temperature": 1.0})
        net(clip()).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            assert (parameter.grad.abs() > 0).all(), name
