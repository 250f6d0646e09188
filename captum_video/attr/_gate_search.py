"""The mean-field posterior of a trained network's gates, one gate after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from captum_video.attr._fit_batches import Loss, mean_loss, unpacked
from captum_video.nn.gates import FusionGates, forced_gates

Unit = tuple[str, int]  # a layer, and which of its units


@dataclass
class GateSearch:
    r"""Coordinate ascent on the evidence lower bound of independent gates.

    With all other gates as they are, the bound's maximum over one of them is at

    .. math:: \operatorname{logit}(1 - p) = N \Delta - c, \qquad
              \Delta = \mathbb{E}_{\epsilon}
                  \left[\ell(\epsilon_{l,u} = 0) - \ell(\epsilon_{l,u} = 1)\right]

    where the mean is over the other gates' posterior and the data. Every batch is run with the unit and
    without it under the same draw of the others, so that only what the unit does is left; all clips
    are used, so that there is no noise from a choice of them.

    Args:
        model: a network with gates, in evaluation mode.
        gates: by layer.
        data: batches of inputs and target.
        loss: of outputs and target.
        device: where the model is.
        keep: by layer, the probability that each unit is kept; changed as the search goes on.
        price: :math:`c`.
        samples: :math:`N`.
        draws: of the other gates, for each batch.
        seed: of the draws.

    Attributes:
        worth: by layer, :math:`\Delta` of each unit as last averaged; NaN where it was not asked.
    """

    model: Module
    gates: Mapping[str, FusionGates]
    data: Iterable[Any]
    loss: Loss
    device: torch.device
    keep: dict[str, Tensor]
    price: float
    samples: float
    draws: int
    seed: int
    worth: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.worth = {name: torch.full_like(one, math.nan) for name, one in self.keep.items()}
        self._generator = torch.Generator().manual_seed(self.seed)

    def sweep(self, units: Sequence[Unit], weight: float) -> float:
        """Visits every unit once, in random order.

        Args:
            units: those that are learnt.
            weight: how much the new worth of a unit counts against the average so far; below 1 it
                averages out what is owed to the draws.

        Returns:
            The largest change of a probability.
        """
        largest = 0.0
        for place in torch.randperm(len(units), generator=self._generator).tolist():
            name, unit = units[place]
            found, before = self._worth(name, unit), float(self.worth[name][unit])
            if not math.isnan(before):
                found = before + weight * (found - before)
            self.worth[name][unit] = found
            logit = torch.tensor(self.samples * found - self.price, dtype=torch.float64)
            kept = torch.sigmoid(logit)
            largest = max(largest, float((kept - self.keep[name][unit]).abs()))
            self.keep[name][unit] = kept
            with torch.no_grad():
                self.gates[name].drop_logit[unit] = -float(logit)
        return largest

    @torch.no_grad()
    def _worth(self, name: str, unit: int) -> float:
        """By how much the mean loss rises where one unit is dropped."""
        total, count = 0.0, 0
        for number, batch in enumerate(self.data):
            inputs, target = unpacked(batch, number, self.device)
            clips = len(inputs[0])
            for _ in range(self.draws):
                drawn = {
                    layer: torch.rand(1, len(keep), generator=self._generator, dtype=keep.dtype)
                    < keep
                    for layer, keep in self.keep.items()
                }
                for sign, value in ((1, False), (-1, True)):
                    drawn[name][:, unit] = value
                    with forced_gates({self.gates[layer]: one for layer, one in drawn.items()}):
                        outputs = self.model(*inputs)
                    where = f"batch {number} under drawn gates"
                    mean = mean_loss(self.loss, outputs, target, clips, where)
                    total += sign * clips * float(mean)
            count += clips * self.draws
        if not count:
            raise ValueError("data must be read again and again, but held no batch the second time")
        return total / count
