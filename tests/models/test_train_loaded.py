"""The trainer on videos in files: what is loaded afterwards, told beforehand, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models import train
from models.training import loop
from models.training.classification import Classification
from models.training.task import Evaluation
from tests.models.test_train_real import NAMES, NARROW, folders, run

TOML = """
title = "narrow"
source = "nowhere"
[model]
name = "c3d"
frames = 8
size = [24, 24]
options = { widths = [[4], [8], [8]], hidden = [16], final_pool = false, norm_from = 1 }
[data]
name = "folders"
[training]
epochs = 1
batch_size = 12
optimizer = "sgd"
lr = 1e-3
schedule = "constant"
stopping = "decline"
eval_every_epochs = 1
"""
SHORT = ["--steps", "1", "--batch-size", "2"]
COMMON = ["--workers", "0", "--quiet", "--device", "cpu", "--no-tensorboard"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folders(tmp_path / "data")
    return tmp_path


def same_as_trained(name: str, run_folder: Path) -> models.BundledModel:
    net = models.load(name, f"out/{name}.safetensors")
    best = torch.load(run_folder / "checkpoint.pt", weights_only=True)["best_state"]
    assert all(torch.equal(value, best[key]) for key, value in net.state_dict().items())
    assert net.info.classes == NAMES
    return net


def test_a_recipes_frames_and_size_are_in_its_weights(place: Path) -> None:
    Path("my.toml").write_text(TOML)
    given = ["--recipe", "my.toml", "--root", "data", "--output", "out"]
    assert train.main([*given, *COMMON, "--run-folder", "kept"]) == 0
    net = same_as_trained("c3d", Path("kept"))
    assert (net.info.frames, net.info.size) == (8, (24, 24))


def test_nets_of_any_size_are_loaded_with_theirs(place: Path) -> None:
    given = ["cnn_lstm", "--data", "folders", "--root", "data", "--output", "out", *SHORT]
    size = ["--option", "frames=2", "--option", "size=(32, 40)"]
    assert train.main([*given, *COMMON, *size, "--run-folder", "kept"]) == 0
    net = same_as_trained("cnn_lstm", Path("kept"))
    assert (net.info.frames, net.info.size) == (2, (32, 40))


def test_weights_that_say_something_else_of_their_net(place: Path) -> None:
    assert run(*NARROW, *SHORT) == 0
    state = load_file("out/c3d.safetensors")
    for built, message in (
        ({"options": {"hidden": [8]}}, "size mismatch for"),
        ({"options": {"depth": 8}}, "unexpected keyword argument 'depth'"),
    ):
        facts = {"name": "c3d", "score": "{}", "built": json.dumps(built)}
        save_file(state, "other.safetensors", metadata=facts)
        with pytest.raises(ValueError, match=f"other.safetensors does not fit 'c3d'.*{message}"):
            models.load("c3d", "other.safetensors")


def test_a_damaged_clip_is_told_by_a_worker_too(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data/train/wave/0.avi").write_bytes(b"no video")
    told = []
    for workers in ("0", "1"):
        assert run(*NARROW, "--epochs", "1", "--batch-size", "12", "--workers", workers) == 2
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
    assert told[0].count("\n") == 1
    assert "data/train/wave/0.avi: it cannot be opened as a video" in told[0]
    assert not Path("out").exists()


def test_a_run_goes_on_with_its_own_classes(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*NARROW, *SHORT) == 0
    Path("data").rename("elsewhere")
    assert run(*NARROW, *SHORT, "--root", "elsewhere", "--resume") == 0
    folders(place / "data", ("a", "b", "c"))
    capsys.readouterr()
    assert run(*NARROW, *SHORT, "--resume") == 2
    assert f"classes was {NAMES}, now ('a', 'b', 'c')" in capsys.readouterr().err


def test_what_does_not_matter_may_change(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(Classification, "begin", lambda *_: begun.append(True))
    assert run(*NARROW, *SHORT, "--cache", "one") == 0
    assert run(*NARROW, *SHORT, "--cache", "two", "--workers", "1", "--resume") == 0
    assert len(begun) == 2
    # weights to start from bring what the task would take from the data
    assert run(*NARROW, *SHORT, "--checkpoint", "out/c3d.safetensors") == 0
    assert len(begun) == 2


def test_a_layers_rate_is_a_factor_of_its_step(place: Path) -> None:
    found = []
    for factor in ("1", "2", "3"):
        given = ["--optimizer", "sgd", "--lr", "1e-3", "--layer-lr", f"fc8={factor}"]
        assert run(*NARROW, *SHORT, *given) == 0
        found.append(load_file("out/c3d.safetensors"))
    one, two, three = (state["fc8.weight"] for state in found)
    torch.testing.assert_close(three - two, two - one, rtol=1e-3, atol=1e-7)
    assert float((two - one).abs().max()) > 1e-5
    assert all(torch.equal(state["conv1.weight"], found[0]["conv1.weight"]) for state in found)


def test_the_clock_leaves_the_first_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 9.0, 10.0, 11.0, 14.0, 20.0, 23.0, 26.0])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(times))
    clock = loop._Clock()
    for _ in range(3):
        with clock.waiting():
            pass
        clock.step()
    # one of four seconds, then three of six
    assert clock.read() == {"waiting": 0.4, "step_seconds": 5.0}
    assert clock.read() == {}


def test_a_new_run_begins_without_the_old_checkpoint(place: Path) -> None:
    again = [*NARROW, *SHORT, "--run-folder", "kept"]
    assert run(*again) == 0
    Path("data/train/wave/0.avi").write_bytes(b"no video")
    assert run(*again, "--epochs", "1", "--batch-size", "12") == 2
    assert run(*again, "--optimizer", "sgd", "--lr", "1e30", "--steps", "3") == 2
    assert sorted(path.name for path in Path("kept").iterdir()) == ["log.jsonl"]


def test_weights_for_other_names_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*NARROW, *SHORT, "--run-folder", "kept") == 0
    assert "output layer" not in capsys.readouterr().out
    folders(place / "other", ("a", "b", "c"))
    for weights in ("out/c3d.safetensors", "kept/checkpoint.pt"):
        given = ["--root", "other", "--checkpoint", weights, "--output", "tuned"]
        assert run(*NARROW, *SHORT, *given) == 0
        assert (
            f"The output layer of {weights} is kept, and its classes have other names or another "
            "order: left swipe, right swipe, wave where the data have a, b, c"
        ) in capsys.readouterr().out
    again = [*NARROW, *SHORT, "--output", "tuned"]
    assert run(*again, "--checkpoint", "out/c3d.safetensors") == 0
    assert "output layer" not in capsys.readouterr().out
    assert run(*again, "--resume") == 2
    assert "start was 'c3d.safetensors', now ''" in capsys.readouterr().err
    Path("out/c3d.safetensors").unlink()
    assert run(*again, "--resume", "--checkpoint", "out/c3d.safetensors") == 0


def test_a_turned_first_layer_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*NARROW, *SHORT) == 0
    state = load_file("out/c3d.safetensors")
    for content, turned in (({"state_dict": state}, True), (state, False)):
        torch.save(content, "c3d.pt")
        capsys.readouterr()
        keep = ["--freeze", "conv1", "--checkpoint", "c3d.pt", "--output", "tuned"]
        assert run(*NARROW, *SHORT, *keep) == 0
        assert ("The first layer of c3d.pt is taken to be for BGR" in capsys.readouterr().out) is (
            turned
        )
        first = load_file("tuned/c3d.safetensors")["conv1.weight"]
        assert torch.equal(first.flip(1) if turned else first, state["conv1.weight"])


def test_the_card_has_no_path_of_a_data_option(place: Path) -> None:
    rows = ["path,label,split"]
    for folder, split in (("train", "train"), ("val", "validation")):
        rows += [f"{folder}/{name}/0.avi,{name},{split}" for name in NAMES]
    Path("data/t.csv").write_text("\n".join(rows) + "\n")
    table = ["--data-option", f"table={place / 'data' / 't.csv'}", "--data-option", "mirror=True"]
    given = ["c3d", "--data", "csv", "--root", "data", "--output", "out", *SHORT, *COMMON]
    assert train.main([*given, *NARROW, *table]) == 0
    card = Path("out/c3d.md").read_text()
    assert "--root DIR --data-option table=t.csv --data-option mirror=True" in card
    assert str(place) not in card


def test_a_schedule_in_steps(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--schedule", "step", "--decay", "0.5", "--decay-every", "2", "--eval-every", "1"]
    more = ["--optimizer", "sgd", "--lr", "0.001", "--epochs", "5", "--batch-size", "12"]
    stop = ["--stopping", "patience", "--patience", "9"]
    assert run(*NARROW, *given, *more, *stop) == 0
    lines = [json.loads(line) for line in Path("out/c3d.log.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in lines] == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    card = Path("out/c3d.md").read_text()
    assert "--epochs 5 --eval-every 1 --decay-every 2" in card
    assert "--schedule step --decay 0.5 --stopping patience" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c3d_small", "--eval-every", "inf"], "--eval-every must be whole steps, got inf"),
        (["c3d_small", "--decay-every", "1.5"], "--decay-every must be whole steps, got 1.5"),
        (["c3d_small", "--save-every", "nan"], "--save-every must not be negative, got nan"),
        (["c3d_small", "--decay", "nan"], "--decay must be positive, got nan"),
        (["c3d_small", "--decay-every", "5"], "--decay-every is for --schedule step, got cosine"),
        (["c3d_small", "--decay", "0.5"], "--decay is for --schedule step or plateau, got cosine"),
        (
            ["c3d_small", "--stopping", "decline", "--patience", "3"],
            "--patience is for --stopping patience, got decline",
        ),
        (["c3d_small", "--output", "file"], "--output must be a folder, and file is a file"),
        (
            ["googlenet_3t", "--data", "folders", "--option", "frames=4"],
            "googlenet_3t cannot take 4 frames of 168x224",
        ),
    ],
)
def test_what_cannot_be_is_told_first(
    arguments: list[str],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file").touch()
    before = sorted(place.rglob("*"))
    real = ["--root", "data", "--output", "out"] if "--data" in arguments else []
    assert train.main([*arguments, *real, *COMMON]) == 2
    assert message in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


def test_weights_that_are_no_numbers_are_not_published(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss of the only step is that of the weights before it."""
    assert run(*NARROW, *SHORT, "--optimizer", "sgd", "--lr", "1e38") == 2
    assert "The validation loss is nan at step 1; a lower --lr" in capsys.readouterr().err
    # each of several processes finds it, and one speaks
    monkeypatch.setattr(train, "process", lambda: "process 1: ")
    assert run(*NARROW, *SHORT, "--optimizer", "sgd", "--lr", "1e38") == 2
    assert not capsys.readouterr().err
    assert run(*NARROW, "--lr", "-1") == 2
    assert "process 1: error: --lr must be positive" in capsys.readouterr().err
    assert not Path("out").exists()


