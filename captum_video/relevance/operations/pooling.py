"""Averages divide among all that went in, maxima go to the winners."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.relevance.flow import Flow, Operation, Saved, vector_jacobian
from captum_video.relevance.settings import Context


class Average(Operation):
    r"""Any weighted mean or sum with fixed weights :math:`m_{ij} \ge 0`: pooling, ``mean``, resizing.

    ``average="proportional"`` divides by what went in, with its sign,

    .. math:: R_i = \sum_j \frac{m_{ij} x_i}{\sum_{i'} m_{i'j} x_{i'}} R_j

    so that a mean of scores gives each score its own part; ``"uniform"`` is the paper's
    :math:`R_j / N_j`. An average of nothing but zeros, or one whose terms cancel to within rounding,
    is divided uniformly in both cases. An average of the input itself follows the first layer's
    rule: z-beta where the range is known, :math:`x_i - l_i` in place of :math:`x_i`, else uniform.
    """

    def __init__(self, context: Context, x: Saved, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._context = context
        self._x = x
        self._function = function

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Divides relevance; see the class."""
        (relevance,) = relevances
        if relevance is None:
            return [None]
        x, raw = self._x.tensor.to(relevance.dtype), self.inputs[0].raw
        uniform = self._context.settings.average == "uniform"
        if uniform or (raw is not None and raw.low is None):
            return [self._uniform(x, relevance)]
        if raw is not None and raw.low is not None:
            x = x - raw.low.to(x.dtype)
        total, scale = self._function(x), self._function(x.abs())
        some = total.abs() > 16 * torch.finfo(x.dtype).eps * scale
        share = torch.where(some, relevance / total, 0)
        result = x * vector_jacobian(self._function, x, [share])
        rest = torch.where(some, 0, relevance)
        if bool((rest != 0).any()):
            result = result + self._uniform(x, rest)
        return [result]

    def _uniform(self, x: Tensor, relevance: Tensor) -> Tensor:
        """Equal shares, padding left out."""
        weight = self._function(torch.ones_like(x))
        share = torch.where(weight > 0, relevance / weight, 0)
        lost = torch.where(weight > 0, 0, relevance)
        self._context.absorbed += float(lost.sum(dtype=torch.float64))
        return vector_jacobian(self._function, x, [share])


class Winners(Operation):
    r"""Maxima: :math:`R_k = \delta_j^k R_j`, and what ties for the maximum shares equally."""

    def __init__(self, x: Saved) -> None:
        super().__init__()
        self._x = x
        self._maximum: Saved | None = None

    def finish(self, flow: Flow, result: object) -> None:
        """Keeps the maxima."""
        maximum = result if isinstance(result, Tensor) else result[0]  # type: ignore[index]
        self._maximum = flow.save(maximum)

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Divides relevance among the winners."""
        relevance = relevances[0]
        if relevance is None or self._maximum is None:
            return [None]
        x, maximum = (saved.tensor.to(relevance.dtype) for saved in (self._x, self._maximum))
        return [self.divide(x, maximum, relevance)]

    @abstractmethod
    def divide(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Relevance at ``x``."""


class MaxPool(Winners):
    """``max_pool1d/2d/3d``, with stride, padding, dilation and ``ceil_mode``."""

    def __init__(
        self,
        x: Saved,
        kernel: list[int],
        stride: list[int],
        padding: list[int],
        dilation: list[int],
    ) -> None:
        super().__init__(x)
        self._kernel, self._stride = kernel, stride
        self._padding, self._dilation = padding, dilation

    def divide(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Relevance at ``x``."""
        size, out = x.shape[-len(self._kernel) :], maximum.shape[-len(self._kernel) :]
        tiles = self._stride == self._kernel and not any(self._padding) and max(self._dilation) == 1
        covers = all(o * k <= n for o, k, n in zip(out, self._kernel, size, strict=True))
        if tiles and covers and x.dim() == len(self._kernel) + 2:
            return self._tiled(x, maximum, relevance)
        return self._slid(x, maximum, relevance)

    def _tiled(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Windows that do not overlap: everything laid over the input at once."""
        rank = len(self._kernel)
        used = [o * k for o, k in zip(maximum.shape[2:], self._kernel, strict=True)]
        where: tuple[Any, ...] = (..., *(slice(0, u) for u in used))
        won = F.interpolate(maximum, size=used, mode="nearest").eq_(x[where])
        mean: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        count = mean(won, self._kernel).mul_(math.prod(self._kernel)).round_()
        share = relevance / count
        inside = won.mul_(F.interpolate(share, size=used, mode="nearest"))
        if list(x.shape[2:]) == used:
            return inside
        result = torch.zeros_like(x)
        result[where] = inside
        return result

    def _slid(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Any windows: every offset of the kernel in turn, as one strided slice."""
        rank = len(self._kernel)
        size, out = x.shape[-rank:], maximum.shape[-rank:]
        pads: list[int] = []
        for d in reversed(range(rank)):
            reach = (out[d] - 1) * self._stride[d] + self._dilation[d] * (self._kernel[d] - 1) + 1
            pads += [self._padding[d], max(0, reach - size[d] - self._padding[d])]
        padded = F.pad(x, pads, value=-math.inf) if any(pads) else x
        count = torch.zeros_like(maximum)
        for where in self._offsets(out):
            count += padded[where] == maximum
        share = relevance / count
        result = torch.zeros_like(padded)
        for where in self._offsets(out):
            result[where] += (padded[where] == maximum) * share
        where = (..., *(slice(p, p + s) for p, s in zip(self._padding, size, strict=True)))
        return result[where]

    def _offsets(self, out: torch.Size) -> Iterator[tuple[Any, ...]]:
        """For each place in the kernel, the slice of the padded input that it visits."""
        for offset in product(*map(range, self._kernel)):
            yield (
                ...,
                *(
                    slice(o * d, o * d + (n - 1) * s + 1, s)
                    for o, d, n, s in zip(offset, self._dilation, out, self._stride, strict=True)
                ),
            )


class AdaptiveMaxPool(Winners):
    """``adaptive_max_pool1d/2d/3d``: windows from ``floor(o n / m)`` to ``ceil((o + 1) n / m)``."""

    def __init__(self, x: Saved, rank: int) -> None:
        super().__init__(x)
        self._rank = rank

    def divide(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Relevance at ``x``, window by window along each axis."""
        out = maximum.shape[-self._rank :]
        result = torch.zeros_like(x)
        for place in product(*map(range, out)):
            window: tuple[Any, ...] = (
                ...,
                *(
                    slice(o * n // m, -(-(o + 1) * n // m))
                    for o, n, m in zip(place, x.shape[-self._rank :], out, strict=True)
                ),
            )
            one: tuple[Any, ...] = (..., *(slice(o, o + 1) for o in place))
            won = x[window] == maximum[one]
            axes = tuple(range(-self._rank, 0))
            result[window] += won * (relevance[one] / won.sum(axes, keepdim=True))
        return result


class AxisMax(Winners):
    """``amax`` and ``max`` over axes."""

    def __init__(self, x: Saved, axes: tuple[int, ...], keepdim: bool) -> None:
        super().__init__(x)
        self._axes = tuple(sorted(a % x.tensor.dim() for a in axes))
        self._keepdim = keepdim

    def divide(self, x: Tensor, maximum: Tensor, relevance: Tensor) -> Tensor:
        """Relevance at ``x``."""
        if not self._keepdim:
            for axis in self._axes:
                maximum, relevance = maximum.unsqueeze(axis), relevance.unsqueeze(axis)
        won = x == maximum
        return won * (relevance / won.sum(self._axes, keepdim=True))
