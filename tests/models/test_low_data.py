from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models import _low_data_cells as cells
from models import _low_data_report as report
from models import low_data
from models._low_data_results import Cell, Results, Settings
from tests.models.low_data_stand_in import Clips, small_net


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Clips, "drawn", [], raising=False)
    monkeypatch.setattr(cells, "VideoMNIST", Clips)
    monkeypatch.setattr(cells, "build", small_net)
    monkeypatch.chdir(tmp_path)


SHORT = "--quiet --counts 3 12 --seeds 2 --epochs 2 --batch-size 5 --validation 20".split()
FILE = Path("runs/low_data/cells.jsonl")


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def without_seconds() -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines()]


@pytest.mark.usefixtures("_small")
def test_a_run_leaves_cells_a_table_and_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    assert low_data.main(SHORT) == 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    header, *rest = lines()
    assert header["settings"]["lr_3t"] == header["settings"]["lr_3d"] == 1e-3
    assert [tuple(line[name] for name in Cell._fields) for line in rest] == [
        (task, net, clips, seed)
        for seed in (0, 1)
        for task in ("paper", "motion", "digit")
        for clips in (3, 12)
        for net in ("lenet5_3d", "lenet5_3t")
    ]
    # 3 clips: one step an epoch; 12 clips: 5, 5 and 2
    assert [line["steps"] for line in rest] == 6 * [2, 2, 6, 6]
    with FILE.with_suffix(".csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == list(report.HEADER)
    assert [row[:3] for row in table[1:]] == [
        [task, clips, "2"] for task in ("paper", "motion", "digit") for clips in ("3", "12")
    ]
    assert FILE.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert "paper" in capsys.readouterr().out
    # each clip is rendered once for a seed and variant, for both nets, all counts and both labels
    train = [key for key in Clips.drawn if key[1] == "train"]
    assert len(train) == len(set(train))
    fresh = [key for key in Clips.drawn if key[1] == "validation"]
    assert sorted(fresh) == sorted(
        (cells.VALIDATION_SEED, "validation", decoupled, index)
        for decoupled in (False, True)
        for index in range(20)
    )


@pytest.mark.usefixtures("_small")
def test_a_killed_run_continues_to_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    low_data.main(SHORT)
    whole = without_seconds()
    FILE.unlink()
    trained: list[Cell] = []

    def interrupted(cell: Cell, *rest: Any) -> tuple[float, int]:
        if len(trained) == 7:
            raise KeyboardInterrupt
        trained.append(cell)
        return cells.train(cell, *rest)

    def counted(cell: Cell, *rest: Any) -> tuple[float, int]:
        trained.append(cell)
        return cells.train(cell, *rest)

    monkeypatch.setattr(low_data, "train", interrupted)
    assert low_data.main(SHORT) == 130
    assert without_seconds() == whole[:8]
    with FILE.open("a") as file:
        file.write('{"task": "paper", "net": "lenet5_3t", "cli')
    trained.clear()
    assert low_data.main([*SHORT, "--plot-only"]) == 0
    assert not FILE.read_bytes().endswith(b"\n")  # only a run that adds cells repairs the file
    monkeypatch.setattr(low_data, "train", counted)
    assert low_data.main(SHORT) == 0
    assert len(trained) == 24 - 7
    assert without_seconds() == whole
    # nothing is left to do, and more seeds continue the file
    trained.clear()
    assert low_data.main(SHORT) == 0
    assert trained == []
    assert low_data.main([*SHORT, "--seeds", "3", "--tasks", "paper"]) == 0
    assert trained == low_data.plan(["paper"], cells.NETS, (3, 12), [2])


@pytest.mark.usefixtures("_small")
def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> tuple[float, int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(low_data, "train", interrupt)
    assert low_data.main(SHORT) == 130
    output = capsys.readouterr()
    assert "Stopped with 0 of 24 cells done; the same command continues." in output.err
    assert "nothing to compare" in output.out


def test_results_are_refused_under_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    settings = Settings(epochs=3)
    cell = Cell("paper", "lenet5_3d", 10, 0)
    Results(path, settings).append(cell, 0.5, 3, 1.0)
    assert Results(path, settings).accuracy == {cell: 0.5}
    assert Results(path, None).settings == settings
    text = r"cells.jsonl holds cells of other settings: lr_3t 0.001 \(now 0.0005\), epochs 3 \(now 20\)"
    with pytest.raises(ValueError, match=text):
        Results(path, Settings(lr_3t=5e-4))


def test_damaged_results_are_refused_and_torn_ones_cut(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    Results(path, Settings())
    header = path.read_text()
    for torn in ("", header[:20]):
        path.write_text(torn)
        with pytest.raises(ValueError, match="holds no whole line"):
            Results(path, None)
        assert Results(path, Settings()).accuracy == {}
        assert path.read_text() == header
    path.write_text(header + '{"task": "paper"}\n')
    with pytest.raises(ValueError, match=r"cells.jsonl, line 2 is not a cell: '\{\"task\""):
        Results(path, Settings())
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="does not begin with the settings"):
        Results(path, Settings())
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="is not a file of low-data results"):
        Results(path, Settings())
    with pytest.raises(FileNotFoundError, match="There are no results at"):
        Results(tmp_path / "none.jsonl", None)


@pytest.mark.usefixtures("_small")
def test_a_loss_that_is_not_finite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert low_data.main([*SHORT, "--lr-3d", "1e30"]) == 2
    text = capsys.readouterr().err
    assert "The loss of Cell(task='paper', net='lenet5_3d', clips=3, seed=0) is" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets", "lenet5"], "--nets has 'lenet5'. Did you mean"),
        (["--tasks", "motions"], "--tasks has 'motions'. Did you mean"),
        (["--counts", "10", "0"], "--counts must be at least 1, got 0."),
        (["--seeds", "-1"], "--seeds must be at least 1, got -1."),
        (["--first-seed", "-2"], "--first-seed must not be negative, got -2."),
        (["--lr-3t", "0"], "--lr-3t must be positive and finite, got 0.0."),
        (["--lr-3d", "nan"], "--lr-3d must be positive and finite, got nan."),
        (["--lr-temporal", "-1"], "--lr-temporal must be positive and finite, got -1.0."),
        (["--batch-size", "0"], "--batch-size must be positive and finite, got 0."),
        (["--epochs", "0"], "--epochs must be positive and finite, got 0."),
        (["--min-steps", "-1"], "--min-steps must not be negative, got -1."),
        (["--validation", "0"], "--validation must be positive and finite, got 0."),
        (["--plot-only"], "There are no results at runs/low_data/cells.jsonl"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert low_data.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_plan_refuses_negative_seeds() -> None:
    with pytest.raises(ValueError, match="A seed must not be negative, got -3"):
        low_data.plan(["paper"], cells.NETS, [10], [0, -3])
