"""Weighted operations: convolution of any rank, transposed or not, linear layers, products."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.relevance.flow import Operation, Saved, vector_jacobian
from captum_video.relevance.rules import Rule, Unit
from captum_video.relevance.settings import BatchNorm, Context


class Affine(Operation, Unit):
    """``A(x; w) + b``: a recorded call that is also the unit which its rule sees."""

    def __init__(
        self, context: Context, rule: Rule, x: Saved, weight: Saved, bias: Saved | None
    ) -> None:
        super().__init__()
        self._context = context
        self._rule = rule
        self._x = x
        self._kept_weight = weight
        self._kept_bias = bias
        self._norm: BatchNorm | None = None
        self.absorbs = context.settings.bias == "absorb"

    @property
    def _weight(self) -> Tensor:
        return self._kept_weight.tensor

    @property
    def fold(self) -> BatchNorm | None:
        """The batch norm that follows, unless something else uses this output too."""
        return self._norm if self.outputs[0].consumers == 1 else None

    @fold.setter
    def fold(self, norm: BatchNorm) -> None:
        self._norm = norm

    @property
    def x(self) -> Tensor:  # type: ignore[override]
        """The input, in single precision at least: rules subtract nearly equal sums."""
        return self._x.tensor.to(torch.promote_types(self._x.tensor.dtype, torch.float32))

    @property
    def low(self) -> Tensor | None:  # type: ignore[override]
        """The input's lower bound."""
        raw = self.inputs[0].raw
        return None if raw is None or raw.low is None else raw.low.to(self.x.dtype)

    @property
    def high(self) -> Tensor | None:  # type: ignore[override]
        """The input's upper bound."""
        raw = self.inputs[0].raw
        return None if raw is None or raw.high is None else raw.high.to(self.x.dtype)

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """The bias laid over the output, the folded batch norm's shift included."""
        dtype, fold, bias = self.x.dtype, self.fold, None
        if self._kept_bias is not None:
            bias = self._kept_bias.tensor.detach().to(dtype)
        if fold is not None:
            shift = fold.shift.to(dtype)
            bias = shift if bias is None else shift + bias * fold.scale.to(dtype)
        return None if bias is None else bias.view(self.bias_shape())

    def ones(self) -> Tensor:
        """Ones of the input's shape."""
        return torch.ones_like(self.x)

    def weight(self, sign: int = 0) -> Tensor:
        """The weight, or the part of one sign, with a folded batch norm's scale."""
        return self._context.part(self._weight, self.fold, self.scale_shape(), sign)

    def absorb(self, amount: Tensor) -> None:
        """Counts relevance that no input receives."""
        self._context.absorbed += float(amount.sum(dtype=torch.float64))

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Applies the rule."""
        (relevance,) = relevances
        if relevance is None:
            return [None]
        if len(self.inputs[0].shape) != self._x.tensor.dim():
            relevance = relevance.unsqueeze(0)
        given = self._rule.propagate(self, relevance.to(self.x.dtype))
        return [given.view(self.inputs[0].shape)]

    @abstractmethod
    def bias_shape(self) -> tuple[int, ...]:
        """How the bias lies over the output."""

    @abstractmethod
    def scale_shape(self) -> tuple[int, ...]:
        """How a batch norm's factor lies over the weight."""

    def can_fold(self, output: Tensor) -> bool:
        """Whether a batch norm on ``output`` may be folded in."""
        return False


