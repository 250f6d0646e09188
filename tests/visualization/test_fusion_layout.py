"""The figure of a fusion posterior: room for what is written, and what is refused."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest

from captum_video.visualization import fusion_probabilities
from tests.visualization.readouts import assert_legible
from tests.visualization.test_fusion import (
    ONE,
    TWO,
    Readout,
    cells,
    drawn,
    letters,
    means,
    strip_of,
)


def test_many_layers_are_numbered() -> None:
    names = [f"denseblock{1 + k // 16}.denselayer{k % 16 + 1}.fusion" for k in range(58)]
    readout = drawn(names, own=True)
    _, axes = fusion_probabilities(readout)
    ticks = [int(t.get_text()) for t in axes[0].get_xticklabels()]
    assert ticks == [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    assert axes[0].get_xlabel() == "layer, from the input"
    assert len(means(axes[0])["S"].get_xdata()) == 58
    _, axes = fusion_probabilities(drawn(names[:24]))
    assert [t.get_text() for t in axes[0].get_xticklabels()] == names[:24]
    for readout, width in (drawn(names[:25]), None), (drawn(names[:24]), 4.5):
        _, axes = fusion_probabilities(readout, width=width)
        assert axes[0].get_xlabel() == "layer, from the input"


def test_panels_go_below_each_other_where_room_ends() -> None:
    panels = dict.fromkeys("abcd", ONE)
    _, axes = fusion_probabilities(panels)
    places = [(round(one.get_position().x0, 6), round(one.get_position().y0, 6)) for one in axes]
    assert len({x for x, _ in places}) == 2
    assert places[0][1] == places[1][1] > places[2][1] == places[3][1]
    figure, axes = fusion_probabilities(panels, width=3.5)
    assert figure.get_size_inches()[0] == pytest.approx(3.5)
    assert len({round(one.get_position().y0, 6) for one in axes}) == 4
    figure, axes = fusion_probabilities(panels, width=16)
    assert figure.get_size_inches()[0] == pytest.approx(16)
    assert len({round(one.get_position().y0, 6) for one in axes}) == 1
    _, axes = fusion_probabilities(dict.fromkeys("abc", ONE), width=7.5)
    assert [bool(one.get_ylabel()) for one in axes] == [True, False, True]


TITLE = "What each layer keeps, of a network that was trained from several seeds on one task"
SIX = [f"unit{k}" for k in range(1, 7)]
DOTTED = [f"features.stage{k}.unit.conv" for k in range(1, 11)]
LONG = [f"backbone.features.denseblock{k}.denselayer{k}.fusion.unit" for k in range(5)]
MANY = [f"layer{k}" for k in range(58)]


@pytest.mark.parametrize("width", [None, 4.0, 14.0])
@pytest.mark.parametrize(
    ("layers", "slanted"),
    [(["conv"], False), (SIX, False), (DOTTED, True), (LONG, True), (MANY, False)],
)
def test_can_be_read(layers: list[str], slanted: bool, width: float | None) -> None:
    runs = [drawn(layers, seed) for seed in range(2)]
    kinds = dict.fromkeys(layers, "s+st")
    panels = {
        "look": runs,
        "motion of a digit that turns or grows while it moves": runs,
        "both": Readout(runs[0], np.full((len(layers), 3), 0.3)),
    }
    for shown, strategy in ((runs[0], None), (panels, kinds)):
        figure, axes = fusion_probabilities(shown, strategy=strategy, title=TITLE, width=width)
        assert_legible(figure, slanted=slanted)
        boxes = [legend.get_window_extent() for legend in figure.legends]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
        for box, other in itertools.permutations(boxes, 2):
            assert not box.overlaps(other)
        for one in axes:
            assert not any(box.overlaps(one.get_window_extent()) for box in boxes)
            assert not any(box.overlaps(one._left_title.get_window_extent()) for box in boxes)


@pytest.mark.parametrize(("width", "rows"), [(None, 1), (4.0, 2), (2.5, 2)])
def test_prior_has_a_row_of_its_own_where_room_ends(width: float | None, rows: int) -> None:
    figure, _ = fusion_probabilities(Readout(ONE, np.full((2, 3), 0.3)), width=width)
    figure.canvas.draw()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    assert len({round(box.y1) for box in boxes}) == rows
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_slanted_names_stay_below_their_panel() -> None:
    figure, axes = fusion_probabilities({"a": drawn(LONG), "b": drawn(LONG)}, width=14)
    figure.canvas.draw()
    first = axes[1].get_xticklabels()[0]
    assert first.get_rotation() == 60
    assert first.get_window_extent().x0 > axes[0].get_window_extent().x1


def test_letters_only_where_they_fit() -> None:
    kinds = dict.fromkeys(MANY, "st")
    figure, _ = fusion_probabilities(drawn(MANY), strategy=kinds)
    assert letters(strip_of(figure)) == [(1, k, "ST") for k in range(1, 59)]
    figure, _ = fusion_probabilities(drawn(MANY), strategy=kinds, width=5)
    assert letters(strip_of(figure)) == []
    assert cells(strip_of(figure)) == [[False] * 58, [True] * 58]


def test_title_and_long_names() -> None:
    figure, axes = fusion_probabilities(drawn(LONG), title=TITLE)
    lines = [text.get_text() for text in figure.texts]
    assert " ".join(lines).startswith(TITLE)
    ticks = [tick.get_text() for tick in axes[0].get_xticklabels()]
    assert ticks[2] == "backbone.fea…denselayer2.fusion.unit"
    assert max(map(len, ticks)) == 36


def test_same_bytes_and_unknown_to_pyplot() -> None:
    pictures = []
    for _ in range(2):
        figure, _ = fusion_probabilities([ONE, TWO], strategy={"a": "s", "b": "st"})
        file = io.BytesIO()
        figure.savefig(file, format="png")
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]
    assert figure.canvas.manager is None


def changed(value: Any) -> dict[str, Any]:
    return {"a": {"S": 0.5, "ST": value}}


TURNED = {"b": ONE["b"], "a": ONE["a"]}
OTHER = {"a": ONE["a"], "c": ONE["b"]}


@pytest.mark.parametrize(
    ("readouts", "options", "text"),
    [
        ({}, {}, "readouts must hold at least one readout, got none"),
        ([], {}, "readouts must be a mapping from layers .* or a sequence of them, got nothing"),
        (3.0, {}, "readouts must be a mapping from layers .* got float"),
        ({"look": {}}, {}, r"readouts\['look'\] must be a mapping from layers .* got nothing"),
        ({"look": []}, {}, r"readouts\['look'\] must be a mapping from layers .* got nothing"),
        ({"look": 0.5}, {}, r"readouts\['look'\] must be a mapping from layers .* got float"),
        ([ONE, 0.5], {}, r"readouts\[1\] must be a mapping .* got float"),
        ({"x": [ONE, {"a": 1}]}, {}, r"readouts\['x'\]\[1\] must be a mapping .* got dict"),
        ([ONE, ONE, OTHER], {}, r"\[0\] and \[2\] differ: only the first has 'b', only the second"),
        (
            {"x": [ONE, OTHER]},
            {},
            r"readouts\['x'\] must be runs of one model, with the same layers",
        ),
        ([ONE, TURNED], {}, "differ: orders a, b and b, a"),
        (changed(1.01), {}, "readouts must hold probabilities from 0 to 1, got 1.01 for ST of 'a'"),
        (changed(-0.1), {}, "got -0.1 for ST of 'a'"),
        (changed(float("nan")), {}, "got nan for ST of 'a'"),
        ({"x": changed("much")}, {}, r"readouts\['x'\] must hold probabilities .* got 'much'"),
        (ONE, {"units": ("T",)}, "units must be of S, ST, S\\+ST, got 'T'"),
        (changed(0.5), {"units": ("S+ST",)}, "layer 'a' has no unit 'S\\+ST', only S, ST"),
        ({"a": {"T": 0.5}}, {}, r"units must be .* different units, got \[\]"),
        (ONE, {"units": ()}, r"units must be a sequence of different units, got \(\)"),
        (ONE, {"units": "ST"}, "units must be a sequence of different units, got 'ST'"),
        (ONE, {"units": ("S", "S")}, "units must be a sequence of different units"),
        (ONE, {"strategy": {"a": "s"}}, "for the 2 layers that are shown; missing or unknown: b"),
        (ONE, {"strategy": {"a": "s", "b": "s", "c": "s"}}, "missing or unknown: c"),
        (ONE, {"strategy": {"a": "s", "b": "t"}}, "strategy must be of .*'none'.* got 't' for 'b'"),
        (ONE, {"strategy": ("s", "st")}, "strategy must be a Strategy or a mapping .* got tuple"),
        (ONE, {"strategy": {"x": {"a": "s"}}}, r"strategy is for a panel 'x'; there are \[''\]"),
        ({"x": ONE}, {"strategy": {"x": 1}}, "strategy must map layers to kinds, got int"),
        (
            Readout(ONE, [[0.1, 0.2, 0.3]]),
            {},
            r"prior of readouts must be .* \(2, 3\), got .*\(1, 3\)",
        ),
        (Readout(ONE, [[0.1, 0.2, 1.3], [0] * 3]), {}, r"probabilities from 0 to 1, or NaN.* 1\.3"),
        ({"x": Readout(ONE, [[0, 0, -1], [0] * 3])}, {}, r"the prior of readouts\['x'\] must be"),
        (ONE, {"width": 2.0}, r"width must be at least 2\.5 inches for this figure, got 2\.0"),
    ],
)
def test_refuses(readouts: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fusion_probabilities(readouts, **options)
