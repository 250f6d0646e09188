"""Relevance of joints over time: cells, sums and marks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from captum_video._core.skeletons import KINECT_JOINTS
from captum_video.visualization import joint_relevance, robust_maximum, signed_colours
from captum_video.visualization._skeleton_parts import grouped_rows
from tests.visualization.given import as_kind
from tests.visualization.readouts import assert_legible

OWN = ("hand_right", "head", "foot_left")
ORDER = [1, 0, 2]  # trunk, arm, leg


def values(rows: int = 9, total: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, total, generator=torch.Generator().manual_seed(seed)).double()


def cells(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def bars(axes: Axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]


def test_cells_sum_the_axes_of_a_joint() -> None:
    given = values()
    figure, axes = joint_relevance(given, joints=OWN, title="throw")
    sums = [[float(sum(given[3 * j + a, t] for a in range(3))) for t in range(5)] for j in ORDER]
    found = np.array(sums)
    assert np.allclose(cells(axes[0]), signed_colours(found, robust_maximum(found)))
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["head", "hand", "foot"]
    parts = [t.get_text() for t in axes[0].texts]
    assert parts == ["trunk", "right arm", "left leg"]
    assert np.allclose(bars(axes[1]), found.sum(1))
    curve = axes[2].lines[1]
    assert np.array_equal(curve.get_xdata(), range(5))
    assert np.allclose(curve.get_ydata(), found.sum(0))
    assert figure.get_suptitle() == "throw"
    for bar, total in zip(axes[1].patches, found.sum(1), strict=True):
        red, _, blue, _ = bar.get_facecolor()
        assert (red > blue) == (total > 0)


def test_rows_and_bars_are_level() -> None:
    _, axes = joint_relevance(values(), joints=OWN)
    assert axes[1].get_ylim() == axes[0].get_ylim() == (2.5, -0.5)
    assert axes[2].get_xlim() == axes[0].get_xlim() == (-0.5, 4.5)
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes[1].patches] == pytest.approx(
        [0, 1, 2]
    )


def test_one_row_for_each_joint_is_taken_as_it_is() -> None:
    given = values(50)
    _, axes = joint_relevance(given, scale=2.0)
    rows = grouped_rows(KINECT_JOINTS, [0, 1])
    found = np.stack([given[25 * row.actor + row.joint].numpy() for row in rows])
    assert np.allclose(cells(axes[0]), signed_colours(found, 2.0))
    texts = [t.get_text() for t in axes[0].texts]
    assert texts[-2:] == ["actor 1", "actor 2"]
    assert np.allclose(bars(axes[1]), found.sum(1))


def test_a_second_actor_without_relevance_has_no_rows() -> None:
    given = values(150)
    for rows, shown in ((150, 50), (75, 25)):
        some = given.clone()
        some[rows:] = 0
        _, axes = joint_relevance(some)
        assert len(cells(axes[0])) == shown
    _, axes = joint_relevance(given, actors=1)
    assert len(cells(axes[0])) == 25
    _, axes = joint_relevance(0.0 * given + (torch.arange(150) < 75)[:, None], actors=2)
    assert len(cells(axes[0])) == 50


def marks(axes: Axes) -> list[int]:
    return [
        int(place)
        for line in axes.lines
        if line.get_gid() == "informative"
        for place in np.asarray(line.get_ydata())
    ]


def spells(axes: Axes) -> list[tuple[float, ...]]:
    return [tuple(np.asarray(k.get_xdata())) for k in axes.lines if k.get_gid() == "active"]


@pytest.mark.parametrize(
    ("informative", "places"),
    [
        (["head", "foot_left"], [0, 2, 3, 5]),
        ([1, 2], [0, 2, 3, 5]),
        (torch.tensor([1, 2]), [0, 2, 3, 5]),
        (torch.tensor([False, True, False]), [0, 3]),
        (np.array([[True, False, False], [False, False, True]]), [1, 5]),
        (torch.zeros(2, 3, dtype=torch.bool), []),
        (None, []),
    ],
)
def test_informative_joints_are_marked(informative: Any, places: list[int]) -> None:
    figure, axes = joint_relevance(values(18), joints=OWN, informative=informative)
    assert marks(axes[0]) == places
    inks = [tick.get_color() for tick in axes[0].get_yticklabels()]
    assert [k for k, ink in enumerate(inks) if ink == "#222222"] == places
    texts = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    assert bool(texts) == bool(places)


@pytest.mark.parametrize(
    ("active", "found"),
    [
        (range(1, 3), [(0.5, 2.5)]),
        ([4, 0, 3], [(-0.5, 0.5), (2.5, 4.5)]),
        (torch.tensor([True, True, False, False, True]), [(-0.5, 1.5), (3.5, 4.5)]),
        (np.array([2]), [(1.5, 2.5)]),
        ([], []),
        (None, []),
    ],
)
def test_active_frames_have_a_line_above(active: Any, found: list[tuple[float, ...]]) -> None:
    figure, axes = joint_relevance(values(), joints=OWN, active=active)
    assert spells(axes[0]) == found
    assert bool(figure.legends) == bool(found)


def test_zero_relevance_warns_and_is_white() -> None:
    with pytest.warns(UserWarning, match="relevance is zero everywhere: the map is white"):
        figure, axes = joint_relevance(torch.zeros(150, 4))
    assert cells(axes[0]).shape == (25, 4, 3)
    assert (cells(axes[0]) > 0.98).all()
    assert_legible(figure)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "numpy", "grad", "cuda"])
def test_any_device_and_type(kind: str) -> None:
    exact = (4 * values()).round()
    _, axes = joint_relevance(as_kind(exact, kind), joints=OWN)
    assert np.allclose(bars(axes[1]), exact.reshape(3, 3, 5).sum((1, 2))[ORDER])


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e6])
@pytest.mark.parametrize("rows", [25, 50])
def test_can_be_read(rows: int, scale: float) -> None:
    figure, _ = joint_relevance(
        scale * values(rows, 120), informative=KINECT_JOINTS, active=range(3, 9),
        title="Relevance of joints over time, of a clip whose title is rather long, " * 2,
        quantity="relevance by integrated gradients",
    )  # fmt: skip
    assert_legible(figure)
    assert figure.canvas.manager is None


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        (values(10), {}, r"multiple of 9, or \(actors \* joints, T\) with 3 joints, .* \(10, 5\)"),
        (values()[0], {}, r"got shape \(5,\)"),
        (values()[:0], {}, r"relevance holds no value, shape \(0, 5\)"),
        (values() / 0, {}, "relevance has 45 values that are not finite"),
        (values(), {"informative": ["haed"]}, "no joint 'haed'. Did you mean 'head'"),
        (values(), {"informative": [3]}, "from 0 to 2, got 3"),
        (
            values(),
            {"informative": torch.ones(4, dtype=torch.bool)},
            r"\(actors, joints\) = \(1, 3\) or \(3,\), got \(4,\)",
        ),
        (values(), {"active": [5]}, r"frames from 0 to 4, got \[5\]"),
        (values(), {"active": [-1]}, r"frames from 0 to 4, got \[-1\]"),
        (values(), {"active": [0.5]}, r"frame numbers or a mask of 5, got \[0.5\]"),
        (values(), {"active": np.ones(4, bool)}, r"one boolean per frame \(5\), got \(4,\)"),
        (values(), {"actors": 2}, "from 1 to 1 or None, got 2"),
        (values(), {"outlier_perc": 100}, "outlier_perc"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: torch.Tensor, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        joint_relevance(given, joints=OWN, **options)
