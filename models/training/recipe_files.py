"""Recipes for real data, in TOML files: what the papers say of their trainings, row by row."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from captum_video._core.errors import close_matches, missing_extra
from models.data import drives
from models.info import BundledModel, ModelInfo
from models.registry import build, list_models, options_of
from models.training.classification import Classification
from models.training.odometry import ViewSynthesisTask
from models.training.recipe_schema import BELONGS, check_file, check_overrides, check_training
from models.training.recipes import Recipe
from models.training.sequences import SequenceClassification
from models.training.sources import SOURCES, Source
from models.training.task import Task
from models.view_synthesis import ViewSynthesis

#: where the recipes that come with the models are
RECIPE_FOLDER = Path(__file__).parents[1] / "recipes"
_SUFFIX = ".toml"
#: what a training does without if its file does not speak of it
_WITHOUT: dict[str, Any] = {"warmup": 0.0, "weight_decay": 0.0, "clip_norm": math.inf}


@dataclass(frozen=True)
class RecipeFile:
    """What a file says of a training.

    Attributes:
        name: the file's name without its suffix.
        title: what is trained on what.
        source: where the numbers are from, and which ones that source leaves open.
        model: one of ``models.list_models()``.
        data: one of ``models.training.sources.SOURCES``.
        training: the numbers, by the names of :class:`models.training.recipes.Recipe`'s attributes;
            ``epochs``, ``eval_every_epochs`` and ``decay_every_epochs`` are in epochs.
        options: what the model's builder gets, beside the class names.
        frames: the clip's length; the builder's if not given.
        size: the clip's height and width; the builder's if not given.
        start: which weights to start from, in words; empty for those that the builder draws.
        data_options: what the data set's reader gets.
        task: the kind of task and its settings.
        reported: figures of the source, such as ``validation_accuracy`` in percent.
    """

    name: str
    title: str
    source: str
    model: str
    data: str
    training: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    frames: int | None = None
    size: tuple[int, int] | None = None
    start: str = ""
    data_options: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)
    reported: Mapping[str, float] = field(default_factory=dict)

    def build(self, source: Source, options: Mapping[str, Any] | None = None) -> BundledModel:
        """The model for a source's classes, untrained.

        Args:
            source: the data.
            options: of the builder, in place of the file's. ``frames`` and ``size`` may be given for
                any model: one whose builder does not take them gets them as facts.

        Returns:
            The model, with the clip's length and size in its ``info``.

        Raises:
            ValueError: the builder does not take an option, or the model does not fit the source or
                cannot take clips of that length and size.
            FileNotFoundError: ImageNet weights are asked for and not on disk.
        """
        taken = options_of(self.model)
        given = {**self.options, "frames": self.frames, "size": self.size, **(options or {})}
        given = {key: value for key, value in given.items() if value is not None}
        facts = {k: given.pop(k) for k in ("frames", "size") if k in given and k not in taken}
        if source.classes and "classes" in taken:
            given.setdefault("classes", source.classes)
        try:
            model = build(self.model, **given)
        except TypeError as error:
            raise ValueError(f"{self.name}: {self.model} cannot be built: {error}") from error
        if "size" in facts and not model.info.size:
            raise ValueError(f"{self.name}: {self.model} takes sequences, which have no size.")
        info = model.info
        size = tuple(facts.get("size", info.size))
        model.info = replace(info, frames=facts.get("frames", info.frames), size=size)
        if facts and size:
            self._try(model)
        source.check(model.info)
        return model

    def _try(self, model: BundledModel) -> None:
        """Refuses clips that become too small on their way; only shapes are computed."""
        info = model.info
        clip = torch.zeros(1, 3, info.frames, *info.size, device="meta")
        try:
            with torch.no_grad():
                copy.deepcopy(model).to("meta").eval()(clip)
        except RuntimeError as error:
            size = "x".join(map(str, info.size))
            raise ValueError(
                f"{self.name}: {self.model} cannot take {info.frames} frames of {size}: {error}"
            ) from error

    def recipe(
        self, source: Source, info: ModelInfo, overrides: Mapping[str, Any] | None = None
    ) -> Recipe:
        """The recipe for the training loop; epochs become steps.

        An epoch has as many clips as the source's training split. Where the file says nothing of a
        warm-up, weight decay or a largest gradient norm, there is none; where it names no split to
        score on, it is the test split, or validation for data without one.

        Args:
            source: the data.
            info: the model's facts.
            overrides: of ``training``; one of ``epochs`` and ``steps`` replaces the other.

        Returns:
            The recipe; a validation and the score see the whole of their splits.

        Raises:
            ValueError: the source does not fit the model, or an override is unknown or of a wrong
                type.
        """
        given = self._training(overrides or {})
        source.check(info)
        batch, clips = given["batch_size"], source.train_length
        settings = {**_WITHOUT, **{k: v for k, v in given.items() if not k.endswith("epochs")}}
        if "epochs" in given:
            settings["steps"] = math.ceil(_batches(given["epochs"], clips, batch))
        for name in ("eval_every", "decay_every"):
            if (epochs := given.get(f"{name}_epochs")) is not None:
                settings[name] = max(1, round(_batches(epochs, clips, batch)))
        settings["freeze"] = tuple(given.get("freeze", ()))
        split = given.get("score_split", "test" if "test" in source.lengths else "validation")
        if split not in source.lengths:
            raise ValueError(f"{self.name}: {source.name} has no {split} split to score on.")
        return Recipe(
            data=source.factory(info),
            data_note=source.note,
            task=self._task(),
            eval_clips=source.lengths["validation"],
            score_clips=source.lengths[split],
            epoch=clips,
            **{**settings, "score_split": split},
        )

    def _training(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers with those of the caller, and without what these make meaningless."""
        changes = {key: value for key, value in overrides.items() if value is not None}
        check_overrides(self.name, changes)
        given = {**self.training, **changes}
        for key, other in (("epochs", "steps"), ("steps", "epochs")):
            if key in changes and other not in changes:
                given.pop(other, None)
        for key, (other, values) in BELONGS.items():
            if other in changes and key not in changes and given[other] not in values:
                given.pop(key, None)
        check_training(self.name, given)
        return given

    def _task(self) -> Task:
        """The task that the file describes."""
        settings = dict(self.task)
        kind = settings.pop("kind", "classification")
        if kind == "sequences":
            return SequenceClassification(**settings)
        if kind == "odometry":
            weights = {"mask": "mask_weight", "smoothness": "smooth_weight"}
            options = {weights[key]: value for key, value in settings.items()}
            return ViewSynthesisTask(ViewSynthesis(drives.INTRINSICS, **options))
        return Classification(**settings)


