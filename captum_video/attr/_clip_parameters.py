"""Clips as functions of what is optimised: which values they may take, and how steps are shaped."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_START = 0.01  # standard deviation of the noise that optimisation starts from
_SMALL = 1e-12


@dataclass(frozen=True)
class Bounds:
    """Which values a clip may take: a range for each colour, or a ball.

    Attributes:
        low: ``(C, 1, 1, 1)``; None for a ball.
        high: likewise.
        rms: the ball's radius, as the largest root mean square of a clip.
    """

    low: Tensor | None
    high: Tensor | None
    rms: float

    @classmethod
    def of(
        cls,
        colours: int,
        mean: float | Sequence[float] | None,
        std: float | Sequence[float] | None,
        value_range: tuple[float, float] | None,
        rms: float,
    ) -> Bounds:
        """From what a caller gives.

        Args:
            colours: the number of colours of a clip.
            mean: of each colour, or of all; values in 0..1 become ``(value - mean) / std``.
            std: likewise.
            value_range: the lowest and the highest value.
            rms: for neither of these.

        Raises:
            TypeError: if one is no number, or ``value_range`` no pair.
            ValueError: if one is missing, empty, of the wrong length, or not finite.
        """
        check_number("rms", rms, "a positive number", lambda x: x > 0)
        if (mean is None) != (std is None):
            missing = "std" if std is None else "mean"
            raise ValueError(f"mean and std belong together, got no {missing}")
        if mean is not None and value_range is not None:
            raise ValueError("value_range and mean/std exclude each other, got both")
        if value_range is not None:
            low, high = _pair(value_range)
            return cls(_each(low, colours, "value_range"), _each(high, colours, "value_range"), rms)
        if mean is None or std is None:
            return cls(None, None, rms)
        centre, spread = _each(mean, colours, "mean"), _each(std, colours, "std")
        if not bool((spread > 0).all()):
            raise ValueError(f"std must be positive, got {std}")
        return cls(-centre / spread, (1 - centre) / spread, rms)

    def apply(self, raw: Tensor) -> Tensor:
        """Brings any clips within the bounds, differentiably.

        Args:
            raw: ``(K, C, T, H, W)``.

        Returns:
            ``low + (high - low) sigmoid(raw)``, or ``raw`` scaled down onto the ball.
        """
        if self.low is None or self.high is None:
            size = raw.square().mean((1, 2, 3, 4), keepdim=True).clamp_min(_SMALL).sqrt()
            return raw * (self.rms / size).clamp_max(1)
        low, high = self.low.to(raw), self.high.to(raw)
        return low + (high - low) * raw.sigmoid()


class Parameterization(ABC):
    """What is optimised instead of the clips, the same start for each.

    Args:
        count: the number of clips.
        shape: of each.
        generator: for the noise that they start from.
        like: a tensor of the dtype and device to use.
    """

    parameter: Tensor

    @abstractmethod
    def clips(self) -> Tensor:
        """The unbounded clips ``(K, C, T, H, W)``, differentiable in the parameter."""

    @abstractmethod
    def blur(self, sigma: float) -> None:
        """Blurs the clips in space by a Gaussian of ``sigma`` pixels; edges meet."""


class Pixels(Parameterization):
    """The pixels themselves."""

    def __init__(
        self, count: int, shape: Sequence[int], generator: torch.Generator, like: Tensor
    ) -> None:
        noise = torch.randn(*shape, generator=generator, dtype=torch.float64)
        self.parameter = _leaf(_START * noise, count, like)

    def clips(self) -> Tensor:
        """As they are."""
        return self.parameter.clone()

    @torch.no_grad()
    def blur(self, sigma: float) -> None:
        """Blurs in the Fourier domain."""
        size = self.parameter.shape[-2:]
        spectrum = torch.fft.rfft2(self.parameter)
        spectrum *= _gaussian(size, sigma).to(self.parameter)
        self.parameter.copy_(torch.fft.irfft2(spectrum, s=size))


class Fourier(Parameterization):
    """Fourier coefficients over time and space, each divided by its frequency.

    Steps then have the spectrum of natural clips instead of that of noise (Olah et al. 2017,
    "Feature visualization", on preconditioning, there for pictures).
    """

    def __init__(
        self, count: int, shape: Sequence[int], generator: torch.Generator, like: Tensor
    ) -> None:
        colours, self.size = shape[0], tuple(shape[1:])
        frequencies = _frequencies(self.size)
        weights = 1 / frequencies.clamp_min(1 / max(self.size))
        weights = weights / weights.square().mean().sqrt()
        noise = torch.randn(colours, *weights.shape, 2, generator=generator, dtype=torch.float64)
        self.parameter = _leaf(_START / math.sqrt(2) * noise, count, like)
        self.weights = weights.to(self.parameter)

    def clips(self) -> Tensor:
        """By the inverse transform."""
        spectrum = torch.view_as_complex(self.parameter) * self.weights
        return torch.fft.irfftn(spectrum, s=self.size, dim=(-3, -2, -1), norm="ortho")

    @torch.no_grad()
    def blur(self, sigma: float) -> None:
        """Damps high frequencies."""
        self.parameter *= _gaussian(self.size[1:], sigma).to(self.parameter).unsqueeze(-1)


def check_number(
    name: str, value: object, expected: str, fits: Callable[[float], bool] = lambda _: True
) -> float:
    """Refuses what is no finite number, or not one that fits.

    Args:
        name: of the argument.
        value: what the caller gave.
        expected: what it must be, in words.
        fits: whether a finite number is such.

    Returns:
        The number.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not finite, or does not fit.
    """
    try:
        number = None if isinstance(value, str | bytes | bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None:
        raise TypeError(f"{name} must be {expected}, got {value!r}")
    if not (math.isfinite(number) and fits(number)):
        raise ValueError(f"{name} must be {expected}, got {value}")
    return number


def _pair(value: object) -> tuple[float, float]:
    """The lowest and the highest value."""
    expected = "(low, high) with low < high"
    text = f"value_range must be {expected}, got {value!r}"
    try:
        parts: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(text) from None
    if len(parts) != 2:
        raise ValueError(text)
    low, high = (check_number("value_range", part, expected) for part in parts)
    if low >= high:
        raise ValueError(text)
    return low, high


def _leaf(noise: Tensor, count: int, like: Tensor) -> Tensor:
    wide = torch.promote_types(like.dtype, torch.float32)  # half precision has no transforms
    return noise.to(like.device, wide).expand(count, *noise.shape).clone().requires_grad_()


def _frequencies(size: Sequence[int]) -> Tensor:
    """The magnitude of each frequency of a real transform, cycles per pixel and frame."""
    *others, last = size
    axes = [torch.fft.fftfreq(n, dtype=torch.float64) for n in others]
    axes.append(torch.fft.rfftfreq(last, dtype=torch.float64))
    squares = [axis.square().view(-1, *[1] * (len(size) - 1 - k)) for k, axis in enumerate(axes)]
    return sum(squares, torch.zeros(1, dtype=torch.float64)).sqrt()


def _gaussian(size: Sequence[int], sigma: float) -> Tensor:
    """The transform of a Gaussian, at each frequency of a real transform."""
    return (-2 * (math.pi * sigma * _frequencies(size)).square()).exp()


def _each(value: float | Sequence[float], colours: int, name: str) -> Tensor:
    """One number for each colour, ``(C, 1, 1, 1)``."""
    text = f"{name} must be one finite number, or one for each of {colours} colours, got {value!r}"
    try:
        found = torch.as_tensor(value, dtype=torch.float64).flatten()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(text) from None
    if found.numel() not in (1, colours) or not bool(found.isfinite().all()):
        raise ValueError(text)
    return found.expand(colours).view(-1, 1, 1, 1)
