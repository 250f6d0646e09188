"""Operations that hand relevance on, move it, or split it over the terms of a sum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_video.relevance.flow import Operation, Saved, sum_to_shape
from captum_video.relevance.settings import Context


class Pass(Operation):
    r"""A function of one value per place: activations, a constant factor or term, batch norm alone.

    All relevance goes to the one input, :math:`R_k = R_j` (paper 2, section 4.3); where a constant
    broadcast the input, its copies add up.
    """

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Hands relevance on."""
        (relevance,) = relevances
        return [None if relevance is None else sum_to_shape(relevance, self.inputs[0].shape)]


class Rearrange(Operation):
    """Moves, copies and drops: views, ``cat``, ``stack``, padding, indexing, ``where``.

    Each output is a copy of one input or a constant, so relevance goes back where the copy came
    from: the adjoint of the call. What constants were given is counted as absorbed.
    """

    def __init__(
        self,
        context: Context,
        likes: list[Tensor],
        function: Callable[..., object],
        has_constants: bool,
    ) -> None:
        super().__init__()
        self._context = context
        self._has_constants = has_constants
        self._likes = [_hollow(like) for like in likes]
        self._function = function

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Moves relevance back."""
        with torch.enable_grad():
            leaves = [like.requires_grad_() for like in self._likes]
            result = self._function(leaves)
            outputs = [result] if isinstance(result, Tensor) else list(result)  # type: ignore[call-overload]
            pairs = [
                (o, r.to(o.dtype))
                for o, r in zip(outputs, relevances, strict=True)
                if r is not None
            ]
            given = torch.autograd.grad(
                [o for o, _ in pairs], leaves, [r for _, r in pairs], allow_unused=True
            )
        if self._has_constants:
            self._context.absorb_rest(relevances, given)
        return list(given)


class Write(Operation):
    """``x[index] = value`` and ``copy_``: what was written takes its places' relevance."""

    def __init__(
        self, context: Context, index: object, writes_value: bool, keeps_old: bool
    ) -> None:
        super().__init__()
        self._context = context
        self._index = index
        self._writes_value = writes_value
        self._keeps_old = keeps_old

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Splits relevance into what was overwritten and what was left."""
        (relevance,) = relevances
        if relevance is None:
            return [None] * len(self.inputs)
        given: list[Tensor | None] = []
        if self._keeps_old:
            left = relevance.clone()
            left[self._index] = 0  # type: ignore[index]
            given.append(left)
        if self._writes_value:
            there = relevance[self._index]  # type: ignore[index]
            given.append(_summed(there, self.inputs[-1].shape))
        if not (self._writes_value and self._keeps_old):
            self._context.absorb_rest(relevances, given)
        return given


class Sum(Operation):
    r"""A sum of two terms that both descend from an input, as a skip connection makes it.

    The terms are the contributions of a unit with two inputs, split by the method's alpha and beta:

    .. math:: R_a = \Big(\alpha \frac{a^+}{a^+ + b^+} - \beta \frac{a^-}{a^- + b^-}\Big) R

    with all relevance to the terms of one sign where there are none of the other, and halves where
    both terms are zero.
    """

    def __init__(self, context: Context, terms: list[Saved], factors: list[float]) -> None:
        super().__init__()
        self._context = context
        self._terms = terms
        self._factors = factors

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Splits relevance over the terms."""
        (relevance,) = relevances
        if relevance is None:
            return [None, None]
        alpha, beta = self._context.settings.alpha, self._context.settings.beta
        a, b = (
            term.tensor.to(relevance.dtype) * factor
            for term, factor in zip(self._terms, self._factors, strict=True)
        )
        above, below = a.clamp(min=0) + b.clamp(min=0), a.clamp(max=0) + b.clamp(max=0)
        tiny = torch.finfo(above.dtype).tiny
        some, less = above > tiny, below < -tiny
        both = some & less
        up = torch.where(some, torch.where(both, alpha, 1.0).to(above.dtype) / above, 0)
        down = torch.where(less, torch.where(both, -beta, 1.0).to(below.dtype) / below, 0)
        half = torch.where(some | less, 0.0, 0.5).to(above.dtype)
        return [
            sum_to_shape((t.clamp(min=0) * up + t.clamp(max=0) * down + half) * relevance, v.shape)
            for t, v in zip((a, b), self.inputs, strict=True)
        ]


class Larger(Operation):
    """``maximum(a, b)``: relevance to the larger term, halves where they tie."""

    def __init__(self, terms: list[Saved]) -> None:
        super().__init__()
        self._terms = terms

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Gives relevance to the winner."""
        (relevance,) = relevances
        if relevance is None:
            return [None, None]
        a, b = (term.tensor for term in self._terms)
        to_a = ((a > b) + 0.5 * (a == b)).to(relevance.dtype) * relevance
        shares = (to_a, relevance - to_a)
        return [sum_to_shape(s, v.shape) for s, v in zip(shares, self.inputs, strict=True)]


def _summed(relevance: Tensor, shape: torch.Size) -> Tensor:
    """Adds up the copies that a write made of its value, which may have more leading axes."""
    extra = max(0, len(shape) - relevance.dim())
    return sum_to_shape(relevance, shape[extra:]).view(shape)


def _hollow(tensor: Tensor) -> Tensor:
    """Memory of the same shape and strides, in single precision at least, that is never used."""
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=tensor.device)
