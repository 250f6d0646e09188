"""What the model answers to a clip."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._wrapped import in_options
from captum_video.nn.wrapping import WrappingError, answering_one_tensor, picked


def scores(model: nn.Module, inputs: Tensor) -> Tensor:
    """What a classifier answers.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, C, T, H, W), or (N, D, T).

    Returns:
        (N, classes), on the CPU.

    Raises:
        ModelError: if it fails on such an input or answers in another form.
    """
    return _scores(_asked(model, inputs), inputs)


def first_scores(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """What a classifier answers, which may be more than its scores.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, C, T, H, W), or (N, D, T).

    Returns:
        The model, wrapped if its answer is not a tensor, and its scores (N, classes), on the CPU.

    Raises:
        ModelError: if it fails on such an input or answers in another form.
        UsageError: if it cannot be told which part of the answer holds the scores.
    """
    outputs = _asked(model, inputs)
    if not isinstance(outputs, Tensor):
        model = answering_one_tensor(model)
        try:
            outputs = picked(outputs, None)
        except WrappingError as error:
            raise failure(error, inputs) from error
    return model, _scores(outputs, inputs)


def _scores(outputs: Any, inputs: Tensor) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.dim() == 1 and len(outputs) == len(inputs):
        outputs = outputs.unsqueeze(1)
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(inputs):
        form = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        numbers = isinstance(outputs, Tensor) and inputs.dim() == 5
        hint = ", or explain it by --method regression-grad-cam" if numbers else ""
        raise ModelError(
            f"the model must answer a tensor (N, classes), got {form}: give a factory that wraps "
            f"it{hint}"
        )
    return _finite(outputs.float().cpu(), inputs)


def outputs_of(model: nn.Module, inputs: Tensor) -> Any:
    """What a regression answers, in whatever form.

    Args:
        model: the model, in evaluation mode.
        inputs: (N, C, T, H, W), or (N, D, T).

    Returns:
        The answer as it is; a tensor has one row for each clip and is finite.

    Raises:
        ModelError: if it fails on such an input, or answers something that is not finite.
        UsageError: if it has no such part as ``--answer`` wants.
    """
    outputs = _asked(model, inputs)
    if isinstance(outputs, Tensor):
        if outputs.dim() == 0 or len(outputs) != len(inputs):
            raise ModelError(
                f"the model must answer one row for each of {len(inputs)} clips, got shape "
                f"{tuple(outputs.shape)}"
            )
        _finite(outputs, inputs)
    return outputs


def failure(error: Exception, inputs: Tensor) -> ModelError | UsageError:
    """What to say of a model that raises.

    Args:
        error: what it raised.
        inputs: what it was fed.

    Returns:
        The error to raise.
    """
    if isinstance(error, WrappingError):
        return UsageError(in_options(error))
    reason = (str(error).strip() or "no reason given").rstrip(".")
    options = "--frames and --actors" if inputs.dim() == 3 else "--frames, --size and --grey"
    return ModelError(
        f"the model failed on an input of shape {tuple(inputs.shape)} ({axes(inputs)}): "
        f"{type(error).__name__}: {reason}. Check {options}"
    )


def axes(inputs: Tensor) -> str:
    """What the axes of an input are.

    Args:
        inputs: of a video or a sequence.

    Returns:
        Such as ``N, C, T, H, W``.
    """
    return "N, D, T" if inputs.dim() == 3 else "N, C, T, H, W"


def _asked(model: nn.Module, inputs: Tensor) -> Any:
    try:
        with torch.no_grad():
            return model(inputs)
    except Exception as error:
        raise failure(error, inputs) from error


def _finite(outputs: Tensor, inputs: Tensor) -> Tensor:
    if not bool(outputs.isfinite().all()):
        raise ModelError(
            f"the model answers NaN or infinity on an input of shape {tuple(inputs.shape)}"
        )
    return outputs
