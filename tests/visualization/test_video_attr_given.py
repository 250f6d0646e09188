"""Where the picture of a clip goes, pyplot, and what is refused."""

import re
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from captum_video.visualization import visualize_video_attr, visualize_video_attr_multiple

VIDEO = torch.arange(6 * 3 * 8 * 10).view(6, 3, 8, 10).remainder(256).to(torch.uint8)
ATTR = torch.linspace(-1, 2, 6 * 8 * 10).view(6, 8, 10)


@pytest.fixture(autouse=True)
def _never_shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("plt.show was called")

    monkeypatch.setattr(plt, "show", refuse)
    plt.close("all")
    yield
    plt.close("all")


def test_pyplot_knows_the_figure_if_asked() -> None:
    backend, settings = matplotlib.get_backend(), dict(matplotlib.rcParams)
    figure, _ = visualize_video_attr(ATTR, VIDEO)
    assert plt.get_fignums() == [1]
    assert plt.gcf() is figure
    rows, _ = visualize_video_attr_multiple(ATTR, VIDEO, ["heat_map"], ["all"])
    assert plt.gcf() is rows
    plt.close("all")
    visualize_video_attr(ATTR, VIDEO, use_pyplot=False)
    visualize_video_attr_multiple(ATTR, VIDEO, ["heat_map"], ["all"], use_pyplot=False)
    assert plt.get_fignums() == []
    assert matplotlib.get_backend() == backend
    assert dict(matplotlib.rcParams) == settings


def test_what_is_refused_leaves_no_figure() -> None:
    for options in (
        {"cmap": "redd"},
        {"fig_size": (0.5, 0.5)},
        {"outlier_perc": 100},
        {"frames": [6]},
        {"plt_fig_axis": 3},
    ):
        with pytest.raises((ValueError, TypeError)):
            visualize_video_attr(ATTR, VIDEO, **options)
    assert plt.get_fignums() == []


def test_one_axes_is_divided() -> None:
    figure = Figure(figsize=(9, 5))
    upper, lower = figure.subplots(2, 1)
    lower.plot([0, 1])
    same, axes = visualize_video_attr(
        ATTR, VIDEO, plt_fig_axis=(figure, upper), title="above", show_colorbar=True
    )
    assert same is figure
    assert len(axes) == 7
    assert upper.get_title() == "above"
    assert not upper.axison
    assert lower.axison
    figure.canvas.draw()
    outer = upper.get_window_extent()
    for one in axes:
        box = one.get_tightbbox()
        assert box is not None
        assert outer.x0 - 1 <= box.x0
        assert box.x1 <= outer.x1 + 1
        assert outer.y0 - 1 <= box.y0
        assert box.y1 <= outer.y1 + 1
    _, alone = visualize_video_attr(ATTR, VIDEO, use_pyplot=False)
    for one, other in zip(axes[:-1], alone[:-1], strict=True):
        assert np.array_equal(one.images[1].get_array(), other.images[1].get_array())


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
def test_a_divided_axes_may_be_laid_out(layout: Any) -> None:
    figure = Figure(figsize=(9, 5), layout=layout)
    grid = figure.subplots(2, 2)
    _, axes = visualize_video_attr(ATTR, VIDEO, plt_fig_axis=(figure, grid[1, 0]), frames=3)
    figure.canvas.draw()
    outer = grid[1, 0].get_window_extent()
    for one in axes:
        box = one.get_window_extent()
        assert outer.x0 - 1 <= box.x0 < box.x1 <= outer.x1 + 1
        assert outer.y0 - 1 <= box.y0 < box.y1 <= outer.y1 + 1
    box = axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(10 / 8, rel=1e-3)


def test_several_axes_are_filled() -> None:
    figure = Figure(figsize=(12, 3))
    given = figure.subplots(1, 4)
    same, axes = visualize_video_attr(ATTR, VIDEO, plt_fig_axis=(figure, given), title="a title")
    assert same is figure
    assert list(axes) == list(given)
    assert [one.get_title() for one in axes[:-1]] == ["1", "3", "5"]  # three of six
    assert "a title" in [text.get_text() for text in given[0].texts]
    assert len(given[3].lines) > 1
    before = given[3].get_position().bounds
    visualize_video_attr(
        ATTR, VIDEO, "heat_map", plt_fig_axis=(figure, list(given)), show_colorbar=True
    )
    assert len(figure.axes) == 5
    assert given[3].get_position().bounds == before  # the frames make room, the curve need not
    _, axes = visualize_video_attr(
        ATTR, VIDEO, plt_fig_axis=(figure, given[:2]), frames=[4, 0], curve=False
    )
    assert [one.get_title() for one in axes] == ["4", "0"]


