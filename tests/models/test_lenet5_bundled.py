"""The bundled LeNets tell motions, by motion, and the 3T net's kernels have learned to move."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import models
from captum_video.nn import Conv3T
from models.data.video_mnist import MOTIONS, VideoMNIST

NAMES = ("lenet5_3d", "lenet5_3t")
CLIPS = 300


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, Tensor]:
    """Normalised clips that no training, validation or score has seen, with their motions."""
    data = VideoMNIST(CLIPS, seed=987_654, split="validation", decoupled=True, digits="sklearn")
    samples = [data[index] for index in range(CLIPS)]
    batch = models.build("lenet5_3t").info.normalize(torch.stack([s.clip for s in samples]))
    return batch, torch.tensor([s.motion for s in samples])


def answers(name: str, clips: Tensor) -> Tensor:
    model = models.load(name)
    assert not model.training
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in clips.split(25)])


@pytest.mark.parametrize("name", NAMES)
def test_fresh_clips_score_as_on_the_card(name: str, clips: tuple[Tensor, Tensor]) -> None:
    stated = models.load(name).info.score
    assert stated is not None
    assert set(stated) == {"motion"}
    score = stated["motion"]
    assert score >= 0.95
    found = float((answers(name, clips[0]) == clips[1]).float().mean())
    # three standard errors, and a little for a score near one
    assert abs(found - score) < 3 * (score * (1 - score) / CLIPS) ** 0.5 + 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_clip_does_not_tell_the_motion(name: str, clips: tuple[Tensor, Tensor]) -> None:
    batch, motion = clips
    for frame in (0, 15):
        frozen = answers(name, batch[:, :, frame : frame + 1].expand_as(batch))
        assert float((frozen == motion).float().mean()) < 0.35


@pytest.mark.parametrize("name", NAMES)
def test_a_turn_played_backwards_is_the_other_turn(name: str, clips: tuple[Tensor, Tensor]) -> None:
    batch, motion = clips
    one, other = MOTIONS.index("clockwise"), MOTIONS.index("counter-clockwise")
    turning = (motion == one) | (motion == other)
    assert turning.sum() > 40
    backwards = answers(name, batch[turning].flip(2))
    assert float((backwards == one + other - motion[turning]).float().mean()) > 0.9


def test_the_transforms_have_left_the_identity() -> None:
    model = models.load("lenet5_3t")
    for name in ("conv1", "conv2"):
        layer = model.get_submodule(name)
        assert isinstance(layer, Conv3T)
        with torch.no_grad():
            assert float((layer.scale - 1).abs().mean()) > 0.03
            assert math.degrees(float(layer.rotation.abs().mean())) > 2
            for moved in (layer.translation_x, layer.translation_y):
                assert float(moved.abs().mean()) > 0.03
            assert 0.3 < float(layer.scale.min()) <= float(layer.scale.max()) < 2
