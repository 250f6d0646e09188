"""The refinement study: order of work, what each net is trained on, tables, continuation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from captum_video._core.skeletons import KINECT_JOINTS, joint_dimensions
from models import _refinement_cells as cells_module
from models import refinement_study
from models._refinement_cells import (
    ARMS,
    BASELINE,
    RANDOM,
    TARGETED,
    UNTARGETED,
    Cell,
    Outcome,
    Settings,
    measure,
)
from models._refinement_report import GROUPS, accuracy, by_class, differences, proposals
from models.data.actions import ACTIONS, FINE_GRAINED, Actions
from models.refinement_study import plan


class TestPlan:
    def test_a_seed_after_the_other_the_baseline_first(self) -> None:
        cells = plan([TARGETED, BASELINE], [3, 1, 3])
        assert cells == [
            Cell(BASELINE, 3), Cell(TARGETED, 3), Cell(BASELINE, 1), Cell(TARGETED, 1),
        ]  # fmt: skip

    def test_what_needs_a_diagnosis_brings_its_baseline(self) -> None:
        assert plan([RANDOM], [0]) == [Cell(BASELINE, 0), Cell(RANDOM, 0)]
        assert plan([UNTARGETED], [0]) == [Cell(UNTARGETED, 0)]

    @pytest.mark.parametrize(
        ("arms", "seeds", "message"),
        [
            (["target"], [0], "--arms has 'target'.*targeted"),
            ([BASELINE], [-1], "--seeds must be from 0 to 999999, got -1"),
            ([BASELINE], [999_999, 1_000_000], "from 0 to 999999, got 1000000"),
        ],
    )
    def test_refused(self, arms: list[str], seeds: list[int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plan(arms, seeds)


def outcome(right: int, fine: int, target: tuple[str, ...] = ("head", "thumb_left")) -> Outcome:
    """10 clips of each class, of which so many are told."""
    told = {name: fine if name in FINE_GRAINED else right for name in ACTIONS}
    return Outcome(told, dict.fromkeys(ACTIONS, 10), target, 1.0, 5, ("reading",), "because")


class TestTables:
    OUTCOMES: ClassVar = {
        Cell(BASELINE, 0): outcome(9, 4),
        Cell(BASELINE, 1): outcome(8, 4),
        Cell(BASELINE, 2): outcome(1, 1),
        Cell(TARGETED, 0): outcome(9, 7),
        Cell(TARGETED, 1): outcome(9, 6),
        Cell(UNTARGETED, 0): outcome(9, 5),
    }

    def test_accuracy_is_the_mean_over_classes(self) -> None:
        one = Outcome({"a": 1, "b": 3}, {"a": 2, "b": 12}, (), 0.0, 1)
        assert accuracy(one, ["a", "b"]) == pytest.approx((0.5 + 0.25) / 2)
        assert set(GROUPS["fine-grained"]) | set(GROUPS["others"]) == set(ACTIONS)

    def test_classes_without_clips_are_left_out(self) -> None:
        one = Outcome({"a": 1, "b": 0}, {"a": 2, "b": 0}, (), 0.0, 1)
        assert accuracy(one, ["a", "b"]) == 0.5
        assert math.isnan(accuracy(one, ["b"]))
        full = outcome(9, 4)
        right, clips = ({**counts, "reading": 0} for counts in (full.right, full.clips))
        lacking = replace(full, right=right, clips=clips)
        outcomes = {
            Cell(BASELINE, 0): lacking,
            Cell(BASELINE, 1): full,
            Cell(TARGETED, 0): lacking,
            Cell(UNTARGETED, 1): full,
        }
        rows = {line[0]: line[1:] for line in by_class(outcomes)}
        assert rows["reading"] == ["40.0", "-", "40.0"]
        assert rows["fine-grained"] == ["40.0 ± 0.0", "40.0", "40.0"]
        rows = {line[0]: line[1:] for line in differences(outcomes)}
        assert rows["reading"] == ["-"]
        assert rows["writing"] == ["0.0"]

    def test_by_class(self) -> None:
        table = by_class({k: v for k, v in self.OUTCOMES.items() if k.seed < 2})
        assert table[0] == ["classes", BASELINE, TARGETED, UNTARGETED]
        fine = next(line for line in table if line[0] == "fine-grained")
        # t = 12.706 for two seeds, 0.05 from the mean each
        assert fine[1:] == ["40.0 ± 0.0", "65.0 ± 63.5", "50.0"]
        assert [line[0] for line in table[4:]] == list(ACTIONS)

    def test_differences_are_paired_and_of_common_seeds(self) -> None:
        table = differences(self.OUTCOMES)
        assert table[0] == ["targeted minus", "baseline (2 seeds)", "untargeted (1 seeds)"]
        rows = {line[0]: line[1:] for line in table}
        assert rows["fine-grained"] == ["25.0 ± 63.5", "20.0"]
        assert rows["others"] == ["5.0 ± 63.5", "0.0"]
        assert differences({Cell(BASELINE, 0): outcome(9, 4)}) == [["targeted minus"]]

    def test_proposals(self) -> None:
        assert proposals(self.OUTCOMES)[1] == ["0", "reading", "head, thumb_left", "", ""]

    def test_random_joints_stand_beside_the_proposed(self) -> None:
        drawn = {Cell(RANDOM, 1): outcome(9, 4, target=("neck", "head"))}
        header, without, beside, _ = proposals(self.OUTCOMES | drawn)
        assert header[3:] == ["random joints", "of them proposed"]
        assert without[3:] == ["", ""]
        assert beside == ["1", "reading", "head, thumb_left", "neck, head", "1"]


TINY = Settings(steps=1, joints=3, diagnosed=32, clips=32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of one step of two clips."""
    recipes = {
        name: replace(recipe, batch_size=2, eval_clips=2)
        for name, recipe in cells_module.RECIPES.items()
        if "res_tcn" in name
    }
    monkeypatch.setattr(cells_module, "RECIPES", recipes)
    monkeypatch.setattr("models.training.sequences.MEAN_COUNT", 2)
    monkeypatch.setattr("models._diagnosis_evidence.PERFORMANCES", 2)