def test_given_axes_must_fit() -> None:
    figure = Figure()
    given = list(figure.subplots(1, 3))
    other = Figure().subplots()

    def draw(place: Any, **options: Any) -> None:
        visualize_video_attr(ATTR, VIDEO, plt_fig_axis=place, **options)

    expected = "must hold 6 Axes, one for each of 5 frames and one for the curve, or a single one"
    with pytest.raises(ValueError, match=expected + ", got 3"):
        draw((figure, given), frames=5)
    with pytest.raises(ValueError, match=r"hold 2 Axes, one for each of 2 frames, or a .* got 3"):
        draw((figure, given), frames=2, curve=False)
    with pytest.raises(ValueError, match="plt_fig_axis holds no Axes"):
        draw((figure, []))
    with pytest.raises(ValueError, match="plt_fig_axis holds Axes of another figure"):
        draw((figure, other))
    for wrong in (figure, (given[0], figure), (figure, None), (figure, "axes"), (figure, [1])):
        with pytest.raises(TypeError, match=re.escape("plt_fig_axis must be (figure, axes), one")):
            draw(wrong)
    small = figure.add_axes((0, 0, 0.1, 0.1))
    with pytest.raises(ValueError, match=r"1 x 6 frames do not fit into 0.6 x 0.5 inches: give"):
        draw((figure, small))
    assert small.axison
    assert not any(one.lines or one.images for one in figure.axes)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"attr": torch.zeros(5, 8, 10)}, "attr has (T, H, W) = (5, 8, 10) but original_video has (6"),
    ({"attr": torch.zeros(6, 8, 10, 3)}, "attr.permute(3, 0, 1, 2)"),
    ({"attr": torch.full((6, 8, 10), float("nan"))}, "attr has 480 values that are not finite"),
    ({"attr": torch.zeros(8, 10)}, "attr must have shape (T, H, W), (C, T, H, W) or"),
    ({"attr": torch.zeros(2, 3, 6, 8, 10)}, "attr holds 2 clips"),
    ({"original_video": VIDEO.float() / 255}, "original_video: frames must be uint8 (0..255)"),
    ({"original_video": VIDEO[:, :2]}, "original_video: frames must have shape"),
    ({"original_video": None}, "original_video must be given for method 'blended_heat_map': only"),
    ({"method": "heatmap"}, "or 'masked_image' or 'alpha_scaling', got 'heatmap'"),
    ({"method": "heatmap"}, "method must be 'heat_map' or 'blended_heat_map' or"),
    ({"sign": "both"}, "sign must be 'positive' or 'absolute_value' or"),
    ({"sign": "both"}, "or 'negative' or 'all', got 'both'"),
    ({"normalization": "video"}, "normalization must be 'clip' or 'frame', got 'video'"),
    ({"frames": [0, 6]}, "frames must be frame numbers from 0 to 5, got [0, 6]"),
    ({"frames": []}, "frames must be frame numbers from 0 to 5, got []"),
    ({"frames": -1}, "frames must be at least 1, got -1"),
    ({"frames": 1.5}, "frames must be a number of frames, a list of their numbers or None, got 1.5"),
    ({"frames": [0.5]}, "a list of their numbers or None, got [0.5]"),
    ({"frames": "all"}, "a list of their numbers or None, got 'all'"),
    ({"labels": ["a"]}, "labels must be one per frame (6), got 1"),
    ({"outlier_perc": -1}, "outlier_perc must lie in [0, 100), got -1"),
    ({"outlier_perc": None}, "outlier_perc must lie in [0, 100), got None"),
    ({"method": "original_image", "outlier_perc": "2"}, "outlier_perc must lie in [0, 100), got 2"),
    ({"alpha_overlay": None}, "alpha_overlay must lie in 0..1, got None"),
    ({"top": 2.0}, "top must be a number of frames, 0 or more, got 2.0"),
    ({"alpha_overlay": 1.2}, "alpha_overlay must lie in 0..1, got 1.2"),
    ({"top": -1}, "top must be a number of frames, 0 or more, got -1"),
    ({"top": True}, "top must be a number of frames, 0 or more, got True"),
    ({"cmap": "colour"}, "cmap 'colour' is no colour map. Did you mean"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "expected"), REFUSED)
def test_refused(wrong: dict[str, Any], expected: str) -> None:
    arguments: dict[str, Any] = {"attr": ATTR, "original_video": VIDEO, **wrong}
    with pytest.raises(ValueError, match=re.escape(expected)):
        visualize_video_attr(**arguments, use_pyplot=False)


def test_numbers_of_numpy() -> None:
    _, axes = visualize_video_attr(
        ATTR, VIDEO, outlier_perc=np.float32(2), alpha_overlay=np.float64(0.5), top=np.int64(2),
        frames=np.int64(3), use_pyplot=False,
    )  # fmt: skip
    (marks,) = [line for line in axes[-1].lines if line.get_gid() == "top all"]
    assert np.size(marks.get_xdata()) == 2
    assert len(axes) == 4


def test_refused_rows() -> None:
    def draw(methods: Any, signs: Any, titles: Any = None, **options: Any) -> None:
        visualize_video_attr_multiple(
            ATTR, VIDEO, methods, signs, titles, use_pyplot=False, **options
        )

    for methods, signs in ((["heat_map"], ["all", "all"]), ([], []), ("heat_map", "positive")):
        with pytest.raises(ValueError, match="methods and signs must be lists of one length, got"):
            draw(methods, signs)
    with pytest.raises(ValueError, match="titles must be one for each of 1 methods, got 'a'"):
        draw(["heat_map"], ["all"], "a")
    with pytest.raises(TypeError, match=r"takes no 'colorbar'\. Did you mean 'show_colorbar'"):
        draw(["heat_map"], ["all"], colorbar=True)
    with pytest.raises(TypeError, match="takes no 'plt_fig_axis'"):
        draw(["heat_map"], ["all"], plt_fig_axis=None)
    with pytest.raises(ValueError, match="'alpha_scaling' shows one sign"):
        draw(["heat_map", "alpha_scaling"], ["all", "all"])
