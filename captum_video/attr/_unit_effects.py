"""The strategies between which the effect of a unit lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_video.attr._fusion_readout import UNITS
from captum_video.nn.fusion import BOTH
from captum_video.nn.gates import FusionGates

#: a truth value for each gate, layer after layer
Kept = tuple[bool, ...]


@dataclass
class Variants:
    """The strategies to run, each once, and which of them a unit's effect is the difference of.

    Args:
        gates: by layer.
        strategies: what the other gates are; effects are averaged over them.

    Attributes:
        index: the variants with their numbers, in the order in which they are run.
        kept: ``(strategies, layers, units)``, the numbers of the variants with the unit.
        dropped: likewise without it.
    """

    gates: Mapping[str, FusionGates]
    strategies: Sequence[Mapping[str, tuple[bool, ...]]]
    index: dict[Kept, int] = field(init=False, default_factory=dict)
    kept: Tensor = field(init=False)
    dropped: Tensor = field(init=False)

    def __post_init__(self) -> None:
        pairs = [
            [
                [self._pair(strategy, layer, unit) for unit in UNITS]
                for layer in self.gates
            ]
            for strategy in self.strategies
        ]  # fmt: skip
        self.kept, self.dropped = torch.tensor(pairs).unbind(-1)

    def _pair(
        self, strategy: Mapping[str, tuple[bool, ...]], layer: str, unit: str
    ) -> tuple[int, int]:
        """The variants with a unit and without it."""
        own = self.gates[layer].units
        # S+ST without a gate of its own is both of the others
        switched = {unit} if unit in own else set(BOTH.split("+"))
        numbers = []
        for value in (True, False):
            row: list[bool] = []
            for name, gates in self.gates.items():
                held = strategy[name]
                if name == layer:
                    pairs = zip(gates.units, held, strict=True)
                    held = tuple(value if u in switched else keep for u, keep in pairs)
                row += held
            numbers.append(self.index.setdefault(tuple(row), len(self.index)))
        return numbers[0], numbers[1]

    def values(self, numbers: Tensor) -> dict[FusionGates, Tensor]:
        """The gates' values for some of the variants.

        Args:
            numbers: ``(B,)``, of the variants.

        Returns:
            For each gates module ``(B, its units)``.
        """
        table = torch.tensor(list(self.index), dtype=torch.float32)[numbers]
        sizes = [len(gates.units) for gates in self.gates.values()]
        return dict(zip(self.gates.values(), table.split(sizes, 1), strict=True))