@pytest.mark.usefixtures("quick")
class TestCells:
    def test_streams_see_what_their_name_says(self, tmp_path: Path) -> None:
        outcomes = {Cell(BASELINE, 4): outcome(9, 4)}
        seen = {}
        for arm in (TARGETED, RANDOM, UNTARGETED):
            found = measure(Cell(arm, 4), TINY, outcomes, tmp_path)
            state = load_file(tmp_path / f"{arm}-4.safetensors")
            seen[arm] = state["target"].flatten().nonzero().flatten().tolist()
            assert seen[arm] == joint_dimensions(found.target)
            assert sum(found.clips.values()) == 32
            assert all(0 <= found.right[name] <= found.clips[name] for name in ACTIONS)
        assert seen[TARGETED] == joint_dimensions(["head", "thumb_left"])
        assert len(seen[RANDOM]) == len(seen[TARGETED])
        assert seen[UNTARGETED] == list(range(150))

    def test_a_baseline_is_diagnosed_without_its_views(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Actions, "views", lambda *_: pytest.fail("views were drawn"))
        found = measure(Cell(BASELINE, 4), TINY, {}, tmp_path)
        assert found.reason
        assert not set(found.target) - set(KINECT_JOINTS)

    def test_random_joints_belong_to_the_seed(self) -> None:
        drawn = {
            seed: tuple(
                cells_module._joints(
                    Cell(RANDOM, seed), TINY, {Cell(BASELINE, seed): outcome(9, 4)}
                )
            )
            for seed in range(6)
        }
        assert len(set(drawn.values())) > 3
        assert all(set(joints) <= set(KINECT_JOINTS) for joints in drawn.values())

    def test_a_diagnosis_without_a_proposal(self, tmp_path: Path) -> None:
        outcomes = {Cell(BASELINE, 4): outcome(9, 4, target=())}
        with pytest.raises(ValueError, match="seed 4 proposes no joints: because"):
            measure(Cell(TARGETED, 4), TINY, outcomes, tmp_path)

    def test_nets_of_a_seed_begin_alike(self, tmp_path: Path) -> None:
        first, second = (
            cells_module._trained(Cell(UNTARGETED, 1), TINY, KINECT_JOINTS, tmp_path / name)
            for name in "ab"
        )
        for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
            assert torch.equal(one, other)


