"""The twin of the tracer: disturb one input index at a time and see which entries change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor

from captum_video.layers.layout import Extent, Layout
from captum_video.layers.tracing import Trace


@contextmanager
def strict_trace(*inputs: Tensor) -> Iterator[Trace]:
    """A trace whose rules may not fail."""
    trace = Trace(inputs)
    trace.strict = True
    with trace:
        yield trace


def layout_of(function: Callable[..., Any], *inputs: Tensor) -> Layout:
    """The layout of what a function gives."""
    with strict_trace(*inputs) as trace:
        output = function(*inputs)
    layout = trace.layout(output)
    assert layout is not None, f"lost at {trace.unknown}"
    return layout


def text(layout: Layout) -> str:
    """A layout as a short text: axes by ``,``; parts by ``+``; factors by ``*``.

    ``2`` is axis 2 of input 0, ``1.2`` of input 1, ``-`` none; ``~`` marks mixed ones, ``/`` pieces.
    """

    def one(extent: Extent) -> str:
        if extent.source is None:
            return "-"
        number, axis = extent.source
        marks = ("~" if extent.mixed else "") + ("/" if extent.whole else "")
        return (f"{number}." if number else "") + str(axis) + marks

    return ", ".join(
        "+".join("*".join(one(extent) for extent in part) for part in axis) for axis in layout.axes
    )


def bounds(function: Callable[..., Any], tensor: Tensor, axis: int) -> list[tuple[float, float]]:
    """First and last of what each slice covers of an axis of the only input, where it is found."""
    layout = layout_of(function, tensor)
    ((place, part, factor),) = layout.places((0, axis))
    extent = layout.axes[place][part][factor]
    assert extent.first is not None
    assert extent.last is not None
    return list(zip(extent.first, extent.last, strict=True))


def reached(function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> dict[Any, Tensor]:
    """For each index of each axis of each input, which entries of the output depend on it."""
    found = {}
    with torch.no_grad():
        before = function(*inputs)
        for number, tensor in enumerate(inputs):
            for axis, size in enumerate(tensor.shape):
                for index in range(size):
                    changed = torch.zeros_like(before, dtype=torch.bool)
                    for amount in (2.0, -2.0):  # one alone may not change a maximum
                        spoilt = [t.clone() for t in inputs]
                        spoilt[number].select(axis, index).add_(amount)
                        changed |= function(*spoilt) != before
                    found[number, axis, index] = changed
    return found


def factors(layout: Layout, marks: Tensor) -> Iterator[tuple[Extent, Tensor]]:
    """Each factor of each axis with a flag for each of its slices: whether any entry is marked."""
    for place, axis in enumerate(layout.axes):
        start = 0
        for part in axis:
            sizes = [extent.size for extent in part]
            mine = marks.narrow(place, start, prod(sizes)).unflatten(place, sizes)
            start += prod(sizes)
            for number, extent in enumerate(part):
                yield extent, mine.movedim(place + number, 0).reshape(extent.size, -1).any(1)


def check(
    function: Callable[..., Any], *inputs: Tensor, expected: str = "", exact: bool = True
) -> Layout:
    """Compares a layout with what disturbing the inputs shows, for all axes of all inputs.

    Args:
        function: tensors to a tensor.
        inputs: float64.
        expected: the layout as :func:`text` gives it.
        exact: whether slices in the interior depend on both ends of what they are said to cover.

    Returns:
        The layout.
    """
    layout = layout_of(function, *inputs)
    if expected:
        assert text(layout) == expected
    shown = {e.source for axis in layout.axes for part in axis for e in part}
    for (number, axis, index), marks in reached(function, inputs).items():
        source, size = (number, axis), inputs[number].shape[axis]
        if source not in shown and not layout.opaque:
            reach = layout.hidden.get(source)
            if reach is None or not (reach.mixed or reach.first <= index <= reach.last):
                assert not marks.any(), f"{source} index {index} must not matter"
            continue
        for extent, flags in factors(layout, marks):
            if extent.source != source or extent.mixed:
                continue
            _check_extent(extent, index, size, flags.tolist(), exact)
    return layout


def _check_extent(extent: Extent, index: int, size: int, flags: list[bool], exact: bool) -> None:
    assert extent.first is not None
    assert extent.last is not None
    bounds = zip(extent.first, extent.last, strict=True)
    for k, (flag, (first, last)) in enumerate(zip(flags, bounds, strict=True)):
        where = f"axis {extent.source}: slice {k} covers {first}..{last}, index {index}"
        if flag:
            assert first <= index <= last, f"{where} reaches it"
        elif exact and first >= 0 and last < size:
            assert index not in (first, last), f"{where} does not reach it"
