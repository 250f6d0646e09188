"""The model to explain: where it comes from, what it says about itself, what it is fed."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from captum_video._core.devices import find_device
from captum_video.cli._errors import UsageError
from captum_video.cli._find import find
from captum_video.cli._wrapped import wrapped

_NESTS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        name: what to call it.
        classes: the name of each output; empty if unknown.
        groups: for each question it answers, the indices of its outputs; empty for one question.
        frames: frames in a clip; 0 for as many as it has.
        size: height and width; empty for a sequence.
        mean: subtracted from values in 0..1, one number or one per channel; of a sequence, one number
            or one per dimension.
        std: divided by, one number or one per channel or dimension.
        grey: whether it takes one channel.
        assumed: which of these are neither given nor known, but defaults.
        layer: the layer that the model recommends for Grad-CAM, if it does.
        attention: the module whose output holds the attention over frames, if the model says so.
    """

    name: str
    classes: tuple[str, ...]
    groups: Mapping[str, range]
    frames: int
    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey: bool
    assumed: tuple[str, ...]
    layer: str | None = None
    attention: str | None = None

    def class_name(self, index: int) -> str:
        """What to call an output.

        Args:
            index: the output.

        Returns:
            Its name, or ``class 3`` without names.
        """
        return self.classes[index] if self.classes else f"class {index}"


def load_model(
    options: argparse.Namespace, *, sequences: bool = False
) -> tuple[nn.Module, Facts, torch.device]:
    """Builds the model, loads its weights, puts it on its device in evaluation mode, and wraps it.

    Args:
        options: the parsed command line.
        sequences: whether it is to take sequences instead of videos, if it does not say so itself.

    Returns:
        The model, what is known of it, and the device.

    Raises:
        UsageError: if any of it does not work out; the message says what.
    """
    try:
        device = find_device(options.device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    model = _build(options.model)
    if options.checkpoint is not None:
        load_weights(model, options.checkpoint)
    facts = _facts(model, options, sequences)
    return wrapped(model.eval().to(device), options), facts, device


def _build(spec: str) -> nn.Module:
    found = find("--model", spec, "MODULE:FACTORY", "torchvision.models.video:r3d_18")
    attribute = spec.partition(":")[2]
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise UsageError(f"--model {spec}: {attribute} is a {type(found).__name__}, no factory")
        try:
            found = found()
        except Exception as error:
            raise UsageError(
                f"--model {spec}: {attribute}() raised {type(error).__name__}: {error}. "
                "The factory is called without arguments"
            ) from error
    if not isinstance(found, nn.Module):
        raise UsageError(
            f"--model {spec}: {attribute}() returned a {type(found).__name__}, no torch.nn.Module"
        )
    return found


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a checkpoint into a model; all of it must fit.

    Args:
        model: the model.
        path: a ``.safetensors`` file, or a state dict saved by torch, possibly inside a training
            checkpoint and with the ``module.`` of a wrapper before its names.

    Raises:
        UsageError: if the file cannot be read or does not fit.
    """
    state = _read_state(path)
    while any(isinstance(state.get(nest), Mapping) for nest in _NESTS):
        state = next(state[nest] for nest in _NESTS if isinstance(state.get(nest), Mapping))
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        keys = ", ".join(map(repr, list(state)[:6]))
        raise UsageError(f"--checkpoint {path}: holds no state dict (its keys: {keys or 'none'})")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    surplus = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the model's is {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for what, names in (
            ("missing", missing),
            ("not of the model", surplus),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise UsageError(f"--checkpoint {path} does not fit the model: {'; '.join(problems)}")
    model.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"--checkpoint {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"--checkpoint {path}: it is damaged, or holds more than tensors, which may run code "
            "when loaded. Save model.state_dict() alone, by torch.save or safetensors"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--checkpoint {path}: it cannot be read: {reason}") from error
    if not isinstance(state, Mapping):
        raise UsageError(f"--checkpoint {path}: holds a {type(state).__name__}, no state dict")
    return dict(state)


def _facts(model: nn.Module, options: argparse.Namespace, sequences: bool) -> Facts:
    """Options first, then what the model says of itself, then defaults."""
    info = getattr(model, "info", None)
    assumed = []

    def choose(name: str, default: Any) -> Any:
        given = getattr(options, name)
        if given is not None:
            return given
        known = getattr(info, name, None)
        if known is not None:
            return known
        if not sequences:
            assumed.append(name)
        return default

    frames = choose("frames", 0 if sequences else 16)
    size = getattr(info, "size", None)
    if size is None or isinstance(size, int) or len(size):  # sequences have none
        size = choose("size", () if sequences else (112, 112))
    mean, std = choose("mean", (0.0,)), choose("std", (1.0,))
    mean, std = ((v,) if isinstance(v, int | float) else tuple(v) for v in (mean, std))
    if not all(value > 0 for value in std):
        raise UsageError(f"--std must be above zero, got {','.join(map(str, std))}")
    classes = tuple(map(str, getattr(info, "classes", None) or ()))
    if options.classes is not None:
        own, classes = classes, _class_names(options.classes)
        if own and len(own) != len(classes):
            raise UsageError(
                f"--classes {options.classes}: it has {len(classes)} class names but the model has "
                f"{len(own)} outputs"
            )
    known_mean = getattr(info, "mean", None)
    one_channel = isinstance(known_mean, Sequence) and len(known_mean) == 1
    return Facts(
        name=str(getattr(info, "name", None) or options.model),
        classes=classes,
        groups=dict(getattr(info, "groups", None) or {}),
        frames=int(frames),
        size=(size, size) if isinstance(size, int) else tuple(map(int, size)),
        mean=mean,
        std=std,
        grey=options.grey or one_channel,
        assumed=tuple(assumed),
        layer=getattr(info, "layer", None) or None,
        attention=getattr(info, "attention", None) or None,
    )


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {path}: it cannot be read: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UsageError(f"--classes {path}: the file is empty; it takes one class name per line")
    return names
