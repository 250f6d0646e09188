"""The cells of the refinement study: nets trained, diagnosed, and measured class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from captum_video._core.files import written_whole
from captum_video._core.skeletons import KINECT_JOINTS
from models import build
from models._diagnosis_evidence import all_answers, gather
from models._diagnosis_net import Net, layers_of
from models._diagnosis_proposal import confusion_of, propose, standings
from models._results import CellFile
from models.data.actions import ACTIONS, Actions
from models.info import BundledModel
from models.training.loop import fit
from models.training.recipes import RECIPES
from models.training.run import Run

BASELINE, TARGETED, RANDOM, UNTARGETED = "baseline", "targeted", "random", "untargeted"
ARMS = (BASELINE, TARGETED, RANDOM, UNTARGETED)
ONE_STREAM, TWO_STREAMS = "res_tcn_small", "ms_res_tcn_small"
#: added to a seed for the clips that a net is diagnosed on, and for those that it is measured on
DIAGNOSIS_SEED, MEASURE_SEED = 3_000_003, 4_000_003


class Cell(NamedTuple):
    """One training: which net, under which seed."""

    arm: str
    seed: int


@dataclass(frozen=True)
class Settings:
    """What all cells of a results file have in common.

    Attributes:
        steps: optimiser steps.
        joints: how many joints a diagnosis proposes at most, and ``random`` draws.
        diagnosed: clips that a baseline is diagnosed on.
        clips: other fresh clips that accuracy is measured on.
        threads: of the arithmetic; sums round differently with another number.
    """

    steps: int = 1000
    joints: int = 8
    diagnosed: int = 800
    clips: int = 2000
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("joints", 1),
            ("diagnosed", 32),
            ("clips", 1),
            ("threads", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, got {getattr(self, name)}.")


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        right: by class, how many of the fresh clips are told.
        clips: by class, of how many.
        weak: the classes that the diagnosis calls weak; of a baseline alone.
        target: the joints that the attention stream sees, or that the diagnosis of a baseline proposes.
        reason: the diagnosis in words; of a baseline alone.
        seconds: of training.
        best_step: the step whose weights were kept.
    """

    right: Mapping[str, int]
    clips: Mapping[str, int]
    target: Sequence[str]
    seconds: float
    best_step: int
    weak: Sequence[str] = ()
    reason: str = ""


def open_results(path: Path, settings: Settings | None) -> CellFile[Settings, tuple[Cell, Outcome]]:
    """The file of finished cells.

    Args:
        path: the file; written when there is none.
        settings: those of this run; ``None`` to take those of the file.

    Returns:
        The open file.

    Raises:
        ValueError: the file has other settings, or is not such a file.
        FileNotFoundError: there is no file and no settings are given.
    """
    what = "results of the refinement study"
    return CellFile(path, settings, kind=Settings, parse=_parse, what=what)


def as_line(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """A finished cell as a line of the file."""
    return {**cell._asdict(), **asdict(outcome)}


def _parse(line: Mapping[str, Any]) -> tuple[Cell, Outcome]:
    values = dict(line)
    return Cell(values.pop("arm"), values.pop("seed")), Outcome(**values)


def measure(
    cell: Cell, settings: Settings, outcomes: Mapping[Cell, Outcome], folder: Path
) -> Outcome:
    """Trains a net, diagnoses it if it is a baseline, and measures it.

    Args:
        cell: which.
        settings: how.
        outcomes: of earlier cells; a targeted net needs the baseline of its seed.
        folder: keeps the checkpoint while it is trained, and its weights afterwards.

    Returns:
        What came of it.

    Raises:
        ValueError: the diagnosis of the baseline proposes no joints.
    """
    joints = _joints(cell, settings, outcomes)
    run = _trained(cell, settings, joints, folder)
    net = run.model.eval()
    assert isinstance(net, Net)
    weights = folder / f"{cell.arm}-{cell.seed}.safetensors"
    with written_whole(weights) as part:
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, part)
    run.checkpoint.unlink()
    weak: Sequence[str] = ()
    reason = ""
    if cell.arm == BASELINE:
        clips = Actions(settings.diagnosed, cell.seed + DIAGNOSIS_SEED, "validation")
        evidence = gather(net, layers_of(net)[-1:], clips, views=False)
        confusion = confusion_of(evidence.labels, evidence.predicted, len(ACTIONS))
        found = zip(ACTIONS, standings(confusion), strict=True)
        weak = [name for name, standing in found if standing.weak]
        proposal = propose(
            confusion, evidence.labels, evidence.features, evidence.amplification[-1],
            classes=ACTIONS, joints=KINECT_JOINTS, count=settings.joints,
        )  # fmt: skip
        joints, reason = proposal.target, proposal.reason
    fresh = Actions(settings.clips, cell.seed + MEASURE_SEED, "validation")
    labels = torch.tensor([fresh.labels(index) for index in range(len(fresh))]).flatten()
    told = all_answers(net, fresh) == labels
    return Outcome(
        right={name: int(told[labels == index].sum()) for index, name in enumerate(ACTIONS)},
        clips={name: int((labels == index).sum()) for index, name in enumerate(ACTIONS)},
        target=list(joints),
        weak=weak,
        reason=reason,
        seconds=round(run.progress.seconds, 1),
        best_step=run.progress.best_step,
    )


def _joints(cell: Cell, settings: Settings, outcomes: Mapping[Cell, Outcome]) -> Sequence[str]:
    """The joints that the attention stream of a cell's net sees; none for a baseline."""
    if cell.arm == BASELINE:
        return ()
    if cell.arm == UNTARGETED:
        return KINECT_JOINTS
    proposed = outcomes[Cell(BASELINE, cell.seed)].target
    if not proposed:
        raise ValueError(
            f"The diagnosis of the baseline of seed {cell.seed} proposes no joints: "
            f"{outcomes[Cell(BASELINE, cell.seed)].reason}"
        )
    if cell.arm == TARGETED:
        return proposed
    drawn = np.random.default_rng(cell.seed).permutation(len(KINECT_JOINTS))[: len(proposed)]
    return [KINECT_JOINTS[number] for number in sorted(drawn)]


def _trained(cell: Cell, settings: Settings, joints: Sequence[str], folder: Path) -> Run:
    """The finished training, continued where it was stopped."""
    name = ONE_STREAM if cell.arm == BASELINE else TWO_STREAMS
    recipe = replace(RECIPES[name], steps=settings.steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        options: dict[str, Any] = {"target_joints": list(joints)} if joints else {}
        model: BundledModel = build(name, **options)
    checkpoint = folder / f"{cell.arm}-{cell.seed}" / "checkpoint.pt"
    run = Run(model, recipe, cell.seed, torch.device("cpu"), checkpoint, workers=0, options=options)
    if checkpoint.is_file():
        run.resume()
    fit(run, show_progress=False)
    return run
