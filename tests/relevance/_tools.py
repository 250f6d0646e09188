"""What the tests of relevance share: one call that explains, and a way to hide the input's mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from captum_video.relevance import Settings, record
from captum_video.relevance.settings import Context

Net = TypeVar("Net", bound=nn.Module)


@dataclass
class Explained:
    """One explanation in full."""

    output: Tensor
    seed: Tensor
    parts: tuple[Tensor, ...]
    absorbed: float

    @property
    def relevance(self) -> Tensor:
        (part,) = self.parts
        return part

    @property
    def total(self) -> float:
        return sum(float(part.sum(dtype=torch.float64)) for part in self.parts)


def explain(
    forward: Callable[..., Any],
    *inputs: Tensor,
    seed: Tensor | list[Any] | None = None,
    pure: bool = True,
    **settings: Any,
) -> Explained:
    """Relevance of ``inputs`` for ``seed`` (random when not given) at the output.

    Whatever the test is about, the output must be the plain forward's to the bit (unless
    ``pure=False``: a forward that gives another output every time).
    """
    context = Context(Settings(**settings), forward if isinstance(forward, nn.Module) else None)
    recording = record(forward, inputs, (), context)
    output = recording.output
    if pure:
        with torch.no_grad():
            plain = forward(*(tensor.detach().clone() for tensor in inputs))
        assert output.dtype == plain.dtype
        assert torch.equal(output, plain)
    if seed is None:
        seed = torch.randn(output.shape, generator=random(7), dtype=output.dtype)
    elif isinstance(seed, list):
        seed = torch.tensor(seed, dtype=output.dtype)
    return Explained(output, seed, recording.relevance(seed), context.absorbed)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=random(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=random(seed), dtype=torch.float64)


def hidden(x: Tensor) -> Tensor:
    """The identity, after which a value no longer counts as the input itself."""
    return x.clamp(min=-1e9)


def assert_same(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Equal to within ``tolerance`` of the largest expected magnitude."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    largest = float(expected.abs().max()) or 1.0
    difference = float((actual - expected).abs().max())
    assert difference <= tolerance * largest, f"{difference:.3g} off, largest {largest:.3g}"


def randomise(net: Net, seed: int = 0) -> Net:
    """Random weights and batch-norm statistics, evaluation mode, double precision."""
    generator = random(seed)
    net = net.double().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
            elif isinstance(getattr(module, "weight", None), nn.Parameter):
                weight = module.weight
                assert isinstance(weight, nn.Parameter)
                fan_in = max(1, weight[0].numel())
                weight.normal_(0, fan_in**-0.5, generator=generator)
                if isinstance(module.bias, nn.Parameter):
                    module.bias.normal_(0, 0.3, generator=generator)
    return net
