"""Descent for many small problems at once: Levenberg-Marquardt, and BFGS for what has kinks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_video.nn._chain import Fit

#: the longest step of Levenberg-Marquardt, in any number
LONGEST = 0.5


def levenberg_marquardt(
    objective: Callable[[Tensor, Tensor], Fit], places: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Lowers the loss of each problem on its own.

    Args:
        objective: from ``(b, n)`` places and the ``(b,)`` numbers of their problems to the loss with
            gradient and curvature.
        places: ``(B, n)``, where to begin.
        iterations: at most so many.

    Returns:
        the places and their losses; no loss is above that of the beginning.
    """
    places = places.clone()
    active = torch.arange(len(places), device=places.device)
    now = objective(places, active)
    losses = now.loss.clone()
    damping = torch.full_like(losses, 1e-2)
    for _ in range(iterations):
        if not len(active):
            break
        here = places[active]
        step = _damped(now, damping)
        trial = here + step
        new = objective(trial, active)
        better = new.loss < now.loss
        gain = torch.where(better, now.loss - new.loss, 0)
        places[active] = torch.where(better[:, None], trial, here)
        now = Fit(*(_where(better, one, other) for one, other in zip(new, now, strict=True)))
        losses[active] = now.loss
        damping = torch.where(better, damping / 5, damping * 4).clamp(min=1e-9)
        settled = (better & (gain <= 1e-8 * now.loss + 1e-15)) | (damping > 1e6)
        keep = ~settled
        active, damping = active[keep], damping[keep]
        now = Fit(*(part[keep] for part in now))
    return places, losses


def _damped(now: Fit, damping: Tensor) -> Tensor:
    """The step of each problem, no longer than ``LONGEST``."""
    diagonal = now.curvature.diagonal(dim1=-2, dim2=-1)
    floor = 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-30
    added = damping[:, None] * diagonal + floor
    factor, failed = torch.linalg.cholesky_ex(now.curvature + torch.diag_embed(added))
    step = torch.cholesky_solve(-now.gradient.unsqueeze(-1) / 2, factor).squeeze(-1)
    step = torch.where((failed == 0)[:, None], step, 0)
    longest = step.abs().amax(-1, keepdim=True)
    return step * (LONGEST / longest.clamp(min=LONGEST))


def bfgs(
    objective: Callable[[Tensor, Tensor], Fit], places: Tensor, iterations: int, searches: int = 24
) -> tuple[Tensor, Tensor]:
    """Lowers the loss of each problem on its own, also along its kinks.

    BFGS with the weak Wolfe conditions, found by bisection, as Lewis and Overton (2013) propose for
    functions that are not smooth.

    Args:
        objective: from ``(b, n)`` places and the ``(b,)`` numbers of their problems to the loss with
            gradient.
        places: ``(B, n)``, where to begin.
        iterations: at most so many.
        searches: at most so many trials along a line.

    Returns:
        the places and their losses; no loss is above that of the beginning.
    """
    places = places.clone()
    count = places.shape[1]
    eye = torch.eye(count, dtype=places.dtype, device=places.device)
    active = torch.arange(len(places), device=places.device)
    now = objective(places, active)
    losses, gradient = now.loss.clone(), now.gradient
    inverse = _first_inverse(gradient, eye)
    for _ in range(iterations):
        if not len(active):
            break
        here = places[active]
        direction = -(inverse @ gradient.unsqueeze(-1)).squeeze(-1)
        downhill = (direction * gradient).sum(1) < 0
        direction = torch.where(downhill[:, None], direction, -gradient)
        there, loss, slope = _weak_wolfe(
            objective, active, here, losses[active], gradient, direction, searches
        )
        gain = losses[active] - loss
        places[active], losses[active] = there, loss
        inverse = _updated(inverse, there - here, slope - gradient, eye)
        gradient = slope
        keep = gain > 1e-8 * loss + 1e-14
        active, gradient, inverse = active[keep], gradient[keep], inverse[keep]
    return places, losses


def _first_inverse(gradient: Tensor, eye: Tensor) -> Tensor:
    """Such that the first step has length 0.01."""
    length = gradient.norm(dim=1).clamp(min=1e-30)
    return eye * (0.01 / length)[:, None, None]


def _weak_wolfe(
    objective: Callable[[Tensor, Tensor], Fit],
    numbers: Tensor,
    here: Tensor,
    loss: Tensor,
    gradient: Tensor,
    direction: Tensor,
    searches: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The end of a line search: places, losses and gradients, those of the best place tried."""
    slope = (gradient * direction).sum(1)
    low, high = torch.zeros_like(loss), torch.full_like(loss, torch.inf)
    length = torch.ones_like(loss)
    best = [here.clone(), loss.clone(), gradient.clone()]
    open_ = torch.arange(len(loss), device=loss.device)
    for _ in range(searches):
        if not len(open_):
            break
        t = length[open_]
        trial = here[open_] + t[:, None] * direction[open_]
        new = objective(trial, numbers[open_])
        steep = (new.gradient * direction[open_]).sum(1)
        enough = new.loss <= loss[open_] + 1e-4 * t * slope[open_]
        flat = steep >= 0.9 * slope[open_]
        lower = open_[new.loss < best[1][open_]]
        chosen = new.loss < best[1][open_]
        best[0][lower], best[1][lower], best[2][lower] = (
            trial[chosen], new.loss[chosen], new.gradient[chosen],
        )  # fmt: skip
        high[open_] = torch.where(enough, high[open_], t)
        low[open_] = torch.where(enough, t, low[open_])
        middle = (low + high) / 2
        length = torch.where(high.isinf(), 2 * low, middle)
        open_ = open_[~(enough & flat)]
    return best[0], best[1], best[2]


def _updated(inverse: Tensor, moved: Tensor, changed: Tensor, eye: Tensor) -> Tensor:
    """The BFGS update of the inverse curvature, where the move allows it."""
    product = (moved * changed).sum(1)
    usable = product > 1e-14 * moved.norm(dim=1) * changed.norm(dim=1)
    rho = torch.where(usable, 1 / torch.where(usable, product, 1), 0)[:, None, None]
    outer = moved.unsqueeze(2) * changed.unsqueeze(1)
    left = eye - rho * outer
    new = left @ inverse @ left.mT + rho * moved.unsqueeze(2) * moved.unsqueeze(1)
    return torch.where(usable[:, None, None], new, inverse)


def _where(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(mask.view(-1, *[1] * (one.dim() - 1)), one, other)
