"""The posterior of fusion units as a figure."""

from __future__ import annotations

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

ONE = {"a": {"S": 0.9, "ST": 0.2, "S+ST": 0.4}, "b": {"S": 0.3, "ST": 1.0, "S+ST": 0.0}}
TWO = {"a": {"S": 0.5, "ST": 0.4, "S+ST": 0.6}, "b": {"S": 0.7, "ST": 0.0, "S+ST": 0.3}}
THREE = {"a": {"S": 0.1, "ST": 0.3, "S+ST": 0.8}, "b": {"S": 0.8, "ST": 0.2, "S+ST": 0.9}}


class Readout(dict[str, dict[str, float]]):
    """A readout that knows where its units would lie if the data said nothing."""

    def __init__(self, rows: dict[str, dict[str, float]], prior: Any) -> None:
        super().__init__(rows)
        self.prior = prior


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


def test_one_half_is_marked_without_words() -> None:
    """It is not where a unit lies that the data did not decide."""
    figure, axes = fusion_probabilities({"one": ONE, "two": TWO})
    for one in axes:
        (half,) = [line for line in one.lines if list(line.get_ydata()) == [0.5, 0.5]]
        assert half.get_linestyle() == "--"
        assert not one.texts
    assert words(figure) == ""


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


def dashes(axes: Axes) -> dict[str, Any]:
    """What is drawn where the data said nothing, by unit."""
    lines = {str(line.get_label()): line for line in axes.lines}
    start = "_prior of "
    return {name.removeprefix(start): line for name, line in lines.items() if start in name}


def test_prior_is_dashes_in_the_units_colours() -> None:
    nan = float("nan")
    prior = torch.tensor([[0.1, 0.2, 0.3], [0.4, nan, 0.6]], dtype=torch.float64)
    figure, axes = fusion_probabilities(Readout(ONE, prior))
    shown, lines = dashes(axes[0]), means(axes[0])
    assert list(shown) == ["S", "ST", "S+ST"]
    assert shown["S"].get_ydata().tolist() == [0.1, 0.4]
    assert shown["ST"].get_ydata() == pytest.approx([0.2, nan], nan_ok=True)
    assert shown["S+ST"].get_ydata().tolist() == [0.3, 0.6]
    for unit, dash in shown.items():
        assert dash.get_color() == lines[unit].get_color()
        assert (dash.get_marker(), dash.get_linestyle()) == ("_", "None")
        assert list(dash.get_xdata()) == list(lines[unit].get_xdata())
    entries = [text.get_text() for one in figure.legends for text in one.get_texts()]
    assert entries == ["S", "ST", "S+ST", "if the data said nothing"]
    assert figure.legends[1].get_lines()[0].get_marker() == "_"


@pytest.mark.parametrize("prior", [None, torch.full((2, 3), float("nan"))])
def test_no_prior_no_dashes(prior: Any) -> None:
    figure, axes = fusion_probabilities({"x": Readout(ONE, prior), "y": ONE})
    for one in axes:
        assert all(np.isnan(dash.get_ydata()).all() for dash in dashes(one).values())
    assert [len(legend.get_texts()) for legend in figure.legends] == [3]


def test_prior_of_runs_is_the_mean_of_those_that_know_it() -> None:
    nan = float("nan")
    runs = [
        Readout(ONE, [[0.1, 0.5, nan], [0.2, nan, nan]]),
        TWO,
        Readout(TWO, np.array([[0.3, nan, nan], [0.4, 0.9, nan]])),
    ]
    figure, axes = fusion_probabilities({"runs": runs, "other": THREE}, units=("ST", "S"))
    shown = dashes(axes[0])
    assert shown["S"].get_ydata() == pytest.approx([0.2, 0.3])
    assert shown["ST"].get_ydata().tolist() == [0.5, 0.9]
    assert np.isnan(dashes(axes[1])["S"].get_ydata()).all()
    assert len(figure.legends) == 2


def test_a_product_is_said_to_be_one() -> None:
    own, product = drawn(list("ab"), own=True), drawn(list("ab"))
    note = "S+ST is S times ST, both kept."
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
