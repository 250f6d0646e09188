"""The steps that move gates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from captum_video.nn.gates import FusionGates


class Descent:
    """Adam on the natural gradient of the logits, with a rate that falls along half a cosine.

    The Fisher information of a Bernoulli variable's logit is ``p (1 - p)``. Divided by it, the
    gradient does not vanish where a gate is almost sure: the prior's share becomes
    ``(logit(p) - price) / samples``, which leads back from everywhere.

    Args:
        gates: by layer; their parameters are moved.
        learnt: which of all the gates' units move, in the order of the layers.
        lr: the rate of the first step.
        steps: how many are taken.
    """

    def __init__(
        self, gates: Mapping[str, FusionGates], learnt: Tensor, lr: float, steps: int
    ) -> None:
        self._names = tuple(gates)
        self._logits = [one.drop_logit for one in gates.values()]
        self._learnt, self._lr, self._steps = learnt, lr, steps
        self._place = torch.cat([logit.detach() for logit in self._logits]).double()
        self._optimizer = torch.optim.Adam([self._place], lr=lr)
        self._taken = 0
        self._reached: set[int] = set()

    @property
    def unreached(self) -> tuple[str, ...]:
        """The layers that no loss depended on."""
        return tuple(n for number, n in enumerate(self._names) if number not in self._reached)

    def step(self, loss: Tensor, prior: Tensor) -> None:
        """Moves the logits down the sum of both.

        Args:
            loss: the mean loss.
            prior: the divergence from the prior.

        Raises:
            ValueError: the loss does not depend on any gate.
        """
        found: Sequence[Tensor | None] = [None]
        if loss.requires_grad:
            found = torch.autograd.grad(loss, self._logits, allow_unused=True)
        if all(one is None for one in found):
            raise ValueError(
                "the loss does not depend on any of the gates: it must be differentiable, and the "
                "model must call its layers, under enabled gradients"
            )
        self._reached |= {number for number, one in enumerate(found) if one is not None}
        of_prior = torch.autograd.grad(prior, self._logits)
        total = [a if b is None else a + b for a, b in zip(of_prior, found, strict=True)]
        information = torch.sigmoid(self._place) * torch.sigmoid(-self._place)
        self._place.grad = torch.cat(total).double() * self._learnt / information
        share = self._taken / self._steps
        self._optimizer.param_groups[0]["lr"] = self._lr * (1 + math.cos(math.pi * share)) / 2
        self._optimizer.step()
        self._taken += 1
        sizes = [len(logit) for logit in self._logits]
        with torch.no_grad():
            for logit, values in zip(self._logits, self._place.split(sizes), strict=True):
                logit.copy_(values)
