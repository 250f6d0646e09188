"""The trainer on videos in files: from folders to weights and a model that knows its classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models import train
from models.data import ClassFolders
from tests.models.data.recorded.trees import picture, write_avi

STEPS = ["--workers", "0", "--quiet", "--device", "cpu", "--output", "out", "--no-tensorboard"]
NARROW = [
    part
    for given in (
        *("widths=((4,), (8,), (8,))", "hidden=(16,)", "frames=8", "size=(24, 24)"),
        *("final_pool=False", "norm_from=1", "dropout=0.0"),
    )
    for part in ("--option", given)
]
NAMES = ("left swipe", "right swipe", "wave")


def folders(root: Path, names: tuple[str, ...] = NAMES, **counts: int) -> Path:
    """Kinetics-style folders; the first class has twice as many training clips as the others."""
    for split, count in {"train": 3, "val": 2, "test": 2, **counts}.items():
        for label, name in enumerate(names):
            for clip in range(count * (2 if label == 0 and split == "train" else 1)):
                frames = picture(label, len(names), 7 * clip + len(split), 10, (32, 40))
                write_avi(root / split / name / f"{clip}.avi", frames)
    return root


def run(*arguments: str) -> int:
    return train.main(["c3d", "--data", "folders", "--root", "data", *STEPS, *arguments])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folders(tmp_path / "data")
    return tmp_path


def test_from_folders_to_a_model_that_knows_its_classes(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--epochs", "10", "--eval-every", "2", "--batch-size", "4", "--lr", "0.01"]
    more = ["--freeze", "conv1", "--layer-lr", "fc8=2", "--class-weights", "balanced"]
    assert run(*NARROW, *given, *more, "--cache", "cache") == 0
    said = capsys.readouterr().out
    assert "action 100.0%" in said
    net = models.load("c3d", "out/c3d.safetensors")
    assert net.info.classes == NAMES
    assert (net.info.frames, net.info.size) == (8, (24, 24))
    assert net.info.score == {"action": 1.0}
    test = ClassFolders("data", "test", frames=8, size=(24, 24))
    with torch.no_grad():
        for clip, label in (test[i] for i in range(len(test))):
            assert int(net(net.info.normalize(clip)[None]).argmax()) == label
    # 12 clips are an epoch, three steps of four
    log = [json.loads(line) for line in Path("out/c3d.log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["epoch"]) for line in log] == [
        (6, 2), (12, 4), (18, 6), (24, 8), (30, 10)
    ]  # fmt: skip
    assert all(0 <= line["waiting"] <= 1 for line in log)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = models.build("c3d", **built(net))
    frozen = {
        key
        for key, value in net.state_dict().items()
        if torch.equal(value, fresh.state_dict()[key])
    }
    assert frozen == {"conv1.weight", "conv1.bias"}
    card = " ".join(Path("out/c3d.md").read_text().split())
    for text in (
        "python -m models.train c3d --data folders --root DIR --option",
        "--batch-size 4 --lr 0.01 --epochs 10 --eval-every 2 --class-weights balanced",
        "Share of right answers on 6 clips of the test split:",
        "12 for training, 6 for validation, 6 for test",
        "classes weighted (N / (K n_k) of the training clips, action 0.6667, 1.333, 1.333)",
        "--freeze conv1",
        "fc8: 2 times the learning rate",
    ):
        assert text in card, text
    assert str(place) not in card
    assert len(list(Path("cache").rglob("*"))) >= 18


def built(net: models.BundledModel) -> dict[str, object]:
    plain = {"widths": ((4,), (8,), (8,)), "hidden": (16,), "final_pool": False, "norm_from": 1}
    return {"classes": 3, "frames": 8, "size": net.info.size, "dropout": 0.0, **plain}


def test_weights_go_on_to_other_classes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = [*NARROW, "--steps", "2", "--batch-size", "2"]
    assert run(*short) == 0
    first = load_file("out/c3d.safetensors")
    folders(place / "other", ("up", "down"))
    capsys.readouterr()
    # all but fc8 stay, so its weights alone are new
    kept = ["--freeze", "conv*", "--freeze", "norm*", "--freeze", "fc6"]
    begin = ["--root", "other", "--checkpoint", "out/c3d.safetensors", "--output", "tuned"]
    assert run(*short, *begin, *kept) == 0
    assert "Drawn anew, since they are for other classes: fc8.weight, fc8.bias" in (
        capsys.readouterr().out
    )
    tuned = load_file("tuned/c3d.safetensors")
    assert tuned["fc8.weight"].shape == (2, 16)
    others = [key for key in first if not key.startswith("fc8")]
    assert all(torch.equal(first[key], tuned[key]) for key in others)
    assert models.load("c3d", "tuned/c3d.safetensors").info.classes == ("down", "up")
    assert "--checkpoint c3d.safetensors" in Path("tuned/c3d.md").read_text()


def test_training_declines(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults stop as paper 1 does: the score fell and the loss rose since the check before."""
    from models.training import loop
    from models.training.task import Evaluation

    found = iter([(0.2, 3.0), (0.5, 2.0), (0.4, 1.5), (0.4, 1.6), (0.3, 1.7), (0.9, 0.1)])
    scored: list[int] = []

    def fake(run: object, seed: int, clips: int) -> Evaluation:
        scored.append(seed)
        score, loss = next(found)
        return Evaluation({"action": score}, loss)

    monkeypatch.setattr(loop, "evaluate", fake)
    assert run(*NARROW, "--batch-size", "12", "--eval-every", "1", "--epochs", "9") == 0
    assert len(scored) == 5
    card = " ".join(Path("out/c3d.md").read_text().split())
    assert "after 5 steps; the weights are those of step 2" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-option", "foldd=1"], "folders has no option 'foldd'"),
        (["--data-option", "frames=3"], "frames is the model's"),
        (["--option", "depth=3"], "cannot be built"),
        (["--epochs", "2", "--steps", "2"], "--steps and --epochs exclude each other"),
        (["--checkpoint", "other.safetensors"], "other.safetensors does not fit c3d"),
        (["--root", "data/train/wave/0.avi"], "0.avi"),
    ],
)
def test_bad_options_of_real_data_are_told(
    arguments: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"conv1.weight": torch.zeros(3)}, "other.safetensors")
    before = sorted(place.rglob("*"))
    assert run(*NARROW, *arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


def test_weights_of_another_model_are_refused(place: Path) -> None:
    assert run(*NARROW, "--steps", "1", "--batch-size", "2") == 0
    with pytest.raises(ValueError, match="must have weights of 'cnn_lstm', and they are of 'c3d'"):
        models.load("cnn_lstm", "out/c3d.safetensors")
    save_file({"a": torch.zeros(1)}, "plain.safetensors")
    with pytest.raises(ValueError, match=r"and they are not from models\.train"):
        models.load("c3d", "plain.safetensors")
    Path("half.safetensors").write_bytes(Path("out/c3d.safetensors").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"half\.safetensors cannot be read as safetensors"):
        models.load("c3d", "half.safetensors")


def test_runs_on_other_folds_do_not_meet(place: Path) -> None:
    short = [*NARROW[:4], "--steps", "1", "--batch-size", "2", "--option", "frames=8"]
    fitted = ["--option", "size=(24, 24)", "--option", "final_pool=False"]
    assert run(*short, *fitted, "--data-option", "fit=crop") == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name == (
        "c3d-folders-final_pool=False-frames=8-hidden=(16,)-size=(24, 24)"
        "-widths=((4,), (8,), (8,))-fit=crop"
    )
