"""Captum's own methods on wrapped models, and models from ``transformers``."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import captum.attr as captum
import numpy as np
import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VivitConfig,
    VivitForVideoClassification,
)

from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    FrameAttention,
    VideoGradCam,
    wrap_model,
)
from captum_video.layers import TokenGrid
from tests.attr.answering import FORMS, ByHand, answering
from tests.attr.test_wrapped_models import assert_same_bits
from tests.contract.kinds import assert_same, state, with_gradients
from tests.nets import clip, seeded

X = clip(2, 3, 4, 8, 8)
BASELINE = clip(2, 3, 4, 8, 8, seed=1) / 2


class Layered(nn.Module):
    """Each module used once, as DeepLift wants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool3d(2)
        self.flat = nn.Flatten()
        self.act = nn.ReLU()
        self.fc = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flat(self.act(self.pool(self.relu(self.conv(x))) - 0.1)))


class Linear(nn.Module):
    """What Captum's LRP has rules for."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(12, 6)
        self.relu = nn.ReLU()
        self.out = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.hidden(x)))


def on_layer(kind: Callable[..., Any], layer: str) -> Callable[[Any, str], Any]:
    return lambda model, prefix: kind(model, model.get_submodule(prefix + layer))


HALVES = (
    torch.arange(4)
    .div(2, rounding_mode="floor")
    .view(1, 1, 4, 1, 1)
    .expand(1, 3, 4, 8, 8)
    .contiguous()
)
METHODS: dict[str, tuple[Callable[[Any, str], Any], dict[str, Any]]] = {
    "Saliency": (lambda m, p: captum.Saliency(m), {}),
    "InputXGradient": (lambda m, p: captum.InputXGradient(m), {}),
    "IntegratedGradients": (
        lambda m, p: captum.IntegratedGradients(m),
        {"n_steps": 4, "internal_batch_size": 2, "baselines": BASELINE},
    ),
    "GradientShap": (lambda m, p: captum.GradientShap(m), {"baselines": BASELINE, "n_samples": 2}),
    "DeepLift": (lambda m, p: captum.DeepLift(m), {"baselines": BASELINE}),
    "DeepLiftShap": (lambda m, p: captum.DeepLiftShap(m), {"baselines": BASELINE}),
    "GuidedBackprop": (lambda m, p: captum.GuidedBackprop(m), {}),
    "Deconvolution": (lambda m, p: captum.Deconvolution(m), {}),
    "NoiseTunnel": (lambda m, p: captum.NoiseTunnel(captum.Saliency(m)), {"nt_samples": 2}),
    "FeatureAblation": (lambda m, p: captum.FeatureAblation(m), {"feature_mask": HALVES}),
    "Occlusion": (lambda m, p: captum.Occlusion(m), {"sliding_window_shapes": (3, 2, 8, 8)}),
    "ShapleyValueSampling": (
        lambda m, p: captum.ShapleyValueSampling(m),
        {"feature_mask": HALVES, "n_samples": 2},
    ),
    "KernelShap": (lambda m, p: captum.KernelShap(m), {"feature_mask": HALVES, "n_samples": 4}),
    "LayerGradCam": (on_layer(captum.LayerGradCam, "conv"), {}),
    "GuidedGradCam": (on_layer(captum.GuidedGradCam, "conv"), {}),
    "LayerConductance": (on_layer(captum.LayerConductance, "conv"), {"n_steps": 3}),
    "LayerDeepLift": (on_layer(captum.LayerDeepLift, "relu"), {"baselines": BASELINE}),
    "InternalInfluence": (on_layer(captum.InternalInfluence, "pool"), {"n_steps": 3}),
}


# what Captum says whatever the model is
@pytest.mark.filterwarnings(r"ignore:\s*Setting .*hooks", "ignore:Input Tensor 0 did not already")
@pytest.mark.filterwarnings("ignore:You are providing multiple inputs")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("form", ["list", "ModelOutput"])
def test_captum_s_methods(name: str, form: str) -> None:
    make, options = METHODS[name]
    chosen = FORMS[form]
    found = []
    net: Any = answering(seeded(Layered()), chosen)
    before = state(with_gradients(net)) if name != "KernelShap" else state(net)
    for model, prefix in ((wrap_model(net, chosen.output), ""), (ByHand(net, chosen), "net.")):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (GradientShap draws from it)
        found.append(make(model, prefix).attribute(X.clone().requires_grad_(), target=2, **options))
        if prefix == "":
            assert_same({**before, "random": None}, {**state(net), "random": None})
    assert_same_bits(*found)


def test_captum_s_relevance() -> None:
    form = FORMS["dict"]
    net = answering(seeded(Linear()), form)
    x = clip(3, 12).requires_grad_()
    found = captum.LRP(wrap_model(net, form.output)).attribute(x, target=1)
    expected = captum.LRP(seeded(Linear())).attribute(x, target=1)
    assert_same_bits(found, expected)


def test_captum_s_metrics() -> None:
    form = FORMS["tuple"]
    net = answering(seeded(Layered()), form)
    wrapped, by_hand = wrap_model(net, form.output), ByHand(net, form)
    relevance = DeepTaylor(wrapped).attribute(X, target=1)

    def shaken(x: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.rand_like(x) / 10
        return noise, x - noise

    scores = []
    for model in (wrapped, by_hand):
        torch.manual_seed(0)
        scores.append(infidelity(model, shaken, X, relevance, target=1))
        scores.append(
            sensitivity_max(DeepTaylor(model).attribute, X, target=1, n_perturb_samples=2)
        )
    assert_same_bits(scores[:2], scores[2:])


SIZES: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": 4,
    "num_frames": 4,
}


class Logits(nn.Module):
    """What users write around a video transformer."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(pixel_values=x.permute(0, 2, 1, 3, 4)).logits


