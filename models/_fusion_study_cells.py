"""The trainings of the fusion study: one net, its posterior, and its strategies on fresh clips."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from captum_video.attr.fusion_posterior import FusionPosterior
from captum_video.nn.strategies import set_strategy
from models import build
from models._fusion_study_results import (
    OPEN,
    PLAIN,
    PROBABLE,
    SAMPLED,
    Cell,
    Chosen,
    Outcome,
    Settings,
)
from models.data.look_or_motion import LookOrMotion
from models.info import BundledModel
from models.training.loop import fit
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run

NAME = "fusion_net_small"
TASKS = ("look", "motion", "both")
RESOLUTIONS = ("full", "halved")
FUSION = "fusion"
TWINS = ("s", "st", "s+st")
#: added to a cell's seed; training, its validations, and each of these have clips of their own
CHOICE_SEED, CLIPS_SEED = 3_000_003, 4_000_003
_EVALUATED = 100
#: what files say of every recipe; of the rest, what is not as it is by default
_ALWAYS_SAID = (
    *("steps", "batch_size", "lr", "temporal_lr", "gate_lr", "weight_decay", "warmup", "clip_norm"),
    *("eval_every", "eval_clips"),
)
#: what of a recipe is no number, or has no part in a cell
_NOT_SHARED = ("data", "data_note", "data_options", "tolerance", "score_clips", "patience", "task")


class Labelled(NamedTuple):
    """A clip with its labels."""

    clip: Tensor
    motion: int
    look: int


class Kept(Dataset[Labelled]):
    """Clips that are drawn when first wanted, and kept.

    Args:
        data: the clips.
    """

    def __init__(self, data: LookOrMotion) -> None:
        self._data = data
        self._kept: dict[int, Labelled] = {}

    def __len__(self) -> int:
        """The number of clips."""
        return len(self._data)

    def __getitem__(self, index: int) -> Labelled:
        """A clip.

        Args:
            index: as for the data set.

        Returns:
            The clip with its labels.
        """
        if index not in self._kept:
            sample = self._data[index]
            self._kept[index] = Labelled(sample.clip, sample.motion, sample.look)
        return self._kept[index]


class Data:
    """The clips of all cells, which depend on seed and resolution alone; those in hand are kept."""

    def __init__(self) -> None:
        self._in_hand: tuple[str, int] | None = None
        self._sets: dict[tuple[int, int, str], Kept] = {}

    def of(self, cell: Cell) -> Callable[[int, int, str], Kept]:
        """What gives a cell its clips, as recipes have it.

        Args:
            cell: the cell.

        Returns:
            A function of length, seed and split.
        """
        if self._in_hand != (cell.resolution, cell.seed):
            self._in_hand = cell.resolution, cell.seed
            self._sets = {}
        halved = cell.resolution == "halved"

        def drawn(length: int, seed: int, split: str) -> Kept:
            key = length, seed, split
            if key not in self._sets:
                self._sets[key] = Kept(LookOrMotion(length, seed, split, halved=halved))
            return self._sets[key]

        return drawn


def recipe(steps: int | None = None) -> Recipe:
    """The recipe of all cells.

    All take as many steps: the weights of the best validation are kept, but nothing stops early.

    Args:
        steps: another number of steps.

    Returns:
        The recipe.
    """
    own = RECIPES[NAME]
    steps = own.steps if steps is None else steps
    return replace(own, steps=steps, patience=steps)


def numbers(given: Recipe) -> dict[str, Any]:
    """What a file of results says of a recipe.

    Args:
        given: the recipe.

    Returns:
        Plain values by name.
    """
    values = asdict(replace(given, data=None))  # type: ignore[arg-type]
    for name in _NOT_SHARED:
        del values[name]
    plain = Recipe(None, "", 0, 0, 0.0)  # type: ignore[arg-type]
    said = {k: v for k, v in values.items() if k in _ALWAYS_SAID or v != getattr(plain, k)}
    lists = {key: list(value) for key, value in said.items() if isinstance(value, tuple)}
    return {**said, **lists, **given.task.settings()}


def measure(cell: Cell, plan: Recipe, settings: Settings, data: Data, folder: Path) -> Outcome:
    """Trains a cell's net and measures it. The global random state stays as it was.

    Args:
        cell: which net, on what.
        plan: how it is trained.
        settings: how it is measured.
        data: the clips.
        folder: keeps the training's checkpoint, from which a killed one continues, until it is done.

    Returns:
        The outcome.

    Raises:
        Interrupted: SIGINT came; the checkpoint was written.
        ValueError: the loss is not finite.
    """
    started = time.monotonic()
    draw = data.of(cell)
    run = trained(cell, replace(plan, data=draw), folder)
    model = run.model.eval()
    fresh = _batches(model, draw(settings.clips, CLIPS_SEED + cell.seed, "validation"))
    made: dict[str, Any] = {
        "steps": run.progress.step,
        "best_step": run.progress.best_step,
        "parameters": _size(model),
    }
    if cell.conv == FUSION:
        choice = _batches(model, draw(settings.choice_clips, CHOICE_SEED + cell.seed, "validation"))
        made.update(posterior(model, list(choice), list(fresh), settings.sampled, cell.seed))
    else:
        made["accuracy"] = {PLAIN: right(model, fresh)}
    shutil.rmtree(folder)
    return Outcome(**made, seconds=round(time.monotonic() - started, 1))


def trained(cell: Cell, plan: Recipe, folder: Path) -> Run:
    """Trains a cell's net, from its checkpoint if there is one.

    Args:
        cell: which net.
        plan: how, and on what clips.
        folder: keeps the checkpoint.

    Returns:
        The run, whose model has the weights of the best validation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        halved = cell.resolution == "halved"
        model = build(NAME, question=cell.task, halved=halved, conv=cell.conv)
    run = Run(model, plan, cell.seed, torch.device("cpu"), folder / "checkpoint.pt", workers=0)
    if run.checkpoint.is_file():
        run.resume()
    fit(run, show_progress=False)
    return run


