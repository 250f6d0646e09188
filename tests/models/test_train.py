from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from models import BundledModel, build, train
from models.c3d import C3D
from models.data import MovingDigits, Sample
from models.training import card, command, loop, recipes
from models.training.recipes import Recipe
from models.training.run import Run
from models.training.task import Evaluation

STEPS = ["--workers", "0", "--quiet", "--device", "cpu"]


def narrow(name: str) -> BundledModel:
    """A net with the facts of ``name`` that trains faster."""
    net = C3D(19, widths=((4,), (8,), (8,), (8,)), hidden=(32,), size=(64, 64), dropout=0.1)
    net.info = build(name).info
    return net


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """Six steps of two clips, in an empty folder."""
    recipe = replace(
        recipes.RECIPES["c3d_small"],
        steps=6,
        batch_size=2,
        eval_every=2,
        eval_clips=3,
        score_clips=3,
    )
    monkeypatch.setitem(recipes.RECIPES, "c3d_small", recipe)
    monkeypatch.setattr(command, "build", narrow)
    monkeypatch.chdir(tmp_path)
    return recipe


def run(*arguments: str) -> int:
    return train.main(["c3d_small", *STEPS, "--output", "out", *arguments])


def weights(folder: str = "out") -> dict[str, Tensor]:
    with safe_open(Path(folder) / "c3d_small.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


class Interrupting(MovingDigits):
    """Presses Ctrl-C, or asks to end, while the third training step's clips are drawn."""

    sent = signal.SIGINT

    def __getitem__(self, index: int) -> Sample:
        if self.split == "train" and index == 5:
            signal.raise_signal(self.sent)
        return super().__getitem__(index)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_the_same_weights(
    sent: signal.Signals,
    tiny: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Interrupting, "sent", sent)
    state = torch.get_rng_state()
    assert run("--output", "whole") == 0
    assert torch.equal(torch.get_rng_state(), state)
    last = torch.load("runs/c3d_small/checkpoint.pt", weights_only=True)
    monkeypatch.setitem(recipes.RECIPES, "c3d_small", replace(tiny, data=Interrupting))
    before = signal.getsignal(sent)
    assert run() == 130
    assert signal.getsignal(sent) is before
    assert "Stopped after step 3; continue with --resume" in capsys.readouterr().err
    assert not Path("out").exists()
    assert sorted(path.name for path in Path("runs/c3d_small").iterdir()) == [
        "checkpoint.pt",
        "log.jsonl",
    ]
    monkeypatch.setitem(recipes.RECIPES, "c3d_small", tiny)
    torch.manual_seed(99)
    assert run("--resume") == 0
    broken, whole = weights(), weights("whole")
    assert all(torch.equal(broken[key], whole[key]) for key in whole)
    resumed = torch.load("runs/c3d_small/checkpoint.pt", weights_only=True)
    assert resumed["progress"]["step"] == last["progress"]["step"] == 6
    assert all(torch.equal(resumed["model"][key], last["model"][key]) for key in whole)


def test_the_log_has_the_mean_loss_between_validations(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    monkeypatch.setattr(loop, "_train_step", lambda *_: next(losses))
    assert run() == 0
    lines = [json.loads(line) for line in Path("out/c3d_small.log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [1.5, 6.0, 24.0]


def test_weights_and_card_tell_where_they_come_from(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seed", "5", "--lr", "0.002") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "c3d_small.curve.png",
        "c3d_small.log.jsonl",
        "c3d_small.md",
        "c3d_small.safetensors",
    ]
    card = " ".join(Path("out/c3d_small.md").read_text().split())
    with safe_open("out/c3d_small.safetensors", "pt") as file:
        metadata = file.metadata()
    score = json.loads(metadata["score"])
    assert set(score) == {"motion", "look"}
    assert metadata["command"] == "python -m models.train c3d_small --seed 5 --lr 0.002"
    for text in (
        f"{sum(p.numel() for p in narrow('c3d_small').parameters()):,} parameters",
        metadata["command"],
        "Seed: 5.",
        "3 fresh clips",
        f"| motion | 9 | {score['motion']:.1%} |",
        f"| look | 10 | {score['look']:.1%} |",
        "may differ by up to 2%",
        "6 steps of 2 clips, learning rate 0.002",
        f"torch {torch.__version__}",
    ):
        assert text in card, text
    assert Path("out/c3d_small.safetensors").stat().st_mode & 0o044 == 0o044
    assert "wrote out/c3d_small.safetensors" in capsys.readouterr().out
    log = [json.loads(line) for line in Path("runs/c3d_small/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4, 6]


def test_the_seed_makes_the_weights(tiny: Recipe) -> None:
    for seed, folder in (("1", "a"), ("1", "b"), ("2", "c")):
        assert run("--seed", seed, "--steps", "2", "--output", folder) == 0
    a, b, c = weights("a"), weights("b"), weights("c")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["conv1.weight"], c["conv1.weight"])


def test_training_stops_when_the_score_does_not_rise(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    seen: list[dict[str, Tensor]] = []

    def fake(run: Run, seed: int, clips: int) -> Evaluation:
        seen.append({key: value.clone() for key, value in run.model.state_dict().items()})
        return Evaluation({"motion": 1.0, "look": next(scores)}, 1.0)

    monkeypatch.setattr(loop, "evaluate", fake)
    monkeypatch.setattr(train, "evaluate", lambda *_: Evaluation({"motion": 1.0, "look": 0.7}, 1.0))
    assert run("--steps", "20", "--patience", "2") == 0
    assert len(seen) == 4
    kept = weights()
    assert all(torch.equal(kept[key], value) for key, value in seen[1].items())
    assert "stopped early after 8 steps; the weights are those of step 4" in " ".join(
        Path("out/c3d_small.md").read_text().split()
    )


def test_a_failed_write_leaves_the_old_files(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    for name in ("c3d_small.md", "c3d_small.safetensors"):
        Path("out", name).write_text("old")

    def full(_state: object, path: Path, metadata: object) -> None:
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card, "save_file", full)
    assert run() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {
        "c3d_small.md": "old",
        "c3d_small.safetensors": "old",
    }


def test_the_loss_falls(tmp_path: Path) -> None:
    recipe = replace(
        recipes.RECIPES["c3d_small"],
        data=lambda length, seed, split: Repeated(4),
        steps=40,
        batch_size=4,
        eval_every=40,
        lr=5e-3,
        eval_clips=4,
        warmup=0.2,
    )
    torch.manual_seed(0)
    run = Run(narrow("c3d_small"), recipe, 0, torch.device("cpu"), tmp_path / "c.pt", workers=0)
    before = loop.evaluate(run, 0, 4).scores
    run.progress.seconds = 1000.0  # of a run before
    loop.fit(run, show_progress=False)
    assert run.progress.seconds > 1000
    after = loop.evaluate(run, 0, 4).scores
    assert after == {"motion": 1.0, "look": 1.0}
    assert min(before.values()) < 0.8


class Repeated(MovingDigits):
    """The same few clips over and over."""

    def __getitem__(self, index: int) -> Sample:
        return MovingDigits(self.length)[index % self.length]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c3d_smal"], "There is no recipe for 'c3d_smal'. Did you mean 'c3d_small'"),
        (["c3d_small", "--resume"], "no checkpoint at runs/c3d_small/checkpoint.pt"),
        (["c3d_small", "--device", "abacus"], "--device abacus: "),
        (["c3d_small", "--device", "cuda:77"], "--device cuda:77: "),
        (["c3d_small", "--steps", "0"], "--steps must be positive, got 0"),
        (["c3d_small", "--lr", "-1"], "--lr must be positive, got -1.0"),
        (["c3d_small", "--batch-size", "-2"], "--batch-size must be positive, got -2"),
        (["c3d_small", "--seed", "-3"], "--seed must not be negative, got -3"),
        (["c3d_small", "--workers", "-1"], "--workers must not be negative, got -1"),
        (["c3d_small", "--amp", "--device", "cpu"], "--amp helps on CUDA only"),
        ([], "Either a model's name or --recipe is needed"),
        (["c3d"], "There is no recipe for 'c3d'. It is trained on real data: give --data"),
        (["c3d", "--data", "folders"], "--root must say where the data lie"),
        (["c3d", "--data", "folders", "--root", "data"], "Real data need --output"),
        (["c3d", "--data", "ucf11", *"--root data --output o".split()], "no data set 'ucf11'. Did"),
        (
            ["c4d", "--data", "folders", *"--root data --output o".split()],
            "no model 'c4d'. Did you",
        ),
        (
            ["--recipe", "c3d-ucf11", *"--root data --output o".split()],
            "no recipe 'c3d-ucf11'. Did",
        ),
        (["c3d", "--recipe", "c3d-ucf101"], "Either a model's name or --recipe is needed"),
        (["--recipe", "c3d-ucf101", "--data", "csv"], "--recipe names the data itself"),
        (["c3d_small", "--root", "data"], "--root is for real data: give --data too"),
        (["c3d_small", "--cache", "c"], "--cache is for real data"),
        (["c3d_small", "--epochs", "2"], "--epochs is for real data"),
        (["c3d_small", "--eval-every", "2.5"], "--eval-every must be whole steps, got 2.5"),
        (["c3d_small", "--eval-every", "nan"], "--eval-every must be positive, got nan"),
        (["c3d_small", "--seed", "2147483648"], "--seed must be at most 2147483647"),
        (["c3d_small", "--save-every", "-1"], "--save-every must not be negative, got -1"),
        (["c3d_small", "--layer-lr", "fc8"], "--layer-lr must be LAYER=FACTOR, got 'fc8'"),
        (["c3d_small", "--layer-lr", "fc8=x"], "LAYER=FACTOR with a number, got fc8=x"),
        (["c3d_small", "--layer-lr", "fc9=2"], "layer_lr has no layer 'fc9'. Did you mean 'fc8'"),
        (["c3d_small", "--freeze", "*"], "freeze '*' leaves nothing to train"),
        (["c3d_small", "--checkpoint", "no.pt"], "no.pt"),
    ],
)
def test_bad_arguments_are_told(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_settings_is_refused(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--steps", "2") == 0
    assert run("--resume", "--lr", "0.5") == 2
    message = capsys.readouterr().err
    assert "is of another run" in message
    assert "lr was 0.001, now 0.5" in message
    torch.save({"a": 1}, "runs/c3d_small/checkpoint.pt")
    assert run("--resume", "--steps", "2") == 2
    assert "is no checkpoint of a training run" in capsys.readouterr().err
    Path("runs/c3d_small/checkpoint.pt").write_bytes(b"half")
    assert run("--resume", "--steps", "2") == 2
    assert "cannot be read as tensors" in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--lr", "1e30") == 2
    assert re.search(r"The loss is (nan|inf) at step \d; a lower --lr", capsys.readouterr().err)
    assert not Path("out").exists()


def test_the_command_line_sets_up_its_process(tmp_path: Path) -> None:
    root = Path(train.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "models.train", "c3d_smal"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 2
    told = "error: There is no recipe for 'c3d_smal'. Did you mean 'c3d_small'"
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_freed_memory_is_kept() -> None:
    code = "from models.training.memory import keep_freed_memory as k; raise SystemExit(not k())"
    root = Path(train.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
