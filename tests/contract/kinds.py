"""The classes that make the promises, and what a call must leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.log import log_usage
from torch import Tensor, nn

from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    FrameAttention,
    RegressionGradCam,
    SelectiveRelevance,
    TemporalParameters,
    VideoGradCam,
)

NEED_TIME = [DiscriminativeRelevance, SelectiveRelevance]
SHAPE = (2, 3, 4, 8, 8)


def on_inputs(cls: Callable[..., Any]) -> Callable[..., Any]:
    """A class that explains the input itself."""

    def make(model: Callable[..., Any], net: nn.Module | None = None) -> Any:
        return cls(model)

    return make


def on_a_layer(
    cls: Callable[..., Any], layers: tuple[str, ...], **options: Any
) -> Callable[..., Any]:
    """A class that explains the first layer that a net (behind a callable) has of some."""

    def make(model: Callable[..., Any], net: nn.Module | None = None) -> Any:
        owner = model if net is None else net
        assert isinstance(owner, nn.Module)
        named = dict(owner.named_modules())
        return cls(model, next(named[name] for name in layers if name in named), **options)

    return make


class ByDeepTaylor(TemporalParameters):
    """Channels by the relevance of a hidden layer."""

    @log_usage()
    def attribute(self, inputs: Any, target: Any = None, *args: Any) -> Tensor:
        return super().attribute(inputs, target, *args, method="deep_taylor")


def contrast(inputs: Any) -> Tensor:
    """Each example's mean in standard deviations, ``(N, 1)``; halving a clip does not change it."""
    clips = inputs[0] if isinstance(inputs, tuple) else inputs
    return (clips.mean((1, 2, 3, 4)) / clips.std((1, 2, 3, 4))).unsqueeze(1)


DEEP = ("features.3", "inner.features.3", "conv", "rgb")
FIRST = ("features.0", "inner.features.0", "stem", "rgb")
CLASSES: dict[str, Callable[..., Any]] = {
    **{cls.__name__: on_inputs(cls) for cls in (DeepTaylor, *NEED_TIME)},
    "VideoGradCam": on_a_layer(VideoGradCam, DEEP),
    "VideoGradCam by frame": on_a_layer(VideoGradCam, DEEP, temporal_pooling="frame"),
    "RegressionGradCam": on_a_layer(RegressionGradCam, DEEP, objective="output"),
    "RegressionGradCam of a loss": on_a_layer(
        RegressionGradCam,
        DEEP,
        loss=lambda outputs, inputs: (outputs * contrast(inputs) - 1).square().sum(1),
        self_supervised=True,
    ),
    "FrameAttention": on_a_layer(
        FrameAttention, FIRST, weights=lambda out: out.mean((1, 3, 4)).softmax(1)
    ),
    "TemporalParameters": on_a_layer(TemporalParameters.fit, DEEP, starts=1, iterations=1),
    "TemporalParameters by deep Taylor": on_a_layer(ByDeepTaylor.fit, DEEP, starts=1, iterations=1),
}


def state(net: nn.Module) -> dict[str, Any]:
    """Everything about a model and the process that a call must leave alone."""
    return {
        "tensors": {
            k: (v.data_ptr(), v.clone()) for k, v in net.state_dict(keep_vars=True).items()
        },
        "training": [m.training for m in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "hooks": [
            [dict(v) for k, v in sorted(vars(m).items()) if k.endswith("hooks")]
            for m in net.modules()
        ],
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "random": torch.get_rng_state(),
        "cudnn": (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
        ),
        "grad_mode": torch.is_grad_enabled(),
    }


def assert_same(before: Any, after: Any) -> None:
    if isinstance(before, Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_same(before[key], after[key])
    elif isinstance(before, (list, tuple)):
        assert len(before) == len(after)
        for a, b in zip(before, after, strict=True):
            assert_same(a, b)
    else:
        assert before == after


def with_gradients(net: nn.Module) -> nn.Module:
    for number, parameter in enumerate(net.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
        parameter.requires_grad_(number % 2 == 0)
    return net
