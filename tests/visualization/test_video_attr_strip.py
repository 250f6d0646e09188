"""The strip and its curve: which frames are shown, which carry most, and that texts stay apart."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from captum_video.visualization import (
    COLOUR_BLIND,
    SIGNED,
    robust_maximum,
    visualize_video_attr,
    visualize_video_attr_multiple,
)

# Two pixels in each of six frames. Sums: 4, -6, 0, 6, -1, 5; of positive values 5, 0, 3, 6, 2, 5.
BY_HAND = torch.tensor(
    [[5.0, -1], [-4, -2], [3, -3], [6, 0], [2, -3], [0, 5]], dtype=torch.float64
).view(6, 1, 2)
SUMS = {
    "all": [4, -6, 0, 6, -1, 5],
    "positive": [5, 0, 3, 6, 2, 5],
    "negative": [-1, -6, -3, 0, -3, 0],
    "absolute_value": [6, 6, 6, 6, 5, 5],
}
MOST = {  # the earlier first among equals
    "all": [1, 3, 5],
    "positive": [3, 0, 5],
    "negative": [1, 2, 4],
    "absolute_value": [0, 1, 2],
}


def clip(total: int, height: int = 6, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (total, 3, height, width), generator=generator).to(torch.uint8)


def attr(total: int, height: int = 6, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    waves = torch.sin(torch.arange(total) / 3)[:, None, None]
    return waves + torch.randn(total, height, width, generator=generator) / 3


def draw(*arguments: Any, **options: Any) -> tuple[Figure, np.ndarray]:
    return visualize_video_attr(*arguments, **{"use_pyplot": False, **options})


def long_lines(axes: Axes, total: int) -> list[Any]:
    return [
        line for line in axes.lines if np.size(line.get_xdata()) == total and not line.get_gid()
    ]


def legend_texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("sign", sorted(SUMS))
def test_the_curve_and_its_marks_by_hand(sign: str) -> None:
    _, axes = draw(BY_HAND, None, "heat_map", sign)
    (line,) = long_lines(axes[-1], 6)
    assert np.array_equal(line.get_ydata(), SUMS[sign])
    (rings,) = [line for line in axes[-1].lines if line.get_gid() == f"top {sign}"]
    assert np.array_equal(rings.get_xdata(), MOST[sign])
    assert np.array_equal(rings.get_ydata(), np.array(SUMS[sign])[MOST[sign]])
    (text,) = legend_texts(axes[-1])
    assert text.endswith(f"sum per frame; most at {', '.join(map(str, MOST[sign]))}")
    named = [text.get_text() for text in axes[-1].texts if text.get_gid() == "name"]
    assert named == list(map(str, MOST[sign]))


def test_how_many_frames_are_marked() -> None:
    labels = ["a", "b", "c", "d", "e", "f"]
    for top, expected in ((0, ""), (1, "b"), (4, "b, d, f, a"), (99, "b, d, f, a, e")):
        _, axes = draw(BY_HAND, None, "heat_map", top=top, labels=labels)
        (text,) = legend_texts(axes[-1])  # the frame that sums to zero is never named
        assert text == "attribution, sum per frame" + (f"; most at {expected}" if top else "")


def test_names_that_meet_are_left_out() -> None:
    values = torch.zeros(64, 4, 4)
    values[[30, 31, 50]] = torch.tensor([3.0, 2.0, 1.0])[:, None, None]
    labels = [f"frame {t}" for t in range(64)]
    _, axes = draw(values, None, "heat_map", labels=labels)
    assert legend_texts(axes[-1])[0].endswith("most at frame 30, frame 31, frame 50")
    named = [text.get_text() for text in axes[-1].texts if text.get_gid() == "name"]
    assert named == ["frame 30", "frame 50"]
    _, axes = draw(values + 1e-3, None, "heat_map", top=64)
    assert legend_texts(axes[-1])[0].endswith(", ...")  # as many as there is room for


def test_shown_frames_have_ticks_and_labels() -> None:
    for frames, expected in (
        (None, [4, 12, 20, 28, 36, 44, 52, 60]),
        (3, [10, 32, 53]),
        ([60, 2], [60, 2]),
        (range(0, 64, 21), [0, 21, 42, 63]),
        (np.int64(2), [16, 48]),
        (torch.tensor([7, 9]), [7, 9]),
        (np.array([63]), [63]),
        (99, list(range(64))),
    ):
        figure, axes = draw(attr(64), clip(64), frames=frames)
        assert len(axes) == len(expected) + 1
        assert [one.get_title() for one in axes[:-1]] == list(map(str, expected))
        ticks = sorted({round(tick) for tick in axes[-1].get_xticks()})
        assert ticks == sorted(expected)
        assert isinstance(figure, Figure)
    _, axes = draw(attr(64), clip(64), frames=[5], labels=[f"{t / 8} s" for t in range(64)])
    assert axes[0].get_title() == "0.625 s"
    assert [label.get_text() for label in axes[-1].get_xticklabels()] == ["0.625 s"]
    _, axes = draw(attr(3), clip(3), curve=False)
    assert axes.shape == (3,)


def test_ticks_of_neighbours_are_named_where_there_is_room() -> None:
    _, axes = draw(attr(64), clip(64), frames=[30, 31, 32, 33, 60])
    texts = [label.get_text() for label in axes[-1].get_xticklabels()]
    assert texts[0] == "30"
    assert texts[-1] == "60"
    assert "" in texts
    assert [one.get_title() for one in axes[:-1]] == ["30", "31", "32", "33", "60"]


def test_lines_have_the_colours_of_their_sign() -> None:
    for cmap, whole in (
        (None, SIGNED),
        ("viridis", SIGNED),
        ("colour-blind", COLOUR_BLIND),
    ):
        for sign, end in (("positive", 0.85), ("negative", 0.15)):
            _, axes = draw(attr(6), None, "heat_map", sign, cmap=cmap)
            (line,) = long_lines(axes[-1], 6)
            assert line.get_color() == to_hex(whole(end))


def test_rows_of_several_methods_share_one_curve() -> None:
    methods = ["original_image", "heat_map", "blended_heat_map", "masked_image"]
    signs = ["all", "positive", "all", "negative"]
    figure, axes = visualize_video_attr_multiple(
        attr(9), clip(9), methods, signs, use_pyplot=False, frames=4, show_colorbar=True, top=2,
        normalization="frame",
    )  # fmt: skip
    pictures = axes[:-1].reshape(len(methods), -1)
    assert pictures.shape == (4, 4)
    lines = long_lines(axes[-1], 9)
    for line, sign in zip(lines, ["all", "positive", "negative"], strict=True):
        _, alone = draw(attr(9), clip(9), "heat_map", sign)
        assert np.array_equal(line.get_ydata(), long_lines(alone[-1], 9)[0].get_ydata())
    assert len(legend_texts(axes[-1])) == 3
    for row, method, sign in zip(pictures, methods, signs, strict=True):
        _, alone = draw(attr(9), clip(9), method, sign, frames=4, normalization="frame")
        for one, other in zip(row, alone[:-1], strict=True):
            for mine, theirs in zip(one.images, other.images, strict=True):
                assert np.array_equal(mine.get_array(), theirs.get_array())
    names = [row[0].get_ylabel().replace("\n", " ") for row in pictures]
    assert names[:2] == ["original image", "heat map, positive"]
    assert [one.get_title() for one in pictures[0]] == ["1", "3", "5", "7"]
    assert not any(one.get_title() for one in pictures[1:].ravel())
    bars = [one for one in figure.axes if one not in set(axes)]
    assert [bar.axison for bar in bars] == [False, True, True, False]


def test_rows_of_several_signs_share_one_scale() -> None:
    """The negative attribution is a thirtieth of the positive: so pale are its pictures."""
    values = attr(9)
    values = torch.where(values > 0, values, values / 30)
    positive, negative = values.clamp(min=0).numpy(), values.clamp(max=0).numpy()
    several: list[tuple[list[str], list[str], float]] = [
        (["heat_map"] * 2, ["positive", "negative"], robust_maximum(values.numpy())),
        (["heat_map"] * 2, ["negative", "all"], robust_maximum(values.numpy())),
        (["heat_map", "original_image"], ["negative", "all"], robust_maximum(negative)),
        (["heat_map"] * 2, ["positive"] * 2, robust_maximum(positive)),
    ]
    parts = {"positive": positive, "negative": -negative, "all": values.numpy()}
    for methods, signs, scale in several:
        figure, axes = visualize_video_attr_multiple(
            values, clip(9), methods, signs, use_pyplot=False, frames=9, show_colorbar=True
        )
        rows = axes[:-1].reshape(2, 9)
        bars = [one for one in figure.axes if one not in set(axes) and one.axison]
        assert len(bars) == methods.count("heat_map")
        for row, method, sign in zip(rows, methods, signs, strict=True):
            for frame, one in enumerate(row if method == "heat_map" else []):
                wanted = np.clip(parts[sign][frame] / scale, -1, 1)
                assert np.allclose(np.asarray(one.images[0].get_array()), wanted)
        for bar in bars:
            assert bar.get_yticklabels()[-1].get_text().lstrip("+-") == f"{scale:.2g}"


def test_titles_of_rows() -> None:
    _, axes = visualize_video_attr_multiple(
        attr(4), clip(4), ["heat_map"] * 2, ["all", "positive"], ["one", "a name of many words"],
        use_pyplot=False, curve=False,
    )  # fmt: skip
    rows = axes.reshape(2, 4)
    assert rows[0, 0].get_ylabel() == "one"
    assert rows[1, 0].get_ylabel() == "a name of many\nwords"


CASES: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "usual": (16, 64, 64, {"show_colorbar": True, "title": "a title"}),
    "long": (64, 60, 90, {"labels": [f"{t / 25:.2f} s" for t in range(64)], "top": 8}),
    "portrait": (12, 96, 54, {"show_colorbar": True, "title": "very long " * 20}),
    "two frames": (2, 24, 32, {"show_colorbar": True, "title": "two"}),
    "one frame": (1, 24, 32, {"title": "one"}),
    "wide": (8, 20, 160, {"show_colorbar": True}),
    "no curve": (5, 24, 32, {"curve": False, "show_colorbar": True}),
    "near": (64, 24, 32, {"frames": [30, 31, 32, 33, 34], "top": 20}),
    "small numbers": (10, 24, 32, {"show_colorbar": True, "scaled": 1e-7}),
    "long labels": (8, 24, 32, {"labels": [f"frame number {t} of the file" for t in range(8)]}),
    "given size": (16, 48, 64, {"fig_size": (6, 6), "show_colorbar": True, "title": "six"}),
    "many frames": (70, 24, 32, {"frames": 70}),
    "tower": (4, 200, 8, {"show_colorbar": True}),
    "low": (16, 48, 64, {"fig_size": (9, 2), "show_colorbar": True, "title": "low"}),
}


def check_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts that are drawn lie in the figure, and none meets another."""
    seen: list[Text] = []
    original = Text.draw

    def draw(self: Text, *arguments: Any, **options: Any) -> None:
        seen.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(Text, "draw", draw)
    figure.canvas.draw()
    boxes = {}
    for text in seen:
        if text.get_text().strip() and text.get_visible():
            boxes[text] = box = text.get_window_extent()
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert box.y1 <= figure.bbox.y1 + 1, text
    assert len(boxes) > 3
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across < 2 or up < 2, (one, other)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sign", ["all", "absolute_value"])
def test_texts_stay_apart_and_within(case: str, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    total, height, width, options = CASES[case]
    options = dict(options)
    values = attr(total, height, width) * options.pop("scaled", 1.0)
    figure, _ = draw(values, clip(total, height, width), "heat_map", sign, **options)
    check_texts(figure, monkeypatch)


@pytest.mark.parametrize("shape", [(16, 64, 64), (64, 48, 160), (2, 24, 32), (5, 96, 54)])
def test_texts_of_several_rows_stay_apart(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, _ = visualize_video_attr_multiple(
        attr(*shape), clip(*shape), ["blended_heat_map", "heat_map", "masked_image", "heat_map"],
        ["all", "negative", "positive", "absolute_value"], use_pyplot=False, show_colorbar=True,
    )  # fmt: skip
    check_texts(figure, monkeypatch)


def test_frames_keep_their_proportions() -> None:
    for size in (None, (6, 6), (12, 2.2)):
        for shape in ((8, 48, 64), (3, 96, 54)):
            figure, axes = draw(attr(*shape), clip(*shape), fig_size=size)
            figure.canvas.draw()
            for one in axes[:-1]:
                box = one.get_window_extent()
                assert box.width / box.height == pytest.approx(shape[2] / shape[1], rel=1e-3)
            if size is not None:
                assert tuple(figure.get_size_inches()) == size


def test_what_is_narrower_than_its_figure_stands_in_the_middle() -> None:
    figure, axes = draw(attr(3), clip(3), fig_size=(14, 2))
    figure.canvas.draw()
    box = axes[-1].get_window_extent()
    left = box.x0 / figure.dpi - 0.42  # what the curve's numbers take
    right = 14 - 0.12 - box.x1 / figure.dpi
    assert axes[0].get_window_extent().x0 == pytest.approx(box.x0)
    assert left > 3
    assert left == pytest.approx(right, abs=0.05)


def test_too_little_room() -> None:
    expected = "1 x 8 frames do not fit into 2.0 x 1.0 inches: give about 10.8 x 2.7, "
    with pytest.raises(ValueError, match=re.escape(expected)):
        draw(attr(8), clip(8), fig_size=(2, 1))
    for size in ((2,), (0, 3), (float("nan"), 3), (3, float("inf"))):
        with pytest.raises(ValueError, match="fig_size must be a width and a height in inches"):
            draw(attr(8), clip(8), fig_size=size)
