"""Grad-CAM for classes, and attention over frames."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from captum_video import FrameAttention, VideoGradCam
from captum_video.cli._cam import CAM_OPTIONS, Cam, existing_layer, in_the_command_s_words, layer_of
from captum_video.cli._errors import UsageError
from captum_video.cli._find import find
from captum_video.cli._model import Facts
from captum_video.cli._request import Attention, Explain, Explanation, Method, Request


def _plan_video(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    layer = layer_of(options, model, "layer", facts.layer)
    return partial(_video, cam=Cam.of(options, layer))


def _video(request: Request, cam: Cam, attention: Attention | None = None) -> Explanation:
    method = VideoGradCam(request.model, cam.layer, **cam.arguments)
    with in_the_command_s_words():
        found = method.attribute(
            request.inputs, request.target.index, temporal_alignment=cam.aligned
        )
        return cam.explained(request, found, attention=attention)


def _plan_attention(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    module = layer_of(options, model, "attention", facts.attention)
    weights = _weights(options.attention_weights)
    layer = existing_layer(model, "--grad-cam-layer", options.grad_cam_layer, "layer", facts.layer)
    if layer is not None:
        return partial(_attention, module=module, weights=weights, cam=Cam.of(options, layer))
    idle = [
        name
        for name in ("target", "also", *sorted(CAM_OPTIONS))
        if getattr(options, name) is not None
    ]
    if idle:
        raise UsageError(
            f"--{idle[0].replace('_', '-')} is for Grad-CAM, and there is no layer for it: attention "
            "weights depend on no class. Give --grad-cam-layer NAME; captum-video layers lists them"
        )
    return partial(_attention, module=module, weights=weights, cam=None)


def _attention(request: Request, module: str, weights: Any, cam: Cam | None) -> Explanation:
    with in_the_command_s_words():
        method = FrameAttention(request.model, module, weights=weights)
        found = method.attribute(request.inputs)
    attention = Attention(module, found[0].float().cpu())
    if cam is None:
        return Explanation({}, "attention", attention=attention)
    return _video(request, cam, attention)


def _weights(spec: str | None) -> str | Callable[[Any], Any] | None:
    """Where the module's weights are: the name of an attribute, or a function of the output."""
    if spec is None or ":" not in spec:
        return spec
    found = find("--attention-weights", spec, "ATTRIBUTE or MODULE:FUNCTION", "last_weights")
    if not callable(found):
        raise UsageError(f"--attention-weights {spec}: is a {type(found).__name__}, no function")
    function: Callable[[Any], Any] = found
    return function


GRAD_CAM_METHODS = {
    "video-grad-cam": Method(_plan_video, CAM_OPTIONS | {"layer"}),
    "frame-attention": Method(
        _plan_attention, CAM_OPTIONS | {"layer", "grad_cam_layer", "attention_weights"}
    ),
}
