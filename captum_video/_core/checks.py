"""What an input must be before it is explained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuses a value that is none of ``choices``.

    Raises:
        ValueError: naming the argument, the value and the choices.
    """
    if value not in choices:
        expected = " or ".join(repr(c) for c in choices)
        raise ValueError(f"{name} must be {expected}, got {value!r}")


def check_model(model: object) -> None:
    """Refuses a model that cannot be called.

    Raises:
        TypeError: naming its type.
    """
    if not callable(model):
        raise TypeError(f"model must be callable, got {type(model).__name__}")


def check_frames_per_clip(value: int | None) -> None:
    """Refuses a number of frames that is none.

    Raises:
        ValueError: if it is not a positive integer or None.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"frames_per_clip must be a positive integer or None, got {value!r}")


def check_inputs(inputs: Sequence[object]) -> None:
    """Refuses inputs that cannot be explained.

    Args:
        inputs: what the caller passed, as a tuple.

    Raises:
        TypeError: if one is no tensor or not of a floating-point type.
        ValueError: if one is empty, has no batch axis, holds NaN or infinity, or the inputs differ
            in their number of examples.
    """
    if not inputs:
        raise ValueError("inputs must hold at least one tensor, got an empty tuple")
    for number, tensor in enumerate(inputs):
        name = "inputs" if len(inputs) == 1 else f"inputs[{number}]"
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(
                f"{name} must be of a floating-point dtype, got {tensor.dtype}: convert it, for "
                "example with clip.float() / 255, and normalise it as the model expects"
            )
        if tensor.dim() < 2 or tensor.numel() == 0:
            raise ValueError(
                f"{name} must be a non-empty batch (N, C, ...), got shape {tuple(tensor.shape)}"
            )
        if not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise ValueError(
                f"{name} holds {bad} values that are NaN or infinite; they must be finite"
            )
    counts = {tensor.shape[0] for tensor in inputs if isinstance(tensor, Tensor)}
    if len(counts) > 1:
        raise ValueError(f"inputs must agree in their number of examples, got {sorted(counts)}")


def check_clips(clips: Sequence[Tensor], time_dim: int | None) -> int:
    """Refuses inputs without a usable time axis.

    Args:
        clips: inputs that passed :func:`check_inputs`.
        time_dim: the time axis, or None for axis 2 of ``(N, C, T, H, W)``.

    Returns:
        The time axis.

    Raises:
        ValueError: if a clip has the wrong number of axes, looks channel-last, has fewer than two
            frames, or the clips differ in length.
    """
    axis = 2 if time_dim is None else time_dim
    for number, clip in enumerate(clips):
        name = "inputs" if len(clips) == 1 else f"inputs[{number}]"
        shape = tuple(clip.shape)
        if time_dim is None and clip.dim() != 5:
            raise ValueError(
                f"{name} must be clips (N, C, T, H, W), got shape {shape}; add the batch axis with "
                "unsqueeze(0), or name the time axis of another layout with time_dim"
            )
        if time_dim is None and shape[-1] <= 4 < min(shape[1], shape[3]):
            raise ValueError(
                f"{name} must be clips (N, C, T, H, W), got shape {shape}, which looks like "
                "(N, T, H, W, C): use clip.permute(0, 4, 1, 2, 3)"
            )
        if not 0 < axis < clip.dim():
            raise ValueError(f"time_dim must be an axis from 1 to {clip.dim() - 1}, got {time_dim}")
        if shape[axis] < 2:
            raise ValueError(
                f"{name} has {shape[axis]} frame along axis {axis} (shape {shape}); telling motion "
                "from appearance takes at least 2"
            )
    lengths = {clip.shape[axis] for clip in clips}
    if len(lengths) > 1:
        raise ValueError(f"all inputs must have the same number of frames, got {sorted(lengths)}")
    return axis


def check_target_length(target: object, count: int) -> None:
    """Refuses targets for another number of examples.

    Without this, one that happens to fit an internal batch would be taken for every such batch.

    Args:
        target: in any form that Captum takes: one for all (a number, a tuple, a tensor of one
            element) or one for each example (a list, a tensor).
        count: the number of examples.

    Raises:
        ValueError: a list or a one-dimensional tensor of another length.
    """
    if isinstance(target, Tensor):
        given = len(target) if target.dim() == 1 and target.numel() > 1 else count
    else:
        given = len(target) if isinstance(target, list) else count
    if given != count:
        raise ValueError(
            f"target must have one entry for each of the {count} examples, got {given}"
        )


def examples(value: object, rows: Tensor, count: int) -> object:
    """The part of an argument that belongs to some examples.

    Args:
        value: a target or a forward argument, alone or in a tuple of forward arguments.
        rows: the numbers of the examples, possibly repeated.
        count: the number of examples in the whole batch.

    Returns:
        Rows of a tensor or of a list that has one entry for each example; anything else as it is.
    """
    if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == count:
        return value[rows.to(value.device)]
    if isinstance(value, list) and len(value) == count:
        return [value[row] for row in rows.tolist()]
    return value


def chunks(count: int, size: int | None) -> list[range]:
    """``range(count)`` in parts of at most ``size``.

    Raises:
        ValueError: if ``size`` is not positive.
    """
    if size is None:
        return [range(count)]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"internal_batch_size must be a positive integer or None, got {size!r}")
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
