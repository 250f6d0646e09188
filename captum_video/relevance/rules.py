r"""Relevance rules for weighted units.

A unit's output is :math:`z_j = \sum_i z_{ij} + b_j` with contributions :math:`z_{ij} = x_i w_{ij}`.
A rule says which share of the unit's relevance :math:`R_j` each input :math:`i` receives. Every rule
is stated for *any* operation that is linear in its input, through three calls of a
:class:`Unit`: the operation with a part of the weight, its adjoint, and the parts of the weight.

A unit that has nothing to divide by (a vanished denominator) cannot follow its rule. Under
``bias="absorb"`` its relevance is counted as absorbed; under ``bias="ignore"`` it is divided equally
over the unit's inputs, so that no relevance is lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_video.relevance.flow import sum_to_shape


class Unit(ABC):
    """A weighted operation with its input, as a rule sees it.

    Attributes:
        x: the input.
        low: the smallest value that the input can take, laid over ``x``, or None.
        high: the largest, likewise.
        bias: what is added to the units, broadcast over the output, or None.
        absorbs: whether biases take their share of relevance.
    """

    x: Tensor
    low: Tensor | None
    high: Tensor | None
    bias: Tensor | None
    absorbs: bool

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The operation without bias."""

    @abstractmethod
    def adjoint(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Its transpose in ``x``."""

    def forward_pair(self, above: Tensor, below: Tensor, swapped: bool = False) -> Tensor:
        """``above`` with the positive weights plus ``below`` with the negative ones.

        Args:
            above: takes the place of the input.
            below: likewise.
            swapped: the other way round.

        Returns:
            The sum of both.
        """
        sign = -1 if swapped else 1
        result = self.forward(above, self.weight(sign))
        return result.add_(self.forward(below, self.weight(-sign)))

    def adjoint_pair(self, gradient: Tensor, swapped: bool = False) -> tuple[Tensor, Tensor]:
        """The two parts of the transpose of :meth:`forward_pair`."""
        sign = -1 if swapped else 1
        return self.adjoint(gradient, self.weight(sign)), self.adjoint(gradient, self.weight(-sign))

    @abstractmethod
    def ones(self) -> Tensor:
        """Ones in place of the input; a batch of one where the examples do not differ."""

    @abstractmethod
    def weight(self, sign: int = 0) -> Tensor:
        """The weight (0), its positive part (1) or its negative part (-1)."""

    @abstractmethod
    def absorb(self, amount: Tensor) -> None:
        """Counts relevance that no input receives."""

    def spread(self, relevance: Tensor, lost: Tensor) -> Tensor | None:
        """What becomes of relevance at units that have nothing to divide by.

        Args:
            relevance: at the units.
            lost: where the denominator vanished.

        Returns:
            Relevance for the input, equal over each unit's contributions, or None when it was
            absorbed or there is none.
        """
        lost = lost & (relevance != 0)
        if not bool(lost.any()):
            return None
        left = torch.where(lost, relevance, 0)
        if self.absorbs:
            self.absorb(left)
            return None
        ones = torch.ones_like(self.weight())
        count = self.forward(self.ones(), ones)
        self.absorb(torch.where(count == 0, left, 0))
        return self.adjoint(torch.where(count == 0, 0, left / count), ones)


class Rule(ABC):
    """A way to divide the relevance of units over their inputs."""

    @abstractmethod
    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Relevance at the unit's input.

        Args:
            unit: the operation and its input.
            relevance: relevance at its output.

        Returns:
            A tensor of the shape of ``unit.x``.
        """


@dataclass(frozen=True)
class AlphaBeta(Rule):
    r"""The alpha-beta rule (paper 2, section 4.3, of Bach et al. 2015), for inputs of any sign.

    .. math::
        R_i = \sum_j \Big(\alpha \frac{z_{ij}^+}{\sum_{i'} z_{i'j}^+ + b_j^+}
              - \beta \frac{z_{ij}^-}{\sum_{i'} z_{i'j}^- + b_j^-}\Big) R_j

    A unit whose contributions (with the bias, where it absorbs) have one sign only passes all its
    relevance through them, where the formula would read 0/0.

    Args:
        alpha: weight of the positive contributions.
        beta: weight of the negative ones, ``alpha - 1``.
    """

    alpha: float = 1.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        if not (self.beta >= 0 and abs(self.alpha - self.beta - 1) < 1e-9):
            raise ValueError(
                "alpha and beta must satisfy alpha - beta = 1 and beta >= 0, "
                f"got alpha={self.alpha} and beta={self.beta}"
            )

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        above, below = unit.x, None
        if bool(above.amin() < 0):
            above, below = above.clamp(min=0), above.clamp(max=0)
        if below is None:
            positive = unit.forward(above, unit.weight(1))
        else:
            positive = unit.forward_pair(above, below)
        bias = unit.bias if unit.absorbs else None
        if bias is not None:
            positive += bias.clamp(min=0)
        none_positive = positive <= _tiny(positive)
        active = relevance != 0
        if self.beta == 0 and not bool((none_positive & active).any()):
            # relevance is 0 wherever the denominator is, so that any divisor will do there
            shares = [relevance / positive.masked_fill_(none_positive, 1)]
            lost = None
        else:
            # summed up by itself: what the positive part leaves of the output would be rounding
            # where there are no negative contributions
            negative = self._negative(unit, above, below, bias)
            none_negative = negative >= -_tiny(negative)
            one_sided = none_positive | none_negative
            if bool((one_sided & active).any()):
                for_positive = torch.where(one_sided, 1.0, self.alpha).to(relevance.dtype)
                for_negative = torch.where(one_sided, 1.0, -self.beta).to(relevance.dtype)
                shares = [
                    torch.where(none_positive, 0, for_positive * relevance / positive),
                    torch.where(none_negative, 0, for_negative * relevance / negative),
                ]
                lost = none_positive & none_negative
            else:
                shares = [
                    (relevance * self.alpha).div_(positive.masked_fill_(none_positive, 1)),
                    (relevance * -self.beta).div_(negative.masked_fill_(none_negative, 1)),
                ]
                lost = None
        if bias is not None:
            for share, part in zip(shares, (bias.clamp(min=0), bias.clamp(max=0)), strict=False):
                unit.absorb(sum_to_shape(share, part.shape) * part)
        result = self._divide(unit, above, below, shares)
        spread = None if lost is None else unit.spread(relevance, lost)
        return result if spread is None else result + spread

    @staticmethod
    def _negative(unit: Unit, above: Tensor, below: Tensor | None, bias: Tensor | None) -> Tensor:
        """The sum of each unit's negative contributions, ``bias`` among them where it absorbs."""
        if below is None:
            negative = unit.forward(above, unit.weight(-1))
        else:
            negative = unit.forward_pair(above, below, swapped=True)
        return negative if bias is None else negative.add_(bias.clamp(max=0))

    @staticmethod
    def _divide(unit: Unit, above: Tensor, below: Tensor | None, shares: list[Tensor]) -> Tensor:
        """The contributions, positive and then negative ones, each times its unit's share."""
        if below is None:
            result = unit.adjoint(shares[0], unit.weight(1))
            for share in shares[1:]:
                result += unit.adjoint(share, unit.weight(-1))
            return result.mul_(above)
        to_above, to_below = unit.adjoint_pair(shares[0])
        for share in shares[1:]:
            more_above, more_below = unit.adjoint_pair(share, swapped=True)
            to_above, to_below = to_above + more_above, to_below + more_below
        return to_above.mul(above).add_(to_below * below)


@dataclass(frozen=True)
class ZBeta(Rule):
    r"""The z-beta rule for an input confined to :math:`[l, h]` (paper 2, section 4.3).

    .. math::
        R_i = \sum_j \frac{z_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-}
              {\sum_{i'} z_{i'j} - l_{i'} w_{i'j}^+ - h_{i'} w_{i'j}^-} R_j

    Computed as :math:`(x_i - l_i) w_{ij}^+ + (x_i - h_i) w_{ij}^-`, a sum of terms that are never
    negative. Biases do not enter the formula.

    Args:
        low: the smallest value, a number; None takes the method's ``input_range``.
        high: the largest value, likewise.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(
                f"ZBeta needs both low and high or neither, got {self.low}, {self.high}"
            )
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"ZBeta needs low < high, got low={self.low} and high={self.high}")

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        low = unit.low if self.low is None else torch.full_like(unit.x, self.low)
        high = unit.high if self.high is None else torch.full_like(unit.x, self.high)
        if low is None or high is None:
            raise ValueError(
                "ZBeta() outside the first layer, or without an input_range, needs its own bounds: "
                "ZBeta(low, high)"
            )
        from_low, from_high = (unit.x - low).clamp_(min=0), (unit.x - high).clamp_(max=0)
        total = unit.forward_pair(from_low, from_high)
        vanished = total <= _tiny(total)
        share = relevance / total.masked_fill_(vanished, 1)
        share.masked_fill_(vanished, 0)
        to_low, to_high = unit.adjoint_pair(share)
        result = to_low.mul(from_low).add_(to_high * from_high)
        spread = unit.spread(relevance, vanished)
        return result if spread is None else result + spread


@dataclass(frozen=True)
class WSquare(Rule):
    r"""The w-squared rule for an unconfined input (Montavon et al. 2017).

    .. math:: R_i = \sum_j \frac{w_{ij}^2}{\sum_{i'} w_{i'j}^2} R_j
    """

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        return _weigh(unit, relevance, unit.weight() ** 2)


@dataclass(frozen=True)
class Flat(Rule):
    r"""Equal shares for all inputs of a unit, whatever they are.

    .. math:: R_i = \sum_j \frac{1}{\sum_{i'} 1} R_j
    """

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        return _weigh(unit, relevance, torch.ones_like(unit.weight()))


@dataclass(frozen=True)
class Epsilon(Rule):
    r"""The epsilon rule (Bach et al. 2015): shares by signed contribution, stabilised.

    .. math:: R_i = \sum_j \frac{z_{ij}}{z_j + \epsilon \, \mathrm{sign}(z_j)} R_j

    where :math:`z_j` holds the bias under ``bias="absorb"`` and not under ``"ignore"``, and
    :math:`\mathrm{sign}(0) = 1`.

    Args:
        epsilon: how far denominators are kept from zero, not negative.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ValueError(f"Epsilon needs epsilon >= 0, got {self.epsilon}")

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        plain = unit.forward(unit.x, unit.weight())
        total = plain + unit.bias if unit.absorbs and unit.bias is not None else plain
        stable = total + self.epsilon * torch.where(total < 0, -1.0, 1.0).to(total.dtype)
        some = stable.abs() > _tiny(stable)
        share = torch.where(some, relevance / stable, 0)
        # what neither an input nor the spread below receives went to the bias and the stabiliser
        unit.absorb(share * (stable - plain))
        result = unit.x * unit.adjoint(share, unit.weight())
        spread = unit.spread(relevance, ~some)
        return result if spread is None else result + spread


def _weigh(unit: Unit, relevance: Tensor, weight: Tensor) -> Tensor:
    """Shares by fixed weights that are not negative."""
    total = unit.forward(unit.ones(), weight)
    some = (total > _tiny(total)).expand_as(relevance)
    share = torch.where(some, relevance / total, 0)
    result = unit.adjoint(share, weight)
    spread = unit.spread(relevance, ~some)
    return result if spread is None else result + spread


def _tiny(like: Tensor) -> float:
    """Below this a denominator counts as zero: dividing by less would overflow."""
    return torch.finfo(like.dtype).tiny * 2.0**24
