from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import models
from captum_video import VideoGradCam
from captum_video.nn import Conv3T
from models import inflated
from models.data import moving_digits

NAMES = ("resnet18_3t", "resnet18_3d", "googlenet_3t", "googlenet_3d")
#: paper 1, table 1: on Jester (27 classes) and UCF101
COUNTS = {
    ("resnet18_3t", 27): 11_222_619,
    ("resnet18_3t", 101): 11_260_581,
    ("resnet18_3d", 27): 33_217_755,
    ("resnet18_3d", 101): 33_255_717,
    ("googlenet_3t", 27): 7_419_121,
    ("googlenet_3t", 101): 7_646_671,
    ("googlenet_3d", 27): 14_078_833,
    ("googlenet_3d", 101): 14_306_383,
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "classes"), COUNTS)
def test_the_papers_parameter_counts(name: str, classes: int) -> None:
    with torch.device("meta"):
        model = models.build(name, classes=classes)
    assert count(model) == COUNTS[name, classes]


@pytest.mark.parametrize(("classes", "parameters"), [(27, 31_313_976), (101, 31_351_938)])
def test_the_papers_other_net(classes: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(torchvision.models.video.r2plus1d_18(num_classes=classes)) == parameters


@pytest.mark.parametrize("name", NAMES)
def test_nets_tell_the_moving_digits_by_default(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name)
    info = model.info
    assert (info.name, info.classes) == (name, moving_digits.CLASSES)
    assert model.training
    clip = info.normalize(torch.rand(2, 3, info.frames, *info.size))
    scores = model(clip)
    assert scores.shape == (2, 19)
    scores.sum().backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    heads = {n for n, _ in model.named_parameters() if "aux" in n}
    temporal = {n for n, _ in model.named_parameters() if n.endswith(("scale", "rotation"))}
    assert bool(temporal) == name.endswith("3t")
    assert temporal <= trained
    assert not heads & trained
    assert bool(heads) == name.startswith("googlenet")
    assert isinstance(model.get_submodule(info.layer), nn.Module)


@pytest.mark.parametrize("name", ["resnet18_3t", "googlenet_3d"])
@pytest.mark.parametrize("classes", [None, 3])
def test_the_layer_for_grad_cam_still_has_time(name: str, classes: int | None) -> None:
    torch.manual_seed(0)
    model = models.build(name, classes=classes).eval()
    clip = torch.rand(1, 3, model.info.frames, 64, 64)
    maps = VideoGradCam(model, model.info.layer).attribute(clip, target=1)  # without a warning
    assert maps.shape == (1, 1, model.info.frames, 64, 64)
    assert (maps[:, :, 0] != maps[:, :, -1]).any()


def test_facts_follow_the_classes() -> None:
    with torch.device("meta"):
        info = models.build("resnet18_3d", classes=27).info
        named = models.build("resnet18_3t", classes=["up", "down"])
    assert info.classes[:2] == ("class 0", "class 1")
    assert (len(info.classes), info.frames, info.size) == (27, 30, (168, 224))
    assert info.groups == {"action": range(27)}
    assert info.mean == (0.485, 0.456, 0.406)
    assert named.info.classes == ("up", "down")
    assert named.net.fc.out_features == 2  # type: ignore[union-attr]


def test_auxiliary_scores_come_back_if_wanted() -> None:
    torch.manual_seed(0)
    model = models.build("googlenet_3t", classes=5, auxiliary=True)
    clip = torch.rand(2, 3, 16, 64, 64)
    outputs: Any = model(clip)
    assert isinstance(outputs, torchvision.models.GoogLeNetOutputs)
    assert [tuple(scores.shape) for scores in outputs] == [(2, 5)] * 3
    scores = model.eval()(clip)
    assert scores.shape == (2, 5)
    assert (scores[0] != scores[1]).any()


def test_auxiliary_heads_average_to_two_by_three() -> None:
    torch.manual_seed(0)
    head: Any = inflated.AuxiliaryHead(8, 3).double().eval()
    maps = torch.rand(2, 8, 4, 6, dtype=torch.float64)
    features = head.conv(maps.unflatten(2, (2, 2)).unflatten(4, (3, 2)).mean((3, 5)))
    assert features.shape == (2, 128, 2, 3)
    want = head.fc2(head.fc1(features.relu().flatten(1)).relu())
    torch.testing.assert_close(head(maps), want, rtol=0, atol=1e-12)
    assert head.fc1.in_features == 768


@pytest.mark.parametrize("name", ["resnet18_3t", "googlenet_3d"])
def test_options_reach_the_inflation(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, classes=4, temporal_padding="replicate", divide=True)
    first: Any = model.get_submodule("net.conv1" if "resnet" in name else "net.conv1.conv")
    assert type(first[0]) is nn.ReplicationPad3d
    kernel = first.conv.kernel() if isinstance(first.conv, Conv3T) else first.conv.weight
    torch.manual_seed(0)
    plain: Any = (inflated.resnet18 if "resnet" in name else inflated.googlenet)(4)
    weight = (plain.conv1 if "resnet" in name else plain.conv1.conv).weight
    torch.testing.assert_close(kernel, (weight / 7).unsqueeze(2).expand_as(kernel))
    with torch.device("meta"):
        shallow = models.build(name, classes=4, depth=3)
    depths = {m.kernel_size[0] for m in shallow.modules() if isinstance(m, Conv3T | nn.Conv3d)}
    assert depths == {1, 3}


@pytest.mark.parametrize("name", ["resnet18_3t", "googlenet_3d"])
def test_imagenet_weights_are_read_from_the_cache(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no ImageNet weights of (ResNet|GoogLeNet) at"):
        models.build(name, classes=3, pretrained=True)
    torch.manual_seed(0)
    original: Any = (
        torchvision.models.resnet18()
        if "resnet" in name
        else torchvision.models.googlenet(init_weights=False)
    )
    kind = type(original).__name__
    weights = getattr(torchvision.models, f"{kind if 'Goog' in kind else 'ResNet18'}_Weights")
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    old = {k: v for k, v in original.state_dict().items() if "num_batches" not in k}
    torch.save(old, path)
    model: Any = models.build(name, classes=3, pretrained=True).net
    if "resnet" in name:
        assert torch.equal(model.conv1.first_slice, original.conv1.weight)
        assert torch.equal(model.layer4[1].bn2.running_var, original.layer4[1].bn2.running_var)
    else:
        weight = original.conv1.conv.weight
        assert torch.equal(model.conv1.conv.weight[:, :, 3], weight / 7)
        assert torch.equal(model.aux2.conv.conv.weight[:, :, 0], original.aux2.conv.conv.weight)
        assert model.transform_input
    assert model.fc.out_features == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_torchvision_names_the_pip_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torchvision.models", "torchvision.models.googlenet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"needs torchvision.*captum-video\[models\]"):
        models.build(name)
