"""Activation maximization: known optima, regularisers, jitter, no trace."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models
from captum_video.attr import ActivationMaximization
from models.data.video_mnist import VideoMNIST
from tests.contract.kinds import assert_same, state
from tests.nets import C3DLike, Residual, ScoresPerFrame, seeded

SHAPE = (2, 3, 6, 5)
#: nothing but the objective itself
BARE: dict[str, Any] = {"jitter": (0, 0, 0), "blur": 0.0}


def whole_clip() -> nn.Module:
    """One convolution whose kernel is as large as the clip: a weighted sum."""
    return seeded(nn.Sequential(nn.Conv3d(2, 3, SHAPE[1:]), nn.Flatten()))


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def activation(model: nn.Module, layer: str, clips: Tensor, reduce: str = "mean") -> Tensor:
    """The twin: what a plain forward hook sees, ``(N, channels)``."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(
        lambda _module, _args, output: seen.append(output.detach().clone())
    )
    with torch.no_grad():
        model(clips)
    hook.remove()
    flat = seen[0].flatten(2)
    return flat.mean(2) if reduce == "mean" else flat.amax(2)


class TestKnownOptima:
    @pytest.mark.parametrize("parameterization", ["fourier", "pixels"])
    def test_in_a_ball_it_is_the_matched_filter(self, parameterization: Any) -> None:
        model = whole_clip()
        found = ActivationMaximization(model, "0").maximize(
            [0, 2], SHAPE, parameterization=parameterization, rms=0.7, steps=120, lr=0.1, **BARE
        )
        kernel = model.get_parameter("0.weight").detach()
        for clips, own in zip(found.clips, kernel[[0, 2]], strict=True):
            assert cosine(clips, own) > 0.999
            assert float(clips.square().mean().sqrt()) == pytest.approx(0.7, rel=1e-6)
        best = 0.7 * math.sqrt(kernel[0].numel()) * kernel[[0, 2]].flatten(1).norm(dim=1)
        best = best + model.get_parameter("0.bias").detach()[[0, 2]]
        assert torch.allclose(found.objective[-1], best, rtol=1e-3)

    def test_under_an_l2_penalty_it_is_the_kernel_in_its_size(self) -> None:
        model = whole_clip()
        found = ActivationMaximization(model, "0").maximize(
            1, SHAPE, l2=30.0, rms=1e3, steps=400, lr=0.01, parameterization="pixels", **BARE
        )
        kernel = model.get_parameter("0.weight").detach()[1]
        expected = kernel * kernel.numel() / (2 * 30.0)  # where w - 2 l2 x / n vanishes
        assert torch.allclose(found.clips, expected, atol=1e-3)

    def test_in_a_range_it_is_the_kernels_sign(self) -> None:
        model = whole_clip()
        maximization = ActivationMaximization(model, "0")
        sign = model.get_parameter("0.weight").detach()[0] > 0
        options = {"steps": 200, "parameterization": "pixels", **BARE}
        found = maximization.maximize(0, SHAPE, value_range=(-2.0, 1.0), **options).clips
        assert found.min() >= -2
        assert found.max() <= 1
        assert torch.equal(found > -0.5, sign)
        mean, std = (0.4, 0.6), (0.2, 0.5)
        found = maximization.maximize(0, SHAPE, mean=mean, std=std, **options).clips
        shape = (-1, 1, 1, 1)
        pixels = found * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
        assert pixels.min() >= 0
        assert pixels.max() <= 1
        assert torch.equal(pixels > 0.5, sign)

    def test_the_largest_place_shows_the_pattern_once(self) -> None:
        model = seeded(nn.Conv3d(1, 2, 3))
        found = ActivationMaximization(model, model).maximize(
            1, (1, 6, 8, 8), reduce="max", steps=300, parameterization="pixels", **BARE
        )
        scores = model(found.clips[None])[0, 1]
        t, y, x = (int(n) for n in torch.unravel_index(scores.argmax(), scores.shape))
        place = (..., slice(t, t + 3), slice(y, y + 3), slice(x, x + 3))
        assert cosine(found.clips[place], model.get_parameter("weight")[1].detach()) > 0.99
        energy = found.clips.square()
        assert energy[place].sum() > 0.95 * energy.sum()


