"""The tables of the fusion study by hand, and the file that keeps its cells."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from models import _fusion_study_cells as cells
from models import _fusion_study_figure as figure
from models import _fusion_study_report as report
from models._fusion_study_results import Cell, Chosen, Outcome, Results, Settings
from models.data.look_or_motion import FRAMES, HALVED_FRAMES

LAYERS = ("a", "b.unit")


def outcome(
    accuracy: dict[str, dict[str, float]],
    keep: Sequence[tuple[float, float]] = (),
    chosen: Sequence[str] = (),
    parameters: int = 1000,
) -> Outcome:
    """An outcome with layers of given probabilities of S and ST."""
    rows = {
        name: {"S": s, "ST": st, "S+ST": s * st, "time": st}
        for name, (s, st) in zip(LAYERS, keep, strict=False)
    }
    kinds = dict(zip(LAYERS, chosen, strict=False))
    best = {"best sampled": Chosen(kinds, -1.0, parameters - 100 * len(chosen))} if chosen else {}
    return Outcome(10, 8, 1.0, parameters, accuracy, rows, best)


def ways(open_: float, probable: float, best: float) -> dict[str, dict[str, float]]:
    shares = {"all open": open_, "most probable": probable, "best sampled": best}
    return {way: {"look": share} for way, share in shares.items()}


@pytest.fixture
def outcomes() -> dict[Cell, Outcome]:
    both = {
        way: {"look": 0.9, "motion": 0.5} for way in ("all open", "most probable", "best sampled")
    }
    motion = {way: {"motion": value["look"]} for way, value in ways(0.5, 0.4, 0.6).items()}
    return {
        Cell("look", "full", "fusion", 1): outcome(
            ways(0.8, 0.7, 0.9), [(0.9, 0.2), (0.5, 0.6)], ["s", "st"]
        ),
        Cell("look", "full", "fusion", 0): outcome(
            ways(0.6, 0.7, 0.8), [(0.7, 0.4), (0.5, 0.4)], ["s", "none"]
        ),
        Cell("look", "full", "fusion", 4): outcome(
            ways(0.7, 0.7, 0.7), [(0.8, 0.3), (0.5, 0.2)], ["s", "s+st"]
        ),
        Cell("motion", "full", "fusion", 0): outcome(
            motion, [(0.1, 0.9), (0.5, 0.35)], ["st", "s"]
        ),
        Cell("motion", "full", "fusion", 1): outcome(
            motion, [(0.1, 0.8), (0.5, 0.45)], ["st", "s"]
        ),
        Cell("look", "halved", "fusion", 4): outcome(
            ways(0.5, 0.5, 0.5), [(0.8, 0.1), (0.5, 0.0)], ["s", "s"], 900
        ),
        Cell("both", "full", "fusion", 0): outcome(both, [(0.5, 0.5)], ["s"]),
        Cell("look", "full", "s", 0): outcome({"as trained": {"look": 0.7}}),
        Cell("look", "full", "s", 1): outcome({"as trained": {"look": 0.8}}),
        Cell("look", "full", "s", 2): outcome({"as trained": {"look": 0.6}}),
    }


#: t(0.975, n - 1) / sqrt(n)
T2, T3 = 12.706205 / math.sqrt(2), 4.302653 / math.sqrt(3)


def test_posteriors_are_averaged_over_layers_then_seeds(outcomes: dict[Cell, Outcome]) -> None:
    table = report.posterior_table(outcomes)
    assert table[0] == ("task", "resolution", "seeds", "S, %", "ST, %", "S+ST, %")
    # S: 0.6, 0.7, 0.65; ST: 0.4, 0.4, 0.25; S+ST: 0.24, 0.24, 0.17
    half = [100 * T3 * deviation for deviation in (0.05, 0.05 * math.sqrt(3), 0.07 / math.sqrt(3))]
    expected = [f"{m} ± {h:.1f}" for m, h in zip((65.0, 35.0, 21.7), half, strict=True)]
    assert table[1] == ("look", "full", "3", *expected)
    assert table[2] == ("look", "halved", "1", "65.0", "5.0", "4.0")
    assert [row[:3] for row in table[3:]] == [("motion", "full", "2"), ("both", "full", "1")]
    layers = report.layers_table(outcomes)
    assert layers[1] == (
        "look", "full", "a", f"80.0 ± {10 * T3:.1f}", f"30.0 ± {10 * T3:.1f}", layers[1][5],
    )  # fmt: skip
    assert layers[2][:5] == ("look", "full", "b.unit", "50.0 ± 0.0", f"40.0 ± {20 * T3:.1f}")


def test_differences_are_taken_seed_by_seed(outcomes: dict[Cell, Outcome]) -> None:
    table = {row[0]: row[1:] for row in report.differences_table(outcomes)}
    assert list(table) == ["difference", "motion - look, full", "halved - full, look"]
    # seeds 0 and 1. S: 0.3 - 0.6, 0.3 - 0.7; ST: 0.625 - 0.4, 0.625 - 0.4; of the layers' mean
    # differences 0.55 and -0.1 one is above zero
    seeds, s, st, _, *higher = table["motion - look, full"]
    assert (seeds, st, *higher) == ("2", "22.5 ± 0.0", "0 of 2 layers", "1 of 2 layers")
    assert s == f"-35.0 ± {100 * T2 * 0.05 * math.sqrt(2):.1f}"
    assert table["halved - full, look"] == (
        "1", "0.0", "-20.0", "-13.0", "0 of 2 layers", "0 of 2 layers",
    )  # fmt: skip


def test_accuracies_are_compared_seed_by_seed(outcomes: dict[Cell, Outcome]) -> None:
    table = report.accuracy_table(outcomes)
    assert table[0] == (
        "task", "resolution", "question", "best sampled, %", "most probable, %", "all open, %",
        "S everywhere, %", "ST everywhere, %", "S+ST everywhere, %",
    )  # fmt: skip
    ten = f"{10 * T3:.1f} (3)"
    assert table[1] == (
        "look", "full", "look", f"80.0 ± {ten}", "70.0 ± 0.0 (3)", f"70.0 ± {ten}", f"70.0 ± {ten}",
        "", "",
    )  # fmt: skip
    assert [row[:4] for row in table[4:]] == [
        ("both", "full", "look", "90.0 (1)"),
        ("both", "full", "motion", "50.0 (1)"),
        ("both", "full", "mean", "70.0 (1)"),
    ]
    paired = report.paired_table(outcomes)
    assert paired[0][3:] == (
        "less most probable, points", "less all open, points", "less S everywhere, points",
        "less ST everywhere, points", "less S+ST everywhere, points",
    )  # fmt: skip
    # seeds 0, 1, 4: 0.1, 0.2, 0.0 and 0.2, 0.1, 0.0; the twin has seeds 0 and 1: 0.1, 0.1
    assert paired[1][3:6] == (f"10.0 ± {ten}", f"10.0 ± {ten}", "10.0 ± 0.0 * (2)")
    assert paired[2][3:5] == ("0.0 (1)", "0.0 (1)")  # one seed is no interval


def test_the_chosen_strategies_are_counted(outcomes: dict[Cell, Outcome]) -> None:
    table = report.strategies_table(outcomes)
    assert table[1] == (
        "look", "full", "3", "1.0", "0.3", "0.3", "0.3", "1,000", "800 to 800",
    )  # fmt: skip
    assert table[2][-2:] == ("900", "700 to 700")


def test_the_figure_has_a_panel_for_each_question_and_resolution(
    outcomes: dict[Cell, Outcome],
) -> None:
    panels = {axes.get_title(loc="left"): axes for axes in figure.draw(outcomes).axes}
    assert [title for title in panels if title] == [
        f"look, {FRAMES} frames (3 runs)", f"motion, {FRAMES} frames (2 runs)", f"both, {FRAMES} frames",
        f"look, {HALVED_FRAMES} frames",
    ]  # fmt: skip
    axes: Any = panels[f"look, {FRAMES} frames (3 runs)"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["a", "b"]
    drawn = [list(line.get_ydata()) for line in axes.get_lines()]
    for unit in report.UNITS:
        rows = report.layer_rows(outcomes, "look", "full")
        means = [rows[layer][unit].mean for layer in ("a", "b.unit")]
        assert any(line == pytest.approx(means) for line in drawn if len(line) == 2)


SETTINGS = Settings({"lr": 0.1, "steps": 4})


def test_results_come_back_and_other_settings_are_refused(
    tmp_path: Path, outcomes: dict[Cell, Outcome]
) -> None:
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    results = Results([path, other], SETTINGS)
    for cell, one in outcomes.items():
        results.append(cell, one)
    assert Results([path], None).outcomes == Results([path], SETTINGS).outcomes == outcomes
    assert not other.exists()
    with pytest.raises(FileNotFoundError, match="There are no results at"):
        Results([path, other], None)
    changed = replace(SETTINGS, recipe={"lr": 0.2, "steps": 4}, clips=5)
    text = r"of other settings: recipe.lr 0.1 \(now 0.2\), clips 1000 \(now 5\)"
    with pytest.raises(ValueError, match=text):
        Results([path], changed)
    Results([other], changed)
    with pytest.raises(ValueError, match=r"b.jsonl holds cells of other settings: recipe.lr 0.2"):
        Results([path, other], None)
    with path.open("a") as file:
        file.write(json.dumps({**asdict(outcomes[Cell("look", "full", "s", 0)]), "task": "look"}))
        file.write("\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 12 is not a cell"):
        Results([path], None)


def test_published_cells_are_of_the_recipe_as_it_is() -> None:
    """New fields of a recipe, as they are by default, do not make older files those of another."""
    file = Path(__file__).parents[2] / "docs" / "data" / "fusion.jsonl"
    written = json.loads(file.read_text().splitlines()[0])["settings"]["recipe"]
    assert cells.numbers(cells.recipe(600)) == written
    other = replace(cells.recipe(600), optimizer="sgd", freeze=("block1",))
    assert cells.numbers(other) == {**written, "optimizer": "sgd", "freeze": ["block1"]}
