from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models
from models.c3d_published import convert_keys, load_published

NARROW: dict[str, Any] = {
    "widths": ((2,), (3,), (4, 5), (6, 7), (8, 9)),
    "hidden": (11, 12),
    "size": (32, 32),
}
LAYERS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3a": "features.6",
    "conv3b": "features.8",
    "conv4a": "features.11",
    "conv4b": "features.13",
    "conv5a": "features.16",
    "conv5b": "features.18",
    "fc6": "classifier.0",
    "fc7": "classifier.3",
    "fc8": "classifier.6",
}


def narrow(classes: int = 7) -> models.BundledModel:
    return models.build("c3d", classes=classes, **NARROW)


def published(classes: int = 7) -> dict[str, Tensor]:
    """A Sports-1M state dict, made as the published net is: two Sequentials, by position."""
    features = nn.Sequential(
        *[nn.Conv3d(3, 2, 3), nn.ReLU(), nn.MaxPool3d(2)],
        *[nn.Conv3d(2, 3, 3), nn.ReLU(), nn.MaxPool3d(2)],
        *[nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Conv3d(4, 5, 3), nn.ReLU(), nn.MaxPool3d(2)],
        *[nn.Conv3d(5, 6, 3), nn.ReLU(), nn.Conv3d(6, 7, 3), nn.ReLU(), nn.MaxPool3d(2)],
        *[nn.Conv3d(7, 8, 3), nn.ReLU(), nn.Conv3d(8, 9, 3), nn.ReLU(), nn.MaxPool3d(2)],
    )
    classifier = nn.Sequential(
        *[nn.Linear(36, 11), nn.ReLU(), nn.Dropout()],
        *[nn.Linear(11, 12), nn.ReLU(), nn.Dropout()],
        nn.Linear(12, classes),
    )
    return nn.ModuleDict({"features": features, "classifier": classifier}).state_dict()


def renamed(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    names = {old: new for new, old in LAYERS.items()}
    return {
        f"{prefix}{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
        for key, value in state.items()
    }


@pytest.mark.parametrize("layout", ["sports1m", "finetuned", "several gpus"])
def test_every_layout_gives_the_same_model(layout: str, tmp_path: Path) -> None:
    state = published()
    content: dict[str, Any] = state
    if layout != "sports1m":
        named = renamed(state, "module." if layout == "several gpus" else "")
        content = {"epoch": 3, "state_dict": named, "opt_dict": {"lr": 0.1}}
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    model = narrow()
    assert load_published(model, path) == ()
    loaded = model.state_dict()
    assert set(loaded) == {f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")}
    for layer, old in LAYERS.items():
        weight = state[f"{old}.weight"]
        expected = weight.flip(1) if layer == "conv1" else weight
        assert torch.equal(loaded[f"{layer}.weight"], expected)
        assert torch.equal(loaded[f"{layer}.bias"], state[f"{old}.bias"])


def test_the_filled_model_takes_rgb_where_the_published_took_bgr() -> None:
    state = published()
    rgb = torch.randint(0, 256, (1, 3, 16, 32, 32)).float()
    model, as_published = narrow().eval(), narrow().eval()
    load_published(model, state)
    load_published(as_published, state, channel_order="rgb")
    bgr = rgb.flip(1) - torch.tensor([90.0, 98.0, 102.0]).view(3, 1, 1, 1)
    with torch.no_grad():
        expected = as_published(bgr)
        found = model(model.info.normalize(rgb / 255))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_another_number_of_classes_keeps_a_fresh_head_when_asked() -> None:
    model = narrow(classes=4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"fc8.weight has shape \(7, 12\) where \(4, 12\).*strict"):
        load_published(model, published())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert load_published(model, published(), strict_head=False) == ("fc8.weight", "fc8.bias")
    after = model.state_dict()
    assert torch.equal(after["fc8.weight"], before["fc8.weight"])
    assert not torch.equal(after["fc7.weight"], before["fc7.weight"])
    headless = {k: v for k, v in published().items() if not k.startswith("classifier.6")}
    assert load_published(model, headless, strict_head=False) == ("fc8.weight", "fc8.bias")
    # a head that fits is loaded even so
    assert load_published(narrow(), published(), strict_head=False) == ()


def test_all_that_does_not_fit_is_one_error() -> None:
    state = published()
    del state["features.8.bias"]
    state["features.99.weight"] = torch.zeros(1)
    state["features.3.weight"] = torch.zeros(3, 2, 3, 3)
    model = narrow()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"do not fit") as caught:
        load_published(model, state)
    for text in (
        "missing conv3b.bias",
        "unexpected features.99.weight",
        "conv2.weight has shape (3, 2, 3, 3) where (3, 2, 3, 3, 3) is needed",
    ):
        assert text in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    junk, wrong = tmp_path / "junk.pth", tmp_path / "list.pth"
    junk.write_bytes(b"no weights here")
    torch.save([1, 2], wrong)
    with pytest.raises(ValueError, match=r"junk.pth cannot be read as tensors"):
        load_published(narrow(), junk)
    with pytest.raises(ValueError, match=r"list.pth must hold a mapping by name, got list"):
        load_published(narrow(), wrong)
    with pytest.raises(FileNotFoundError):
        load_published(narrow(), tmp_path / "absent.pth")
    with pytest.raises(ValueError, match=re.escape("'conv1.weight' is 3")):
        convert_keys({"conv1.weight": 3})
    with pytest.raises(ValueError, match="'state_dict' must be a mapping, got list"):
        convert_keys({"state_dict": []})
    with pytest.raises(ValueError, match="channel_order must be 'bgr' or 'rgb', got 'grb'"):
        load_published(narrow(), {}, channel_order="grb")


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, path)
    with pytest.raises(ValueError, match="cannot be read as tensors"):
        load_published(narrow(), path)
    assert not ran.exists()
