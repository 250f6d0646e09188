"""Reading of tensors that others wrote."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def read_tensors(
    path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> Mapping[str, Any]:
    """What a file of ``torch.save`` holds, without running code from it.

    Args:
        path: the file.
        device: where the tensors go.

    Returns:
        The mapping that was saved.

    Raises:
        ValueError: the file is damaged, holds more than tensors and plain values, or no mapping.
        FileNotFoundError: there is no such file.
    """
    name = os.fspath(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, LookupError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        if not reason or isinstance(error, LookupError):
            reason = type(error).__name__
        raise ValueError(f"{name} cannot be read as tensors: {reason}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{name} must hold a mapping by name, got {type(content).__name__}.")
    return content


def hub_weights(net: torch.nn.Module, url: str) -> Mapping[str, Any]:
    """ImageNet weights that lie in torch hub's cache; nothing is fetched.

    Args:
        net: what they are for, named in the message.
        url: where torchvision has them.

    Returns:
        The weights by name.

    Raises:
        FileNotFoundError: they are not in the cache.
        ValueError: the file is damaged.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no ImageNet weights of {type(net).__name__} at {path}: put {url} there, "
            "or leave out pretrained=True."
        )
    return read_tensors(path)
