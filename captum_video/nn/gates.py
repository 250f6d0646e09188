"""Gates that a network learns: relaxed Bernoulli variables, and the modules that have them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter

from captum_video.nn._forced import forced_gates as forced_gates
from captum_video.nn._forced import forced_value

LengthScale = float | Mapping[str, float | Sequence[float]]


class FusionGates(nn.Module):
    r"""One relaxed Bernoulli gate for each unit of a layer (paper 3, equations S7, S13 and S17).

    A unit is dropped with probability :math:`p` and kept with :math:`1 - p`. In training mode every
    sample of a batch draws its own gate from the concrete distribution (Maddison et al. 2017), which
    is differentiable in :math:`p`:

    .. math:: \epsilon = \operatorname{sigmoid}\!\left(\frac{1}{\tau} \left[\log (1 - p) - \log p
              - \log(-\log r_2) + \log(-\log r_1)\right]\right), \qquad r_1, r_2 \sim U(0, 1),

    whose distribution function is
    :math:`\operatorname{sigmoid}(\tau \operatorname{logit}\epsilon - \operatorname{logit}(1-p))`
    and whose limit for :math:`\tau \to 0` is Bernoulli(:math:`1 - p`). In evaluation mode the gates
    are the ``strategy``, a buffer of zeros and ones; nothing is drawn but by :meth:`sample`.

    Departures from the text: S13 lacks the minus signs inside, without which the logarithms of
    :math:`\log r` do not exist, and reads as if :math:`p` were the probability of a one, while
    S17 takes it as that of a zero. S17 counts here, as the importance that the paper plots is
    :math:`1 - p`. The parameter is the logit of :math:`p`, so that no step leaves (0, 1).

    Args:
        units: the units' names.
        temperature: :math:`\tau`, 0.2 in the paper.
        drop_probability: :math:`p` at the start, 0.1 in the paper; one number, or one for each unit.
        device: of the parameter.
        dtype: of the parameter.

    Attributes:
        units: the units' names.
        temperature: :math:`\tau`; it can be set.
        drop_logit: ``(units,)``, :math:`\log p - \log(1 - p)`.
        strategy: ``(units,)`` bool, which units are kept in evaluation mode; all at first.

    Raises:
        ValueError: no units, a temperature that is not positive, or probabilities that are not
            between 0 and 1 (at 0 and 1 the logit is infinite and nothing can be learnt).
    """

    strategy: Tensor

    def __init__(
        self,
        units: Sequence[str],
        *,
        temperature: float = 0.2,
        drop_probability: float | Sequence[float] = 0.1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.units = tuple(units)
        if not self.units:
            raise ValueError("units must name at least one unit, got none")
        self.temperature = temperature
        self.drop_logit = Parameter(torch.empty(len(self.units), device=device, dtype=dtype))
        kept = torch.ones(len(self.units), dtype=torch.bool, device=device)
        self.register_buffer("strategy", kept)
        self.set_drop_probability(drop_probability)

    @property
    def temperature(self) -> float:
        """The relaxation's temperature; the lower, the nearer to zero and one."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"temperature must be positive and finite, got {value}")
        self._temperature = float(value)

    @torch.no_grad()
    def set_drop_probability(self, value: float | Sequence[float]) -> None:
        """Sets the probability that a unit is dropped.

        Args:
            value: one number, or one for each unit.

        Raises:
            ValueError: a number that is not between 0 and 1, or too few or too many.
        """
        given = [value] * len(self.units) if isinstance(value, int | float) else list(value)
        if len(given) != len(self.units):
            raise ValueError(
                f"drop_probability must be one number or {len(self.units)} "
                f"({', '.join(self.units)}), got {len(given)}"
            )
        for p in given:
            if not 0 < p < 1:
                raise ValueError(
                    f"drop_probability must be between 0 and 1, both excluded, got {p}: set a "
                    "strategy to drop or keep a unit for good"
                )
        logits = torch.tensor([math.log(p) - math.log1p(-p) for p in given], dtype=torch.float64)
        self.drop_logit.copy_(logits)

    def drop_probability(self) -> Tensor:
        """The probability that each unit is dropped.

        Returns:
            ``(units,)``, differentiable.
        """
        return torch.sigmoid(self.drop_logit)

    def keep_probability(self) -> Tensor:
        """The probability that each unit is kept, the paper's importance (equation S17).

        Returns:
            ``(units,)``, differentiable.
        """
        return torch.sigmoid(-self.drop_logit)

    def relaxed(self, count: int) -> Tensor:
        """Draws from the concrete distribution.

        Args:
            count: number of samples.

        Returns:
            ``(count, units)`` in [0, 1], differentiable in the probabilities; float32 or more.
        """
        logit = self.drop_logit.to(torch.promote_types(self.drop_logit.dtype, torch.float32))
        uniform = torch.rand(count, len(self.units), dtype=logit.dtype, device=logit.device)
        # the difference of two Gumbel variables is logistic; of U(0, 1) it is the logit
        uniform = uniform.clamp(min=torch.finfo(logit.dtype).tiny)
        noise = torch.log(uniform) - torch.log1p(-uniform)
        return torch.sigmoid((noise - logit) / self.temperature)

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws strategies from the posterior.

        Args:
            count: number of strategies.
            generator: the source of randomness, on the parameter's device.

        Returns:
            ``(count, units)`` bool, True for a unit that is kept.
        """
        drop = self.drop_probability()
        return torch.rand(count, len(drop), generator=generator, device=drop.device) >= drop

    @torch.no_grad()
    def set_strategy(self, kept: Tensor | Sequence[bool]) -> None:
        """Sets which units are kept in evaluation mode.

        Args:
            kept: a truth value for each unit.

        Raises:
            ValueError: the wrong number of values, or others than zeros and ones.
        """
        values = torch.as_tensor(kept)
        if values.shape != self.strategy.shape:
            raise ValueError(
                f"a strategy must have {len(self.units)} values ({', '.join(self.units)}), got shape "
                f"{tuple(values.shape)}"
            )
        if not bool(((values == 0) | (values == 1)).all()):
            raise ValueError(f"a strategy must be of zeros and ones, got {values.tolist()}")
        self.strategy.copy_(values)

    def forward(self, x: Tensor) -> Tensor:
        """The gates of a batch.

        Args:
            x: ``(N, C, T, H, W)``, or ``(C, T, H, W)`` for a single clip.

        Returns:
            ``(N, units, 1, 1, 1, 1)`` in training mode, else ``(1, units, 1, 1, 1, 1)``; without the
            first axis for a single clip. Of the dtype of ``x``.
        """
        count = x.shape[0] if x.dim() == 5 else 1
        values = forced_value(self, count)
        if values is None:
            values = self.relaxed(count) if self.training else self.strategy.unsqueeze(0)
        values = values.to(x)[..., None, None, None, None]
        return values if x.dim() == 5 else values[0]

    def extra_repr(self) -> str:
        """Units, probabilities of being kept, and temperature."""
        kept = ", ".join(
            f"{unit}: {p:.3f}"
            for unit, p in zip(self.units, self.keep_probability().tolist(), strict=True)
        )
        return f"{kept}, temperature={self.temperature:g}"


class GatedModule(nn.Module, ABC):
    """A module whose units are weighted by gates.

    Attributes:
        gates: the gates of its units, or None for a module that keeps all of them.
    """

    gates: FusionGates | None

    @abstractmethod
    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        """The weights that a unit has for itself.

        Args:
            unit: one of the gates' units.

        Returns:
            The tensors, whose squares sum up to :math:`||w||^2` of equation S12.
        """

    @abstractmethod
    def fixed(self, kept: Sequence[bool]) -> nn.Module:
        """An ordinary module of torch's own layers that does what this does under a strategy.

        Args:
            kept: a truth value for each of the gates' units.

        Returns:
            A module with copies of the weights that are needed, in the same mode.
        """


def gated_modules(model: nn.Module) -> dict[str, GatedModule]:
    """The modules with gates, by dotted name, in the model's order.

    Args:
        model: any network.

    Returns:
        The modules, each once, the model itself by its class's name; empty if there is none.
    """
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if isinstance(module, GatedModule) and module.gates is not None
    }


def separate_gates(model: nn.Module, hint: str) -> dict[str, GatedModule]:
    """As :func:`gated_modules`, of a network that must have some, each with gates of its own.

    Args:
        model: the network.
        hint: what the error says to one who has none.

    Raises:
        ValueError: no modules with gates, or two with the same gates.
    """
    modules = gated_modules(model)
    if not modules:
        raise ValueError(
            f"model must have modules with gates, got {type(model).__name__} without any: {hint}"
        )
    first: dict[int, str] = {}
    for name, module in modules.items():
        other = first.setdefault(id(module.gates), name)
        if other != name:
            raise ValueError(f"layers {other!r} and {name!r} must not have the same gates")
    return modules


def fusion_regularizer(
    model: nn.Module, samples: float, *, length_scale: LengthScale = 1.0
) -> Tensor:
    r"""The divergence of the gates' posterior from its prior, for each training sample.

    .. math:: \frac{1}{N} \sum_{l,u} \left[\frac{(1 - p_{l,u})\, k_{l,u}^2}{2} \|w_{l,u}\|^2
              + p_{l,u} \log p_{l,u} + (1 - p_{l,u}) \log (1 - p_{l,u})\right]

    (paper 3, equation S12, divided by the number of samples as in S9 for a loss that is a mean).
    Added to the mean negative log-likelihood of a batch in training mode, where gates are drawn, it
    makes the sum an estimate of the negative evidence lower bound divided by ``N``, up to a constant.

    Departure from the text: S12 leaves out the second entropy term, which proposition 4 of Gal (2016)
    has for either component of the mixture; without it a gate would be drawn to
    :math:`p = 1/e` instead of to 1/2. A unit whose weights are zero settles at 1/2, which says
    nothing about the data. The paper has gates for each layer, source layer and unit; here one for
    each layer and unit.

    Args:
        model: a network with gates; those of a module that is used twice count once.
        samples: :math:`N`, the number of training samples.
        length_scale: :math:`k`, the prior's inverse standard deviation of a weight: one number, or
            one for each module with gates, by dotted name, or one for each of its units.

    Returns:
        A scalar, differentiable in weights and probabilities; float32 or more.

    Raises:
        ValueError: a model without gates or with the same for two layers, a number of samples below
            1, a length scale that is missing, negative or not finite, too few or too many of them, or a
            probability at 0 or 1.
    """
    modules = separate_gates(model, "captum_video.nn.FusionUnit has them")
    if isinstance(samples, bool) or not samples >= 1:
        raise ValueError(f"samples must be at least 1, got {samples!r}")
    terms = []
    for name, module in modules.items():
        assert module.gates is not None
        given = module.gates.drop_logit
        logit = given.to(torch.promote_types(given.dtype, torch.float32))
        if not bool(logit.isfinite().all()):
            raise ValueError(
                f"the drop probabilities of {name!r} must be between 0 and 1, both excluded, got "
                f"{torch.sigmoid(logit).tolist()}"
            )
        units = module.gates.units
        parts = [[w.to(logit.dtype).square().sum() for w in module.weights_of(u)] for u in units]
        squares = torch.stack([torch.stack(part).sum() for part in parts])
        k = logit.new_tensor(_length_scales(length_scale, name, units))
        drop, keep = torch.sigmoid(logit), torch.sigmoid(-logit)
        # p log p with log p = -softplus(-logit) is exact where p rounds to 0 or 1
        entropy = drop * F.softplus(-logit) + keep * F.softplus(logit)
        terms.append((keep * (k**2 / 2) * squares - entropy).sum())
    return torch.stack(terms).sum() / samples


def _length_scales(given: LengthScale, name: str, units: Sequence[str]) -> list[float]:
    """A length scale for each of a module's units, checked."""
    if isinstance(given, Mapping) and name not in given:
        raise ValueError(f"length_scale must have a number for {name!r}, got none")
    own = given[name] if isinstance(given, Mapping) else given
    scales = list(own) if isinstance(own, Sequence) else [own] * len(units)
    expected = f"one number or {len(units)} ({', '.join(units)})"
    if len(scales) != len(units):
        raise ValueError(f"length_scale of {name!r} must be {expected}, got {len(scales)}")
    if wrong := [scale for scale in scales if not (math.isfinite(scale) and scale >= 0)]:
        raise ValueError(f"length_scale must not be negative or infinite, got {wrong[0]}")
    return [float(scale) for scale in scales]
