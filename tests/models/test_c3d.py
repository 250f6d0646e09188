from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import models
from models.c3d import C3D


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("classes", "parameters"), [(101, 78_409_573), (487, 79_991_015)])
def test_the_papers_net_has_its_number_of_parameters(classes: int, parameters: int) -> None:
    # 487 classes: 386 more rows of 4096 weights and a bias
    with torch.device("meta"):
        assert count(models.build("c3d", classes=classes)) == parameters


def test_layers_and_shapes_are_the_papers() -> None:
    with torch.device("meta"):
        model = models.build("c3d")
        seen = {}
        for name, module in model.named_children():
            module.register_forward_hook(
                lambda _module, _args, output, name=name: seen.update({name: output.shape[1:]})
            )
        assert model(torch.empty(2, 3, 16, 112, 112)).shape == (2, 101)
    assert seen["pool1"] == (64, 16, 56, 56)
    assert seen["pool2"] == (128, 8, 28, 28)
    assert seen["pool3"] == (256, 4, 14, 14)
    assert seen["pool4"] == (512, 2, 7, 7)
    assert seen["pool5"] == (512, 1, 4, 4)
    assert [name for name in seen if name.startswith(("conv", "fc"))] == [
        *("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"),
        *("fc6", "fc7", "fc8"),
    ]
    kinds = {type(module) for module in model.modules()} - {C3D}
    assert kinds == {nn.Conv3d, nn.ReLU, nn.MaxPool3d, nn.Linear, nn.Dropout}


def test_the_forward_is_the_plain_chain() -> None:
    torch.manual_seed(0)
    model = C3D(5, widths=((2,), (3,), (4, 4)), hidden=(6, 7), frames=8, size=(16, 16)).eval()
    clip = torch.randn(2, 3, 8, 16, 16)
    f = nn.functional

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv3d)
        return f.relu(f.conv3d(x, layer.weight, layer.bias, padding=1))

    x = f.max_pool3d(conv("conv1", clip), (1, 2, 2))
    x = f.max_pool3d(conv("conv2", x), 2)
    x = f.max_pool3d(conv("conv3b", conv("conv3a", x)), 2, padding=(0, 1, 1))
    x = x.reshape(2, -1)
    x = f.relu(model.get_submodule("fc6")(x))
    x = f.relu(model.get_submodule("fc7")(x))
    torch.testing.assert_close(model(clip), model.fc8(x))


def test_fresh_weights_keep_the_signals_size_through_the_depth() -> None:
    torch.manual_seed(0)
    model = models.build("c3d_small").eval()
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            module.register_forward_hook(
                lambda _module, _args, output: sizes.append(float(output.detach().std()))
            )
    model(torch.randn(2, 3, 16, 64, 64))
    assert len(sizes) == 7
    assert all(0.3 < size < 6 for size in sizes)


def test_the_small_net_answers_both_questions() -> None:
    model = models.build("c3d_small")
    info = model.info
    assert isinstance(info, models.ModelInfo)
    assert model(torch.zeros(2, 3, info.frames, *info.size)).shape == (2, len(info.classes))
    assert info.groups == {"motion": range(9), "look": range(9, 19)}
    assert [info.classes[i] for i in info.groups["motion"]][:3] == ["still", "left", "right"]
    assert [info.classes[i] for i in info.groups["look"]][::9] == ["digit 0", "digit 9"]
    assert isinstance(model.get_submodule(info.layer), nn.Conv3d)
    assert info.score is None
    assert count(model) * 4 < 8e6
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_normalization_is_per_channel() -> None:
    info = models.ModelInfo(
        "x", ("a",), {"q": range(1)}, 1, (1, 1), (0.5, 0.0, 1.0), (0.5, 1.0, 2.0), "l"
    )
    clip = torch.full((3, 2, 1, 1), 0.75, dtype=torch.float64)
    expected = torch.tensor([0.5, 0.75, -0.125], dtype=torch.float64)
    for given, shape in ((clip, (3, 2)), (clip[None], (1, 3, 2))):
        normal = info.normalize(given)
        assert normal.dtype == torch.float64
        assert torch.equal(normal[..., 0, 0], expected[:, None].expand(shape))


@pytest.mark.parametrize("name", ["c3d", "cnn_lstm", "cnn_lstm_attention"])
def test_classes_are_a_number_or_names(name: str) -> None:
    with torch.device("meta"):
        numbered, named = models.build(name, classes=3), models.build(name, classes=["run", "jump"])
    assert numbered.info.classes == ("class 0", "class 1", "class 2")
    assert named.info.classes == ("run", "jump")
    assert named.info.groups == {"action": range(2)}
    *_, weight, bias = named.parameters()
    assert (weight.shape[0], bias.shape) == (2, (2,))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (0, r"classes must be positive, got 0\."),
        ((), "classes must be at least one name, got none"),
        ("run", "classes must be a number or a sequence of names, got 'run'"),
        (["run", "jump", "run"], "classes must differ, but 'run' comes more than once"),
    ],
)
@pytest.mark.parametrize("name", ["c3d", "cnn_lstm", "res_tcn", "ms_res_tcn_small"])
def test_classes_that_are_none_are_errors(name: str, classes: Any, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        models.build(name, classes=classes)


def test_bad_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match=r"8 frames at 8x8 is too small for the pools.*1x0x0"):
        C3D(2, widths=((1,),) * 5, hidden=(), frames=8, size=(8, 8), final_pool=False)
    with pytest.raises(ValueError, match=r"at most two widths \(fc6, fc7\), got \(1, 2, 3\)"):
        C3D(2, hidden=(1, 2, 3))
