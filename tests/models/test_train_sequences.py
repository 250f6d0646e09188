"""Training of the nets of sequences: the penalty, the mean, the targets, the card."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import models
from models import train
from models.registry import options_of
from models.res_tcn import TARGET_JOINTS
from models.training.recipes import RECIPES
from models.training.sequences import SequenceClassification, target_joints


class Batch(NamedTuple):
    clip: Tensor
    action: Tensor


def batches(count: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(torch.randn(150, 20, generator=generator), torch.tensor(number % 16))
        for number in range(count)
    ]


def test_loss_is_cross_entropy_and_the_penalty() -> None:
    net: Any = models.build("ms_res_tcn_small").eval()
    clip, action = torch.stack([b.clip for b in batches()]), torch.tensor([0, 1, 2])
    loss = SequenceClassification(l1=0.25).loss(net, clip, Batch(clip, action))
    total = sum(
        float(parameter.detach().abs().sum())
        for name, parameter in net.named_parameters()
        if name.endswith("weight") and parameter.dim() == 3
    )
    expected = float(F.cross_entropy(net(clip), action).detach()) + 0.25 * total
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert len([m for m in net.modules() if isinstance(m, nn.Conv1d)]) == 2 + 6 * 3 + 4


def test_begin_sets_the_mean_of_the_training_sequences() -> None:
    net: Any = models.build("res_tcn_small")
    data = batches(5)
    SequenceClassification().begin(net, lambda: data)
    expected = torch.stack([b.clip for b in data]).mean((0, 2))
    assert torch.allclose(net.mean[:, 0], expected, atol=1e-6)


def test_settings_of_a_checkpoint_name_the_penalty() -> None:
    assert SequenceClassification(l1=0.5).settings() == {"l1": 0.5}


class TestTargetJoints:
    def test_names_and_numbers_in_the_skeletons_order(self) -> None:
        assert target_joints("hand_tip_right, 3,head") == "head,hand_tip_right"

    def test_a_diagnosis(self, tmp_path: Path) -> None:
        path = tmp_path / "diagnosis.json"
        path.write_text(json.dumps({"target_joints": ["thumb_left", "head"], "reason": "..."}))
        assert target_joints(str(path)) == "head,thumb_left"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{}", "is no diagnosis: it must be JSON with a list 'target_joints'"),
            ("[1]", "is no diagnosis"),
            ("not JSON", "is no diagnosis"),
            ('{"target_joints": []}', "proposes no joints to target"),
            ('{"target_joints": ["elbow"]}', "There is no joint 'elbow'"),
        ],
    )
    def test_files_that_are_none(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "diagnosis.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            target_joints(str(path))

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            target_joints(str(tmp_path / "none.json"))


def run(*arguments: str) -> int:
    return train.main([*arguments, "--quiet", "--workers", "0"])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Recipes of few clips, and a folder to write to."""
    for name in ("res_tcn_small", "ms_res_tcn_small", "res_tcn_exercises", "ms_res_tcn"):
        recipe = replace(RECIPES[name], eval_clips=8, score_clips=8, batch_size=4)
        monkeypatch.setitem(RECIPES, name, recipe)
    monkeypatch.setattr("models.training.sequences.MEAN_COUNT", 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_net_is_trained_on_a_proposal(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (short / "diagnosis.json").write_text(json.dumps({"target_joints": ["thumb_left", "head"]}))
    arguments = ("ms_res_tcn_small", "--steps", "2", "--target-joints", "diagnosis.json")
    assert run(*arguments, "--output", "out") == 0
    card = (short / "out" / "ms_res_tcn_small.md").read_text()
    command = "ms_res_tcn_small --seed 0 --steps 2"
    assert "--target-joints head,thumb_left" in card
    assert command in card.replace(" --target-joints head,thumb_left", "")
    assert "673,296 parameters; sequences of 96 frames, in their own units." in card
    assert "times the sum of the filters' magnitudes" in " ".join(card.split())
    weights = load_file(short / "out" / "ms_res_tcn_small.safetensors")
    targeted = weights["target"].flatten().nonzero().flatten().tolist()
    assert targeted == [9, 10, 11, 66, 67, 68, 84, 85, 86, 141, 142, 143]
    assert float(weights["mean"].abs().max()) > 0.1
    assert "action" in capsys.readouterr().out


def test_real_recordings_train_the_same_kind_of_net(short: Path) -> None:
    assert run("res_tcn_exercises", "--steps", "2", "--output", "out") == 0
    assert "| exercise | 7 |" in (short / "out" / "res_tcn_exercises.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("res_tcn_small", "--target-joints", "head"),
            "--target-joints is for ms_res_tcn, and res",
        ),
        (("ms_res_tcn_small", "--target-joints", "head"), "--target-joints needs --output, since"),
        (("ms_res_tcn_small", "--target-joints", "elbow", "--output", "o"), "no joint 'elbow'"),
        (("ms_res_tcn_small", "--target-joints", "no.json", "--output", "o"), "No such file"),
        (
            ("ms_res_tcn_small", "--target-joints", "3", "--option", "target_joints=4"),
            "--target-joints and --option target_joints exclude each other",
        ),
    ],
)
def test_refused(
    short: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(short.iterdir())


def test_recipes_fit_their_models() -> None:
    for name in ("res_tcn", "ms_res_tcn", "res_tcn_small", "ms_res_tcn_small", "res_tcn_exercises"):
        model, recipe = models.build(name), RECIPES[name]
        sample = recipe.data(2, 0, "train")[1]
        assert sample.clip.shape[1] == model.info.frames
        assert model.eval()(sample.clip[None]).shape == (1, len(model.info.classes))
        for group, outputs in model.info.groups.items():
            assert int(getattr(sample, group)) in range(len(outputs))
    assert "target_joints" in options_of("ms_res_tcn")
    assert set(TARGET_JOINTS) == set(target_joints(",".join(TARGET_JOINTS)).split(","))
    assert isinstance(RECIPES["res_tcn"].data, partial)
