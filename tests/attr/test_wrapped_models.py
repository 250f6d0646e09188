"""Explanations of wrapped models have the bits of those of plain modules written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from torch import Tensor, nn

from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    FeatureMapDecoder,
    FrameAttention,
    FusionPosterior,
    RegressionGradCam,
    SelectiveRelevance,
    TemporalParameters,
    VideoGradCam,
    wrap_model,
)
from captum_video._core.targets import resolve_target
from tests.attr.answering import FORMS, ByHand, answering
from tests.attr.cam_nets import Frames
from tests.attr.fusion_nets import template
from tests.attr.sequence_nets import sequences, small
from tests.nets import C3DLike, Residual, TwoStream, clip, seeded

CLIP = (2, 3, 4, 8, 8)


class Case(NamedTuple):
    """A method on a net.

    Attributes:
        net: makes the net, always the same.
        inputs: what is explained.
        explain: from the model, what its layers' names begin with, and the inputs, to tensors.
    """

    net: Callable[[], nn.Module]
    inputs: Any
    explain: Callable[[Any, str, Any], Any]


def attributed(make: Callable[[Any, str], Any], **options: Any) -> Callable[[Any, str, Any], Any]:
    """What ``attribute`` gives for the predicted class."""

    def explain(model: Any, prefix: str, x: Any) -> Any:
        return make(model, prefix).attribute(x, **{"target": "predicted", **options})

    return explain


def by_captum(kind: Callable[[Any], Any], **options: Any) -> Callable[[Any, str, Any], Any]:
    """What a method of Captum gives, which takes class numbers only."""

    def explain(model: Any, prefix: str, x: Tensor) -> Any:
        target = resolve_target("predicted", model(x))
        return kind(model).attribute(x.clone().requires_grad_(), target=target, **options)

    return explain


def fitted(model: Any, prefix: str, x: Tensor) -> Any:
    batches = [(x, torch.tensor([1, 3]))]
    fit = FusionPosterior.fit(model, batches, layers=f"{prefix}features.3", sweeps=2)
    return fit.attribute(x, target="predicted"), *fit.read()[f"{prefix}features.3"].values()


def decoded(model: Any, prefix: str, x: Tensor) -> Any:
    layers = [layer.name.removeprefix(prefix) for layer in FeatureMapDecoder.layers(model, x)]
    assert "layer2" in layers
    return FeatureMapDecoder(model, f"{prefix}layer2").attribute(x)


def squared(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs - truth).square().sum(1)


def c3d() -> nn.Module:
    return seeded(C3DLike())


def residual() -> nn.Module:
    return seeded(Residual())


def attended() -> nn.Module:
    return seeded(Frames(attention=True))


X = clip(*CLIP)
PAIR = (X, clip(2, 2, 4, 8, 8, seed=1))
DEEP = "features.3"
CASES = {
    "DeepTaylor": Case(residual, X, attributed(lambda m, p: DeepTaylor(m, input_range=(0, 1)))),
    "DeepTaylor of two inputs": Case(
        lambda: seeded(TwoStream()), PAIR, attributed(lambda m, p: DeepTaylor(m))
    ),
    "DeepTaylor with further arguments": Case(
        lambda: seeded(TwoStream()),
        PAIR,
        attributed(lambda m, p: DeepTaylor(m), additional_forward_args=(-2.0,)),
    ),
    "DiscriminativeRelevance": Case(
        c3d, X, lambda m, p, x: DiscriminativeRelevance(m).decompose(x, target="predicted")
    ),
    "DiscriminativeRelevance on Captum": Case(
        attended, X, attributed(lambda m, p: DiscriminativeRelevance(InputXGradient(m)))
    ),
    "SelectiveRelevance": Case(residual, X, attributed(lambda m, p: SelectiveRelevance(m))),
    "VideoGradCam": Case(c3d, X, attributed(lambda m, p: VideoGradCam(m, p + DEEP))),
    "VideoGradCam on frames": Case(
        attended, X, attributed(lambda m, p: VideoGradCam(m, p + "cnn.2"))
    ),
    "RegressionGradCam": Case(
        residual,
        X,
        attributed(lambda m, p: RegressionGradCam(m, p + "conv", objective="output"), target=2),
    ),
    "RegressionGradCam of a loss": Case(
        residual,
        X,
        attributed(
            lambda m, p: RegressionGradCam(m, p + "conv", loss=squared),
            target=None,
            truth=torch.ones(2, 5, dtype=torch.float64),
        ),
    ),
    "FrameAttention": Case(
        attended, X, attributed(lambda m, p: FrameAttention(m, p + "attention"))
    ),
    "FrameAttention's best frames": Case(
        attended,
        X,
        lambda m, p, x: FrameAttention(m, p + "attention").best_frames(x, p + "cnn.2", 2),
    ),
    "TemporalParameters": Case(
        c3d,
        X,
        attributed(lambda m, p: TemporalParameters.fit(m, p + DEEP, starts=1, iterations=3)),
    ),
    "FusionPosterior": Case(
        template, clip(2, 2, 5, 6, 6), attributed(lambda m, p: FusionPosterior(m))
    ),
    "FusionPosterior fitted": Case(c3d, X, fitted),
    "FeatureMapDecoder": Case(small, sequences(2, 6, 24), decoded),
    "IntegratedGradients": Case(c3d, X, by_captum(IntegratedGradients, n_steps=4)),
    "InputXGradient": Case(residual, X, by_captum(InputXGradient)),
}


def tensors(found: Any) -> list[Tensor]:
    if isinstance(found, Tensor | float):
        return [torch.as_tensor(found)]
    return [tensor for part in found for tensor in tensors(part)]


def assert_same_bits(found: Any, expected: Any) -> None:
    pairs = list(zip(tensors(found), tensors(expected), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)
    assert any(bool(one.any()) for one, _ in pairs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", FORMS)
def test_the_bits_of_a_plain_module(name: str, form: str) -> None:
    case, chosen = CASES[name], FORMS[form]
    expected = case.explain(ByHand(answering(case.net(), chosen), chosen), "net.", case.inputs)
    wrapped = wrap_model(answering(case.net(), chosen), chosen.output)
    assert_same_bits(case.explain(wrapped, "", case.inputs), expected)


class Pathways(nn.Module):
    """SlowFast's kind: a list of two clips."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = C3DLike(), Residual()

    def forward(self, clips: list[Tensor], gain: float = 1.0) -> list[Tensor]:
        assert isinstance(clips, list)
        slow, fast = clips
        return [(self.slow(slow) + self.fast(fast)) * gain]


