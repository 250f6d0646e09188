"""Nets of sequences as users write them, and a decoder in plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models._res_tcn import ResTCN
from models._residual_units import ResidualUnit, SameConv1d


def settled(net: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """A net with random weights and running statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return net.to(dtype).eval()


def part(net: nn.Module, name: str) -> Any:
    """A submodule by name, of whatever type."""
    return net.get_submodule(name)


def sequences(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small(kernel: int = 4, dimensions: int = 6, units: int = 2) -> ResTCN:
    """Three widths, so that layers lie behind none, one and two changes of width."""
    net = settled(ResTCN(dimensions, 3, widths=(4, 5, 7), units=units, kernel=kernel))
    net.set_mean(torch.arange(dimensions, dtype=torch.float64))
    return net


def decoded_in_loops(net: ResTCN, x: Tensor, number: int) -> np.ndarray:
    """Equations 6, 7 and 10 of paper 5 for one layer, each index by itself."""
    units: dict[int, Any] = {n: part(net, f"layer{n}") for n in range(1, net.depth + 1)}
    activations: dict[int, np.ndarray] = {}
    value = x - net.mean
    with torch.no_grad():
        for n, unit in units.items():
            value = unit(value)
            activations[n] = value.numpy()

    def middle(weight: Tensor) -> np.ndarray:
        taps, length = weight.detach().numpy(), weight.shape[2]
        if length % 2:
            return taps[:, :, length // 2]
        return (taps[:, :, length // 2 - 1] + taps[:, :, length // 2]) / 2

    changes = [
        n
        for n, unit in units.items()
        if isinstance(unit, ResidualUnit) and isinstance(unit.shortcut, SameConv1d) and n <= number
    ]
    current = activations[number]
    for change in reversed(changes):
        unit, before = units[change], activations[change - 1]
        kernel = middle(unit.conv.weight)
        shortcut = unit.shortcut.weight.detach().numpy()[:, :, 0]
        entry = activations[change]
        fine = np.zeros(before.shape)
        for n in range(len(current)):
            coarse = np.zeros((before.shape[1], current.shape[2]))
            for t in range(current.shape[2]):
                for i in range(current.shape[1]):
                    gap = current[n, i, t] - entry[n, i, t]
                    coarse[:, t] += kernel[i] * gap + shortcut[i] * entry[n, i, t]
            for c in range(before.shape[1]):
                places = 2.0 * np.arange(current.shape[2])
                fine[n, c] = np.interp(np.arange(before.shape[2]), places, coarse[c])
        current = fine
    primitives = middle(net.layer1.weight)
    result = np.zeros(x.shape)
    for n in range(len(x)):
        for t in range(x.shape[2]):
            for i in range(current.shape[1]):
                result[n, :, t] += primitives[i] * current[n, i, t]
    return result + net.mean.numpy()


class Functional(nn.Module):
    """The same net with other names, functional calls, in-place sums and swapped operands."""

    def __init__(self, net: ResTCN) -> None:
        super().__init__()
        self.units = nn.ModuleList([net.get_submodule(f"layer{n}") for n in range(1, 8)])
        self.skeleton: Tensor
        self.register_buffer("skeleton", net.mean.clone())
        self.marks = nn.ModuleList([nn.Identity() for _ in self.units])
        self.head = nn.Linear(7, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        first: Any = self.units[0]
        x = F.conv1d(F.pad(x.sub(self.skeleton), first.ends), first.weight, first.bias)
        x = self.marks[0](x)
        for number, (unit, mark) in enumerate(zip(self.units[1:], self.marks[1:], strict=True)):
            x = mark(self._unit(unit, x, swap=number % 2 == 1))
        return self.head(x.mean(2))

    def _unit(self, unit: Any, x: Tensor, swap: bool) -> Tensor:
        norm, conv = unit.norm, unit.conv
        hidden = F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
        hidden = F.pad(F.relu_(hidden), conv.ends)
        hidden = torch.conv1d(hidden, conv.weight, conv.bias, stride=conv.stride)
        if isinstance(unit.shortcut, nn.Identity):
            if swap:
                hidden += x
                return hidden
            x += hidden
            return x
        x = unit.shortcut(x)
        return torch.add(hidden, x) if swap else x + hidden


class OneLayer(nn.Module):
    """A convolution of the input and an average."""

    def __init__(self, conv: nn.Conv1d, prepare: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.conv, self.prepare = conv, prepare

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.prepare is None else self.prepare(x)).mean(2)


class PostActivation(nn.Module):
    """A residual net with the activation after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv1d(6, 4, 3)
        self.conv, self.norm, self.relu = SameConv1d(4, 4, 3), nn.BatchNorm1d(4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.relu(x + self.norm(self.conv(x))).mean(2)


class TwoConvolutions(nn.Module):
    """A residual branch of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (SameConv1d(n, 4, 3) for n in (6, 4, 4))
        self.sum = Sum()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.sum(x, self.two(F.relu(self.one(F.relu(x))))).mean(2)


class Sum(nn.Module):
    def forward(self, one: Tensor, other: Tensor | None = None) -> Tensor:
        return one if other is None else one + other
