"""Networks with fusion units."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from captum_video.nn import FusionUnit, gated_modules
from tests.nets import seeded

SHAPE = (3, 2, 5, 6, 6)


class Template(nn.Module):
    """Two fusion units, rectified, and scores of the averages."""

    def __init__(self, gates: Any = "two", classes: int = 4) -> None:
        super().__init__()
        self.first = FusionUnit(2, 3, gates=gates)
        self.second = FusionUnit(3, 4, stride=(2, 1, 1), mid_channels=5, gates=gates)
        self.fc = nn.Linear(4, classes)

    def forward(self, x: Tensor, factor: Tensor | float = 1.0, offset: float = 0.0) -> Tensor:
        hidden = self.second(self.first(x).relu()).relu().mean((2, 3, 4))
        if isinstance(factor, Tensor):
            factor = factor[:, None]
        return self.fc(hidden) * factor + offset


def template(gates: Any = "two") -> Template:
    net = seeded(Template(gates))
    assert isinstance(net, Template)
    kept = ((0.75, 0.5, 0.9), (0.2, 0.6, 0.3))
    for module, keep in zip(gated_modules(net).values(), kept, strict=True):
        assert module.gates is not None
        module.gates.set_drop_probability([1 - p for p in keep[: len(module.gates.units)]])
    return net


class Listed(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.net(x)]
