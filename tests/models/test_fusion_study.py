"""The fusion study on a tiny net: what is run, kept, continued and refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from captum_video.nn import FusionUnit
from captum_video.nn.strategies import gates_of, sample_strategies, set_strategy
from models import _fusion_study_cells as cells
from models import _fusion_study_report as report
from models import fusion_study
from models._fusion_study_results import Cell, Outcome, Results
from models.info import BundledModel, ModelInfo
from models.training import loop
from models.training.recipes import Recipe
from models.training.run import Run
from models.training.task import Evaluation

ORDER = {"both": ("look", "motion"), "look": ("look",), "motion": ("motion",)}


class Sample(NamedTuple):
    clip: Tensor
    motion: int
    look: int
    mask: Tensor


class Clips:
    """Clips whose brightness is their look, brighter or darker at the end; remembers its draws."""

    drawn: list[tuple[int, str, bool, int]]

    def __init__(self, length: int, seed: int, split: str, *, halved: bool = False) -> None:
        self.length, self.key = length, (seed, split, halved)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        Clips.drawn.append((*self.key, index))
        generator = torch.Generator().manual_seed(1000 * self.key[0] % 2**31 + index)
        look, motion = torch.randint(2, (2,), generator=generator).tolist()
        clip = 0.2 * torch.rand(1, 3, 4, 4, generator=generator) + 0.3 * look + 0.1
        clip[:, 2] += 0.4 * motion - 0.1
        return Sample(clip, motion, look, torch.ones(3, 4, 4))


class Net(BundledModel):
    """Two layers, each with its convolution, or gates over them."""

    def __init__(self, outputs: int, conv: str) -> None:
        super().__init__()

        def unit(channels: int) -> nn.Module:
            if conv == "fusion":
                return FusionUnit(channels, 4, drop_probability=0.4)
            if conv == "s+st":
                return FusionUnit(channels, 4, gates=None)
            depth = 1 if conv == "s" else 3
            return nn.Conv3d(channels, 4, (depth, 3, 3), padding=(depth // 2, 1, 1))

        self.body = nn.Sequential(unit(1), nn.ReLU(), unit(4), nn.ReLU())
        self.scores = nn.Linear(4, outputs)

    def forward(self, clip: Tensor) -> Tensor:
        assert clip.min() < 0  # normalised
        return self.scores(self.body(clip).mean((2, 3, 4)))


def small_net(name: str, *, question: str, halved: bool, conv: str) -> Net:
    assert name == "fusion_net_small"
    assert halved in (False, True)
    groups = {asked: range(2 * n, 2 * n + 2) for n, asked in enumerate(ORDER[question])}
    net = Net(2 * len(groups), conv)
    net.info = ModelInfo(name, (), groups, 3, (4, 4), (0.5,), (0.25,), "body.2")
    return net


RECIPE = Recipe(
    data=Clips,  # type: ignore[arg-type]
    data_note="",
    steps=4,
    batch_size=3,
    lr=1e-2,
    eval_every=1,
    eval_clips=6,
    patience=1,
)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Clips, "drawn", [], raising=False)
    monkeypatch.setattr(cells, "LookOrMotion", Clips)
    monkeypatch.setattr(cells, "build", small_net)
    monkeypatch.setattr(cells, "RECIPES", {"fusion_net_small": RECIPE})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_study, "write_figure", lambda _, path: path.touch())


SHORT = "--quiet --sampled 5 --choice-clips 7 --clips 9 --seeds 0 1 --twin-seeds 0".split()
FILE = Path("runs/fusion_study/cells.jsonl")


def lines(path: Path = FILE) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.pop("seconds", None)
    return found


def order() -> list[Cell]:
    return fusion_study.plan(cells.TASKS, cells.RESOLUTIONS, ("fusion", *cells.TWINS), [0, 1], [0])


def test_early_ends_leave_balanced_seeds() -> None:
    def templates(seed: int) -> list[tuple[str, str, str, int]]:
        return [
            (task, resolution, "fusion", seed)
            for resolution in ("full", "halved")
            for task in ("look", "motion", "both")
        ]

    twins = [
        (task, "full", conv, 0)
        for conv in ("s", "st", "s+st")
        for task in ("look", "motion", "both")
    ]
    assert order() == templates(0) + twins + templates(1)
    plan = fusion_study.plan(["look"], ["halved"], ["fusion", "s"], [4, 4], [4])
    assert plan == [("look", "halved", "fusion", 4)]


@pytest.mark.usefixtures("_small")
def test_a_run_leaves_cells_tables_and_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    assert fusion_study.main(SHORT) == 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    header, *rest = lines()
    recipe = header["settings"].pop("recipe")
    assert header["settings"] == {"sampled": 5, "choice_clips": 7, "clips": 9, "threads": 1}
    assert recipe["lr"] == 1e-2
    assert recipe["steps"] == 4
    assert "data" not in recipe
    assert [Cell(*(line[name] for name in Cell._fields)) for line in rest] == order()
    for line in rest:
        fusion = line["conv"] == "fusion"
        ways = ["all open", "most probable", "best sampled"] if fusion else ["as trained"]
        assert list(line["accuracy"]) == ways
        for shares in line["accuracy"].values():
            assert tuple(shares) == ORDER[line["task"]]
            assert all(round(9 * share, 6) in range(10) for share in shares.values())
        assert line["steps"] == 4  # patience ends no training
        assert len(line["choice"]) == (5 if fusion else 0)
        assert list(line["keep"]) == (["body.0", "body.2"] if fusion else [])
    assert not list(FILE.with_suffix("").iterdir())  # the checkpoints are gone
    for halved in (False, True):
        assert (1_000_003, "validation", halved, 5) in Clips.drawn
        assert (4_000_003, "validation", halved, 8) in Clips.drawn
    for name in report.TABLES:
        with FILE.with_suffix(f".{name}.csv").open() as file:
            assert len(list(csv.reader(file))) > 1
    assert FILE.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert "motion - look, full" in capsys.readouterr().out
    # nothing is left to do
    Clips.drawn.clear()
    assert fusion_study.main(SHORT) == 0
    assert not Clips.drawn


@pytest.mark.usefixtures("_small", "_undrawn")
def test_trainings_choices_and_measurements_share_no_clip_and_nets_share_theirs() -> None:
    assert fusion_study.main([*SHORT, "--tasks", "look", "motion", "--resolutions", "full"]) == 0
    counts = {
        (0, "train"): 12,
        (1_000_003, "validation"): 6,
        (3_000_003, "validation"): 7,
        (4_000_003, "validation"): 9,
    }
    expected = [
        (s + n, split) for (s, split), c in counts.items() for n in (0, 1) for _ in range(c)
    ]
    # once each, for both templates and all six twins
    assert sorted(key[:2] for key in Clips.drawn) == sorted(expected)


def without_seconds(results: Results) -> dict[Cell, Outcome]:
    return {cell: replace(one, seconds=0) for cell, one in results.outcomes.items()}


@pytest.mark.usefixtures("_small", "_undrawn")
def test_a_killed_run_continues_to_the_same_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fusion_study.main([*SHORT, "--tasks", "both"]) == 0
    whole = lines()
    FILE.unlink()
    evaluations: list[int] = []

    def killed(run: Run, seed: int, clips: int) -> Evaluation:
        evaluations.append(seed)
        if len(evaluations) == 11:  # in the third cell, after its checkpoint of step 2
            raise KeyboardInterrupt
        return loop_evaluate(run, seed, clips)

    loop_evaluate = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", killed)
    torch.manual_seed(0)  # another state than the first run's
    assert fusion_study.main([*SHORT, "--tasks", "both"]) == 130
    text = "Stopped with 2 of 7 cells done; the same command continues."
    assert text in capsys.readouterr().err
    monkeypatch.setattr(loop, "evaluate", loop_evaluate)
    assert lines() == whole[:3]
    with FILE.open("a") as file:
        file.write('{"task": "both", "resolution": "fu')
    (checkpoint,) = FILE.with_suffix("").glob("*/checkpoint.pt")
    assert checkpoint.parent.name == "both-full-s-0"
    steps: list[int] = []
    train_step = loop._train_step

    def counted(run: Run, objective: Any, batch: Any) -> float:
        steps.append(run.progress.step)
        return train_step(run, objective, batch)

    monkeypatch.setattr(loop, "_train_step", counted)
    assert fusion_study.main([*SHORT, "--tasks", "both"]) == 0
    assert steps == [2, 3] + 4 * [0, 1, 2, 3]
    assert lines() == whole


@pytest.mark.usefixtures("_small", "_undrawn")
def test_parts_in_files_of_their_own_make_the_whole() -> None:
    few = [*SHORT, "--convs", "s", "fusion", "--resolutions", "full", "--tasks", "look", "motion"]
    assert fusion_study.main(few) == 0
    whole = without_seconds(Results([FILE], None))
    one, two, both = Path("one.jsonl"), Path("two.jsonl"), Path("runs/both.jsonl")
    assert fusion_study.main([*few, "--part", "1/2", "--results", "one.jsonl", "two.jsonl"]) == 0
    assert fusion_study.main([*few, "--part", "2/2", "--results", "two.jsonl", "one.jsonl"]) == 0
    assert len(lines(one)) == len(lines(two)) == 1 + 3
    merge = ["--plot-only", "--results", "one.jsonl", "two.jsonl", "--merged", "runs/both.jsonl"]
    assert fusion_study.main([*merge, "--report", "runs/both", "--figure", "runs/f.svg"]) == 0
    assert without_seconds(Results([both], None)) == whole
    assert Path("runs/f.svg").is_file()
    for name in ("posterior", "paired"):
        made = both.with_suffix(f".{name}.csv").read_text()
        assert made == FILE.with_suffix(f".{name}.csv").read_text()
    # what another file holds counts as done
    assert fusion_study.main([*few, "--results", "three.jsonl", "runs/both.jsonl"]) == 0
    assert len(lines(Path("three.jsonl"))) == 1


@pytest.mark.usefixtures("_small")
def test_the_best_is_chosen_on_other_clips_than_it_is_measured_on() -> None:
    torch.manual_seed(0)
    model = small_net("fusion_net_small", question="both", halved=False, conv="fusion").eval()
    gates: Any = gates_of(model)
    gates["body.0"].set_drop_probability([0.3, 0.45])
    drawn = sample_strategies(model, 30, seed=7)
    # the truth is what the net says under one strategy, and for fresh clips under another
    sets = []
    with torch.no_grad():
        model.scores.bias.sub_(model(3 * torch.randn(60, 1, 3, 4, 4)).median(0).values)
    for strategy in list(dict.fromkeys(drawn))[:2]:
        set_strategy(model, strategy)
        clip = 3 * torch.randn(60, 1, 3, 4, 4)
        answers = model(clip).view(-1, 2, 2).argmax(2)
        sets.append([(clip, Sample(clip, look=answers[:, 0], motion=answers[:, 1], mask=clip))])
    choice, fresh = sets
    found = cells.posterior(model, choice, fresh, 30, 7)
    # by hand: each strategy set, its answers counted
    shares: dict[Any, tuple[float, dict[str, float]]] = {}
    for strategy in drawn:
        set_strategy(model, strategy)
        counted = []
        for ((clip, truth),) in (choice, fresh):
            scores = model(clip)
            counted.append(
                {
                    "look": float((scores[:, :2].argmax(1) == truth.look).double().mean()),
                    "motion": float((scores[:, 2:].argmax(1) == truth.motion).double().mean()),
                }
            )
        shares[strategy] = sum(counted[0].values()) / 2, counted[1]
    assert found["choice"] == pytest.approx([shares[one][0] for one in drawn])
    top = max(share for share, _ in shares.values())
    tied = [one for one in shares if shares[one][0] == pytest.approx(top)]
    best = max(tied, key=lambda one: one.log_probability)
    fresh_top = max(shares, key=lambda one: sum(shares[one][1].values()))
    assert fresh_top not in tied  # so that a choice on the wrong clips shows
    assert len(set(drawn)) < len(drawn)
    assert found["chosen"]["best sampled"].kinds == best.kinds()
    assert found["chosen"]["best sampled"].log_probability == best.log_probability
    assert found["accuracy"]["best sampled"] == pytest.approx(shares[best][1])
    set_strategy(model, {"body.0": (True, True), "body.2": (True, True)})
    assert found["accuracy"]["all open"] == pytest.approx(cells.right(model, fresh))
    assert found["accuracy"]["all open"] == found["accuracy"]["most probable"]
    assert found["accuracy"]["all open"] != found["accuracy"]["best sampled"]
    assert found["keep"]["body.0"] == pytest.approx(
        {"S": 0.7, "ST": 0.55, "S+ST": 0.385, "time": 0.55}
    )
    # exported: a kernel of 3 taps in either layer, without gates and without S (1 + 16 weights)
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert found["chosen"]["most probable"].parameters == whole - 4 - 17


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "looks"], "--tasks has 'looks'. Did you mean"),
        (["--resolutions", "half"], "--resolutions has 'half'."),
        (["--convs", "t"], "--convs has 't'."),
        (["--seeds", "0", "-2"], "A seed must not be negative, got -2."),
        (["--twin-seeds", "-1"], "A seed must not be negative, got -1."),
        (["--seeds", "--twin-seeds"], "There is nothing to do"),
        (["--convs", "s", "--resolutions", "halved"], "There is nothing to do"),
        (["--part", "3/2"], "--part must be like 1/2, got '3/2'."),
        (["--part", "0/2"], "--part must be like 1/2, got '0/2'."),
        (["--part", "1"], "--part must be like 1/2, got '1'."),
        (["--steps", "0"], "--steps must be at least 1, got 0."),
        (["--sampled", "0"], "--sampled must be at least 1, got 0."),
        (["--choice-clips", "0"], "--choice-clips must be at least 1, got 0."),
        (["--clips", "-1"], "--clips must be at least 1, got -1."),
        (["--threads", "0"], "--threads must be at least 1, got 0."),
        (["--plot-only"], "There are no results at runs/fusion_study/cells.jsonl"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert fusion_study.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
