"""What fitting affine chains refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from captum_video.nn import Conv3T, fit_affine_chain


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 3, 3, 3), r"\(C, I, D, H, W\), got the shape \(2, 3, 3, 3\)"),
        ((2, 3, 1, 3, 3), r"at least 2 deep in time, got the shape \(2, 3, 1, 3, 3\)"),
        ((2, 3, 3, 1, 1), r"more than one tap in space, got the shape \(2, 3, 3, 1, 1\)"),
        ((0, 3, 3, 3, 3), r"must not be empty, got the shape \(0, 3, 3, 3, 3\)"),
    ],
)
def test_shapes(shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fit_affine_chain(torch.ones(shape))


def test_not_finite() -> None:
    kernels = torch.ones(5, 2, 3, 3, 3)
    kernels[1, 0, 0, 0, 0], kernels[3, 1] = math.nan, math.inf
    with pytest.raises(ValueError, match="must be finite, 2 of 5 channels are not"):
        fit_affine_chain(kernels)


def test_kinds() -> None:
    with pytest.raises(TypeError, match=r"floating-point tensor, got torch\.int64"):
        fit_affine_chain(torch.ones(2, 2, 3, 3, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="floating-point tensor, got Conv3T"):
        fit_affine_chain(Conv3T(2, 2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"starts": 0}, ValueError, "starts must be at least 1, got 0"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ({"starts": 1.5}, TypeError, r"starts must be an integer, got 1\.5"),
        ({"starts": "3"}, TypeError, "starts must be an integer, got '3'"),
        ({"starts": True}, TypeError, "starts must be an integer, got True"),
        ({"iterations": 1.5}, TypeError, r"iterations must be an integer, got 1\.5"),
        ({"iterations": None}, TypeError, "iterations must be an integer, got None"),
        ({"seed": "a"}, TypeError, "seed must be an integer, got 'a'"),
        ({"seed": False}, TypeError, "seed must be an integer, got False"),
        ({"seed": 2**64}, ValueError, f"seed must be at most {2**64 - 1}, got {2**64}"),
        ({"seed": -(2**64)}, ValueError, f"seed must be at least {-(2**63)}, got {-(2**64)}"),
    ],
)
def test_counts(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fit_affine_chain(torch.ones(1, 1, 2, 2, 2), **options)


@pytest.mark.parametrize("seed", [2**64 - 1, -(2**63)])
def test_all_seeds_of_torch_are_taken(seed: int) -> None:
    chain = fit_affine_chain(torch.ones(1, 1, 2, 2, 2), starts=2, iterations=1, seed=seed)
    assert torch.equal(chain.explained, torch.ones(1))


def test_integers_of_numpy_are_taken() -> None:
    kernels = torch.randn(2, 2, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    own = fit_affine_chain(kernels, starts=3, iterations=2, seed=5)
    same = fit_affine_chain(
        kernels,
        starts=np.int64(3),
        iterations=np.int64(2),
        seed=np.int64(5),
    )
    assert all(torch.equal(one, other) for one, other in zip(own, same, strict=True))
