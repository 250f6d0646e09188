"""Res-TCN and its multi-stream refinement MS-Res-TCN (paper 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from models._residual_units import PipedUnit, ResidualUnit, SameConv1d
from models.info import BundledModel

WIDTHS, UNITS, KERNEL = (64, 128, 256), 3, 8


class SequenceNet(BundledModel):
    """What both nets share: the mean skeleton, the plan of layers, and the prediction layer."""

    mean: Tensor

    def __init__(self, dimensions: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        for name, value in (("dimensions", dimensions), ("classes", classes)):
            if value < 1:
                raise ValueError(f"{name} must be positive, got {value}.")
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must be positive numbers, at least one, got {widths!r}.")
        self.dimensions = dimensions
        self.register_buffer("mean", torch.zeros(dimensions, 1))

    def _predictor(self, channels: int, classes: int) -> None:
        """Final batch norm, ReLU, average over time and linear layer."""
        self.norm, self.relu = nn.BatchNorm1d(channels), nn.ReLU()
        self.average, self.flatten = nn.AdaptiveAvgPool1d(1), nn.Flatten()
        self.output = nn.Linear(channels, classes)

    def _predicted(self, sequence: Tensor) -> Tensor:
        return self.output(self.flatten(self.average(self.relu(self.norm(sequence)))))

    def _centred(self, sequence: Tensor) -> Tensor:
        """The sequence without the mean skeleton, refused if it is no sequence of this kind."""
        if sequence.dim() != 3 or sequence.shape[1] != self.dimensions or not sequence.shape[2]:
            raise ValueError(
                f"The input must be (N, {self.dimensions}, T) with at least one frame, got shape "
                f"{tuple(sequence.shape)}."
            )
        return sequence - self.mean

    def set_mean(self, mean: Tensor) -> None:
        """Sets the mean skeleton, which is subtracted from each frame of every input.

        Args:
            mean: ``(dimensions,)``, in the input's units; zeros in an untrained model.

        Raises:
            ValueError: another shape.
        """
        if mean.shape != (self.dimensions,):
            raise ValueError(f"mean must be ({self.dimensions},), got {tuple(mean.shape)}.")
        self.mean.copy_(mean.unsqueeze(1))


class ResTCN(SequenceNet):
    """Residual temporal convolutional network (paper 5, section 3).

    The mean skeleton is subtracted; ``layer1`` is a convolution of the input, without activation;
    ``layer2`` and so on are :class:`ResidualUnit`, as many of each width as ``units`` says, the
    first of every width but the first with stride 2. Then batch norm, ReLU (``norm``, ``relu``), the
    average over time, and a linear layer, ``output``. Layers bear the paper's numbers. With the
    default widths, 150 dimensions and 60 classes it has 1,874,492 parameters.

    Args:
        dimensions: of a frame, :math:`D`.
        classes: number of outputs.
        widths: filters of the layers in each block.
        units: residual units in each block.
        kernel: filter length.
        dropout: share of activations dropped in training, after every ReLU in a unit.

    Shape:
        ``(N, dimensions, T)`` to ``(N, classes)``, for any ``T``.

    Raises:
        ValueError: a number that is not positive; in a forward pass, an input of another shape.
    """

    def __init__(
        self,
        dimensions: int = 150,
        classes: int = 60,
        *,
        widths: Sequence[int] = WIDTHS,
        units: int = UNITS,
        kernel: int = KERNEL,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(dimensions, classes, widths)
        self.layer1 = SameConv1d(dimensions, widths[0], kernel)
        plan = _plan(widths, units)
        for number, (inputs, outputs, stride) in enumerate(plan, start=2):
            unit = ResidualUnit(inputs, outputs, kernel, stride, dropout)
            self.add_module(f"layer{number}", unit)
        self.depth = 1 + len(plan)
        self._predictor(widths[-1], classes)

    def forward(self, sequence: Tensor) -> Tensor:
        """Scores of a batch of sequences.

        Args:
            sequence: ``(N, dimensions, T)``, raw coordinates.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        sequence = self._centred(sequence)
        for number in range(1, self.depth + 1):
            sequence = self.get_submodule(f"layer{number}")(sequence)
        return self._predicted(sequence)


class MSResTCN(SequenceNet):
    """Multi-stream Res-TCN: a Res-TCN with a targeted-attention stream (paper 5, section 4.2).

    The attention stream is built like the main stream but sees the targeted dimensions alone: all
    others are masked by zero after the mean skeleton is subtracted, so that ``target`` changes
    neither the number of parameters nor the cost. ``layer1_main`` and ``layer1_attention`` are the
    first convolutions; ``layer2`` and so on are :class:`PipedUnit`, with submodules ``main``,
    ``attention`` and ``pipe``. Both streams are concatenated before ``norm``.

    Args:
        dimensions: of a frame.
        classes: number of outputs.
        target: the dimensions that the attention stream sees.
        widths: filters of the layers in each block, in either stream.
        units: residual units in each block.
        kernel: filter length.
        dropout: share of activations dropped in training, after every ReLU but the last.
        pipe_kernel: filter length of the pipes, of which the paper says nothing.

    Shape:
        ``(N, dimensions, T)`` to ``(N, classes)``, for any ``T``.

    Raises:
        ValueError: no target, or one outside the dimensions; a number that is not positive; in a
            forward pass, an input of another shape.
    """

    target: Tensor

    def __init__(
        self,
        dimensions: int = 150,
        classes: int = 60,
        *,
        target: Iterable[int],
        widths: Sequence[int] = WIDTHS,
        units: int = UNITS,
        kernel: int = KERNEL,
        dropout: float = 0.5,
        pipe_kernel: int = 1,
    ) -> None:
        super().__init__(dimensions, classes, widths)
        chosen = sorted(set(target))
        if not chosen or chosen[0] < 0 or chosen[-1] >= dimensions:
            raise ValueError(
                f"target must name dimensions from 0 to {dimensions - 1}, at least one, got "
                f"{chosen!r}."
            )
        mask = torch.zeros(dimensions, 1)
        mask[chosen] = 1
        self.register_buffer("target", mask)
        self.layer1_main = SameConv1d(dimensions, widths[0], kernel)
        self.layer1_attention = SameConv1d(dimensions, widths[0], kernel)
        with torch.no_grad():
            self.layer1_attention.weight.mul_(mask)  # the rest would never be trained
        plan = _plan(widths, units)
        for number, (inputs, outputs, stride) in enumerate(plan, start=2):
            unit = PipedUnit(number, inputs, outputs, kernel, stride, dropout, pipe_kernel)
            self.add_module(f"layer{number}", unit)
        self.depth = 1 + len(plan)
        self._predictor(2 * widths[-1], classes)

    def forward(self, sequence: Tensor) -> Tensor:
        """Scores of a batch of sequences.

        Args:
            sequence: ``(N, dimensions, T)``, raw coordinates.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        sequence = self._centred(sequence)
        main = self.layer1_main(sequence)
        attention = self.layer1_attention(sequence * self.target)
        for number in range(2, self.depth + 1):
            main, attention = self.get_submodule(f"layer{number}")(main, attention)
        return self._predicted(torch.cat([main, attention], dim=1))


def _plan(widths: Sequence[int], units: int) -> list[tuple[int, int, int]]:
    """Channels in, channels out and stride of each residual unit."""
    if units < 1:
        raise ValueError(f"units must be positive, got {units}.")
    plan, before = [], widths[0]
    for block, width in enumerate(widths):
        for unit in range(units):
            plan.append((before, width, 2 if block and not unit else 1))
            before = width
    return plan
