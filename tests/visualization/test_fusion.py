"""The posterior of fusion units as a figure."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from captum_video import FusionPosterior
from captum_video.nn import FusionUnit
from captum_video.visualization import fusion_probabilities
from tests.visualization.readouts import assert_legible

ONE = {"a": {"S": 0.9, "ST": 0.2, "S+ST": 0.4}, "b": {"S": 0.3, "ST": 1.0, "S+ST": 0.0}}
TWO = {"a": {"S": 0.5, "ST": 0.4, "S+ST": 0.6}, "b": {"S": 0.7, "ST": 0.0, "S+ST": 0.3}}
THREE = {"a": {"S": 0.1, "ST": 0.3, "S+ST": 0.8}, "b": {"S": 0.8, "ST": 0.2, "S+ST": 0.9}}


def drawn(layers: list[str], seed: int = 0, own: bool = False) -> dict[str, dict[str, float]]:
    """Random probabilities, with or without a gate of its own for S+ST."""
    values = np.random.default_rng(seed).random((len(layers), 3))
    return {
        layer: {"S": float(s), "ST": float(st), "S+ST": float(both if own else s * st)}
        for layer, (s, st, both) in zip(layers, values, strict=True)
    }


def means(axes: Axes) -> dict[str, Any]:
    """The lines with a name."""
    lines = {str(line.get_label()): line for line in axes.lines}
    return {name: line for name, line in lines.items() if not name.startswith("_")}


def strip_of(figure: Figure, number: int = 0) -> Axes:
    """The cells of a strategy."""
    found = [axes for axes in figure.axes if axes.patches]
    return found[number]


def cells(axes: Axes) -> list[list[bool]]:
    """Which cells of the rows for S and ST are filled."""
    count = len(axes.patches) // 2
    filled: Any = np.full((2, count), False)
    for patch in axes.patches:
        cell: Any = patch
        filled[cell.get_y(), int(cell.get_x())] = cell.get_facecolor() != to_rgba("white")
    return [list(map(bool, row)) for row in filled]


def letters(axes: Axes) -> list[tuple[int, int, str]]:
    """Row, layer and text of what is written into cells."""
    found = [(int(t.get_position()[1]), int(t.get_position()[0]), t.get_text()) for t in axes.texts]
    return sorted(found)


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_lines_are_the_probabilities() -> None:
    figure, axes = fusion_probabilities(ONE)
    assert isinstance(figure, Figure)
    assert axes.shape == (1,)
    lines = means(axes[0])
    assert list(lines) == ["S", "ST", "S+ST"]
    assert lines["S"].get_ydata().tolist() == [0.9, 0.3]
    assert lines["ST"].get_ydata().tolist() == [0.2, 1.0]
    assert lines["S+ST"].get_ydata().tolist() == [0.4, 0.0]
    assert lines["ST"].get_xdata().tolist() == [1, 2]
    assert lines["S"].get_xdata() == pytest.approx([0.84, 1.84])
    assert lines["S+ST"].get_xdata() == pytest.approx([1.16, 2.16])
    assert axes[0].get_ylim() == (0, 1)
    assert axes[0].get_xlim() == (0.5, 2.5)
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["a", "b"]
    assert axes[0].get_ylabel() == "probability of being kept, 1 - p"
    assert not axes[0].collections
    assert words(figure) == ""


def test_colours_and_marks_differ_and_the_legend_has_them() -> None:
    figure, axes = fusion_probabilities(ONE)
    lines = means(axes[0])
    styles = {name: (line.get_color(), line.get_marker()) for name, line in lines.items()}
    assert len({colour for colour, _ in styles.values()}) == 3
    assert len({mark for _, mark in styles.values()}) == 3
    (legend,) = figure.legends
    shown = {
        text.get_text(): (line.get_color(), line.get_marker())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert shown == styles


def test_one_half_is_marked_beside_the_axes() -> None:
    figure, axes = fusion_probabilities({"one": ONE, "two": TWO})
    for one in axes:
        (half,) = [line for line in one.lines if list(line.get_ydata()) == [0.5, 0.5]]
        assert half.get_linestyle() == "--"
    assert not axes[0].texts
    (text,) = axes[1].texts
    assert text.get_text() == "says\nnothing"
    figure.canvas.draw()
    box, plot = text.get_window_extent(), axes[1].get_window_extent()
    assert box.x0 > plot.x1
    middle = axes[1].transData.transform((1, 0.5))[1]
    assert (box.y0 + box.y1) / 2 == pytest.approx(middle, abs=1)


def test_runs_show_mean_range_and_each() -> None:
    """By hand: of 0.9, 0.5, 0.1 and so on."""
    figure, axes = fusion_probabilities([ONE, TWO, THREE])
    lines = means(axes[0])
    assert lines["S"].get_ydata() == pytest.approx([0.5, 0.6])
    assert lines["ST"].get_ydata() == pytest.approx([0.3, 0.4])
    assert lines["S+ST"].get_ydata() == pytest.approx([0.6, 0.4])
    bars = [collection.get_segments() for collection in axes[0].collections]
    assert len(bars) == 3
    assert np.array(bars[0])[:, :, 1].tolist() == [[0.1, 0.9], [0.3, 0.8]]
    assert np.array(bars[1])[:, :, 1].tolist() == [[0.2, 0.4], [0.0, 1.0]]
    assert np.array(bars[2])[:, :, 1].tolist() == [[0.4, 0.8], [0.0, 0.9]]
    assert np.array(bars[0])[:, :, 0] == pytest.approx(np.array([[0.84] * 2, [1.84] * 2]))
    colours = [line.get_color() for line in lines.values()]
    assert [tuple(c.get_color()[0][:3]) for c in axes[0].collections] == [
        to_rgba(colour)[:3] for colour in colours
    ]
    faint = [line for line in axes[0].lines if line.get_alpha() and line.get_alpha() < 0.5]
    assert [line.get_ydata().tolist() for line in faint[:3]] == [[0.9, 0.3], [0.5, 0.7], [0.1, 0.8]]
    assert [line.get_ydata().tolist() for line in faint[6:]] == [[0.4, 0], [0.6, 0.3], [0.8, 0.9]]
    assert len(faint) == 9
    assert axes[0].get_title(loc="left") == "3 runs"
    assert words(figure).endswith(
        "Line: mean over runs; bars: lowest and highest run; faint: single runs."
    )


def test_panels_share_units_and_legend() -> None:
    figure, axes = fusion_probabilities({"look": [ONE, TWO], "motion": THREE, "both": [TWO]})
    assert axes.shape == (3,)
    heads = [one.get_title(loc="left") for one in axes]
    assert heads == ["look (2 runs)", "motion", "both"]
    assert means(axes[0])["S"].get_ydata() == pytest.approx([0.7, 0.5])
    assert means(axes[1])["S"].get_ydata().tolist() == [0.1, 0.8]
    assert means(axes[2])["S"].get_ydata().tolist() == [0.5, 0.7]
    assert [len(one.collections) for one in axes] == [3, 0, 0]
    assert {one.get_ylim() for one in axes} == {(0, 1)}
    assert len(figure.legends) == 1
    assert len({round(one.get_position().y0, 6) for one in axes}) == 1
    assert axes[0].get_ylabel()
    assert not axes[1].get_ylabel()


def test_panels_may_be_of_different_models() -> None:
    _, axes = fusion_probabilities({"small": ONE, "large": drawn(list("pqrst"))})
    assert [one.get_xlim() for one in axes] == [(0.5, 2.5), (0.5, 5.5)]
    assert [t.get_text() for t in axes[1].get_xticklabels()] == list("pqrst")


def test_chosen_units() -> None:
    figure, axes = fusion_probabilities([ONE, TWO], units=("ST",))
    lines = means(axes[0])
    assert list(lines) == ["ST"]
    assert lines["ST"].get_xdata().tolist() == [1, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ST"]
    _, axes = fusion_probabilities(ONE, units=("ST", "S"))
    assert list(means(axes[0])) == ["ST", "S"]
    two = {"a": {"S": 0.2, "ST": 0.3}}
    assert list(means(fusion_probabilities(two)[1][0])) == ["S", "ST"]


def test_a_product_is_said_to_be_one() -> None:
    own, product = drawn(list("ab"), own=True), drawn(list("ab"))
    note = "S+ST is S times ST, both kept: it says nothing at 1/4."
    assert words(fusion_probabilities(product)[0]) == note
    assert words(fusion_probabilities(own)[0]) == ""
    assert words(fusion_probabilities(product, units=("S", "ST"))[0]) == ""
    assert words(fusion_probabilities([product, own])[0]).count("times") == 0
    mixed = {"own": own, "two gates": product}
    assert words(fusion_probabilities(mixed)[0]) == note.replace("S+ST", "S+ST of two gates", 1)
    assert words(fusion_probabilities({"x": {"a": {"S": 0.1, "ST": 0.1}}})[0]) == ""


def test_strategy_is_drawn_as_cells() -> None:
    """Filled and lettered, so that the colour is not needed; the order is the readout's."""
    readout = drawn(list("abcd"))
    kinds = {"d": "none", "a": "s", "c": "s+st", "b": "st"}
    figure, axes = fusion_probabilities(readout, strategy=kinds)
    strip = strip_of(figure)
    assert cells(strip) == [[True, False, True, False], [False, True, True, False]]
    assert letters(strip) == [(0, 1, "S"), (0, 3, "S"), (1, 2, "ST"), (1, 3, "ST")]
    assert strip.get_xlim() == axes[0].get_xlim()
    assert strip.get_ylim()[0] > strip.get_ylim()[1]
    assert [t.get_text() for t in strip.get_yticklabels()] == ["S", "ST"]
    assert strip.get_ylabel() == "strategy"
    assert [t.get_text() for t in strip.get_xticklabels()] == list("abcd")
    above, below = axes[0].get_position(), strip.get_position()
    assert (below.x0, below.x1) == pytest.approx((above.x0, above.x1))
    assert below.y1 < above.y0