def video_mae() -> nn.Module:
    return VideoMAEForVideoClassification(VideoMAEConfig(tubelet_size=2, **SIZES))


def timesformer() -> nn.Module:
    return TimesformerForVideoClassification(TimesformerConfig(**SIZES))


def vivit() -> nn.Module:
    return VivitForVideoClassification(VivitConfig(tubelet_size=[2, 8, 8], **SIZES))


TRANSFORMERS = {
    "VideoMAE": (video_mae, "videomae.encoder.layer.0", TokenGrid((2, 2, 2))),
    "TimeSformer": (
        timesformer,
        "timesformer.encoder.layer.0",
        TokenGrid((4, 2, 2), class_tokens=1, order="hwt"),
    ),
    "ViViT": (vivit, "vivit.layers.0", TokenGrid((2, 2, 2), class_tokens=1)),
}
FRAMES = clip(2, 3, 4, 16, 16, dtype=torch.float32)


@pytest.fixture(params=TRANSFORMERS)
def transformer(request: pytest.FixtureRequest) -> Any:
    make, layer, grid = TRANSFORMERS[request.param]
    torch.manual_seed(0)
    net = make().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)
    return net, layer, grid


def test_transformers(transformer: Any) -> None:
    net, layer, grid = transformer
    if layer not in dict(net.named_modules()):  # older versions
        layer = layer.replace("vivit.layers", "vivit.encoder.layer")
    wrapped, by_hand = wrap_model(net, inputs="pixel_values:NTCHW"), Logits(net)
    assert torch.equal(wrapped(FRAMES), by_hand(FRAMES))
    assert wrapped.config is net.config
    before = state(net)

    def both(explain: Callable[[Any, str], Any]) -> None:
        assert_same_bits(explain(wrapped, layer), explain(by_hand, f"net.{layer}"))

    both(
        lambda m, name: VideoGradCam(m, name, reshape_transform=grid).attribute(FRAMES, "predicted")
    )
    gradient = FRAMES.clone().requires_grad_()
    both(lambda m, name: captum.InputXGradient(m).attribute(gradient, target=1))
    both(lambda m, name: captum.IntegratedGradients(m).attribute(FRAMES, target=1, n_steps=3))
    both(
        lambda m, name: DiscriminativeRelevance(captum.Saliency(m)).decompose(
            FRAMES, target="predicted"
        )
    )
    frames = {"frames_per_clip": FRAMES.shape[2]}
    both(
        lambda m, name: FrameAttention(
            m, name, weights=lambda out: _norms(out, grid), **frames
        ).attribute(FRAMES)
    )
    assert_same(before, state(net))


def _norms(output: Any, grid: TokenGrid) -> Tensor:
    """How large the tokens of each time slice are, spread over the clip's four frames."""
    tokens = output[0] if isinstance(output, tuple) else output
    slices = grid(tokens).square().mean((1, 3, 4))
    return slices.repeat_interleave(4 // slices.shape[1], 1).softmax(1)


def test_copies_of_transformers(transformer: Any) -> None:
    net, _, _ = transformer
    wrapped = wrap_model(net, "logits", "pixel_values:NTCHW")
    for copied in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert torch.equal(copied(FRAMES), wrapped(FRAMES))
        assert copied.unwrapped is not net
        assert copied.double()(FRAMES.double()).dtype == torch.float64
    assert next(net.parameters()).dtype == torch.float32


def test_other_parts_of_a_transformer_s_answer() -> None:
    torch.manual_seed(0)
    net = video_mae().eval()
    with pytest.raises(ValueError, match=r"output 'logit': .* Did you mean 'logits'"):
        wrap_model(net, "logit", "pixel_values:NTCHW")(FRAMES)
    states = wrap_model(net, lambda a: a.hidden_states[-1].mean(1), "pixel_values:NTCHW")
    assert states(FRAMES, output_hidden_states=True).shape == (2, 16)
    loss = wrap_model(net, "loss", "pixel_values:NTCHW")
    assert loss(FRAMES, torch.tensor([0, 1])).dim() == 0  # labels, as additional_forward_args
    with pytest.raises(
        ValueError, match="output 'loss': the model answers an ImageClassifierOutput"
    ):
        loss(FRAMES)
