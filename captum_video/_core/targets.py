"""Which outputs are explained: every form of target that Captum takes, and ``"predicted"``."""

from __future__ import annotations

from typing import Any

import torch
from captum._utils.common import _select_targets
from torch import Tensor

from captum_video._core.errors import close_matches

PREDICTED = "predicted"


def resolve_target(target: Any, output: Tensor) -> Any:
    """Turns ``"predicted"`` into class numbers and refuses a target that is missing or unknown.

    Args:
        target: a target in Captum's sense (int, tuple, tensor, list of either), None for outputs
            with one value per example, or ``"predicted"``.
        output: the model's output for the clips as given.

    Returns:
        A target that Captum can select by.

    Raises:
        ValueError: for another string, None with several outputs per example, or ``"predicted"`` on
            an output that is not ``(N, classes)``.
    """
    if isinstance(target, str):
        if target != PREDICTED:
            raise ValueError(
                f"target must be a class number or 'predicted', got {target!r}. "
                f"{close_matches(target, [PREDICTED])}"
            )
        if output.dim() != 2:
            raise ValueError(
                "target='predicted' needs an output (N, classes), got shape "
                f"{tuple(output.shape)}: give the target's index"
            )
        return output.argmax(1)
    if target is None and output[:1].numel() > 1:
        raise ValueError(
            f"target is needed: the model gives {output[0].numel()} outputs per example (shape "
            f"{tuple(output.shape)}); give a class number or 'predicted'"
        )
    return target


def select(output: Tensor, target: Any) -> Tensor:
    """The target's score of each example.

    Args:
        output: ``(N, ...)``.
        target: a resolved target.

    Returns:
        ``(N,)``, differentiable.

    Raises:
        ValueError: if the target does not fit the output.
    """
    try:
        chosen = _select_targets(output, target)
    except (AssertionError, IndexError, RuntimeError) as error:
        raise ValueError(_misfit(target, output)) from error
    if chosen is None or (chosen.dim() > 0 and chosen.numel() != output.shape[0]):
        raise ValueError(_misfit(target, output))
    return chosen.reshape(-1)


def one_tensor(output: Any) -> Tensor:
    """A model's output, which must be one tensor.

    Raises:
        TypeError: naming its type.
    """
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model must return one tensor, got {type(output).__name__}: "
            "captum_video.wrap_model(model, output=...) makes it one that does"
        )
    return output


def target_score(output: Any, target: Any) -> Tensor:
    """The target's score of each example, from a model's output as it is.

    Args:
        output: what the model returned.
        target: a target in any form that is taken.

    Returns:
        ``(N,)``, differentiable.

    Raises:
        TypeError: if the output is not one tensor.
        ValueError: if the target is missing or does not fit.
    """
    return select(one_tensor(output), resolve_target(target, output))


def one_hot(output: Tensor, target: Any) -> Tensor:
    """1 at each example's target, 0 elsewhere.

    Args:
        output: ``(N, ...)``.
        target: a resolved target.

    Returns:
        A tensor of the shape of ``output``.
    """
    with torch.enable_grad():
        leaf = output.detach().requires_grad_()
        (seed,) = torch.autograd.grad(select(leaf, target).sum(), leaf)
    return seed


def _misfit(target: Any, output: Tensor) -> str:
    shown = target if not isinstance(target, Tensor) else target.tolist()
    return (
        f"target {shown!r} does not fit an output of shape {tuple(output.shape)}: give an index "
        f"within the axes after the first, or one for each of the {output.shape[0]} examples"
    )