def test_strategies_of_panels() -> None:
    panels = {"look": ONE, "motion": [ONE, TWO], "both": TWO}
    figure, _ = fusion_probabilities(panels, strategy={"a": "s", "b": "st"})
    for number in range(3):
        assert cells(strip_of(figure, number)) == [[True, False], [False, True]]
    by_panel = {"motion": {"a": "none", "b": "s+st"}, "look": {"a": "s", "b": "s"}}
    figure, axes = fusion_probabilities(panels, strategy=by_panel)
    strips = [one for one in figure.axes if one.patches]
    assert [cells(one) for one in strips] == [
        [[True, True], [False, False]],
        [[False, True], [False, True]],
    ]
    assert strips[1].get_position().x0 == axes[1].get_position().x0
    assert [t.get_text() for t in axes[2].get_xticklabels()] == ["a", "b"]


def test_of_a_network() -> None:
    """What the other rooms give is taken as it is."""
    model = torch.nn.Sequential(FusionUnit(2, 2), FusionUnit(2, 2))
    for unit, drop in zip(model, ((0.2, 0.7), (0.9, 0.25)), strict=True):
        unit.gates.set_drop_probability(drop)  # type: ignore[union-attr,operator]
    posterior = FusionPosterior(model)
    readout, strategy = posterior.read(), posterior.most_probable()
    figure, axes = fusion_probabilities({"net": [readout]}, strategy=strategy)
    lines = means(axes[0])
    assert lines["S"].get_ydata() == pytest.approx([0.8, 0.1])
    assert lines["ST"].get_ydata() == pytest.approx([0.3, 0.75])
    assert lines["S+ST"].get_ydata() == pytest.approx([0.24, 0.075])
    assert cells(strip_of(figure)) == [[True, False], [False, True]]
    assert "S+ST is S times ST" in words(figure)


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
    assert [len(one.texts) for one in axes] == [0, 1, 1]
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
        "both": runs[0],
    }
    for shown, strategy in ((runs[0], None), (panels, kinds)):
        figure, axes = fusion_probabilities(shown, strategy=strategy, title=TITLE, width=width)
        assert_legible(figure, slanted=slanted)
        legend = figure.legends[0].get_window_extent()
        for one in axes:
            assert not legend.overlaps(one.get_window_extent())


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
        (ONE, {"width": 2.0}, r"width must be at least 2\.8 inches for this figure, got 2\.0"),
    ],
)
def test_refuses(readouts: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fusion_probabilities(readouts, **options)
