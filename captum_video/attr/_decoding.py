r"""Equations 6, 7 and 10 of paper 5: from a layer's activations back to the input's domain."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_video.layers.residual_stack import Preparation, StackLayer


def compressed(weight: Tensor) -> Tensor:
    r"""Filters as single frames: the mean of their two middle taps (equation 6).

    Filters of odd length have one middle tap, which is taken.

    Args:
        weight: ``(filters, channels, length)``.

    Returns:
        ``(filters, channels)``.
    """
    length = weight.shape[2]
    return weight[:, :, (length - 1) // 2 : length // 2 + 1].mean(2)


def stretched(sequence: Tensor, length: int, stride: int, start: int) -> Tensor:
    """Puts steps to the frames that they belong to, and interpolates linearly between them.

    Args:
        sequence: ``(N, channels, steps)``.
        length: how many frames there are.
        stride: frames from one step to the next.
        start: the frame of step 0.

    Returns:
        ``(N, channels, length)``; frames before the first step or after the last are like it.
    """
    steps = sequence.shape[2]
    if stride == 1 and start == 0 and steps == length:
        return sequence
    # in float64, as frame numbers are: in half precision they would be wrong
    frames = torch.arange(length, device=sequence.device, dtype=torch.float64)
    place = ((frames - start) / stride).clamp(0, steps - 1)
    left = place.floor().long().clamp(max=max(steps - 2, 0))
    part = (place - left).to(sequence.dtype)
    right = (left + 1).clamp(max=steps - 1)
    return sequence[:, :, left] * (1 - part) + sequence[:, :, right] * part


def decoded(layer: StackLayer) -> Tensor:
    r"""Decodes the activations of a layer.

    From the last change of width :math:`m` back to the first, the activations are retrieved in the
    width before it (equation 10) and stretched to the layer's length there,

    .. math::
        x'(t) = \sum_i \hat W_m^{(i)} (x^{(i)}(t) - x_m^{(i)}(t)) + \tilde W_m^{(i)} x_m^{(i)}(t),

    and the compressed filters of the first layer turn the result into the input's dimensions
    (equation 7). What was done to the input before the first layer is undone.

    Args:
        layer: the layer.

    Returns:
        ``(N, D, T)``.
    """
    sequence = layer.value
    for widening in reversed(layer.widenings):
        kernel, shortcut = compressed(widening.residual.weight), widening.shortcut.weight[:, :, 0]
        sequence = _weighted(sequence - widening.value, kernel) + _weighted(
            widening.value, shortcut
        )
        sequence = stretched(sequence, widening.length, widening.shortcut.stride, 0)
    sequence = _weighted(sequence, compressed(layer.first.weight))
    sequence = stretched(sequence, layer.length, layer.first.stride, layer.first.middle)
    return unprepared(sequence, layer.prepared)


def unprepared(sequence: Tensor, prepared: tuple[Preparation, ...]) -> Tensor:
    """Undoes arithmetic with constants, the last first.

    Dimensions that were multiplied by zero are lost: of them nothing is decoded but what is added
    to them afterwards, such as the mean skeleton.

    Args:
        sequence: ``(N, D, T)``.
        prepared: what was done to the input, in order.

    Returns:
        ``(N, D, T)``.
    """
    for step in reversed(prepared):
        constant = step.constant
        if isinstance(constant, Tensor):
            constant = constant.to(sequence)
        else:
            constant = torch.as_tensor(constant, dtype=sequence.dtype, device=sequence.device)
        if step.name == "add":
            sequence = sequence - constant
        elif step.name == "sub":
            sequence = constant - sequence if step.reversed else sequence + constant
        elif step.name == "div":
            sequence = sequence * constant
        else:
            sequence = torch.where(constant == 0, 0, sequence / constant)
    return sequence


def rescaled(sequence: Tensor, inputs: Tensor, prepared: tuple[Preparation, ...]) -> Tensor:
    r"""Brings a decoded sequence to the input's size.

    .. math:: \mu + (\hat x - \mu) \, \frac{\lVert x - \mu \rVert}{\lVert \hat x - \mu \rVert}

    for each example, with :math:`\mu` the input that the first layer takes for zero. Dimensions of which
    nothing is decoded, in the whole sequence, do not count.

    Args:
        sequence: :math:`\hat x`, ``(N, D, T)``.
        inputs: :math:`x`.
        prepared: what is done to the input before the first layer.

    Returns:
        ``(N, D, T)``; a sequence in which nothing is decoded stays as it is.
    """
    centre = unprepared(torch.zeros_like(sequence), prepared)
    moved = sequence - centre
    seen = (moved != 0).any(2, keepdim=True)
    size, wanted = (
        values.double().square().mul(seen).sum((1, 2), keepdim=True).sqrt()
        for values in (moved, inputs - centre)
    )
    factor = torch.where(size > 0, wanted / size.clamp(min=torch.finfo(size.dtype).tiny), 1.0)
    return centre + moved * factor.to(sequence)


def _weighted(sequence: Tensor, filters: Tensor) -> Tensor:
    """The sum of filters, each weighted by its channel, at each step."""
    return torch.einsum("nit,ic->nct", sequence, filters.to(sequence))
