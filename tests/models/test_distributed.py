"""Training on two processes against training on one, and after a kill against an unbroken run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import default_collate

from models.data import MovingDigits
from models.training import distributed, loop, recipes
from models.training.classification import Classification
from models.training.distributed import batch_mean, part, share
from models.training.loading import evaluation_batches, training_batches
from models.training.run import Run
from tests.models import small_training

ROOT = Path(__file__).parents[2]


def launch(
    folder: Path, *arguments: str, count: int = 2, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Trains in processes of their own, in a folder."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [
            *(sys.executable, *(launcher if count > 1 else [])),
            *("-m", "tests.models.small_training", "--output", "out", *arguments),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "out" / "c3d_small.safetensors")


def last(folder: Path) -> dict[str, Tensor]:
    """The weights after the last step; those of :func:`weights` may be of an earlier one."""
    kept = torch.load(folder / "runs/c3d_small/checkpoint.pt", weights_only=True)
    assert kept["progress"]["step"] == 6
    momentum = {
        f"momentum {number}": state["momentum_buffer"]
        for number, state in kept["optimiser"]["state"].items()
    }
    return {**kept["model"], **momentum}


def log(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (folder / "runs/c3d_small/log.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training on two processes, with parts of two and three clips."""
    folder = tmp_path_factory.mktemp("two")
    done = launch(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote out/c3d_small.safetensors") == 1
    return folder


def test_two_processes_train_as_one(unbroken: Path, tmp_path: Path) -> None:
    done = launch(tmp_path, count=1)
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path), weights(unbroken)
    start = start_weights()
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=1e-5)
    two_last = last(unbroken)
    for key, value in last(tmp_path).items():
        torch.testing.assert_close(two_last[key], value, rtol=0, atol=1e-5)
    assert max(float((one[key] - start[key]).abs().max()) for key in one) > 1e-2
    for a, b in zip(log(tmp_path), log(unbroken), strict=True):
        assert a["step"] == b["step"]
        for key in ("loss", "validation_loss", "motion", "look", "lr"):
            assert b[key] == pytest.approx(a[key], abs=1e-5), key
    command = "torchrun --nproc-per-node=2 -m models.train c3d_small --seed 0"
    assert command in (unbroken / "out/c3d_small.md").read_text()


def start_weights() -> dict[str, Tensor]:
    from tests.models.small_training import NAME, narrow

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(narrow(NAME).state_dict())


