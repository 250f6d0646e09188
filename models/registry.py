"""Names of the bundled models, and how each is built and loaded."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from captum_video._core.errors import close_matches
from models.info import BundledModel, ModelInfo

WEIGHTS = Path(__file__).parent / "weights"
Builder = Callable[..., tuple[BundledModel, ModelInfo]]


@dataclass(frozen=True)
class Entry:
    """A registered model: its builder, and whether weights are bundled with the checkout."""

    builder: Builder
    bundled: bool


_ENTRIES: dict[str, Entry] = {}


def register(name: str, *, bundled: bool = False) -> Callable[[Builder], Builder]:
    """Makes a builder known under a name.

    Args:
        name: the model's name.
        bundled: whether the checkout brings its weights.

    Returns:
        A decorator for a function that takes options and returns the model and its info.

    Raises:
        ValueError: the name is taken.
    """
    if name in _ENTRIES:
        raise ValueError(f"A model named {name!r} is registered already.")

    def decorate(builder: Builder) -> Builder:
        _ENTRIES[name] = Entry(builder, bundled)
        return builder

    return decorate


def list_models(*, bundled: bool | None = None) -> list[str]:
    """The names of the models.

    Args:
        bundled: only those whose weights the checkout brings, or only those without; ``None`` for
            all.

    Returns:
        The names in alphabetical order.
    """
    return sorted(n for n, e in _ENTRIES.items() if bundled is None or e.bundled == bundled)


def build(name: str, **options: Any) -> BundledModel:
    """An untrained model, in training mode, with freshly drawn weights.

    Args:
        name: one of ``list_models()``.
        options: what the model's builder takes, such as ``classes``.

    Returns:
        The model; its facts are in ``model.info``.

    Raises:
        ValueError: there is no such model.
    """
    return _with_info(*_entry(name).builder(**options))


def options_of(name: str) -> tuple[str, ...]:
    """What a model's builder takes.

    Args:
        name: one of ``list_models()``.

    Returns:
        The names of its options.

    Raises:
        ValueError: there is no such model.
    """
    return tuple(inspect.signature(_entry(name).builder).parameters)


def load(name: str, weights: str | os.PathLike[str] | None = None) -> BundledModel:
    """A trained model, in evaluation mode, on the CPU.

    Args:
        name: one of ``list_models(bundled=True)``; with ``weights`` any of ``list_models()``.
        weights: a file that ``models.train`` wrote, in place of the bundled one. It says what the
            model was built with and what its classes are called.

    Returns:
        The model; ``model.info`` has its score on fresh clips.

    Raises:
        ValueError: there is no such model, or the file is damaged or not of this model.
        FileNotFoundError: there is no such file, or the checkout has no weights for the model.
    """
    entry = _entry(name)
    path = Path(weights) if weights is not None else WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        cure = (
            f"train it with: python -m models.train {name}"
            if entry.bundled
            else f"with weights come: {', '.join(list_models(bundled=True))}; "
            f"models.build({name!r}) gives the untrained model"
        )
        raise FileNotFoundError(f"There are no weights for {name!r} at {path}: {cure}.")
    state, facts = _read(path)
    if facts.get("name") != name:
        said = f"of {facts['name']!r}" if "name" in facts else "not from models.train"
        raise ValueError(f"{path} must have weights of {name!r}, and they are {said}.")
    built = json.loads(facts.get("built", "{}"))
    try:
        model, info = entry.builder(**built.get("options", {}))
        model.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} does not fit {name!r} as it is built: {reason}") from error
    info = replace(
        info,
        score=json.loads(facts["score"]),
        classes=tuple(built.get("classes", info.classes)),
        frames=built.get("frames", info.frames),
        size=tuple(built.get("size", info.size)),
    )
    return _with_info(model, info).eval()


def description(model: BundledModel, options: Mapping[str, Any]) -> str:
    """What weights must say of their model for :func:`load` to build it.

    Args:
        model: the model.
        options: what its builder was given.

    Returns:
        JSON.
    """
    info = model.info
    facts = {"classes": info.classes, "frames": info.frames, "size": info.size}
    kept = {key: v for key, v in options.items() if key not in (*facts, "pretrained")}
    taken = options_of(info.name)
    kept |= {key: facts[key] for key in ("frames", "size") if key in taken}
    if "classes" in taken and tuple(info.groups) == ("action",):
        kept["classes"] = len(info.classes)
    return json.dumps({"options": kept, **facts}, default=list)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file of weights."""
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return state, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error


def _entry(name: str) -> Entry:
    """The registered model of that name, or an error with close matches."""
    if name not in _ENTRIES:
        raise ValueError(f"There is no model {name!r}. {close_matches(name, list_models())}")
    return _ENTRIES[name]


def _with_info(model: BundledModel, info: ModelInfo) -> BundledModel:
    """The model, carrying its facts."""
    model.info = info
    return model
