from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from matplotlib.colors import to_hex
from scipy import stats

from models import _low_data_cells as cells
from models import _low_data_report as report
from models._low_data_results import Cell


def test_the_interval_is_students() -> None:
    # mean 4, standard deviation 2, error of the mean 2 / sqrt(3); t(0.975, 2) = 4.302653
    found = report.interval([2.0, 4.0, 6.0])
    assert found.mean == 4
    assert found.half == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)
    values = torch.rand(10, generator=torch.Generator().manual_seed(0)).tolist()
    low, high = stats.t.interval(0.95, 9, loc=stats.tmean(values), scale=stats.sem(values))
    found = report.interval(values)
    assert found.mean - found.half == pytest.approx(low, rel=1e-12)
    assert found.mean + found.half == pytest.approx(high, rel=1e-12)
    alone = report.interval([0.25])
    assert alone.mean == 0.25
    assert math.isnan(alone.half)
    assert str(alone) == "25.0"


@pytest.fixture
def accuracies() -> dict[Cell, float]:
    """3T ahead by 10, 20 and 30 points at 10 clips; nothing to choose between them at 100."""
    plain = {10: (0.2, 0.3, 0.4), 100: (0.5, 0.6, 0.7)}
    more = {10: (0.1, 0.2, 0.3), 100: (0.1, -0.1, 0.0)}
    found = {}
    for task in ("motion", "paper"):
        for clips in (100, 10):
            for seed in (2, 0, 1):
                found[Cell(task, "lenet5_3t", clips, seed)] = plain[clips][seed] + more[clips][seed]
                found[Cell(task, "lenet5_3d", clips, seed)] = plain[clips][seed]
    found[Cell("paper", "lenet5_3d", 10, 7)] = 0.9  # without its pair
    return found


def test_rows_compare_the_nets_seed_by_seed(accuracies: dict[Cell, float]) -> None:
    found = report.rows(accuracies)
    assert [(row.task, row.clips, row.seeds) for row in found] == [
        ("paper", 10, 3), ("paper", 100, 3), ("motion", 10, 3), ("motion", 100, 3),
    ]  # fmt: skip
    first = found[0]
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert first.nets["lenet5_3d"].mean == pytest.approx(0.3)
    assert first.nets["lenet5_3d"].half == pytest.approx(half, rel=1e-6)
    assert first.nets["lenet5_3t"].mean == pytest.approx(0.5)
    assert first.nets["lenet5_3t"].half == pytest.approx(2 * half, rel=1e-6)
    assert first.difference.mean == pytest.approx(0.2)
    assert first.difference.half == pytest.approx(half, rel=1e-6)
    # 20.0 ± 24.8 points hold 0
    assert [row.ahead for row in found] == ["-", "-", "-", "-"]
    clear = replace(first, difference=report.Interval(-0.2, 0.1))
    assert clear.ahead == "3D"
    assert replace(first, difference=report.Interval(0.2, 0.1)).ahead == "3T"
    assert replace(first, difference=report.Interval(0.2, math.nan)).ahead == "-"
    assert report.cells(found)[0] == (
        "paper", "10", "3", "30.0 ± 24.8", "50.0 ± 49.7", "20.0 ± 24.8", "-",
    )  # fmt: skip


def test_the_figure_shows_means_bands_and_chance(accuracies: dict[Cell, float]) -> None:
    found = report.rows(accuracies)
    figure = report.draw(found)
    panels: list[Any] = list(figure.axes)
    assert [axes.get_title() for axes in panels] == [
        cells.TASKS["paper"].title,
        cells.TASKS["motion"].title,
    ]
    assert [axes.get_xscale() for axes in panels] == ["log", "log"]
    assert panels[0].get_ylim() == (0, 100)
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == [
        "LeNet-5-3D", "LeNet-5-3T", "chance",
    ]  # fmt: skip
    assert "over 3 seeds" in figure.get_suptitle()
    for axes, own in zip(panels, (found[:2], found[2:]), strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "100"]
        *lines, chance = axes.get_lines()
        assert list(chance.get_ydata()) == [10, 10]
        for net, line, band in zip(cells.NETS, lines, axes.collections, strict=True):
            mean = [100 * row.nets[net].mean for row in own]
            assert list(line.get_xdata()) == [10, 100]
            assert list(line.get_ydata()) == pytest.approx(mean)
            assert to_hex(line.get_color()) == to_hex(band.get_facecolor()[0])
            corners = band.get_paths()[0].vertices
            for row in own:
                at = corners[corners[:, 0] == row.clips, 1]
                ends = [100 * (row.nets[net].mean + s * row.nets[net].half) for s in (-1, 1)]
                assert [at.min(), at.max()] == pytest.approx(ends)
        assert lines[0].get_color() != lines[1].get_color()
        assert lines[0].get_marker() != lines[1].get_marker()
