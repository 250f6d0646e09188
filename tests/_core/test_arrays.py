from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from captum_video._core.arrays import host_tensor
from captum_video.io import frames_first, frames_last
from captum_video.visualization import clip_map, overlay, skeleton_frames

VALUES = np.arange(-30, 30, dtype=np.float64).reshape(3, 4, 5)
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def packed(array: np.ndarray) -> np.ndarray:
    """The field of a record: its numbers lie nine bytes apart."""
    records = np.zeros(array.shape, dtype=[("flag", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


KINDS: dict[str, Any] = {
    "reversed": VALUES[::-1, :, ::-1][::-1, :, ::-1],
    "read-only": read_only(VALUES),
    "spread out": np.broadcast_to(VALUES[:1], (1, 4, 5)).repeat(3, 0),
    "fortran": np.asfortranarray(VALUES),
    "packed": packed(VALUES),
    "big-endian": VALUES.astype(">f8"),
    "half": VALUES.astype(np.float16),
    "big-endian integers": VALUES.astype(">i2"),
    "extended": VALUES.astype(np.longdouble),
    "wide": (VALUES + 30).astype(np.uint16),
    "truth": VALUES > 0,
    "mirrored tensor": torch.from_numpy(VALUES).to(torch.complex128).conj().real,
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind(kind: str) -> None:
    given = KINDS[kind]
    found = host_tensor(given, "maps")
    assert np.array_equal(found.numpy(), np.asarray(given, dtype=np.float64))
    assert np.array_equal(clip_map(given), np.asarray(given, dtype=np.float64))
    pair = np.stack([given, given]) if isinstance(given, np.ndarray) else torch.stack([given] * 2)
    assert np.array_equal(clip_map(pair), 2 * np.asarray(given, dtype=np.float64))


def test_reversed_channels_and_time() -> None:
    """OpenCV's order of channels, frames from the last on, and pictures that take no writing."""
    assert np.array_equal(frames_last(FRAMES[..., ::-1]), np.flip(FRAMES, -1))
    assert np.array_equal(frames_last(FRAMES[::-1]), np.flip(FRAMES, 0))
    assert np.array_equal(frames_first(read_only(FRAMES)), FRAMES.transpose(0, 3, 1, 2))
    drawn = overlay(FRAMES[::-1], VALUES[::-1])
    assert np.array_equal(drawn, overlay(FRAMES, VALUES)[::-1])


def test_memory_is_shared_where_it_can_be() -> None:
    assert host_tensor(VALUES, "maps").data_ptr() == VALUES.ctypes.data
    assert frames_first(FRAMES).data_ptr() == FRAMES.ctypes.data


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.ma.masked_less(VALUES, 0), r"attr is a masked array: fill it first, .*attr\.filled"),
        (VALUES.astype(np.complex64), r"attr must hold real numbers, got complex64: give attr\.re"),
        (torch.from_numpy(VALUES) + 0j, r"attr must hold real numbers, got torch\.complex128"),
        (torch.from_numpy(VALUES).to_sparse(), r"attr is a sparse tensor: give attr\.to_dense"),
        (VALUES.astype(str), r"attr must hold numbers, got an array of <U"),
        (VALUES.astype(object), r"attr must hold numbers, got an array of object"),
        (VALUES.tolist(), r"attr must be a tensor or an array, got list"),
    ],
)
def test_refused_by_name(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        clip_map(given, "attr")


def test_numbers_too_large_for_double_precision_are_not_finite() -> None:
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("extended precision is none here")
    with pytest.raises(ValueError, match="maps has 60 values that are not finite"):
        clip_map(np.full((3, 4, 5), np.longdouble("1e400")), "maps")


def test_masked_frames_and_weights() -> None:
    with pytest.raises(ValueError, match="frames is a masked array"):
        frames_last(np.ma.masked_greater(FRAMES, 200))
    sequence = np.random.default_rng(0).normal(size=(150, 4))
    film = skeleton_frames({"a": sequence}, weights=np.ones((50, 4)))
    again = skeleton_frames({"a": sequence.astype(">f4")}, weights=read_only(np.ones((50, 4))))
    assert np.abs(film.astype(int) - again).mean() < 0.1
    with pytest.raises(ValueError, match="is a masked array"):
        skeleton_frames({"a": sequence}, weights=np.ma.masked_less(np.ones((50, 4)), 0))
