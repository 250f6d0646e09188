"""Weights to start from: fine-tuning a model for other classes or other data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from models._files import read_tensors
from models.c3d_published import convert_keys, load_published
from models.cnn_lstm import CNNLSTM
from models.info import BundledModel

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar")
_COUNTER = "num_batches_tracked"  # of batch norm; files from before PyTorch 0.4.1 lack it


def start_from(
    model: BundledModel,
    path: str | os.PathLike[str],
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Fills a model with weights from a file, all but layers for another number of classes.

    The file is a bundled model's ``.safetensors``; a training run's ``checkpoint.pt``, of which the
    best weights are taken; or what ``torch.save`` wrote of a state dict, plain or under
    ``"state_dict"`` or ``"model"``, from one device or several. A ``c3d`` takes the published layouts
    too, as :func:`models.c3d_published.load_published` does: names like ``features.0``, or C3D's own
    under ``"state_dict"``, whose first layer is then taken to be for BGR. The CNN of a ``cnn_lstm``
    takes torchvision's ResNet18, whose ``fc`` is left out.

    Args:
        model: the model from ``models.build``, on any device.
        path: the file, read without running code from it.
        tell: takes what the user should know: that a first layer was taken to be for BGR, or that
            an output layer is for as many other classes, or the same in another order.

    Returns:
        The names of the parameters that kept their values: those of the output layers if their number
        of classes differs, and all but the CNN's if there is nothing else in the file.

    Raises:
        ValueError: the file cannot be read, or holds what does not fit; the model stays as it was.
        FileNotFoundError: there is no such file.
    """
    content, classes = _read(path)
    published: Mapping[str, Tensor] = {}
    optional: tuple[str, ...] = ()
    try:
        state = _state(content)
        if model.info.name == "c3d" and ("features.0.weight" in state or "state_dict" in content):
            published = state = convert_keys(state)
            optional = ("fc8.weight", "fc8.bias")
        elif isinstance(model, CNNLSTM) and _is_cnn(model, state):
            state = {f"cnn.{k}": v for k, v in state.items() if not k.startswith("fc.")}
            optional = tuple(k for k in model.state_dict() if not k.startswith("cnn."))
        fresh = _fresh(model, state, optional)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} does not fit {model.info.name}: {error}") from error
    if classes not in ((), model.info.classes) and len(classes) == len(model.info.classes):
        tell(
            f"The output layer of {os.fspath(path)} is kept, and its classes have other names or "
            f"another order: {_listed(classes)} where the data have {_listed(model.info.classes)}"
        )
    if "state_dict" in content and published:
        tell(
            f"The first layer of {os.fspath(path)} is taken to be for BGR, as C3D is published, and "
            "turned to RGB; weights that are for RGB are to be saved without 'state_dict' around them"
        )
    if published:
        return load_published(model, published, strict_head=False)
    model.load_state_dict(
        {k: v if k in fresh else state.get(k, v) for k, v in model.state_dict().items()}
    )
    return fresh


def _read(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """What the file holds, and the names of the classes if it says them."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"Weights are read from {', '.join(SUFFIXES)}, got {os.fspath(path)}.")
    if suffix != ".safetensors":
        content = read_tensors(path)
        plan = content.get("plan")
        return content, tuple(plan.get("classes", ())) if isinstance(plan, Mapping) else ()
    if not Path(path).is_file():
        raise FileNotFoundError(f"There are no weights at {os.fspath(path)}.")
    try:
        content = load_file(path)
        with safe_open(path, "pt") as file:
            built = json.loads((file.metadata() or {}).get("built", "{}"))
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read as tensors: {error}") from error
    return content, tuple(built.get("classes", ()))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")


def _state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict in what a file holds, as from one device."""
    nested: Mapping[str, Any] = content
    for key in (*(["best_state"] if "plan" in content else []), "state_dict", "model"):
        if isinstance(inner := content.get(key), Mapping) and inner:
            nested = inner
            break
    for key, value in nested.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"it holds no state dict, since {key!r} is {value!r:.60}.")
    if not nested:
        raise ValueError("it is empty.")
    if all(str(key).startswith("module.") for key in nested):
        return {str(key).removeprefix("module."): value for key, value in nested.items()}
    return {str(key): value for key, value in nested.items()}


def _is_cnn(model: CNNLSTM, state: Mapping[str, Tensor]) -> bool:
    """Whether a file is of the CNN alone, perhaps with its classifier."""
    wanted = {name for name in model.cnn.state_dict() if not name.endswith(_COUNTER)}
    return wanted <= set(state)


def _fresh(
    model: BundledModel, state: Mapping[str, Tensor], optional: Collection[str]
) -> tuple[str, ...]:
    """The names that keep their values, or an error with what does not fit."""
    wanted = model.state_dict()
    absent = [k for k in wanted if k not in state and not k.endswith(_COUNTER)]
    differing = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    heads = _heads(len(model.info.classes), wanted, state, differing)
    problems = {
        "missing ": [k for k in absent if k not in optional],
        "unexpected ": [k for k in state if k not in wanted],
        "": [
            f"{k} with shape {tuple(state[k].shape)} where {tuple(wanted[k].shape)} is needed"
            for k in differing
            if k not in heads
        ],
    }
    told = [
        what + ", ".join(found[:5]) + (f" and {len(found) - 5} more" if found[5:] else "")
        for what, found in problems.items()
        if found
    ]
    if told:
        raise ValueError("; ".join(told) + ".")
    return tuple(k for k in wanted if k in heads or (k in absent and k in optional))


def _heads(
    outputs: int,
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    differing: Collection[str],
) -> tuple[str, ...]:
    """The entries of output layers, if these are all that differs in shape, else none.

    All entries of such a layer differ in the first dimension alone, which here is the number of
    outputs and there one other number for all. A hidden layer of another width cannot pass for one,
    since what reads it differs in another dimension.
    """
    layers = {name.rpartition(".")[0] for name in differing}
    heads = tuple(name for name in wanted if name.rpartition(".")[0] in layers)
    counts = {state[name].shape[:1] for name in differing}
    count = counts.pop() if len(counts) == 1 else ()
    if count and all(
        name in differing
        and wanted[name].shape[:1] == (outputs,)
        and state[name].shape == (*count, *wanted[name].shape[1:])
        for name in heads
    ):
        return heads
    return ()
