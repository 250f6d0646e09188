"""What one channel of a layer saw in a clip, what it looks for, and which motion."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import Saliency
from torch import Tensor
from torch.nn import Module

from captum_video._core.checks import check_choice, check_inputs
from captum_video.attr._layer_channels import (
    LayerChannels,
    Reduce,
    check_channel,
    gradient_of,
    reduced,
)
from captum_video.attr._temporal_readout import LayerReadout
from captum_video.attr.activation_maximization import ActivationMaximization
from captum_video.attr.temporal_parameters import TemporalParameters
from captum_video.layers import Arrangement, Coverage
from captum_video.nn import Conv3T


class ChannelSaliency(NamedTuple):
    """Where a channel's activation comes from.

    Attributes:
        saliency: ``(N, C, T, H, W)``, the signed gradient with respect to the clips, detached.
        activation: ``(N,)``, the activation that was differentiated.
        peak_slice: ``(N,)``, the layer's time slice in which the channel was most active.
        peak_frame: ``(N,)``, the frame in the middle of what that slice sees; the frame with the
            largest gradients where the layer has no time.
    """

    saliency: Tensor
    activation: Tensor
    peak_slice: Tensor
    peak_frame: Tensor


@dataclass(frozen=True)
class ChannelExplanation:
    """The combined explanation of a channel, as in paper 1's Figure 1B.

    Attributes:
        layer: the layer's dotted name.
        channel: the channel's number.
        clip: ``(C, T, H, W)``, as the model got it.
        saliency: ``(C, T, H, W)``, the gradient of the channel's activation.
        activation: what was differentiated.
        peak_frame: the frame at which the channel was most active.
        maximised: ``(C, T, H, W)``, the clip that activates the channel most.
        maximised_frame: the frame of that clip at which the channel is most active.
        objective: ``(steps + 1,)``, the activation on the way there.
        motion: the layer's temporal parameters, of all channels; None if it has none.
        note: why there is no motion; empty if there is.
    """

    layer: str
    channel: int
    clip: Tensor
    saliency: Tensor
    activation: float
    peak_frame: int
    maximised: Tensor
    maximised_frame: int
    objective: Tensor
    motion: LayerReadout | None
    note: str = ""


def channel_saliency(
    model: Callable[..., Any],
    layer: Module | str,
    inputs: Tensor,
    channel: int,
    *,
    additional_forward_args: Any = None,
    reduce: Reduce = "max",
    frames_per_clip: int | None = None,
    reshape_transform: Callable[[Any], Tensor] | None = None,
) -> ChannelSaliency:
    r"""The input saliency of one channel: which pixels its activation depends on.

    With the activations :math:`A_{ct\mathbf{x}}` of a layer and the clip :math:`v`,

    .. math:: S = \frac{\partial}{\partial v} \max_{t,\mathbf{x}} A_{ct\mathbf{x}}

    (Simonyan et al. 2014, there for a class score; paper 1, section 4.1), or of the mean instead of
    the maximum. Simonyan's picture is :math:`\max_\text{colour} |S|`.

    Args:
        model: the model, or any callable of the clips, in evaluation mode.
        layer: the layer, as a module or by dotted name. It must run once in a forward pass.
        inputs: clips ``(N, C, T, H, W)``.
        channel: the channel's number.
        additional_forward_args: further arguments of the model.
        reduce: ``"max"``, the channel's most active place (places that tie share), or ``"mean"``.
        frames_per_clip: as for :class:`captum_video.VideoGradCam`.
        reshape_transform: likewise.

    Returns:
        The gradient, the activation, and when the channel was most active.

    Raises:
        TypeError: for inputs that are no floating-point tensor, or a channel that is no integer.
        ValueError: for inputs that are not finite or no clips, a channel that the layer does not
            have, a layer that is not called exactly once or does not depend on the inputs, or
            activations or gradients that are not finite.
        RuntimeError: for a model with batch norm or dropout in training mode.

    Warns:
        UserWarning: if the gradient is zero for a clip.
    """
    channels = LayerChannels.of(model, layer, frames_per_clip, reshape_transform)
    check_choice("reduce", reduce, ("max", "mean"))
    _check_clips(inputs)
    extra = _format_additional_forward_args(additional_forward_args) or ()
    placed = channels.arrangement(inputs, extra)
    number = check_channel(channel, placed.shape[1], channels.name)
    found: list[Tensor] = []
    with channels.following(inputs, placed) as activations:

        def forward(clips: Tensor) -> Tensor:
            own = activations(clips, extra)[:, number : number + 1]
            found[:] = [own.detach()]
            return reduced(own, reduce)[:, 0]

        leaf = inputs.detach().clone().requires_grad_()
        method = Saliency(forward)
        method.gradient_func = lambda function, leaves, *_: (
            gradient_of(function(*leaves), leaves[0], channels.name),
        )
        gradient = method.attribute(leaf, abs=False).detach()
    (activation,) = found
    for what, values in (("activation", activation), ("gradient", gradient)):
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"the {what} of channel {number} of layer {channels.name!r} is NaN or infinite, so "
                "there is nothing to show"
            )
    _warn_of_zeros(gradient, number, channels.name)
    slices, frames = _peaks(activation, gradient, placed)
    return ChannelSaliency(gradient, reduced(activation, reduce)[:, 0], slices, frames)


def explain_channel(
    model: Callable[..., Any],
    layer: Module | str,
    inputs: Tensor,
    channel: int,
    *,
    motion: LayerReadout | Mapping[str, LayerReadout] | None = None,
    additional_forward_args: Any = None,
    reduce: Reduce = "max",
    frames_per_clip: int | None = None,
    reshape_transform: Callable[[Any], Tensor] | None = None,
    **options: Any,
) -> ChannelExplanation:
    """Saliency, activation maximisation and temporal parameters of one channel (paper 1, Fig. 1B).

    :func:`captum_video.visualization.channel_figure` draws it.

    Args:
        model: the model, or any callable of the clips, in evaluation mode.
        layer: the layer, as a module or by dotted name.
        inputs: one clip, ``(1, C, T, H, W)``.
        channel: the channel's number.
        motion: the temporal parameters, of the layer or by layer, as
            :meth:`captum_video.TemporalParameters.read` gives them. None reads those of a
            ``Conv3T``; for a ``Conv3d``, :meth:`captum_video.TemporalParameters.fit` finds some. It
            must be of this very layer: by its name, or, where either was read or explained without
            the model around it and is called by its class, by its kernel size and channels.
        additional_forward_args: further arguments of the model.
        reduce: the channel's activation, at its most active place (``"max"``) or the ``"mean"``
            over all: what saliency differentiates and what is maximised.
        frames_per_clip: as for :class:`captum_video.VideoGradCam`.
        reshape_transform: likewise.
        options: further options of :meth:`ActivationMaximization.maximize`, such as ``steps``,
            ``seed``, ``mean`` and ``std``, ``show_progress``.

    Returns:
        All of it; the clip that is maximised has the shape of ``inputs``.

    Raises:
        TypeError: as for :func:`channel_saliency`, for options that do not exist, or a ``motion``
            that is no readout.
        ValueError: as for :func:`channel_saliency` and :meth:`ActivationMaximization.maximize`, for
            several clips, or a ``motion`` without this layer or channel, or of another layer.
        RuntimeError: as for :func:`channel_saliency`.
    """
    if isinstance(inputs, Tensor) and inputs.dim() == 5 and len(inputs) > 1:
        raise ValueError(
            f"inputs must be one clip (1, C, T, H, W), got {len(inputs)}: give inputs[i : i + 1]"
        )
    layout: dict[str, Any] = {
        "frames_per_clip": frames_per_clip,
        "reshape_transform": reshape_transform,
    }
    channels = LayerChannels.of(model, layer, **layout)
    found = channel_saliency(
        model, layer, inputs, channel, reduce=reduce,
        additional_forward_args=additional_forward_args, **layout,
    )  # fmt: skip
    readout, note = _motion_of(channels, motion, channel)
    maximised = ActivationMaximization(model, layer, **layout).maximize(
        channel, tuple(inputs.shape[1:]), reduce=reduce,
        additional_forward_args=additional_forward_args,
        dtype=inputs.dtype, device=inputs.device, **options,
    )  # fmt: skip
    reached = channel_saliency(
        model, layer, maximised.clips.unsqueeze(0), channel, reduce=reduce,
        additional_forward_args=additional_forward_args, **layout,
    )  # fmt: skip
    return ChannelExplanation(
        layer=channels.name,
        channel=int(channel),
        clip=inputs[0].detach().clone(),
        saliency=found.saliency[0],
        activation=float(found.activation[0]),
        peak_frame=int(found.peak_frame[0]),
        maximised=maximised.clips,
        maximised_frame=int(reached.peak_frame[0]),
        objective=maximised.objective,
        motion=readout,
        note=note,
    )


def _motion_of(
    channels: LayerChannels,
    motion: LayerReadout | Mapping[str, LayerReadout] | None,
    channel: int,
) -> tuple[LayerReadout | None, str]:
    """The layer's temporal parameters, or why there are none."""
    name, layer = channels.name, channels.cam.layer
    if isinstance(motion, Mapping):
        if name not in motion:
            known = ", ".join(map(repr, motion)) or "nothing"
            raise ValueError(f"motion has no layer {name!r}; it holds {known}")
        motion = motion[name]
    if motion is None:
        if not isinstance(layer, Conv3T):
            return None, f"a {type(layer).__name__} has no temporal parameters of its own"
        motion = next(iter(TemporalParameters(channels.cam.forward, layer).read().values()))
    if not isinstance(motion, LayerReadout):
        raise TypeError(
            "motion must be a LayerReadout or a mapping from layers to such, got "
            f"{type(motion).__name__}"
        )
    if motion.layer != name and not _is_of_bare_layer(motion, layer, name):
        raise ValueError(
            f"motion must be of the explained layer {name!r}, got that of layer {motion.layer!r}"
        )
    check_channel(channel, motion.channels, motion.layer, "motion's channel")
    return motion, ""