def list_recipes() -> list[str]:
    """The recipes that come with the models.

    Returns:
        Their names in alphabetical order.
    """
    return sorted(path.stem for path in RECIPE_FOLDER.glob(f"*{_SUFFIX}"))


def load_recipe(name_or_path: str | Path) -> RecipeFile:
    """Reads a recipe.

    Args:
        name_or_path: one of :func:`list_recipes`, or the path of a file that ends in ``.toml``.

    Returns:
        What the file says, checked.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no such recipe; the file is no TOML, or has a key that is unknown, of a
            wrong type or missing.
        ImportError: Python 3.10 without tomli.
    """
    given = str(name_or_path)
    path = Path(given) if given.endswith(_SUFFIX) else RECIPE_FOLDER / f"{given}{_SUFFIX}"
    if not given.endswith(_SUFFIX) and given not in list_recipes():
        raise ValueError(f"There is no recipe {given!r}. {close_matches(given, list_recipes())}")
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe at {path}.")
    try:
        content = _toml().loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    return _checked(path, content)


def _toml() -> Any:
    """The standard library's reader of TOML, or the one that it was taken from."""
    try:
        return importlib.import_module("tomllib")
    except ModuleNotFoundError:  # Python 3.10
        try:
            return importlib.import_module("tomli")
        except ModuleNotFoundError as error:
            raise missing_extra("tomli", "models", "A recipe on Python 3.10") from error


def _checked(path: Path, content: Mapping[str, Any]) -> RecipeFile:
    """The file's tables as a recipe."""
    check_file(str(path), content)
    model, data = content["model"], content["data"]
    for table, names in (("model", list_models()), ("data", SOURCES)):
        name = content[table]["name"]
        if name not in names:
            raise ValueError(
                f"{path}: {table}.name: there is no {name!r}. {close_matches(name, names)}"
            )
    return RecipeFile(
        name=path.stem,
        title=content["title"].strip(),
        source=" ".join(content["source"].split()),
        model=model["name"],
        data=data["name"],
        training=content["training"],
        options=model.get("options", {}),
        frames=model.get("frames"),
        size=tuple(model["size"]) if "size" in model else None,
        start=" ".join(model.get("start", "").split()),
        data_options=data.get("options", {}),
        task=content.get("task", {}),
        reported=content.get("reported", {}),
    )


def _batches(epochs: float, clips: int, batch: int) -> Fraction:
    """How many batches some epochs are, exactly: 0.3 is three tenths."""
    return Fraction(str(epochs)) * clips / batch