def test_batches_are_not_listed_before_they_are_drawn(place: Path) -> None:
    """Steps for a lifetime take no memory; the rule ends the run."""
    stop = ["--stopping", "patience", "--patience", "1", "--eval-every", "0.1"]
    lots = ["--steps", str(10**12), "--batch-size", "1", "--lr", "1e-9"]
    assert run(*NARROW, *lots, *stop) == 0


def test_junk_is_told_by_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("junk.pt").write_bytes(b"hello world" * 99)
    assert run(*NARROW, "--checkpoint", "junk.pt") == 2
    assert "junk.pt cannot be read as tensors: KeyError" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (["--schedule", "plateau", "--decay", "0.5"], [8.0, 8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 2.0]),
        (["--schedule", "constant"], [8.0] * 8),
    ],
)
def test_a_plateau_lowers_the_rate_of_its_schedule_alone(
    schedule: list[str], rates: list[float], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the fourth loss is the second that is not below the second, the seventh the second not below 1
    found = iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.0, 1.5, 0.5])

    def fake(*_: object) -> Evaluation:
        return Evaluation({"action": 0.5}, next(found))

    monkeypatch.setattr(loop, "evaluate", fake)
    given = ["--epochs", "8", "--batch-size", "12", "--eval-every", "1", "--lr", "8e-6"]
    stop = ["--stopping", "patience", "--patience", "9", "--optimizer", "sgd"]
    assert run(*NARROW, *given, *stop, *schedule) == 0
    lines = [json.loads(line) for line in Path("out/c3d.log.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in lines] == pytest.approx([1e-6 * rate for rate in rates])
    assert [line["step"] for line in lines] == list(range(1, 9))