class TestCommand:
    @pytest.fixture
    def measured(self, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
        done: list[Cell] = []

        def fake(cell: Cell, *_: Any) -> Outcome:
            done.append(cell)
            return outcome(9, 4 + 2 * (cell.arm == TARGETED))

        monkeypatch.setattr(refinement_study, "measure", fake)
        return done

    @pytest.fixture
    def run(self, tmp_path: Path) -> Callable[..., int]:
        def call(*arguments: str) -> int:
            path = str(tmp_path / "cells.jsonl")
            return refinement_study.main([*arguments, "--results", path, "--quiet"])

        return call

    def test_continues_and_reports(
        self,
        measured: list[Cell],
        run: Callable[..., int],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run("--seeds", "0") == 0
        assert run("--seeds", "0", "1", "--merged", str(tmp_path / "all.jsonl")) == 0
        assert measured == [Cell(arm, seed) for seed in (0, 1) for arm in ARMS]
        out = capsys.readouterr().out
        assert "Points that the targeted net is ahead" in out
        table = (tmp_path / "cells.differences.csv").read_text().splitlines()
        assert table[1] == "fine-grained,20.0 ± 0.0,20.0 ± 0.0,20.0 ± 0.0"
        merged = (tmp_path / "all.jsonl").read_text().splitlines()
        assert json.loads(merged[0])["settings"]["steps"] == Settings().steps
        assert len(merged) == 9

    def test_results_of_other_processes(
        self, measured: list[Cell], run: Callable[..., int], tmp_path: Path
    ) -> None:
        other = str(tmp_path / "other.jsonl")
        refinement_study.main(["--seeds", "1", "--results", other, "--quiet"])
        assert run("--seeds", "0", "1", "--also", other) == 0
        assert len(measured) == 8

    def test_results_of_other_processes_have_the_same_settings(
        self,
        measured: list[Cell],
        run: Callable[..., int],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        other = str(tmp_path / "other.jsonl")
        refinement_study.main(["--seeds", "1", "--results", other, "--quiet", "--steps", "7"])
        assert run("--seeds", "0", "--also", other) == 2
        assert "other.jsonl holds cells of other settings: steps 7 (now 1000)" in (
            capsys.readouterr().err
        )
        assert len(measured) == 4
        assert run("--seeds", "0") == 0
        assert run("--plot-only", "--also", other) == 2

    def test_own_cells_are_kept_before_those_of_others(
        self,
        monkeypatch: pytest.MonkeyPatch,
        run: Callable[..., int],
        tmp_path: Path,
    ) -> None:
        others = [str(tmp_path / f"{name}.jsonl") for name in "ab"]
        for told, path in zip((3, 5), others, strict=True):
            monkeypatch.setattr(refinement_study, "measure", lambda *_, n=told: outcome(n, n))
            seeds = ["0", "1"] if told == 3 else ["0", "1", "2"]
            refinement_study.main(["--seeds", *seeds, "--results", path, "--quiet"])
        monkeypatch.setattr(refinement_study, "measure", lambda *_: outcome(9, 9))
        assert run("--seeds", "0") == 0
        merged = tmp_path / "all.jsonl"
        assert run("--plot-only", "--also", *others, "--merged", str(merged)) == 0
        lines = [json.loads(line) for line in merged.read_text().splitlines()[1:]]
        assert {line["seed"]: line["right"]["writing"] for line in lines} == {0: 9, 1: 3, 2: 5}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--arms", "none"), "--arms has 'none'"),
            (("--steps", "0"), "--steps must be at least 1, got 0"),
            (("--diagnosed", "5"), "--diagnosed must be at least 32, got 5"),
            (("--plot-only",), "There are no results"),
        ],
    )
    def test_refused(
        self,
        measured: list[Cell],
        run: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        arguments: tuple[str, ...],
        message: str,
    ) -> None:
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
        assert not measured

    def test_other_settings_are_not_mixed(
        self, measured: list[Cell], run: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("--seeds", "0") == 0
        assert run("--seeds", "0", "--steps", "7") == 2
        assert "steps 1000 (now 7)" in capsys.readouterr().err

    def test_an_interrupt_keeps_what_is_done(
        self,
        monkeypatch: pytest.MonkeyPatch,
        run: Callable[..., int],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def stops(cell: Cell, *_: Any) -> Outcome:
            if cell.arm == TARGETED:
                raise KeyboardInterrupt
            return outcome(9, 4)

        monkeypatch.setattr(refinement_study, "measure", stops)
        assert run("--seeds", "0") == 130
        assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 2
        assert "Stopped with 1 of 4 cells done" in capsys.readouterr().err
