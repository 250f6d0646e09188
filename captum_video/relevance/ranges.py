"""The range of values that an input can take, for the z-beta rule of the first layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from captum_video.relevance.flow import Raw

Bound = float | int | Sequence[float] | Tensor
InputRange = tuple[Bound, Bound]


def normalized_range(
    mean: Bound, std: Bound, low: Bound = 0.0, high: Bound = 1.0
) -> tuple[Tensor, Tensor]:
    """The range of a normalised input: ``((low - mean) / std, (high - mean) / std)``.

    Args:
        mean: what the preprocessing subtracts, a number or one per channel.
        std: what it divides by, positive, a number or one per channel.
        low: the smallest value before normalisation (0 for pixels in [0, 1]).
        high: the largest value before normalisation (1, or 255 for pixels in 0..255).

    Returns:
        Two tensors, to be given as ``input_range``.

    Raises:
        ValueError: if ``std`` holds a value that is not positive, or ``low`` is above ``high``.

    Example:
        >>> from captum_video import normalized_range
        >>> low, high = normalized_range(mean=[0.5, 0.5, 0.25], std=[0.25, 0.25, 0.25])
        >>> low.tolist(), high.tolist()
        ([-2.0, -2.0, -1.0], [2.0, 2.0, 3.0])
    """
    mean_, std_, low_, high_ = (
        torch.as_tensor(v, dtype=torch.float64) for v in (mean, std, low, high)
    )
    if not bool((std_ > 0).all()):
        raise ValueError(f"std must be positive, got {std}")
    if not bool((low_ <= high_).all()):
        raise ValueError(f"low must not exceed high, got low={low} and high={high}")
    return (low_ - mean_) / std_, (high_ - mean_) / std_


def raw_value(x: Tensor, input_range: InputRange | None, name: str) -> Raw:
    """The mark of an input as its own first value, with its range laid over its shape.

    Args:
        x: the input, ``(N, C, ...)``.
        input_range: low and high, each a number, one value per channel, or anything that
            broadcasts to ``x``; None when it is not known.
        name: the input's name for messages.

    Returns:
        The mark, its range widened where ``x`` lies outside it.

    Raises:
        ValueError: if the range is not two bounds, does not broadcast, is not finite, or is empty.
    """
    if input_range is None:
        return Raw()
    if not isinstance(input_range, (tuple, list)) or len(input_range) != 2:
        raise ValueError(f"input_range must be a pair (low, high), got {input_range!r}")
    low, high = (_laid_over(bound, x) for bound in input_range)
    if not (bool(low.isfinite().all()) and bool(high.isfinite().all())):
        raise ValueError(f"input_range must be finite, got {input_range!r}")
    if not bool((low < high).all()):
        raise ValueError(f"input_range must have low < high everywhere, got {input_range!r}")
    # the caller's normalisation rounds, mostly in single precision; that is not worth a word
    rounding = 16 * max(torch.finfo(dtype).eps for dtype in (x.dtype, torch.float32))
    slack = rounding * torch.maximum(low.abs(), high.abs()).amax()
    if bool((x < low - slack).any()) or bool((x > high + slack).any()):
        warnings.warn(
            f"{name} reaches from {x.min().item():.6g} to {x.max().item():.6g}, outside input_range "
            f"({low.min().item():.6g} to {high.max().item():.6g}); the range is widened to hold it. "
            "Give the range of the values that the model sees, after normalisation.",
            stacklevel=2,
        )
        each = (-1, *[1] * (x.dim() - 1))  # by example, so that a batch gives what its clips give
        least, most = x.flatten(1).amin(1).view(each), x.flatten(1).amax(1).view(each)
        return Raw(torch.minimum(low, least), torch.maximum(high, most))
    return Raw(low, high)


def _laid_over(bound: Bound, x: Tensor) -> Tensor:
    """``bound`` as an expanded view of the shape of ``x``."""
    values = torch.as_tensor(bound).detach().to(device=x.device, dtype=x.dtype)
    if values.dim() == 1 and x.dim() > 1 and values.numel() == x.shape[1]:
        values = values.view(-1, *[1] * (x.dim() - 2))
    try:
        return values.expand(x.shape)
    except RuntimeError:
        raise ValueError(
            f"input_range bound of shape {tuple(values.shape)} does not fit an input of shape "
            f"{tuple(x.shape)}: give a number or {x.shape[1]} values, one per channel"
        ) from None
