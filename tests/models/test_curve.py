from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from models.training.curve import draw_curve, learning_curve

LINES: list[dict[str, Any]] = [
    {
        "step": step,
        "epoch": step / 20,
        "loss": loss,
        "validation_loss": loss + 1,
        "motion": share,
        "look": share / 2,
        "lr": 0.01 / step,
        "waiting": 0.1,
        "step_seconds": 0.2,
        "seconds": 9.0 * step,
    }
    for step, loss, share in ((10, 4.0, 0.25), (20, 2.0, 0.5), (30, 1.0, 0.75), (40, 0.5, 1.0))
]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def curves(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """What a panel's lines show, by label."""
    return {str(line.get_label()): points(line) for line in axes.lines}


def values(axes: Axes, label: str) -> list[float | None]:
    return [None if math.isnan(y) else round(y, 9) for _, y in curves(axes)[label]]


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def only_losses(*losses: float | None) -> list[dict[str, Any]]:
    return [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]


def test_the_panels_show_the_logs_numbers() -> None:
    figure = learning_curve(LINES, title="a net", best_step=30)
    losses, scores, rate = figure.axes
    assert figure.get_suptitle() == "a net"
    assert curves(losses)["training"] == [(10, 4.0), (20, 2.0), (30, 1.0), (40, 0.5)]
    assert curves(losses)["validation"] == [(10, 5.0), (20, 3.0), (30, 2.0), (40, 1.5)]
    assert curves(scores)["motion"] == [(10, 25), (20, 50), (30, 75), (40, 100)]
    assert curves(scores)["look"] == [(10, 12.5), (20, 25), (30, 37.5), (40, 50)]
    assert [y for _, y in points(rate.lines[0])] == [0.001, 0.0005, 0.01 / 30, 0.00025]
    assert rate.get_ylim()[0] == 0
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss",
        "validation score, %",
        "learning\nrate",
    ]
    assert rate.get_xlabel() == "optimiser step"
    assert scores.get_ylim() == (0, 100)
    assert all(axes.get_xlim() == (0, 1.02 * 40) for axes in figure.axes)
    assert legend(losses) == ["training", "validation", "kept: step 30"]
    assert legend(scores) == ["motion", "look"]


def test_the_kept_step_is_marked_in_all_panels() -> None:
    for axes in learning_curve(LINES, title="", best_step=30).axes:
        assert [points(line) for line in axes.lines].count([(30, 0), (30, 1)]) == 1
    figure = learning_curve(LINES, title="")
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 1]
    assert not any("kept" in text for axes in figure.axes for text in legend(axes))
    far = learning_curve(LINES[:1], title="", best_step=1200).axes[0]
    assert far.get_xlim()[1] == 1.02 * 1200
    assert legend(far)[-1] == "kept: step 1,200"


def test_epochs_stand_above() -> None:
    figure = learning_curve(LINES, title="")
    figure.canvas.draw()
    (second,) = figure.axes[0].child_axes
    assert second.get_xlabel() == "epoch"
    assert second.get_xlim() == pytest.approx((0, 1.02 * 40 / 20))
    without: dict[str, Any]
    for without in ({"step": 1, "loss": 1.0}, {"step": 1, "epoch": 0.0, "loss": 1.0}):
        assert not learning_curve([without], title="").axes[0].child_axes


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ((101.0, 1.0), "log"),
        ((100.0, 1.0), "linear"),
        ((1.0, None, 0.009), "log"),
        ((None, 1.0, 0.009), "log"),
        ((500.0, 1.0, 0.0), "linear"),
        ((500.0, 1.0, -1.0), "linear"),
        ((3.0,), "linear"),
    ],
)
def test_losses_over_more_than_two_decades_are_logarithmic(
    losses: tuple[float | None, ...], scale: str
) -> None:
    assert learning_curve(only_losses(*losses), title="").axes[0].get_yscale() == scale


def test_the_validation_loss_counts_for_the_scale() -> None:
    lines = [{"step": 1, "loss": 1.0}, {"step": 2, "validation_loss": 200.0}]
    assert learning_curve(lines, title="").axes[0].get_yscale() == "log"


