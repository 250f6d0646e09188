"""The feature map decoder: hidden layers as moving skeletons."""

from __future__ import annotations

import argparse
import warnings
from functools import partial

import torch
from torch import nn

from captum_video import FeatureMapDecoder
from captum_video.attr.feature_map_decoder import DecodableLayer
from captum_video.cli._cam import existing_layer, in_the_command_s_words
from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._model import Facts
from captum_video.cli._request import Decoded, Explain, Explanation, Method, Request


def _plan(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    given = [name.strip() for names in options.layer or () for name in names.split(",")]
    if not all(given):
        raise UsageError(f"--layer {','.join(options.layer)}: there is an empty name")
    layers = list(dict.fromkeys(given))
    for name in layers:
        existing_layer(model, "--layer", name, "layer", None)
    return partial(_decode, layers=layers)


def _decode(request: Request, layers: list[str]) -> Explanation:
    facts, inputs = request.facts, request.inputs
    mean, std = torch.tensor(facts.mean), torch.tensor(facts.std)
    mean, std = (value[0] if len(value) == 1 else value for value in (mean, std))
    with in_the_command_s_words():
        known = FeatureMapDecoder.layers(request.model, inputs)
        fields = {layer.name: layer.field for layer in known}
        decoded = []
        for name in layers or _default(known, inputs.shape[2]):
            decoder = FeatureMapDecoder(request.model, name, mean=mean, std=std)
            drawn = FeatureMapDecoder(
                request.model, name, mean=mean, std=std, scale="input", ends="held"
            )
            sequence, picture = (d.attribute(inputs)[0].cpu() for d in (decoder, drawn))
            responses = decoder.responses(inputs)[0].float().cpu()
            decoded.append(Decoded(name, sequence, picture, responses, fields.get(name)))
    return Explanation({}, "decoded", decoded=tuple(decoded))


def _default(known: list[DecodableLayer], length: int) -> list[str]:
    """Of each stream the first layer, a middle and the last one, as far as they fit the sequence."""
    chosen: list[str] = []
    if not any(layer.number > 1 for layer in known):
        raise ModelError(
            "the model has no layers that can be decoded: it is not like a Res-TCN, in which each "
            "layer adds one convolution of its normalised and activated output to itself"
        )
    fitting = [layer for layer in known if layer.field <= length]
    if not fitting:
        least = min(layer.field for layer in known)
        raise ModelError(
            f"the sequence has {length} frames, but an activation of the first layer sees {least}: "
            f"give --frames {least} or more"
        )
    longer = [layer.name for layer in known if layer not in fitting]
    if longer:
        warnings.warn(
            f"not decoded, as their activations see more frames than the {length} that there are: "
            f"{', '.join(longer)}; give more --frames",
            stacklevel=2,
        )
    for stream in sorted({layer.stream for layer in fitting}):
        names = [layer.name for layer in fitting if layer.stream == stream]
        chosen += [names[0], names[len(names) // 2], names[-1]]
    return list(dict.fromkeys(chosen))


DECODER_METHODS = {
    "feature-map-decoder": Method(
        _plan, frozenset({"layer"}), reads=("skeletons",), targeted=False
    ),
}