class TwoPathways(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, slow: Tensor, fast: Tensor, gain: float = 1.0) -> Tensor:
        return self.net([slow, fast], gain)[0]


class OneClip(TwoPathways):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.net([x[:, :, ::2], x])[0]


class FramesFirst(nn.Module):
    """Takes frames first, by name only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = C3DLike()

    def forward(self, mask: Tensor | None = None, *, pixel_values: Tensor) -> dict[str, Tensor]:
        scores = self.net(pixel_values.permute(0, 2, 1, 3, 4))
        return {"logits": scores if mask is None else scores * mask, "states": scores}


class FramesFirstByHand(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.net(mask, pixel_values=x.transpose(1, 2))["logits"]


ON_INPUTS = ["DeepTaylor", "DiscriminativeRelevance", "SelectiveRelevance", "IntegratedGradients"]


@pytest.mark.parametrize("name", [*ON_INPUTS, "InputXGradient"])
def test_a_list_of_pathways_made_of_one_clip(name: str) -> None:
    net = seeded(Pathways())
    wrapped = wrap_model(net, inputs=lambda x: [x[:, :, ::2], x])
    explain = CASES[name].explain
    assert_same_bits(explain(wrapped, "", X), explain(OneClip(net), "net.", X))


@pytest.mark.parametrize("kind", [DeepTaylor, InputXGradient, IntegratedGradients])
def test_a_list_of_several_inputs_and_further_arguments(kind: Callable[[Any], Any]) -> None:
    net = seeded(Pathways())
    pair = X[:, :, ::2].clone().requires_grad_(), X.clone().requires_grad_()
    options = {"target": 1, "additional_forward_args": (-0.5,)}
    found = kind(wrap_model(net, inputs="list:2")).attribute(pair, **options)
    assert_same_bits(found, kind(TwoPathways(net)).attribute(pair, **options))
    maps = VideoGradCam(wrap_model(net, inputs="list:2"), "slow.features.3").attribute(
        pair, **options
    )
    assert_same_bits(
        maps, VideoGradCam(TwoPathways(net), "net.slow.features.3").attribute(pair, **options)
    )


@pytest.mark.parametrize("name", [*ON_INPUTS, "InputXGradient"])
def test_a_keyword_with_frames_first(name: str) -> None:
    net = seeded(FramesFirst())
    wrapped = wrap_model(net, inputs="pixel_values:NTCHW")
    explain = CASES[name].explain
    assert_same_bits(explain(wrapped, "", X), explain(FramesFirstByHand(net), "net.", X))


def test_a_keyword_and_further_arguments() -> None:
    net, mask = seeded(FramesFirst()), clip(2, 5, seed=4)
    wrapped = wrap_model(net, inputs="pixel_values:NTCHW")
    for make in (lambda m, p: DeepTaylor(m), lambda m, p: VideoGradCam(m, f"{p}net.features.3")):
        found, expected, without = (
            make(m, p).attribute(X, target=2, additional_forward_args=given)
            for m, p, given in (
                (wrapped, "", mask),
                (FramesFirstByHand(net), "net.", mask),
                (wrapped, "", None),
            )
        )
        assert_same_bits(found, expected)
        assert not torch.equal(found, without)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["DeepTaylor", "VideoGradCam", "VideoGradCam on frames"])
def test_cuda(name: str) -> None:
    case, form = CASES[name], FORMS["dict"]
    expected = case.explain(wrap_model(answering(case.net(), form), form.output), "", X)
    wrapped = wrap_model(answering(case.net(), form), form.output).cuda()
    found = case.explain(wrapped, "", X.cuda())
    assert found.is_cuda
    assert torch.allclose(found.cpu(), expected)


def test_what_unwrapped_models_are_told() -> None:
    net = answering(c3d(), FORMS["dict"])
    for method in (DeepTaylor(net), VideoGradCam(net, DEEP)):
        with pytest.raises(
            TypeError, match=r"got dict: captum_video\.wrap_model\(model, output=\.\.\.\)"
        ):
            method.attribute(X, target=1)
