"""What the residual temporal convolutional networks are made of (paper 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv1d(nn.Conv1d):
    """A convolution over time that gives ``ceil(T / stride)`` steps for ``T``.

    Filters of even length look one step further ahead than back: step ``s`` sees frames
    ``stride * s - (kernel - 1) // 2`` to ``stride * s + kernel // 2``.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: filter length.
        stride: frames from one step to the next.

    Shape:
        ``(N, inputs, T)`` to ``(N, outputs, ceil(T / stride))``.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride)
        self.ends = ((kernel - 1) // 2, kernel // 2)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, sequence: Tensor) -> Tensor:
        """Convolves over time, with zeros beyond either end."""
        return super().forward(F.pad(sequence, self.ends))


class ResidualUnit(nn.Module):
    r"""One layer of the stack (paper 5, equations 1, 2, 8, 9).

    .. math:: X_l = \tilde W_l X_{l-1} + W_l * \sigma(X_{l-1}) \;(+\; \text{piped})

    :math:`\sigma` is batch norm, ReLU and dropout; :math:`\tilde W_l` is a convolution of length 1
    where width or stride change and the identity elsewhere.

    Args:
        inputs: channels of :math:`X_{l-1}`.
        outputs: channels of :math:`X_l`.
        kernel: filter length.
        stride: frames from one step to the next.
        dropout: share of activations dropped in training.

    Shape:
        ``(N, inputs, T)`` to ``(N, outputs, ceil(T / stride))``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.norm, self.relu, self.dropout = nn.BatchNorm1d(inputs), nn.ReLU(), nn.Dropout(dropout)
        self.conv = SameConv1d(inputs, outputs, kernel, stride)
        changes = inputs != outputs or stride != 1
        self.shortcut = SameConv1d(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, sequence: Tensor, piped: Tensor | None = None) -> Tensor:
        """The next layer's activations.

        Args:
            sequence: :math:`X_{l-1}`.
            piped: what another stream adds (equations 11, 12).

        Returns:
            :math:`X_l`.
        """
        gated = self.conv(self.dropout(self.relu(self.norm(sequence))))
        merged = self.shortcut(sequence) + gated
        return merged if piped is None else merged + piped


class Pipe(nn.Module):
    r"""What one stream gives to the other: :math:`H = \sigma(W^P * X)` (equations 15, 16).

    :math:`\sigma` is batch norm and ReLU, as in the equations; the text of section 4.2 has the ReLU
    alone. Dropout follows, as after every ReLU (section 5.1).

    Args:
        width: channels of both streams.
        kernel: filter length, of which the paper says nothing.
        dropout: share of activations dropped in training.

    Shape:
        ``(N, width, T)`` to the same.
    """

    def __init__(self, width: int, kernel: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv, self.norm = SameConv1d(width, width, kernel), nn.BatchNorm1d(width)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        """What is added to the other stream."""
        return self.dropout(self.relu(self.norm(self.conv(sequence))))


class PipedUnit(nn.Module):
    r"""A layer of both streams of MS-Res-TCN (equations 11-16).

    In even layers the attention stream is computed first and piped into the main stream, in odd
    layers the other way round. Equation 14 prints :math:`X'_l - 1` and means :math:`X'_{l-1}`.

    Args:
        number: the layer's number :math:`l`.
        inputs: channels of the layer before, in either stream.
        outputs: channels of this layer.
        kernel: filter length.
        stride: frames from one step to the next.
        dropout: share of activations dropped in training.
        pipe_kernel: filter length of the pipe.
    """

    def __init__(
        self,
        number: int,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        dropout: float,
        pipe_kernel: int,
    ) -> None:
        super().__init__()
        self.into_main = number % 2 == 0
        self.main = ResidualUnit(inputs, outputs, kernel, stride, dropout)
        self.attention = ResidualUnit(inputs, outputs, kernel, stride, dropout)
        self.pipe = Pipe(outputs, pipe_kernel, dropout)

    def forward(self, main: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams, one layer on.

        Args:
            main: :math:`X_{l-1}`.
            attention: :math:`X'_{l-1}`.

        Returns:
            :math:`X_l` and :math:`X'_l`.
        """
        if self.into_main:
            attention = self.attention(attention)
            return self.main(main, self.pipe(attention)), attention
        main = self.main(main)
        return main, self.attention(attention, self.pipe(main))
