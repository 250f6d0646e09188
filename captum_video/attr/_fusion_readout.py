"""What a fusion posterior reads as, layer by layer, and as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from captum_video._core.files import write_rows
from captum_video.nn.fusion import BOTH, ST, S
from captum_video.nn.gates import FusionGates

#: the columns of every readout
UNITS = (S, ST, BOTH)


class FusionReadout(Mapping[str, Mapping[str, float]]):
    """The probability that each layer keeps each unit: a mapping from layers to units to numbers.

    Args:
        gates: by layer, in the model's order.
        prior: by layer, the probability with which each of its units would be kept if the data said
            nothing, NaN for one that was not learnt; None where that is not known.

    Attributes:
        layers: the layers' names.
        units: ``("S", "ST", "S+ST")``.
        probability: ``(layers, units)`` float64, :math:`1 - p`. Where S+ST has no gate of its own it
            is the product of the other two, the probability that both are kept.
        time: ``(layers,)`` float64, the probability that time reaches through: that ST is kept, or a
            unit S+ST of its own, or both.
        prior: like ``probability``, if the data said nothing; None where that is not known.
    """

    def __init__(
        self, gates: Mapping[str, FusionGates], prior: Mapping[str, Tensor] | None = None
    ) -> None:
        self.layers, self.units = tuple(gates), UNITS
        kept = {name: one.keep_probability().detach().double().cpu() for name, one in gates.items()}
        self.probability: Tensor = _table(gates, kept)
        self.prior = None if prior is None else _table(gates, prior)
        own = torch.tensor([BOTH in one.units for one in gates.values()])
        _, st, both = self.probability.unbind(1)
        self.time: Tensor = torch.where(own, 1 - (1 - st) * (1 - both), st)

    def __getitem__(self, layer: str) -> dict[str, float]:
        """The probabilities of a layer by unit."""
        if layer not in self.layers:
            raise KeyError(layer)
        row = self.probability[self.layers.index(layer)]
        return dict(zip(self.units, row.tolist(), strict=True))

    def __iter__(self) -> Iterator[str]:
        """The layers' names."""
        return iter(self.layers)

    def __len__(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def __repr__(self) -> str:
        lines = (
            f"{layer}: " + ", ".join(f"{unit} {p:.2f}" for unit, p in self[layer].items())
            for layer in self
        )
        return "FusionReadout(\n  " + "\n  ".join(lines) + "\n)"

    def rows(self) -> list[dict[str, str | int | float]]:
        """One row for each layer, as ``pandas.DataFrame`` takes them.

        Returns:
            The layer's name and depth (from 1), and the probabilities of S, ST, S+ST and of time.
        """
        return [
            {"layer": layer, "depth": depth, **self[layer], "time": float(self.time[depth - 1])}
            for depth, layer in enumerate(self, start=1)
        ]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as comma-separated values, whole or not at all.

        Args:
            path: the file; one that is there is replaced.
        """
        write_rows(path, self.rows())


def _table(gates: Mapping[str, FusionGates], kept: Mapping[str, Tensor]) -> Tensor:
    """Probabilities of S, ST and S+ST, which is the product of the others where it has no gate."""
    rows = []
    for name, one in gates.items():
        by_unit = dict(zip(one.units, kept[name], strict=True))
        s, st = by_unit[S], by_unit[ST]
        rows.append(torch.stack([s, st, by_unit.get(BOTH, s * st)]))
    return torch.stack(rows)