def _is_of_bare_layer(motion: LayerReadout, layer: Module, name: str) -> bool:
    """Whether one of the two is known by its class only, and their kernels are of one size."""
    return type(layer).__name__ in (motion.layer, name) and (
        getattr(layer, "kernel_size", None) == motion.kernel_size
        and getattr(layer, "out_channels", None) == motion.channels
    )


def _peaks(activation: Tensor, gradient: Tensor, placed: Arrangement) -> tuple[Tensor, Tensor]:
    """The slice and the frame of the most active place of ``(N, 1, [T',] ...)``."""
    length = gradient.shape[2]
    if not placed.has_time:
        frames = gradient.abs().sum((1, 3, 4)).argmax(1)
        return torch.zeros_like(frames), frames
    slices = activation[:, 0].reshape(len(activation), placed.slices, -1).amax(2).argmax(1)
    coverage = placed.coverage or Coverage.uniform(placed.slices, length)
    middle = [min(max(math.floor(c + 0.5), 0), length - 1) for c in coverage.centres]
    return slices, torch.tensor(middle, device=slices.device)[slices]


def _check_clips(inputs: Tensor) -> None:
    """Refuses what is not one batch of clips."""
    check_inputs((inputs,))
    if inputs.dim() != 5:
        raise ValueError(
            f"inputs must be clips (N, C, T, H, W), got shape {tuple(inputs.shape)}; further inputs "
            "of the model belong to additional_forward_args"
        )


def _warn_of_zeros(gradient: Tensor, channel: int, name: str) -> None:
    zero = (gradient == 0).flatten(1).all(1)
    if bool(zero.any()):
        warnings.warn(
            f"the gradient of channel {channel} of layer {name!r} is zero for example(s) "
            f"{zero.nonzero().flatten().tolist()}: a ReLU keeps it at 0 there, or it depends on no "
            "pixel; choose the layer before the ReLU, or a channel that is active",
            stacklevel=3,
        )
