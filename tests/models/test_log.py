from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from models.training.log import Log, as_text, is_number


class Writer:
    """Notes what a SummaryWriter is told."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        self.options, self.closed = options, 0
        self.told: list[Any] = []
        self.made.append(self)

    def add_scalar(self, tag: str, value: float, *, global_step: int) -> None:
        self.told.append((tag, value, global_step))

    def flush(self) -> None:
        self.told.append("flush")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> type[Writer]:
    """A stand-in for TensorBoard's writer."""
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "made", [])
    return Writer


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TensorBoard, whatever is installed."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def steps(log: Log) -> list[int]:
    return [line["step"] for line in log.lines()]


def written(folder: Path, *numbers: int) -> Log:
    log = Log(folder, tensorboard=False)
    log.begin(0)
    for number in numbers:
        log.write({"step": number, "loss": number / 8})
    log.close()
    return log


def test_each_line_is_a_json_object_on_disk_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "new" / "run", tensorboard=False)
    assert log.lines() == []
    log.begin(0)
    assert log.path == tmp_path / "new" / "run" / "log.jsonl"
    assert log.path.read_text() == ""
    log.write({"step": 2, "loss": 0.5, "motion": 1, "validation_loss": None})
    assert log.path.read_text() == (
        '{"step": 2, "loss": 0.5, "motion": 1, "validation_loss": null}\n'
    )
    log.write({"step": 4, "loss": 0.25})
    assert log.lines() == [
        {"step": 2, "loss": 0.5, "motion": 1, "validation_loss": None},
        {"step": 4, "loss": 0.25},
    ]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = Log(tmp_path, tensorboard=False)
    log.begin(0)
    log.write({"step": 1, "a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.0})
    assert log.path.read_text() == '{"step": 1, "a": null, "b": null, "c": null, "d": 0.0}\n'
    assert as_text([{"step": 1}, {"step": 2, "a": math.nan}]) == (
        '{"step": 1}\n{"step": 2, "a": null}\n'
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (-0.5, True), (True, False), ("1", False), (None, False), (math.inf, False)],
)
def test_what_counts_as_a_number(value: object, expected: bool) -> None:
    assert is_number(value) is expected


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (1, []), (4, [2, 4]), (5, [2, 4]), (9, [2, 4, 6])]
)
def test_a_resumed_run_redoes_its_later_lines(tmp_path: Path, step: int, kept: list[int]) -> None:
    written(tmp_path, 2, 4, 6)
    log = Log(tmp_path, tensorboard=False)
    log.begin(step)
    assert steps(log) == kept
    log.write({"step": 10})
    assert steps(log) == [*kept, 10]


@pytest.mark.parametrize("cut", [1, 2, 9, 19])
def test_a_last_line_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    log = written(tmp_path, 2, 4)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    kept = [2, 4] if cut == 1 else [2]  # the line's end alone is no loss
    assert steps(log) == kept
    log.begin(4)
    log.write({"step": 6})
    assert steps(log) == [*kept, 6]
    assert log.path.read_bytes().count(b"\n") == len(kept) + 1


@pytest.mark.parametrize("line", ["{", "[2]", '{"loss": 1}', '{"step": 1.5}', '{"step": true}'])
def test_another_file_is_refused(tmp_path: Path, line: str) -> None:
    log = Log(tmp_path, tensorboard=False)
    content = f'{{"step": 2}}\n{line}\n{{"step": 6}}\n'
    log.path.write_text(content)
    with pytest.raises(ValueError, match=r"log\.jsonl is no training log: line 2 must be a JSON"):
        log.begin(6)
    assert log.path.read_text() == content
    log.begin(0)
    assert log.path.read_text() == ""


def test_a_log_is_begun_before_it_is_written(tmp_path: Path) -> None:
    log = Log(tmp_path, tensorboard=False)
    with pytest.raises(RuntimeError, match=r"log\.jsonl is not begun: call begin"):
        log.write({"step": 1})
    log.begin(0)
    for line in ({"loss": 1.0}, {"step": None}, {"step": 2.0}, {"step": True}):
        with pytest.raises(ValueError, match=r"must have an integer 'step', got \{'"):
            log.write(line)
    log.close()
    with pytest.raises(RuntimeError, match="is not begun"):
        log.write({"step": 1})
    assert log.path.read_text() == ""


@pytest.mark.parametrize("wanted", [None, True])
def test_tensorboard_gets_the_numbers(
    tmp_path: Path, tensorboard: type[Writer], wanted: bool | None
) -> None:
    log = Log(tmp_path, tensorboard=wanted)
    assert tensorboard.made == []
    log.begin(0)
    log.write({"step": 3, "loss": 0.5, "lr": math.nan, "note": "x", "ok": True, "motion": 1})
    (writer,) = tensorboard.made
    assert writer.options == {"log_dir": str(tmp_path / "tensorboard"), "purge_step": None}
    assert writer.told == [("loss", 0.5, 3), ("motion", 1, 3), "flush"]
    log.close()
    log.close()
    assert writer.closed == 1


def test_a_resumed_run_purges_later_events_and_a_new_one_removes_them(
    tmp_path: Path, tensorboard: type[Writer]
) -> None:
    written(tmp_path, 2, 4)
    events = tmp_path / "tensorboard"
    events.mkdir()
    (events / "events.out.tfevents.1").touch()
    (events / "mine.txt").touch()
    log = Log(tmp_path)
    log.begin(2)
    assert (events / "events.out.tfevents.1").exists()
    log.begin(0)
    assert [writer.options["purge_step"] for writer in tensorboard.made] == [3, None]
    assert [writer.closed for writer in tensorboard.made] == [1, 0]
    assert [path.name for path in events.iterdir()] == ["mine.txt"]


def test_tensorboard_can_be_declined(tmp_path: Path, tensorboard: type[Writer]) -> None:
    log = Log(tmp_path, tensorboard=False)
    log.begin(0)
    log.write({"step": 1})
    assert tensorboard.made == []


@pytest.mark.usefixtures("without")
def test_without_tensorboard_the_lines_stand_alone(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.begin(0)
    log.write({"step": 1, "loss": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert json.loads(log.path.read_text()) == {"step": 1, "loss": 0.5}


@pytest.mark.usefixtures("without")
def test_tensorboard_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="not installed: pip install tensorboard"):
        Log(tmp_path, tensorboard=True)


def test_a_broken_tensorboard_is_told_but_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise TypeError("Descriptors cannot be created directly.")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Broken("torch.utils.tensorboard"))
    log = Log(tmp_path)
    with pytest.warns(UserWarning, match="TensorBoard gets no log, as its import failed: Descr"):
        log.begin(0)
    log.write({"step": 1})
    assert steps(log) == [1]
    with pytest.raises(TypeError, match="Descriptors"):
        Log(tmp_path, tensorboard=True)


def test_warnings_of_its_import_are_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fake"
    folder.mkdir()
    # first on the path of torch.utils, so that the import system itself runs it
    (folder / "tensorboard.py").write_text(
        "import warnings\nwarnings.warn('old', DeprecationWarning)\nSummaryWriter = dict\n"
    )
    import torch.utils

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(torch.utils, "__path__", [str(folder), *torch.utils.__path__])
    try:
        Log(tmp_path, tensorboard=True)
    finally:
        sys.modules.pop("torch.utils.tensorboard", None)
        if hasattr(torch.utils, "tensorboard"):
            delattr(torch.utils, "tensorboard")
