"""Batches of clips with targets, and the loss on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video._core.checks import check_inputs

Loss = Callable[[Any, Any], Tensor]


def cross_entropy(outputs: Any, target: Any) -> Tensor:
    """The cross-entropy of classes.

    Args:
        outputs: ``(N, classes)``.
        target: ``(N,)`` class numbers, or ``(N, classes)`` probabilities.

    Returns:
        ``(N,)``.

    Raises:
        ValueError: outputs of another shape.
        TypeError: a target that is no tensor.
    """
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        shown = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"outputs must be (N, classes) unless a loss is given, got {shown}")
    if not isinstance(target, Tensor):
        raise TypeError(
            f"the targets must be a tensor unless a loss is given, got {type(target).__name__}"
        )
    return F.cross_entropy(outputs, target, reduction="none")


def unpacked(batch: Any, number: int, device: torch.device) -> tuple[tuple[Tensor, ...], Any]:
    """Inputs and target of a batch, on the device.

    Args:
        batch: a pair of a tensor, or a tuple or list of them, and the target.
        number: which batch it is, for messages.
        device: where it goes.

    Returns:
        The inputs, and the target with the tensors in it moved.

    Raises:
        TypeError: a batch of another kind, or inputs that are not floating-point tensors.
        ValueError: inputs that are empty, not finite, or differ in their number of clips.
    """
    if not isinstance(batch, list | tuple) or hasattr(batch, "_fields") or len(batch) != 2:
        shown = type(batch).__name__
        if isinstance(batch, list | tuple):
            shown += f" of {len(batch)}"
        raise TypeError(
            f"batches of data must be pairs (inputs, target), got a {shown} (batch {number}): map "
            "them, for example with [(batch.clip, batch.label) for batch in loader]"
        )
    inputs = tuple(batch[0]) if isinstance(batch[0], list | tuple) else (batch[0],)
    try:
        check_inputs(inputs)
    except (TypeError, ValueError) as error:
        raise type(error)(f"batch {number} of data: {error}") from error
    return tuple(one.to(device) for one in inputs), _moved(batch[1], device)


def _moved(value: Any, device: torch.device) -> Any:
    """A target on the device, with the tensors in it."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(one, device) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(one, device) for one in value)
    if isinstance(value, dict):
        return {key: _moved(one, device) for key, one in value.items()}
    return value


def mean_loss(loss: Loss, outputs: Any, target: Any, clips: int, where: str) -> Tensor:
    """The mean loss of a batch.

    Args:
        loss: a function of outputs and target.
        outputs: of the model.
        target: of the batch.
        clips: in the batch.
        where: where we are, for messages.

    Returns:
        A scalar.

    Raises:
        ValueError: a loss of another shape, or one that is not finite.
    """
    value = loss(outputs, target)
    if not isinstance(value, Tensor) or value.shape not in ((), (clips,)):
        shown = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"loss must give a scalar tensor or one number for each of {clips} clips, got {shown}"
        )
    if not bool(value.isfinite().all()):
        raise ValueError(f"the loss must be finite, got {value.mean()} at {where}")
    return value.mean()


def is_right(outputs: Any, truth: Any) -> Tensor:
    """Whether the highest score is that of the true class.

    Args:
        outputs: ``(N, classes)``.
        truth: ``(N,)``, class numbers.

    Returns:
        ``(N,)`` bool.

    Raises:
        ValueError: outputs or truth of another shape.
    """
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        shown = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"outputs must be (N, classes) unless a metric is given, got {shown}")
    answers = torch.as_tensor(truth, device=outputs.device)
    if answers.shape != outputs.shape[:1]:
        raise ValueError(
            f"the truth must be a class number for each of {len(outputs)} clips unless a metric is "
            f"given, got shape {tuple(answers.shape)}"
        )
    return outputs.argmax(1) == answers
