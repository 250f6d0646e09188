"""The bundled nets of sequences: scores as on the cards, and what explanations of them show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import models
from captum_video import DeepTaylor, FeatureMapDecoder, VideoGradCam
from captum_video.metrics import amplification
from models import registry
from models.data.actions import ACTIONS, Actions
from models.training.recipes import RECIPES

CLIPS = 160
FRESH_SEED = 987_654
NAMES = ("res_tcn_small", "ms_res_tcn_small", "res_tcn_exercises")


@pytest.mark.parametrize("name", NAMES)
def test_fresh_sequences_score_as_on_the_card(name: str) -> None:
    model = models.load(name)
    assert not model.training
    (group,) = model.info.groups
    data: Any = RECIPES[name].data(CLIPS, FRESH_SEED, "validation")
    samples = [data[index] for index in range(CLIPS)]
    clips = torch.stack([sample.clip for sample in samples])
    labels = torch.tensor([getattr(sample, group) for sample in samples])
    with torch.no_grad():
        found = float((model(clips).argmax(1) == labels).float().mean())
    stated = model.info.score
    assert stated is not None
    score = stated[group]
    assert abs(found - score) < 3 * (score * (1 - score) / CLIPS) ** 0.5 + 0.01
    card = (registry.WEIGHTS / f"{name}.md").read_text()
    assert f"{score:.1%}" in card
    assert f"python -m models.train {name}" in card


@pytest.fixture(scope="module")
def jump() -> Tensor:
    data = Actions(200, seed=FRESH_SEED, split="validation")
    action = ACTIONS.index("jump up")
    number = next(n for n in range(200) if data.labels(n)[0] == action and data[n].camera == 1)
    return data[number].clip[None]


@pytest.mark.parametrize(
    ("name", "layer"), [("res_tcn_small", "7"), ("ms_res_tcn_small", "7.main")]
)
def test_a_jump_is_explained(name: str, layer: str, jump: Tensor) -> None:
    net = models.load(name)
    decoded = FeatureMapDecoder(net, f"layer{layer}").attribute(jump)
    assert isinstance(decoded, Tensor)
    assert decoded.shape == jump.shape
    assert int(amplification(decoded, jump)[0, :25].isfinite().sum()) == 25
    assert int(amplification(decoded, jump)[0, 25:].isnan().sum()) == 25
    relevance = DeepTaylor(net).attribute(jump, target=ACTIONS.index("jump up"))
    assert relevance.shape == jump.shape
    assert float(relevance.abs().sum()) > 0
    cam = VideoGradCam(net, net.info.layer).attribute(jump, target=ACTIONS.index("jump up"))
    assert cam.shape == (1, 1, jump.shape[2])


def test_the_mean_skeleton_is_that_of_the_training_clips() -> None:
    net: Any = models.load("res_tcn_small")
    recipe = RECIPES["res_tcn_small"]
    data: Any = recipe.data(recipe.steps * recipe.batch_size, 0, "train")
    mean = torch.stack([data[index].clip.double() for index in range(512)]).mean((0, 2))
    assert torch.allclose(net.mean[:, 0].double(), mean, atol=1e-5)
