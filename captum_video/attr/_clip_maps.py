"""Maps of a layer at the clips' size."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from captum_video.attr._cam import check_mode, upsample
from captum_video.layers import Arrangement, Coverage

TemporalAlignment = Literal["receptive_field", "uniform"]


class LayerMap(NamedTuple):
    """One tensor of a layer, explained.

    Attributes:
        map: ``(N, 1, [T',] ...)`` at the layer's size, detached.
        arrangement: how the layer's axes belong to the clip's.
    """

    map: Tensor
    arrangement: Arrangement


class ClipSize(NamedTuple):
    """What a map is enlarged to: the sizes of space, the number of frames, whether it has time."""

    space: tuple[int, ...]
    frames: int
    has_time: bool

    def of(self, count: int, channels: int) -> tuple[int, ...]:
        """The shape of a map of that size."""
        return (count, channels, *([self.frames] if self.has_time else []), *self.space)


def at_clip_size(
    name: str,
    maps: list[LayerMap],
    sizes: list[ClipSize],
    mode: str,
    alignment: TemporalAlignment,
) -> list[Tensor]:
    """Maps enlarged to the clips: each to the one it belongs to, or one to all that lead to it.

    Args:
        name: the layer, for messages.
        maps: one for each of the layer's tensors.
        sizes: one for each input.
        mode: how to interpolate.
        alignment: where slices are put in time.

    Returns:
        One map for each of several tensors, or of one tensor for each input: zero for an input that
        does not lead to it.

    Raises:
        ValueError: if a map has not the input's spatial axes, or there is no such mode.
    """
    if len(maps) > 1:
        numbers = [item.arrangement.source for item in maps]
        return [
            _enlarged(name, item, number, sizes[number], mode, alignment)
            for item, number in zip(maps, numbers, strict=True)
        ]
    seen = maps[0].arrangement.seen
    return [
        _enlarged(name, maps[0], number, size, mode, alignment)
        if seen is None or number in seen
        else maps[0].map.new_zeros(size.of(*maps[0].map.shape[:2]))
        for number, size in enumerate(sizes)
    ]


def _enlarged(
    name: str,
    item: LayerMap,
    number: int,
    size: ClipSize,
    mode: str,
    alignment: TemporalAlignment,
) -> Tensor:
    """One map at the size of one input; where slices look is known for the one it belongs to."""
    placed = item.arrangement
    if len(placed.space) != len(size.space) or not (size.space or placed.has_time):
        raise ValueError(
            f"layer {name!r} gives maps of shape {tuple(item.map.shape)}, which have not the "
            f"{len(size.space)} spatial axes of the input: choose a layer with space, or ask for "
            "upsample=False"
        )
    low = item.map if placed.has_time else item.map.unsqueeze(2)
    coverage = placed.coverage if number == placed.source else None
    if coverage is None or alignment == "uniform":
        coverage = Coverage.uniform(low.shape[2], size.frames)
    high = upsample(low, coverage, size.space, check_mode(mode, len(size.space)))
    return high if size.has_time else high.squeeze(2)