def test_a_killed_run_ends_with_the_same_weights(unbroken: Path, tmp_path: Path) -> None:
    # clip 22 belongs to the fifth step, in the middle of what is between two validations
    died = launch(tmp_path, "--save-every", "0", DIE_AT="22")
    assert died.returncode != 0
    assert not (tmp_path / "out").exists()
    kept = torch.load(tmp_path / "runs/c3d_small/checkpoint.pt", weights_only=True)
    assert kept["progress"]["step"] == 4
    done = launch(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    for state in (weights, last):
        resumed, whole = state(tmp_path), state(unbroken)
        assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    timeless = [
        [
            {k: v for k, v in line.items() if k not in ("seconds", "waiting", "step_seconds")}
            for line in log(f)
        ]
        for f in (tmp_path, unbroken)
    ]
    assert timeless[0] == timeless[1]


def test_workers_leave_the_end_to_the_trainer(unbroken: Path, tmp_path: Path) -> None:
    stopped = launch(tmp_path, "--workers", "1", count=1, TERM_AT="22")
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.startswith("Stopped after step")
    assert stopped.stderr.count("\n") == 1
    done = launch(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    resumed, whole = last(tmp_path), last(unbroken)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=1e-5)


def test_all_processes_are_scored_with_the_same_statistics(tmp_path: Path) -> None:
    """Batch norms see parts of a batch; what is scored is the net that is kept."""
    done = launch(tmp_path, NORM_FROM="1")
    assert done.returncode == 0, done.stderr
    kept = torch.load(tmp_path / "runs/c3d_small/checkpoint.pt", weights_only=True)
    net = small_training.narrow(small_training.NAME, norm_from=1)
    net.load_state_dict(kept["model"])
    clips = MovingDigits(5, 1_000_003, "validation")
    x = net.info.normalize(torch.stack([clips[i].clip for i in range(5)]))
    task = Classification({"motion": range(1, 10), "look": range(10, 0, -1)}).prepared(
        net.info, lambda: None
    )
    with torch.no_grad():
        found = task.evaluate(net.eval(), [(x, default_collate([clips[i] for i in range(5)]))])
    assert log(tmp_path)[-1]["validation_loss"] == pytest.approx(found.loss, abs=1e-5)


def test_a_batch_must_reach_all_processes(tmp_path: Path) -> None:
    done = launch(tmp_path, "--batch-size", "1")
    assert done.returncode != 0
    assert (
        "A batch must have a clip for each of the 2 processes, and batch_size is 1" in done.stderr
    )
    assert not list(tmp_path.iterdir())


class Number(NamedTuple):
    """A sample that is its own index."""

    clip: Tensor


class TestParts:
    """The arithmetic, with processes played one after the other."""

    @pytest.mark.parametrize(("total", "count"), [(5, 2), (7, 3), (2, 4), (8, 4), (0, 2)])
    def test_parts_follow_each_other(
        self, total: int, count: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(distributed, "world", lambda: count)
        found: list[int] = []
        sizes = []
        for number in range(count):
            monkeypatch.setattr(distributed, "rank", lambda number=number: number)
            found += part(total)
            sizes.append(len(part(total)))
        assert found == list(range(total))
        assert max(sizes) - min(sizes) <= 1

    def test_the_mean_of_weighted_parts_is_that_of_the_batch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64)
        weights = torch.tensor([1.0, 0.5, 2.0, 3.0, 0.25], dtype=torch.float64)
        # (1 + 1 + 8 + 24 + 4) / 6.75 and 31 / 5
        assert float(batch_mean(values, weights)) == pytest.approx(38 / 6.75, rel=1e-12)
        assert float(batch_mean(values)) == pytest.approx(6.2, rel=1e-12)
        monkeypatch.setattr(distributed, "world", lambda: 2)
        for given, total, expected in ((weights, 6.75, 38 / 6.75), (None, 5.0, 6.2)):
            monkeypatch.setattr(
                distributed, "all_sum", lambda _, total=total: torch.tensor(total).double()
            )
            means = [
                batch_mean(values[own], None if given is None else given[own])
                for own in (slice(0, 2), slice(2, 5))
            ]
            assert float(sum(means)) / 2 == pytest.approx(expected, rel=1e-12)

    def test_each_process_draws_clips_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        numbers = [Number(torch.tensor([float(number)])) for number in range(15)]
        recipe = SimpleNamespace(data=lambda *_: numbers, steps=3, batch_size=5)
        run: Any = SimpleNamespace(
            recipe=recipe,
            seed=0,
            workers=0,
            device=torch.device("cpu"),
            progress=SimpleNamespace(step=1),
            info=SimpleNamespace(normalize=lambda clip: clip),
        )
        monkeypatch.setattr(distributed, "world", lambda: 2)
        for number, trained, scored in (
            (0, [[5, 6], [10, 11]], [[0, 1, 2]]),
            (1, [[7, 8, 9], [12, 13, 14]], [[3, 4, 5, 6]]),
        ):
            monkeypatch.setattr(distributed, "rank", lambda number=number: number)
            assert [b.clip.flatten().tolist() for b in training_batches(run)] == trained
            batches = evaluation_batches(run, numbers[:7])
            assert [clip.flatten().tolist() for clip, _ in batches] == scored

    def test_noise_is_that_of_seed_step_and_process(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        net = small_training.narrow(small_training.NAME)
        recipe = replace(recipes.RECIPES[small_training.NAME], steps=9, eval_every=9)
        clips = SimpleNamespace(clip=torch.zeros(1, 3, 1, 1, 1))

        def drawn(seed: int, number: int, step: int) -> float:
            """What a step draws; the objective is the random number itself."""
            monkeypatch.setattr(loop, "rank", lambda: number)
            run = Run(net, recipe, seed, torch.device("cpu"), tmp_path / "c.pt", tensorboard=False)
            run.progress.step = step
            weight = next(net.parameters())

            def noise(*_: object) -> Tensor:
                return 0 * weight.sum() + torch.rand(())

            with torch.random.fork_rng(devices=[]):
                return loop._train_step(run, noise, clips)  # type: ignore[arg-type]

        places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)]
        found = [drawn(*place) for place in places]
        assert len(set(found)) == len(places)
        assert [drawn(*place) for place in places] == found
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)  # as the bundled weights were trained
            assert drawn(0, 0, 5) == float(torch.rand(()))

    def test_one_process_has_all_of_the_weight(self) -> None:
        assert float(share(torch.tensor(3.7))) == 1.0


def test_what_torchrun_says_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda")
    for key, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(key, value)
    assert distributed.own_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match="--device cuda:1 is one GPU for all processes"):
        distributed.own_device(torch.device("cuda:1"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"Process 3 of this machine has no GPU .* there are 2"):
        distributed.own_device(torch.device("cuda"))
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert chosen == [torch.device("cuda", 3)]
    assert distributed.process() == "process 3: "
    assert distributed.others_ended(RuntimeError("... Connection closed by peer [127.0.0.1]"))
    assert not distributed.others_ended(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_torchrun_leaves_our_options_alone() -> None:
    """Its parser refuses what could be short for two of its own options."""
    from torch.distributed.run import get_args_parser

    from models import train

    for action in train.parser()._actions:
        for option in action.option_strings:
            if option in ("-h", "--help"):
                continue
            given = ["--nproc-per-node=2", "-m", "models.train", "c3d_small", option, "1"]
            parsed = get_args_parser().parse_args(given)
            assert parsed.training_script_args == given[3:], option
            assert parsed.nproc_per_node == "2"
