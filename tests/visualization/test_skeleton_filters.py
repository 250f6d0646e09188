"""Filters as moving skeletons and as maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from captum_video._core.skeletons import KINECT_JOINTS
from captum_video.visualization import (
    filter_figure,
    motion_primitives_figure,
    robust_maximum,
    signed_colours,
)
from captum_video.visualization._skeleton_parts import grouped_rows
from tests.visualization.readouts import assert_legible
from tests.visualization.test_skeleton import JOINTS, OWN, sequence
from tests.visualization.test_skeleton_strip import legend_texts, limbs

MEAN = sequence(second=True)[:, 0]
#: norms grow from filter 0 to filter 4, filter 2 alone excepted, which has the largest
SIZES = torch.tensor([1.0, 2, 9, 3, 4])


def filters(dimensions: int = 24, taps: int = 3) -> torch.Tensor:
    """Five filters, ``(5, dimensions, taps)``, all of whose weights have one magnitude each."""
    generator = torch.Generator().manual_seed(3)
    signs = torch.randint(0, 2, (5, dimensions, taps), generator=generator) * 2.0 - 1
    return (signs * SIZES[:, None, None] / 100).double()


def front(lines: LineCollection) -> set[tuple[float, ...]]:
    return {tuple(np.round(line, 9).ravel()) for line in lines.get_segments()}


def drawn(values: torch.Tensor, actor: int) -> set[tuple[float, ...]]:
    """The front view of one frame ``(D,)``: x to the left, y up."""
    found = set()
    for pair in ((0, 1), (1, 2), (1, 3)):
        places = [(actor * len(JOINTS) + joint) * 3 for joint in pair]
        found.add(tuple(round(float(n), 9) for at in places for n in (-values[at], values[at + 1])))
    return found


def test_taps_of_filters_are_skeletons() -> None:
    weights = filters()
    figure, axes = motion_primitives_figure(weights, filters=[3, 0], title="primitives", **OWN)
    assert axes.shape == (2, 3)
    assert [one.get_ylabel() for one in axes[:, 0]] == ["filter 3", "filter 0"]
    assert [one.get_title() for one in axes[0]] == ["tap 0", "tap 1", "tap 2"]
    assert figure.get_suptitle() == "primitives"
    for row, number in zip(axes, (3, 0), strict=True):
        for tap, one in enumerate(row):
            assert front(limbs(one)) == drawn(weights[number, :, tap], 0)
            assert not [c for c in one.collections if c.get_gid() in ("actor 2", "mean")]
    _, both = motion_primitives_figure(weights, filters=[3], actors=2, **OWN)
    assert front(limbs(both[0, 1], 2)) == drawn(weights[3, :, 1], 1)


def test_the_largest_filters_come_first() -> None:
    _, axes = motion_primitives_figure(filters(), filters=3, **OWN)
    assert [one.get_ylabel() for one in axes[:, 0]] == ["filter 2", "filter 4", "filter 3"]
    mean = 100 * MEAN
    shifted = filters() + mean[:, None]
    _, axes = motion_primitives_figure(shifted, filters=9, mean=mean, **OWN)
    names = [one.get_ylabel() for one in axes[:, 0]]
    assert names == [f"filter {k}" for k in (2, 4, 3, 1, 0)]


def mean_lines(axes: Axes) -> set[tuple[float, ...]]:
    (found,) = [c for c in axes.collections if c.get_gid() == "mean"]
    assert isinstance(found, LineCollection)
    return front(found)


def test_motion_is_drawn_about_the_mean() -> None:
    given = filters() + MEAN[:, None]
    figure, axes = motion_primitives_figure(given, filters=[1], mean=MEAN, gain=5, **OWN)
    for tap, one in enumerate(axes[0]):
        assert front(limbs(one)) == drawn(MEAN + 5 * filters()[1, :, tap], 0)
        assert mean_lines(one) == drawn(MEAN, 0)
    assert "mean skeleton, motion 5 times as large" in [t.get_text() for t in legend_texts(figure)]
    figure, axes = motion_primitives_figure(given, mean=MEAN, gain=1, filters=[1], **OWN)
    assert front(limbs(axes[0, 2])) == drawn(given[1, :, 2], 0)
    assert "mean skeleton" in [t.get_text() for t in legend_texts(figure)]


def test_the_gain_moves_joints_by_a_fifth_of_the_body() -> None:
    mean = torch.zeros(24).double()
    mean[4], mean[10] = 2.0, -2.0  # four units tall
    farthest = 0.04 * 3**0.5  # of the shown filters', all axes alike
    gain = float(f"{0.2 * 4 / farthest:.1e}")
    given = filters() + mean[:, None]
    figure, axes = motion_primitives_figure(given, mean=mean, filters=[0, 4], **OWN)
    texts = [text.get_text() for text in legend_texts(figure)]
    assert f"mean skeleton, motion {gain:g} times as large" in texts
    assert front(limbs(axes[1, 0])) == drawn(mean + gain * filters()[4, :, 0], 0)
    still = torch.zeros(2, 24, 3) + mean[:, None]
    figure, _ = motion_primitives_figure(still, mean=mean, **OWN)
    assert "mean skeleton" in [text.get_text() for text in legend_texts(figure)]


def test_all_filters_have_one_scale() -> None:
    _, axes = motion_primitives_figure(filters(), filters=[0, 2], **OWN)
    widths = {round(np.ptp(one.get_xlim()), 9) for one in axes.ravel()}
    assert len(widths) == 1
    points = np.concatenate([np.concatenate(limbs(one).get_segments()) for one in axes[1]])
    assert np.ptp(points[:, 1]) == pytest.approx(0.18)
    assert float(np.ptp(axes[1, 0].get_ylim())) == pytest.approx(0.18 * 1.14)


def test_the_mean_is_seen_where_the_filter_is_far_from_it() -> None:
    given = MEAN[None, :, None] + torch.full((1, 24, 2), 8.0)
    _, axes = motion_primitives_figure(given, mean=MEAN, gain=1, **OWN)
    (low, high), (bottom, top) = axes[0, 0].get_xlim(), axes[0, 0].get_ylim()
    for left, down, right, up in mean_lines(axes[0, 0]):
        assert low < min(left, right) < max(left, right) < high
        assert bottom < min(down, up) < max(down, up) < top


def image(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_maps_of_filters() -> None:
    weights = torch.randn(4, 150, 8, generator=torch.Generator().manual_seed(0)).double()
    gates = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(1))
    rest = torch.linspace(-9, 9, 150).double()
    figure, axes = filter_figure(
        weights + rest[:, None], {"layer 4": gates, "layer 7": 10 * gates}, filters=[3, 1],
        mean=rest, title="gates",
    )  # fmt: skip
    assert figure.get_suptitle() == "gates"
    assert [one.get_title() for one in axes] == ["filter 3", "filter 1"] * 3
    assert {"first layer", "layer 4", "layer 7"} < {text.get_text() for text in figure.texts}
    lefts = [one.get_position().x0 for one in axes]
    assert lefts == sorted(lefts)
    rows = grouped_rows(KINECT_JOINTS, [0, 1])
    order = [(25 * row.actor + row.joint) * 3 + axis for row in rows for axis in range(3)]
    sorted_weights = weights[:, order].numpy()
    scale = robust_maximum(sorted_weights[[3, 1]])
    assert np.allclose(image(axes[0]), signed_colours(sorted_weights[3], scale))
    assert np.allclose(image(axes[1]), signed_colours(sorted_weights[1], scale))
    scale = robust_maximum(gates[[3, 1]].double().numpy())
    for one, number in zip(axes[2:], (3, 1, 3, 1), strict=True):
        colours = signed_colours(gates[number].double().numpy(), scale)
        assert np.allclose(image(one), colours, atol=1e-6)
        assert list(one.get_xticks()) == [0, 1, 2]
    assert [one.get_ylabel() for one in axes[2:]] == ["channel of the layer below", ""] * 2


def test_a_joint_has_three_rows_of_its_map() -> None:
    weights = torch.zeros(1, 75, 2)
    hand = KINECT_JOINTS.index("hand_tip_right")
    weights[0, 3 * hand + 1] = 1  # its height
    figure, axes = filter_figure(weights, filters=1)
    (row,) = np.flatnonzero((image(axes[0]) != image(axes[0])[0]).any((1, 2)))
    labels = axes[0].get_yticklabels()
    near = [k for k, place in enumerate(axes[0].get_yticks()) if place == row]
    assert [labels[k].get_text() for k in near] == ["hand tip"]
    part = next(text for text in axes[0].texts if text.get_text() == "right arm")
    assert abs(part.get_position()[1] - row) < 9
    assert_legible(figure)


@pytest.mark.parametrize("dimensions", [75, 150])
@pytest.mark.parametrize("size", [1e-5, 1.0, 800.0])
def test_maps_can_be_read(dimensions: int, size: float) -> None:
    gates = size * torch.ones(300, 256, 3)
    figure, _ = filter_figure(
        size * filters(dimensions, 8), {"layer 10 of the second stream": gates, "4": gates},
        filters=1, title="Filters of a network whose name is long, and of its other streams. " * 2,
    )  # fmt: skip
    assert_legible(figure)
    assert figure.canvas.manager is None


@pytest.mark.parametrize("taps", [1, 3, 8])
def test_skeletons_can_be_read(taps: int) -> None:
    given = filters(24, taps) + MEAN[:, None]
    figure, _ = motion_primitives_figure(given, mean=MEAN, actors=2, **OWN)
    assert_legible(figure)


BAD = filters()
BAD[0, 0, 0] = float("inf")
COMMON: list[tuple[Any, dict[str, Any], str]] = [
    (filters()[0], {}, r"primitives must be \(filters, D, taps\) .* got shape \(24, 3\)"),
    (filters(25), {}, r"D a multiple of 12 \(4 joints\), got shape \(5, 25, 3\)"),
    (filters()[:0], {}, "primitives holds no value"),
    (BAD, {}, "primitives has 1 values that are not finite"),
    (filters(), {"filters": [5]}, r"numbers from 0 to 4 of primitives, each once, got \[5\]"),
    (filters(), {"filters": [1, 1]}, r"each once, got \[1, 1\]"),
    (filters(), {"filters": []}, r"each once, got \[\]"),
    (filters(), {"filters": 0}, "filters must be at least 1 .* got 0"),
    (filters(), {"mean": MEAN[:12]}, r"mean must be \(D,\) = \(24,\), .* got \(12,\)"),
    (filters(), {"mean": MEAN * torch.nan}, "mean has 24 values that are not finite"),
]


@pytest.mark.parametrize(
    ("primitives", "options", "text"),
    [
        *COMMON,
        (filters(), {"gain": 2.0}, "give mean too, got 2.0"),
        (filters(), {"gain": 0, "mean": MEAN}, "gain must be a positive number or None, got 0"),
        (filters(), {"actors": 3}, "actors must be from 1 to 2, got 3"),
    ],
)
def test_primitives_that_do_not_fit_are_refused(
    primitives: torch.Tensor, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        motion_primitives_figure(primitives, **OWN, **options)


@pytest.mark.parametrize(
    ("primitives", "options", "text"),
    [
        *COMMON,
        (filters(), {"gates": torch.ones(2, 3)}, r"gates must be .* got shape \(2, 3\)"),
        (
            filters(),
            {"gates": {"a": torch.ones(2, 3, 3)}, "filters": [2]},
            r"from 0 to 1 of gates\['a'\], each once, got \[2\]",
        ),
    ],
)
def test_filters_that_do_not_fit_are_refused(
    primitives: torch.Tensor, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        filter_figure(primitives, joints=JOINTS, **options)
