"""What temporal parameters read as, layer by layer, and as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from captum_video._core.files import write_rows
from captum_video.nn.motion import AffineMotion

Units = Literal["feature", "input", "paper"]
Describes = Literal["motion", "kernel"]


@dataclass(frozen=True)
class LayerReadout:
    """The temporal parameters of one layer.

    Attributes:
        layer: its dotted name.
        kernel_size: depth, height and width of its kernels.
        units: what translations are measured in: ``"feature"``, pixels of the layer's input;
            ``"input"``, pixels of the model's input; ``"paper"``, pixels of the frame as the paper
            scales them.
        describes: ``"motion"``, how the content of a kernel moves from slice to slice, which is the
            motion that the channel responds to; ``"kernel"``, where a slice samples the one before
            (the parameters themselves), which is the inverse.
        step: of each step, ``(steps, channels)``.
        cumulative: from the first slice to the one after each step, ``(steps, channels)``.
        frames_per_step: frames between two slices: of the model's input for ``units="input"``, else
            of the layer's.
        y_axis: whether ``translation_y`` points ``"down"`` on the screen, or ``"up"`` as in the
            paper's plots.
        explained: ``(channels,)``, the share of each kernel's energy that a fitted chain explains;
            None for a 3TConv, whose kernels are such chains.
        explained_still: ``(channels,)``, the share that equal slices explain, without any motion.
    """

    layer: str
    kernel_size: tuple[int, int, int]
    units: Units
    describes: Describes
    step: AffineMotion
    cumulative: AffineMotion
    frames_per_step: float
    y_axis: Literal["down", "up"] = "down"
    explained: Tensor | None = None
    explained_still: Tensor | None = None

    @property
    def channels(self) -> int:
        """The number of output channels."""
        return self.step.scale.shape[1]

    @property
    def steps(self) -> int:
        """The number of transformations, one less than the kernel is deep."""
        return self.step.scale.shape[0]

    def rows(self) -> Iterator[dict[str, str | int | float]]:
        """One row for each channel and step (from 1), with plain numbers.

        Yields:
            Layer, channel, step; scale, rotation (degrees), translations (pixels, fractions) of the
            step and cumulated; units, and the explained shares of a fit.
        """
        parts = {"": vars(self.step), "cumulative_": vars(self.cumulative)}
        columns = {
            prefix + name: values.T.tolist()
            for prefix, part in parts.items()
            for name, values in part.items()
        }
        shares = {
            name: values.tolist()
            for name in ("explained", "explained_still")
            if (values := getattr(self, name)) is not None
        }
        for channel in range(self.channels):
            for step in range(self.steps):
                row: dict[str, str | int | float] = {
                    "layer": self.layer,
                    "channel": channel,
                    "step": step + 1,
                }
                row.update({name: values[channel][step] for name, values in columns.items()})
                row |= {
                    "units": self.units,
                    "describes": self.describes,
                    "y_axis": self.y_axis,
                    "frames_per_step": self.frames_per_step,
                }
                row.update({name: values[channel] for name, values in shares.items()})
                yield row


class TemporalReadout(Mapping[str, LayerReadout]):
    """The readout of several layers by dotted name, in the model's order.

    Args:
        layers: by name.
    """

    def __init__(self, layers: Mapping[str, LayerReadout]) -> None:
        self._layers = dict(layers)

    def __getitem__(self, name: str) -> LayerReadout:
        """The readout of a layer."""
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        """The layers' names."""
        return iter(self._layers)

    def __len__(self) -> int:
        """The number of layers."""
        return len(self._layers)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {r.channels} x {r.steps}" for name, r in self.items())
        return f"TemporalReadout({shown})"

    def rows(self) -> list[dict[str, str | int | float]]:
        """The rows of all layers, as ``pandas.DataFrame`` takes them.

        Returns:
            As :meth:`LayerReadout.rows`.
        """
        return [row for readout in self.values() for row in readout.rows()]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as comma-separated values, whole or not at all.

        Args:
            path: the file; one that is there is replaced.
        """
        write_rows(path, self.rows())