@pytest.mark.parametrize(
    ("net", "layer"), [(C3DLike(), "features.3"), (Residual(), "norm"), (ScoresPerFrame(), "conv")]
)
@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_it_beats_random_and_structured_clips(net: nn.Module, layer: str, reduce: Any) -> None:
    model, shape = seeded(net), (3, 6, 12, 12)
    found = ActivationMaximization(model, layer).maximize(
        [1, 3], shape, reduce=reduce, steps=40, lr=0.2
    )
    assert found.objective.shape == (41, 2)
    final = activation(model, layer, found.clips, reduce)
    if layer == "conv":  # frames in the batch
        final = final.view(2, 6, -1).mean(1) if reduce == "mean" else final.view(2, 6, -1).amax(1)
    own = torch.stack([final[0, 1], final[1, 3]])
    assert torch.allclose(found.objective[-1], own, rtol=1e-9)
    noise = torch.randn(40, *shape, generator=torch.Generator().manual_seed(1)).double()
    ramp = torch.linspace(-1, 1, 12).double()
    bars = torch.stack([(k * ramp).sin() for k in range(1, 21)])[:, None, None, None]
    bars = bars.expand(20, *shape)
    for others in (noise, bars):
        size = others.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
        values = activation(model, layer, others / size, reduce)
        if layer == "conv":
            frames = values.view(len(others), 6, -1)
            values = frames.mean(1) if reduce == "mean" else frames.amax(1)
        assert (found.objective[-1] > values.amax(0)[[1, 3]]).all()


@pytest.mark.slow
def test_it_beats_real_clips() -> None:
    """Two channels of a trained net against 200 clips that it was made for."""
    model = models.load("lenet5_3t")
    found = ActivationMaximization(model, "conv2").maximize(
        [9, 12], (1, 30, 28, 28), reduce="max", mean=model.info.mean, std=model.info.std
    )
    data = VideoMNIST(200, seed=11)
    real = torch.stack([model.info.normalize(data[k].clip) for k in range(200)])
    best = activation(model, "conv2", real, "max").amax(0)[[9, 12]]
    assert (best > 0).all()
    assert (found.objective[-1] > 1.2 * best).all()