class Convolution(Affine):
    """``conv1d/2d/3d`` and their transposes, one code path for any number of axes."""

    def __init__(
        self,
        context: Context,
        rule: Rule,
        x: Saved,
        weight: Saved,
        bias: Saved | None,
        geometry: dict[str, list[int]],
        groups: int,
        transposed: bool,
    ) -> None:
        super().__init__(context, rule, x, weight, bias)
        self._geometry = geometry
        self._groups = groups
        self._transposed = transposed
        self._extra = geometry.pop("extra", [0] * (self._weight.dim() - 2))
        if x.tensor.dim() == self._weight.dim() - 1:
            x.tensor = x.tensor.unsqueeze(0)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution without bias."""
        g = self._geometry
        return torch.convolution(
            self._padded(x), weight, None, g["stride"], g["padding"], g["dilation"],
            self._transposed, g["output_padding"], self._groups,
        )  # fmt: skip

    def adjoint(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """The transposed convolution that belongs to it."""
        g = self._geometry
        x = self._x.tensor
        channels = x.shape[1] * weight.shape[1] // self._weight.shape[1]
        size = [s + e for s, e in zip(x.shape[2:], self._extra, strict=True)]
        like = gradient.new_empty(()).expand(gradient.shape[0], channels, *size)
        result: Tensor = torch.ops.aten.convolution_backward(
            gradient, like, weight, None, g["stride"], g["padding"], g["dilation"],
            self._transposed, g["output_padding"], self._groups, [True, False, False],
        )[0]  # fmt: skip
        where: tuple[Any, ...] = (..., *(slice(0, s) for s in x.shape[2:]))
        return result[where]

    def forward_pair(self, above: Tensor, below: Tensor, swapped: bool = False) -> Tensor:
        """Both at once, the two inputs as twice the channels: a first layer has few."""
        if self._transposed or self._groups > 1:
            return super().forward_pair(above, below, swapped)
        return self.forward(torch.cat([above, below], 1), self._both(swapped))

    def adjoint_pair(self, gradient: Tensor, swapped: bool = False) -> tuple[Tensor, Tensor]:
        """Both at once."""
        if self._transposed or self._groups > 1:
            return super().adjoint_pair(gradient, swapped)
        first, second = self.adjoint(gradient, self._both(swapped)).chunk(2, 1)
        return first, second

    def _both(self, swapped: bool) -> Tensor:
        """The two parts of the weight side by side."""
        parts = [self.weight(1), self.weight(-1)]
        return torch.cat(parts[::-1] if swapped else parts, 1)

    def ones(self) -> Tensor:
        """One example of ones: a convolution treats all examples alike."""
        return torch.ones_like(self.x[:1])

    def _padded(self, x: Tensor) -> Tensor:
        """``x`` with the one-sided rest of ``padding="same"``."""
        if not any(self._extra):
            return x
        return F.pad(x, [p for extra in reversed(self._extra) for p in (0, extra)])

    def bias_shape(self) -> tuple[int, ...]:
        """One value per channel, axis 1."""
        return (1, -1, *[1] * (self._weight.dim() - 2))

    def scale_shape(self) -> tuple[int, ...]:
        """The output channels are the weight's first axis."""
        return (-1, *[1] * (self._weight.dim() - 1))

    def can_fold(self, output: Tensor) -> bool:
        """Plain convolutions of batches fold."""
        return not self._transposed and output.dim() == self._weight.dim()


class Linear(Affine):
    """``x @ weight.T + bias`` over the last axis."""

    def __init__(
        self, context: Context, rule: Rule, x: Saved, weight: Saved, bias: Saved | None
    ) -> None:
        super().__init__(context, rule, x, weight, bias)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product without bias."""
        return F.linear(x, weight)

    def adjoint(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """The product with the transpose."""
        return gradient @ weight

    def bias_shape(self) -> tuple[int, ...]:
        """One value per feature, last axis."""
        return (-1,)

    def scale_shape(self) -> tuple[int, ...]:
        """The output features are the weight's first axis."""
        return (-1, 1)

    def can_fold(self, output: Tensor) -> bool:
        """A batch norm's channels are the last axis for ``(N, features)`` only."""
        return output.dim() == 2


class Product(Affine):
    """A matrix product or contraction of the input with a constant, by its own function."""

    def __init__(
        self,
        context: Context,
        rule: Rule,
        x: Saved,
        weight: Saved,
        function: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__(context, rule, x, weight, None)
        self._function = function

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product."""
        return self._function(x, weight).contiguous()

    def adjoint(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Its transpose, by autograd."""
        adjoint = vector_jacobian(lambda x: self._function(x, weight), self.x, [gradient])
        return adjoint.contiguous()  # autograd may give an expanded view, which cannot be written

    def bias_shape(self) -> tuple[int, ...]:
        """There is no bias."""
        return ()

    def scale_shape(self) -> tuple[int, ...]:
        """Nothing is folded in."""
        return ()
