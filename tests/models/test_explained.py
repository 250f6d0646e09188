"""The bundled net explained: sums, and where relevance lies on clips whose truth is known."""

from __future__ import annotations

import copy

import pytest
import torch

import models
from captum_video import DeepTaylor, normalized_range
from models.data.moving_digits import MovingDigits
from tests.benchmarks.ground_truth import auroc, densities, normalized, shares


@pytest.mark.parametrize("options", [{}, {"alpha": 2.0, "beta": 1.0}])
def test_conserves(options: dict[str, float]) -> None:
    net = models.load("c3d_small")
    exact = copy.deepcopy(net).double()
    info = net.info
    clip = MovingDigits(1, seed=7, split="validation")[0].clip
    dark = clip.clone()
    dark[:, :, :40] = 0  # nothing to see in most of the picture
    x = torch.cat([normalized(c, info) for c in (clip, dark, torch.zeros_like(clip))]).double()
    ranges = normalized_range(info.mean, info.std)
    method = DeepTaylor(exact, input_range=ranges, bias="ignore", seed="one", **options)  # type: ignore[arg-type]
    relevance = method.attribute(x, target=[1, 5, 12])
    assert (relevance.flatten(1).sum(1) - 1).abs().max() < 1e-3
    score = DeepTaylor(exact, input_range=ranges, **options)  # type: ignore[arg-type]
    relevance, delta = score.attribute(x, target=2, return_convergence_delta=True)
    assert torch.allclose(relevance.flatten(1).sum(1) + delta, exact(x)[:, 2])


def test_finds_what_moves() -> None:
    """A few clips of what `python -m tests.benchmarks ground_truth` measures on many."""
    net = models.load("c3d_small")
    found = densities(net, 6)
    assert found["temporal"].median() > 5
    assert found["temporal on distractor"].nanmedian() < 1
    # the edges of what moves lie on both sides of its outline
    near = densities(net, 6, margin=3)
    assert (near["temporal"] > near["total"]).sum() >= 5
    motion, look = shares(net, 6)
    assert auroc(motion, look) >= 0.95


def test_auroc_by_hand() -> None:
    assert auroc([3, 2], [1, 2]) == (1 + 1 + 1 + 0.5) / 4
    assert auroc([1], [2]) == 0