class Watched(nn.Module):
    """A convolution that keeps the clips that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 2)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.conv(x)


def test_jitter_shifts_each_step_within_its_bounds() -> None:
    model = seeded(Watched())
    assert isinstance(model, Watched)
    found = ActivationMaximization(model, "conv").maximize(
        0, SHAPE, jitter=(1, 2, 0), steps=40, lr=1e-12, blur=0.0
    )
    seen = model.seen[1:-1]  # without the look at the layout and the last evaluation
    assert len(seen) == 40
    shifts = set()
    for clips in seen:
        matches = [
            (t, y)
            for t in (-1, 0, 1)
            for y in (-2, -1, 0, 1, 2)
            if torch.allclose(clips[0], found.clips.roll((t, y), (1, 2)), rtol=0, atol=1e-8)
        ]
        assert len(matches) == 1
        shifts.update(matches)
    assert {t for t, _ in shifts} == {-1, 0, 1}
    assert {y for _, y in shifts} == {-2, -1, 0, 1, 2}
    model.seen.clear()
    ActivationMaximization(model, "conv").maximize(0, SHAPE, steps=3, lr=1e-12, **BARE)
    assert all(torch.allclose(a, model.seen[1], atol=1e-8, rtol=0) for a in model.seen[1:])


def variation(clips: Tensor, axis: int) -> float:
    return float(clips.diff(dim=axis).abs().mean())


MEASURES = {
    "l2": lambda clips: float(clips.square().mean()),
    "total_variation": lambda clips: variation(clips, 2) + variation(clips, 3),
    "temporal_variation": lambda clips: variation(clips, 1),
}


@pytest.mark.parametrize("name", list(MEASURES))
def test_each_regulariser_lowers_its_own_value(name: str) -> None:
    maximization = ActivationMaximization(seeded(C3DLike()), "features.3")
    options: dict[str, Any] = {"steps": 60, "lr": 0.1, "rms": 1.0, **BARE}
    values = []
    for weight in (0.0, 0.5, 5.0):
        options[name] = weight
        values.append(MEASURES[name](maximization.maximize(2, (3, 6, 12, 12), **options).clips))
    assert values[1] < 0.95 * values[0]
    assert values[2] < 0.9 * values[1]


@pytest.mark.parametrize("parameterization", ["fourier", "pixels"])
def test_blur_takes_fine_detail(parameterization: Any) -> None:
    maximization = ActivationMaximization(seeded(C3DLike()), "features.0")
    shares = []
    for blur in (0.0, 1.0):
        clips = maximization.maximize(
            1, (3, 4, 16, 16), blur=blur, blur_every=4, steps=60, jitter=(0, 0, 0),
            parameterization=parameterization,
        ).clips  # fmt: skip
        power = torch.fft.fft2(clips).abs().square()
        fine = torch.fft.fftfreq(16).abs() > 0.25
        shares.append(float(power[..., fine].sum() / power.sum()))
    assert shares[1] < 0.5 * shares[0]


def test_a_blur_is_a_gaussian() -> None:
    """The last blur is after step 4 of 8; with no learning to speak of it is all that changes."""
    model = seeded(Watched())
    assert isinstance(model, Watched)
    ActivationMaximization(model, "conv").maximize(
        0, (2, 2, 9, 9), blur=1.5, blur_every=4, steps=8, lr=1e-14, jitter=(0, 0, 0)
    )
    before, after = model.seen[4][0], model.seen[5][0]
    offsets = torch.arange(-45, 45, dtype=torch.float64)
    weights = (-(offsets**2) / (2 * 1.5**2)).exp()
    weights /= weights.sum()
    blurred = before
    for axis in (2, 3):
        rolled = [w * blurred.roll(int(k), axis) for k, w in zip(offsets, weights, strict=True)]
        blurred = torch.stack(rolled).sum(0)
    assert torch.allclose(after, blurred, atol=1e-5 * float(before.abs().max()))
    assert torch.allclose(model.seen[-1][0], after, atol=1e-8)


class TestPromises:
    def test_the_same_seed_gives_the_same_bits_and_leaves_the_random_state(self) -> None:
        maximization = ActivationMaximization(seeded(C3DLike()), "features.3")
        torch.manual_seed(5)
        before = torch.get_rng_state()
        one = maximization.maximize(2, (3, 6, 12, 12), steps=10, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(7)
        two = maximization.maximize(2, (3, 6, 12, 12), steps=10, seed=3)
        other = maximization.maximize(2, (3, 6, 12, 12), steps=10, seed=4)
        assert torch.equal(one.clips, two.clips)
        assert torch.equal(one.objective, two.objective)
        assert not torch.allclose(one.clips, other.clips)

    def test_several_channels_are_those_one_by_one(self) -> None:
        maximization = ActivationMaximization(seeded(C3DLike()), "features.3")
        options: dict[str, Any] = {"steps": 20, "temporal_variation": 0.1, "blur_every": 5}
        both = maximization.maximize([5, 0], (3, 6, 12, 12), **options)
        assert both.clips.shape == (2, 3, 6, 12, 12)
        for row, channel in enumerate((5, 0)):
            alone = maximization.maximize(channel, (3, 6, 12, 12), **options)
            assert alone.clips.shape == (3, 6, 12, 12)
            assert alone.objective.shape == (21,)
            assert torch.allclose(both.clips[row], alone.clips, rtol=0, atol=1e-9)
            assert torch.allclose(both.objective[:, row], alone.objective, rtol=1e-9)

    def test_no_trace(self) -> None:
        model = seeded(Residual())
        before = state(model)
        ActivationMaximization(model, "norm").maximize(1, (3, 4, 8, 8), steps=3)
        assert_same(before, state(model))

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_no_trace_when_interrupted(self, error: type[BaseException]) -> None:
        calls: list[int] = []

        class Tiring(Residual):
            def forward(self, x: Tensor) -> Tensor:
                calls.append(1)
                self.stem_norm.train()
                with torch.no_grad():
                    assert self.stem_norm.running_mean is not None
                    self.stem_norm.running_mean += 1
                torch.rand(1)
                if len(calls) == 4:
                    raise error
                return super().forward(x)

        model = seeded(Tiring())
        before = state(model)
        with pytest.raises(error):
            ActivationMaximization(model, "norm").maximize(1, (3, 4, 8, 8), steps=9)
        assert len(calls) == 4
        assert_same(before, state(model))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_dtype(self, dtype: torch.dtype) -> None:
        model = seeded(C3DLike()).to(dtype)
        found = ActivationMaximization(model, "features.0").maximize(0, (3, 4, 8, 8), steps=4)
        assert found.clips.dtype == found.objective.dtype == dtype
        assert not found.clips.requires_grad
        assert found.objective[-1] > found.objective[0]

    def test_progress(self, capsys: pytest.CaptureFixture[str]) -> None:
        maximization = ActivationMaximization(whole_clip(), "0")
        maximization.maximize(0, SHAPE, steps=2)
        assert capsys.readouterr().err == ""
        maximization.maximize(0, SHAPE, steps=2, show_progress=True)
        assert "activation maximization" in capsys.readouterr().err