def posterior(
    model: BundledModel,
    choice: Sequence[tuple[Tensor, Any]],
    fresh: Sequence[tuple[Tensor, Any]],
    sampled: int,
    seed: int,
) -> dict[str, Any]:
    """What a template says of units and strategies.

    Args:
        model: the template, in evaluation mode; all its gates are open afterwards.
        choice: clips and labels that the best strategy is chosen on.
        fresh: others that accuracy is measured on.
        sampled: how many strategies it is chosen from.
        seed: of their draw.

    Returns:
        ``accuracy``, ``keep``, ``chosen`` and ``choice`` of an :class:`Outcome`.
    """
    reader = FusionPosterior(model)
    readout = reader.read()
    drawn = reader.sample(sampled, seed=seed)
    distinct = list(dict.fromkeys(drawn))

    def share(scores: Tensor, labels: Any) -> Tensor:
        return torch.stack([*_answers(model, scores, labels).values()]).double().mean(0)

    found = reader.evaluate(distinct, choice, metric=share).tolist()
    shares = dict(zip(distinct, found, strict=True))
    # of equally good ones the most probable
    best = max(distinct, key=lambda one: (shares[one], one.log_probability))
    # training leaves the most probable strategy on the model
    set_strategy(model, {layer: (True,) * len(kept) for layer, kept in drawn[0].items()})
    accuracy = {OPEN: right(model, fresh)}
    chosen = {}
    for way, strategy in ((PROBABLE, reader.most_probable()), (SAMPLED, best)):
        network: Any = reader.export(strategy)
        accuracy[way] = right(network, fresh)
        chosen[way] = Chosen(strategy.kinds(), strategy.log_probability, _size(network))
    keep = {
        str(row["layer"]): {name: float(row[name]) for name in (*readout.units, "time")}
        for row in readout.rows()
    }
    choices = [shares[one] for one in drawn]
    return {"accuracy": accuracy, "keep": keep, "chosen": chosen, "choice": choices}


@torch.no_grad()
def right(model: BundledModel, batches: Any) -> dict[str, float]:
    """The share of right answers to each of a net's questions.

    Args:
        model: the net, in evaluation mode.
        batches: clips and labels.

    Returns:
        By question, from 0 to 1.
    """
    answers = [_answers(model, model(clips), labels) for clips, labels in batches]
    return {
        question: float(torch.cat([one[question] for one in answers]).double().mean())
        for question in model.info.groups
    }


def _answers(model: BundledModel, scores: Tensor, labels: Any) -> dict[str, Tensor]:
    """For each question, whether the highest of its scores is that of the truth, clip by clip."""
    return {
        question: scores[:, outputs.start : outputs.stop].argmax(1) == getattr(labels, question)
        for question, outputs in model.info.groups.items()
    }


def _batches(model: BundledModel, data: Kept) -> Iterator[tuple[Tensor, Any]]:
    """Clips as the net wants them, with their labels."""
    for labels in DataLoader(data, batch_size=_EVALUATED, generator=torch.Generator()):
        yield model.info.normalize(labels.clip), labels


def _size(network: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
