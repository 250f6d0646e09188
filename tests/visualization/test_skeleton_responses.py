"""Responses of filters over time: which line is where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from captum_video.visualization import filter_responses
from tests.visualization.given import as_kind
from tests.visualization.readouts import assert_legible


def values(samples: int = 3, total: int = 6, seed: int = 0) -> torch.Tensor:
    """Four filters whose magnitudes differ: 2 is the strongest, then 0."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(samples, 4, total, generator=generator).double() - 0.5
    return found * torch.tensor([4.0, 1, 9, 2])[:, None]


def coloured(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}


def grey(axes: Axes) -> list[np.ndarray]:
    (found,) = axes.collections
    assert isinstance(found, LineCollection)
    return [np.asarray(line) for line in found.get_segments()]


def test_a_line_for_each_filter_and_a_panel_for_each_sample() -> None:
    rows = {"jump up": values(), "reading": values(seed=1) / 10}
    figure, axes = filter_responses(rows, samples=2, highlight=2, title="layer 10")
    assert axes.shape == (2, 2)
    assert [one.get_title(loc="left") for one in axes[:, 0]] == list(rows)
    assert axes[0, 0].get_position().y0 > axes[1, 0].get_position().y0
    assert figure.get_suptitle() == "layer 10"
    assert axes[0, 0].get_ylabel() == "response magnitude"
    for row, array in zip(axes, rows.values(), strict=True):
        for sample, one in enumerate(row):
            lines = coloured(one)
            assert list(lines) == ["filter 2", "filter 0"]
            assert np.allclose(lines["filter 2"], array[sample, 2].abs())
            assert np.allclose(lines["filter 0"], array[sample, 0].abs())
            for number, line in zip((1, 3), grey(one), strict=True):
                assert np.array_equal(line[:, 0], range(6))
                assert np.allclose(line[:, 1], array[sample, number].abs())
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert texts == ["filter 2", "filter 0", "the other 2"]


def test_inks_are_the_same_in_all_panels_and_as_the_legend_says() -> None:
    figure, axes = filter_responses({"a": values(), "b": values(seed=1)}, highlight=3)
    inks = {tuple(line.get_color() for line in one.lines) for one in axes.ravel()}
    assert len(inks) == 1
    (legend,) = figure.legends
    assert [line.get_color() for line in legend.get_lines()][:3] == list(next(iter(inks)))
    assert len(set(next(iter(inks)))) == 3
    orders = [[line.get_zorder() for line in one.lines] for one in axes.ravel()]
    assert all(order == sorted(order, reverse=True) for order in orders)


def test_all_panels_have_one_scale() -> None:
    rows = {"jump up": values(), "reading": values() / 100}
    _, axes = filter_responses(rows)
    assert len({one.get_ylim() for one in axes.ravel()}) == 1
    low, high = axes[0, 0].get_ylim()
    most = float(values().abs().max())
    assert most < high < 1.1 * most
    assert -0.1 * most < low < 0
    flat = max(lines.max() for one in axes[1] for lines in coloured(one).values())
    assert flat < 0.011 * high
    assert len({one.get_xlim() for one in axes.ravel()}) == 1
    _, axes = filter_responses(rows, magnitude=False)
    low, high = axes[1, 0].get_ylim()
    assert low < float(values().min()) < float(values().max()) < high
    assert np.allclose(coloured(axes[0, 1])["filter 2"], values()[1, 2])
    assert axes[0, 0].get_ylabel() == "response"


def test_the_strongest_filter_may_be_that_of_a_negative_response() -> None:
    given = torch.zeros(1, 3, 4)
    given[0, 1, 2] = -5
    given[0, 2, 1] = 3
    for magnitude in (False, True):
        _, axes = filter_responses({"a": given}, highlight=1, magnitude=magnitude)
        assert list(coloured(axes[0, 0])) == ["filter 1"]


def test_classes_of_fewer_samples_leave_panels_empty() -> None:
    _, axes = filter_responses({"a": values(1), "b": values(3), "c": values(2)})
    assert axes.shape == (3, 3)
    shown = [[one.axison for one in row] for row in axes]
    assert shown == [[True, False, False], [True] * 3, [True, True, False]]
    named = [[bool(one.axison and one.get_xlabel()) for one in row] for row in axes]
    assert named == [[False] * 3, [False, False, True], [True, True, False]]


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "numpy", "grad", "cuda"])
def test_any_device_and_type(kind: str) -> None:
    exact = values().round()
    _, axes = filter_responses({"a": as_kind(exact, kind)}, highlight=4)
    assert np.array_equal(coloured(axes[0, 2])["filter 1"], exact[2, 1].abs())
    assert not grey(axes[0, 2])


@pytest.mark.parametrize("size", [1e-6, 0.01, 1.0, 1e5])
@pytest.mark.parametrize("samples", [1, 5])
def test_can_be_read(samples: int, size: float) -> None:
    rows = {
        "walking towards each other": size * values(5, 96),
        "reading": 0 * values(5, 96),
        "jump up": size * values(5, 96),
    }
    figure, _ = filter_responses(rows, samples=samples, title="Responses of layer 10 " * 6)
    assert_legible(figure)
    assert figure.canvas.manager is None


def test_no_response_at_all_is_drawn() -> None:
    figure, axes = filter_responses({"a": torch.zeros(2, 3, 1)}, highlight=0)
    assert axes[0, 0].get_ylim() == (-1, 1)
    assert len(grey(axes[0, 1])) == 3
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert texts == ["3 filters"]


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        ({}, {}, "responses is empty"),
        ({"a": values()[0]}, {}, r"responses\['a'\] must be .* got shape \(4, 6\)"),
        ({"a": values() / 0}, {}, r"responses\['a'\] has 72 values that are not finite"),
        ({"a": values(), "b": values(3, 5)}, {}, r"'a' has \(4, 6\), 'b' has \(4, 5\)"),
        ({"a": values(), "b": values()[:, 1:]}, {}, r"'a' has \(4, 6\), 'b' has \(3, 6\)"),
        ({"a": values()}, {"samples": 0}, "samples must be at least 1, got 0"),
        ({"a": values()}, {"highlight": 9}, "highlight must be from 0 to 8, got 9"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: dict[str, torch.Tensor], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        filter_responses(given, **options)
