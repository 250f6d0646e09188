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


class Unit(ABC):
    """A weighted operation with its input, as a rule sees it.

    Attributes:
        x: the input.
        low: the smallest value that the input can take, laid over ``x``, or None.
        high: the largest, likewise.
        bias: what is added to the units, broadcast over the output, or None; also when the rule
            leaves biases aside, since it is part of ``output``.
        output: the units' values before the activation if they were kept, bias included.
        absorbs: whether biases take their share of relevance.
        fan_in: how many contributions a unit sums up, for the rounding to expect.
    """

    x: Tensor
    low: Tensor | None
    high: Tensor | None
    bias: Tensor | None
    output: Tensor | None
    absorbs: bool
    fan_in: int

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The operation without bias."""

    @abstractmethod
    def adjoint(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Its transpose in ``x``."""

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

    needs_output: bool = False

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

    @property
    def needs_output(self) -> bool:  # type: ignore[override]
        """The negative part of a unit is what the positive part leaves of its output."""
        return self.beta != 0

    def propagate(self, unit: Unit, relevance: Tensor) -> Tensor:
        """Divides relevance; see :meth:`Rule.propagate`."""
        above, below = unit.x.clamp(min=0), None
        if bool((unit.x < 0).any()):
            below = unit.x.clamp(max=0)
        positive = unit.forward(above, unit.weight(1))
        if below is not None:
            positive = positive + unit.forward(below, unit.weight(-1))
        bias_above = bias_below = None
        if unit.absorbs and unit.bias is not None:
            bias_above, bias_below = unit.bias.clamp(min=0), unit.bias.clamp(max=0)
            positive = positive + bias_above
        some_positive = positive > _tiny(positive)
        if self.beta == 0 and not bool((~some_positive & (relevance != 0)).any()):
            to_positive = torch.where(some_positive, relevance / positive, 0)
            to_negative = None
        else:
            negative = self._negative(unit, positive, bias_above)
            rounding = 4 * torch.finfo(positive.dtype).eps * unit.fan_in**0.5
            some_negative = negative < -rounding * positive - _tiny(positive)
            both = some_positive & some_negative
            for_positive = torch.where(both, self.alpha, 1.0).to(relevance.dtype) * relevance
            for_negative = torch.where(both, -self.beta, 1.0).to(relevance.dtype) * relevance
            to_positive = torch.where(some_positive, for_positive / positive, 0)
            to_negative = torch.where(some_negative, for_negative / negative, 0)
        result = self._divide(unit, above, below, to_positive, 1)
        if to_negative is not None and bool((to_negative != 0).any()):
            result = result + self._divide(unit, above, below, to_negative, -1)
        if bias_above is not None and bias_below is not None:
            unit.absorb(to_positive * bias_above)
            if to_negative is not None:
                unit.absorb(to_negative * bias_below)
        if to_negative is not None:
            spread = unit.spread(relevance, ~some_positive & ~some_negative)
            result = result if spread is None else result + spread
        return result

    @staticmethod
    def _negative(unit: Unit, positive: Tensor, bias_above: Tensor | None) -> Tensor:
        """The sum of a unit's negative contributions, and of its bias where that absorbs."""
        output = unit.output
        if output is None or output.dtype != positive.dtype:
            output = unit.forward(unit.x, unit.weight())
            if bias_above is not None and unit.bias is not None:
                output = output + unit.bias
        elif bias_above is None and unit.bias is not None:
            output = output - unit.bias
        return output - positive

    @staticmethod
    def _divide(unit: Unit, above: Tensor, below: Tensor | None, share: Tensor, sign: int) -> Tensor:
        """The contributions of one sign, each times its unit's share."""
        result = above * unit.adjoint(share, unit.weight(sign))
        if below is not None:
            result = result + below * unit.adjoint(share, unit.weight(-sign))
        return result


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
            raise ValueError(f"ZBeta needs both low and high or neither, got {self.low}, {self.high}")
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
        from_low, from_high = (unit.x - low).clamp(min=0), (unit.x - high).clamp(max=0)
        total = unit.forward(from_low, unit.weight(1)) + unit.forward(from_high, unit.weight(-1))
        some = total > _tiny(total)
        share = torch.where(some, relevance / total, 0)
        result = from_low * unit.adjoint(share, unit.weight(1))
        result = result + from_high * unit.adjoint(share, unit.weight(-1))
        spread = unit.spread(relevance, ~some)
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

