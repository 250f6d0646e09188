"""Which axis of an input is which."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ClipAxes:
    """The axes of an input, after the batch axis 0.

    Attributes:
        time: the time axis, or None.
        space: those that are neither time nor channels, in order.
    """

    time: int | None
    space: tuple[int, ...]

    @staticmethod
    def of(tensor: Tensor, time_dim: int | None = None) -> ClipAxes:
        """The axes of a tensor.

        Args:
            tensor: ``(N, C, T, H, W)``, ``(N, C, H, W)``, ``(N, C, T)``, ``(N, C)``, or another
                layout whose time axis is named.
            time_dim: the time axis; None for axis 2 of 5 or of 3 axes, and none of 4 or 2.

        Returns:
            The axes; the first that is not time holds the channels.

        Raises:
            ValueError: if ``time_dim`` is no axis after the first.
        """
        if time_dim is not None and not 0 < time_dim < tensor.dim():
            raise ValueError(
                f"time_dim must be an axis from 1 to {tensor.dim() - 1} of an input of shape "
                f"{tuple(tensor.shape)}, got {time_dim}"
            )
        time = time_dim if time_dim is not None else 2 if tensor.dim() in (3, 5) else None
        others = [axis for axis in range(1, tensor.dim()) if axis != time]
        return ClipAxes(time, tuple(others[1:]))