def test_missing_names_are_passed_over_and_other_values_break_the_curve() -> None:
    lines: list[dict[str, Any]] = [
        {"step": 1, "loss": 1.0, "look": 0.5},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": None, "look": math.nan},
        {"step": 4, "loss": math.inf, "look": "high", "lr": None},
        {"step": 5, "loss": 5.0, "look": 0.25, "tag": "x", "fine": True},
    ]
    losses, scores = learning_curve(lines, title="").axes
    assert values(losses, "training") == [1.0, 2.0, None, None, 5.0]
    assert values(scores, "look") == [50.0, None, None, 25.0]
    assert [x for x, _ in curves(scores)["look"]] == [1, 3, 4, 5]
    assert legend(scores) == ["look"]
    assert len(learning_curve([{"step": 1, "loss": 1.0, "tag": "x"}], title="").axes) == 1


@pytest.mark.parametrize(
    ("shares", "unit", "label", "shown"),
    [
        ([0.0, 1.0], None, "validation score, %", [0.0, 100.0]),
        ([0.5, 1.5], None, "validation score", [0.5, 1.5]),
        ([0.5, -0.5], None, "validation score", [0.5, -0.5]),
        ([0.02, 0.01], "m", "validation score, m", [0.02, 0.01]),
        ([0.5, 1.01], "%", "validation score, %", [50.0, 101.0]),
    ],
)
def test_shares_are_percentages_and_others_keep_their_unit(
    shares: list[float], unit: str | None, label: str, shown: list[float]
) -> None:
    lines = [{"step": step, "model": share} for step, share in enumerate(shares, 1)]
    axes = learning_curve(lines, title="", unit=unit).axes[1]
    assert values(axes, "model") == shown
    assert axes.get_ylabel() == label
    assert (axes.get_ylim() == (0, 100)) == (label[-1] == "%")


def test_one_line_is_a_point_that_is_seen() -> None:
    for axes in learning_curve(LINES[:1], title="").axes:
        for line in axes.lines:
            assert line.get_markevery() is None
            assert line.get_marker() not in ("", "None")


def test_of_many_points_only_lonely_ones_are_marked() -> None:
    losses: list[float | None] = [1.0] * 100
    losses[1] = losses[50] = losses[52] = losses[98] = None
    (line,) = learning_curve(only_losses(*losses), title="").axes[0].lines
    assert line.get_markevery() == [0, 51, 99]
    (line,) = learning_curve(only_losses(*losses[:60]), title="").axes[0].lines
    assert line.get_markevery() is None


def test_no_legend_lies_over_a_curve() -> None:
    figure = learning_curve(LINES, title="", best_step=20)
    figure.canvas.draw()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    for axes in figure.axes[:2]:
        found = axes.get_legend()
        assert found is not None
        box = found.get_window_extent()
        assert not any(box.overlaps(other) for other in boxes)
        assert box.x1 <= figure.bbox.x1


def test_many_scores_differ_in_look() -> None:
    lines = [{"step": 1, **{f"s{number}": 0.5 for number in range(12)}}]
    drawn = learning_curve(lines, title="").axes[1].lines
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn}
    assert len(looks) == 12
    colours = {line.get_color() for line in learning_curve(LINES, title="").axes[0].lines}
    assert len(colours) == 2


def test_an_empty_log_is_said_to_be_empty() -> None:
    (axes,) = learning_curve([], title="").axes
    assert [text.get_text() for text in axes.texts] == ["no loss was logged"]
    assert learning_curve(LINES, title="").axes[0].texts[:] == []


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_the_suffix_names_the_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"curve{suffix}"
    assert draw_curve(LINES, path, title="a net", best_step=30) == path
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".PDF": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)


def test_the_picture_is_the_figure(tmp_path: Path) -> None:
    path = draw_curve(LINES, tmp_path / "a.png", title="a net", best_step=30, unit="m")
    learning_curve(LINES, title="a net", best_step=30, unit="m").savefig(
        tmp_path / "b.png", dpi=130
    )
    first, second = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in "ab")
    assert path == tmp_path / "a.png"
    assert np.array_equal(first, second)
    assert first.std() > 0.05


@pytest.mark.parametrize("name", ["curve.xyz", "curve"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"path must end in one of .*\.png.*, got .*{name}\."):
        draw_curve(LINES, tmp_path / name, title="")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_fails_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curve.png"
    path.write_text("older")

    def fail(_figure: Figure, part: Path, **_options: Any) -> None:
        part.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_curve(LINES, path, title="")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("curve.png", "older")]
