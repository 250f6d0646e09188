"""The weights in the checkout do what their cards say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import models
from models import registry
from models.data import MovingDigits
from models.training.card import seen_clips
from models.training.recipes import RECIPES

CLIPS = 150
FRESH_SEED = 987_654


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, dict[str, Tensor]]:
    """Normalised clips that no training, validation or score has seen, with their labels."""
    data = MovingDigits(CLIPS, seed=FRESH_SEED, split="validation")
    samples = [data[index] for index in range(CLIPS)]
    clips = models.build("c3d_small").info.normalize(torch.stack([s.clip for s in samples]))
    labels = {name: torch.tensor([getattr(s, name) for s in samples]) for name in data.groups}
    return clips, labels


def accuracy(model: nn.Module, clips: Tensor, labels: dict[str, Tensor]) -> dict[str, float]:
    with torch.no_grad():
        scores = torch.cat([model(part) for part in clips.split(25)])
    groups = models.build("c3d_small").info.groups
    return {
        name: float((scores[:, group.start : group.stop].argmax(1) == labels[name]).float().mean())
        for name, group in groups.items()
    }


def test_fresh_clips_score_as_on_the_card(batch: tuple[Tensor, dict[str, Tensor]]) -> None:
    model = models.load("c3d_small")
    assert not model.training
    found = accuracy(model, *batch)
    stated = model.info.score
    assert stated is not None
    assert set(stated) == {"motion", "look"}
    for question, score in stated.items():
        assert score >= 0.92
        # three standard errors of so few clips, and a little for a score near one
        assert abs(found[question] - score) < 3 * (score * (1 - score) / CLIPS) ** 0.5 + 0.01


def test_look_is_seen_in_a_single_frame_and_motion_is_not(
    batch: tuple[Tensor, dict[str, Tensor]],
) -> None:
    model = models.load("c3d_small")
    clips, labels = batch
    frozen = accuracy(model, clips[:, :, 8:9].expand_as(clips), labels)
    assert frozen["look"] > 0.85
    assert frozen["motion"] < 0.35


def test_weights_are_small_and_in_the_plain_layout() -> None:
    model = models.load("c3d_small")
    assert (registry.WEIGHTS / "c3d_small.safetensors").stat().st_size < 8e6
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_every_bundled_model_has_weights_and_a_card() -> None:
    for name in models.list_models(bundled=True):
        card = Path(registry.WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
        model = models.load(name)
        assert f"python -m models.train {name}" in card
        assert model.info.score is not None
        recipe = RECIPES[name]
        assert recipe.task.table(model.info, model.info.score, seen_clips(recipe)) in card
