"""Readouts of temporal parameters made by hand, and whether a figure can be read."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from torch import Tensor

from captum_video.attr import LayerReadout
from captum_video.nn.motion import AffineMotion


def motion(scale: Any, rotation: Any, x: Any, y: Any) -> AffineMotion:
    """Of numbers ``(steps, channels)``."""
    s, r, right, down = (torch.as_tensor(p, dtype=torch.float64) for p in (scale, rotation, x, y))
    return AffineMotion(s, r, right, down, right / 2, down / 2)


def readout(
    step: AffineMotion, cumulative: AffineMotion | None = None, name: str = "conv", **changes: Any
) -> LayerReadout:
    """A readout of these numbers."""
    facts: dict[str, Any] = {"units": "feature", "describes": "motion", "frames_per_step": 1.0}
    depth = step.scale.shape[0] + 1
    return LayerReadout(
        name, (depth, 3, 3), step=step, cumulative=cumulative or step, **(facts | changes)
    )


def drawn(steps: int, channels: int, spread: float, seed: int = 0) -> LayerReadout:
    """Random numbers about the identity."""
    generator = torch.Generator().manual_seed(seed)

    def normal(size: float) -> Tensor:
        return size * spread * torch.randn(steps, channels, generator=generator).double()

    own = motion(1 + normal(0.1), normal(10), normal(1), normal(1))
    both = AffineMotion(**{name: values.cumsum(0) for name, values in vars(own).items()})
    return readout(own, both)


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """All words of a figure that are seen, and where they lie."""
    figure.canvas.draw()
    found = [*figure.texts]
    for legend in figure.legends:
        found += legend.get_texts()
    for axes in figure.axes:
        titles = [axes.title, axes._left_title, axes._right_title]  # type: ignore[attr-defined]
        found += [*titles, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            if not axes.axison:
                continue
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            found += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
            found += [tick.label2 for tick in ticks if low <= tick.get_loc() <= high]
            found.append(axis.label)
    seen = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in seen]


def assert_legible(figure: Figure, *, slanted: bool = False) -> None:
    """No word lies outside the figure or on another one; boxes of slanted words may overlap."""
    found = texts(figure)
    assert len(found) > 5
    outer = figure.bbox
    for number, (text, box) in enumerate(found):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= outer.x1 + 1 and box.y1 <= outer.y1 + 1
        assert inside, text
        for other, place in found[number + 1 :]:
            across = min(box.x1, place.x1) - max(box.x0, place.x0)
            down = min(box.y1, place.y1) - max(box.y0, place.y0)
            assert slanted or across <= 1 or down <= 1, (text, other)
