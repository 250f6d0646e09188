"""What activation maximization refuses, and what it warns of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video.attr import ActivationMaximization
from tests.nets import C3DLike, seeded

SHAPE = (3, 4, 8, 8)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"channel": 8},
            r"channel must be from 0 to 7, the 8 channels of layer 'features.3', got 8",
        ),
        ({"channel": -1}, "channel must be from 0 to 7, .* got -1"),
        ({"channel": [0, 9]}, "channel must be from 0 to 7, .* got 9"),
        ({"channel": 1.5}, "channel must be an integer, got 1.5"),
        ({"channel": True}, "channel must be an integer, got True"),
        ({"channel": []}, "channel must hold at least one number, got none"),
        ({"shape": (3, 8, 8)}, r"shape must be \(C, T, H, W\), got \(3, 8, 8\)"),
        ({"shape": (3, 0, 8, 8)}, "shape must be whole, from 1 up, got 0"),
        ({"steps": 0}, "steps must be whole, from 1 up, got 0"),
        ({"seed": -1}, "seed must be whole, from 0 up, got -1"),
        ({"blur_every": 1.0}, "blur_every must be whole, from 1 up, got 1.0"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"lr": float("nan")}, "lr must be a positive number, got nan"),
        ({"l2": -1.0}, "l2 must be a number from 0 up, got -1.0"),
        ({"total_variation": float("inf")}, "total_variation must be a number from 0 up, got inf"),
        ({"jitter": (1, 2)}, r"jitter must be \(frames, rows, columns\), got \(1, 2\)"),
        ({"jitter": 4}, r"jitter must be \(frames, rows, columns\), got 4"),
        ({"jitter": (1, 2, -3)}, "jitter must be whole, from 0 up, got -3"),
        ({"reduce": "sum"}, "reduce must be 'max' or 'mean', got 'sum'"),
        ({"parameterization": "fft"}, "parameterization must be 'fourier' or 'pixels', got 'fft'"),
        ({"rms": 0.0}, "rms must be a positive number, got 0.0"),
        ({"mean": 0.5}, "mean and std belong together, got no std"),
        ({"std": 0.5}, "mean and std belong together, got no mean"),
        ({"mean": 0.5, "std": 0.0}, "std must be positive, got 0.0"),
        ({"mean": (0.5, 0.1), "std": 1.0}, "mean must be one finite number, or one for each of 3"),
        ({"value_range": (1.0, 0.0)}, r"value_range must be \(low, high\) with low < high"),
        (
            {"value_range": (0, 1), "mean": 0, "std": 1},
            "value_range and mean/std exclude each other",
        ),
    ],
)
def test_options(options: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"channel": 0, "shape": SHAPE, "steps": 1, **options}
    with pytest.raises((ValueError, TypeError), match=text):
        ActivationMaximization(seeded(C3DLike()), "features.3").maximize(**given)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": "a"}, "lr must be a positive number, got 'a'"),
        ({"lr": True}, "lr must be a positive number, got True"),
        ({"lr": None}, "lr must be a positive number, got None"),
        ({"blur": None}, "blur must be a number from 0 up, got None"),
        ({"l2": "0.1"}, "l2 must be a number from 0 up, got '0.1'"),
        ({"total_variation": (1, 2)}, r"total_variation must be .* from 0 up, got \(1, 2\)"),
        ({"temporal_variation": 1j}, "temporal_variation must be a number from 0 up, got 1j"),
        ({"rms": "1"}, "rms must be a positive number, got '1'"),
        ({"rms": torch.ones(2)}, r"rms must be a positive number, got tensor\(\[1., 1.\]\)"),
        ({"value_range": 1.0}, r"value_range must be \(low, high\) with low < high, got 1.0"),
        ({"value_range": "01"}, r"value_range must be \(low, high\) with low < high, got '0'"),
        ({"value_range": (0, None)}, r"value_range must be \(low, high\) .* got None"),
        ({"mean": "x", "std": 1.0}, "mean must be one finite number, or one for each .* got 'x'"),
        ({"mean": 0.0, "std": ("a", 1, 1)}, r"std must be one finite .* got \('a', 1, 1\)"),
    ],
)
def test_what_is_no_number(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        ActivationMaximization(seeded(C3DLike()), "features.3").maximize(0, SHAPE, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"value_range": (0, 1, 2)}, r"value_range must be \(low, high\) .* got \(0, 1, 2\)"),
        ({"value_range": (0, float("inf"))}, r"value_range must be \(low, high\) .* got inf"),
        ({"value_range": (1, 1)}, r"value_range must be \(low, high\) .* got \(1, 1\)"),
        ({"mean": float("nan"), "std": 1.0}, "mean must be one finite number, .* got nan"),
        ({"blur": float("nan")}, "blur must be a number from 0 up, got nan"),
        ({"seed": 2**64}, f"seed must be whole, from 0 to {2**64 - 1}, got {2**64}"),
    ],
)
def test_numbers_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ActivationMaximization(seeded(C3DLike()), "features.3").maximize(0, SHAPE, **options)


def test_layers() -> None:
    model = seeded(C3DLike())
    with pytest.raises(ValueError, match=r"no such layer. Did you mean 'features.3'"):
        ActivationMaximization(model, "feature.3")
    with pytest.raises(TypeError, match="model must be callable, got int"):
        ActivationMaximization(3, "conv")  # type: ignore[arg-type]
    model.spare = nn.Conv3d(3, 4, 3)
    with pytest.raises(ValueError, match="'spare' is not called in the model's forward pass"):
        ActivationMaximization(model, "spare").maximize(0, SHAPE)


def test_training_mode() -> None:
    model = seeded(C3DLike()).train()
    with pytest.raises(RuntimeError, match=r"Dropout 'head.2' is in training mode"):
        ActivationMaximization(model, "features.3").maximize(0, SHAPE)


def test_weights_that_are_not_finite() -> None:
    model = seeded(C3DLike())
    with torch.no_grad():
        model.get_parameter("features.3.bias")[2] = float("nan")
    maximization = ActivationMaximization(model, "features.3")
    with pytest.raises(ValueError, match=r"channel\(s\) \[2\] of layer 'features.3' is NaN or inf"):
        maximization.maximize([0, 2], SHAPE, steps=2)
    maximization.maximize(0, SHAPE, steps=2)


class Cut(C3DLike):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Silent(C3DLike):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.parametrize("net", [Cut(), Silent()])
def test_a_layer_without_gradients(net: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=r"layer 'features.3' does not depend on the clips by grad"
    ):
        ActivationMaximization(seeded(net), "features.3").maximize(0, SHAPE)


def test_a_dead_channel_is_warned_of() -> None:
    model = seeded(C3DLike())
    with torch.no_grad():
        model.get_parameter("features.0.bias")[1] = -100.0
    with pytest.warns(UserWarning, match=r"channel\(s\) \[1\] of layer 'features.1' never changed"):
        found = ActivationMaximization(model, "features.1").maximize([0, 1], SHAPE, steps=3)
    assert (found.objective[:, 1] == 0).all()


def test_several_tensors() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2, x * 3

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            return self.pair(x)[0].mean((2, 3, 4))

    with pytest.raises(ValueError, match=r"layer 'pair' gives 2 tensors, .* give a reshape_transf"):
        ActivationMaximization(Net().eval(), "pair").maximize(0, SHAPE)
    second = ActivationMaximization(Net().eval(), "pair", reshape_transform=lambda pair: pair[1])
    found = second.maximize(1, SHAPE, steps=5)
    assert torch.allclose(found.objective[-1], 3 * found.clips[1].mean())
