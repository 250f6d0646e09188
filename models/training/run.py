"""A training run as it stands, and the file that keeps it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_video._core.files import written_whole
from models._files import read_tensors
from models.info import BundledModel, ModelInfo
from models.training.distributed import rank, synchronized, world
from models.training.log import Log
from models.training.optimiser import check_recipe, freeze, make_optimizer
from models.training.recipes import Recipe


@dataclass
class Progress:
    """Where a training run stands.

    Attributes:
        step: steps done.
        seconds: time spent, over all resumptions.
        best: the best validation so far, by the merit that the recipe's task gives it.
        best_step: the step of that validation.
        stale: validations since.
        stopped: whether early stopping ended the run.
        merit: that of the validation before; not a number before the first.
        loss: the validation loss before.
        lowest: the lowest validation loss so far.
        flat: validations since, or since the rate decayed.
        scale: what "plateau" multiplies the learning rate by.
        loss_sum: training losses added up since the last line of the log.
        loss_count: how many.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    stopped: bool = False
    merit: float = math.nan
    loss: float = math.nan
    lowest: float = math.inf
    flat: int = 0
    scale: float = 1.0
    loss_sum: float = 0.0
    loss_count: int = 0


@dataclass
class Run:
    """One training run: the model, its optimiser, where it stands and where it is kept.

    Attributes:
        model: the model, with ``info``.
        recipe: its hyper-parameters.
        seed: makes weights, clips and dropout.
        device: where to train.
        checkpoint: the file that keeps the run; ``log.jsonl`` beside it gets every validation.
        workers: processes that draw clips.
        amp: mixed precision (CUDA only).
        options: what the model was built with, beside its builder's defaults.
        origin: what else made the run what it is, such as its data and the weights that it began
            with: plain values by name.
        save_every: seconds of training after which the checkpoint is written, beside validations.
        tensorboard: whether TensorBoard gets the log too; ``None`` for whenever it is installed.
        fresh: whether the weights are newly drawn, so that the task may set on the model what it
            takes from its data.
        progress: where the run stands.
        best_state: the weights of the best validation.
    """

    model: BundledModel
    recipe: Recipe
    seed: int
    device: torch.device
    checkpoint: Path
    workers: int = 1
    amp: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    save_every: float = 600.0
    tensorboard: bool | None = None
    fresh: bool = True
    progress: Progress = field(default_factory=Progress)
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recipe = self.recipe
        check_recipe(recipe)
        clips = recipe.steps * recipe.batch_size
        if recipe.batch_size < world():
            raise ValueError(
                f"A batch must have a clip for each of the {world()} processes, and batch_size is "
                f"{recipe.batch_size}."
            )

        def data() -> Any:
            return recipe.data(recipe.epoch or clips, self.seed, "train")

        task = recipe.task.prepared(self.info, data)
        if self.fresh:
            task.begin(self.model, data)
        self.recipe = replace(recipe, task=task)
        self.model.to(self.device)
        for parameter in self.model.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        self.model = synchronized(self.model)
        freeze(self.model, self.recipe)
        self.optimiser = make_optimizer(self.model, self.recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.log = Log(self.checkpoint.parent, tensorboard=self.tensorboard)

    @property
    def info(self) -> ModelInfo:
        """The model's facts."""
        return self.model.info

    def plan(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be continued."""
        settings = asdict(self.recipe)
        for key in ("data", "data_note", "data_options", "tolerance", "task"):
            del settings[key]
        settings.update(self.recipe.task.settings())
        settings.update({f"option {key}": value for key, value in self.options.items()})
        settings.update(self.origin)
        facts = {"name": self.info.name, "classes": self.info.classes}
        return {**facts, "seed": self.seed, "amp": self.amp, **settings}

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all; the first of several processes does."""
        if rank() > 0:
            return
        state = {
            "plan": self.plan(),
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_state": self.best_state,
        }
        with written_whole(self.checkpoint) as path:
            torch.save(state, path)

    def resume(self) -> None:
        """Continues from the checkpoint.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: the checkpoint cannot be read, or is of a run with other settings.
        """
        if not self.checkpoint.is_file():
            raise FileNotFoundError(
                f"There is no checkpoint at {self.checkpoint} to resume from; "
                "leave out --resume to start a new run."
            )
        state = read_tensors(self.checkpoint, self.device)
        if "plan" not in state:
            raise ValueError(f"{self.checkpoint} is no checkpoint of a training run.")
        plan = self.plan()
        other = [
            f"{key} was {state['plan'].get(key)!r}, now {value!r}"
            for key in {**plan, **state["plan"]}
            if state["plan"].get(key) != (value := plan.get(key))
        ]
        if other:
            raise ValueError(
                f"The checkpoint {self.checkpoint} is of another run: {', '.join(other)}."
            )
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_state = state["best_state"]
