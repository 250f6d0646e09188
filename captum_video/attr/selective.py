"""Selective relevance: keep relevance where it changes in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import Attribution, GradientAttribution
from captum.log import log_usage
from torch import Tensor

from captum_video._core.checks import check_clips, check_inputs
from captum_video.attr._base import Explainer, base_explainer


class SelectiveRelevance(GradientAttribution):
    r"""Relevance where it changes in time, from a single explanation.

    The follow-up of paper 2 (Hiley et al. 2020): a :math:`3 \times 3 \times 3` Sobel filter takes the
    temporal derivative :math:`D` of the relevance map (summed over channels), and relevance is kept
    where the derivative stands out,

    .. math:: R'_{ctyx} = R_{ctyx} \; [\,|D_{tyx}| > \sigma \cdot \mathrm{std}(D)\,]

    with the standard deviation over the clip. The filter is the central difference
    :math:`(-1, 0, 1)` in time times :math:`(1, 2, 1)` in height and width; the clip's borders are
    repeated. A constant map has no change, so nothing of it is kept.

    It takes one explanation where :class:`DiscriminativeRelevance` takes one per frame, but marks
    what *changes* rather than what is *owed* to motion.

    Args:
        model_or_method: a model, explained by :class:`DeepTaylor`, or any Captum attribution method.
        threshold: :math:`\sigma`, in standard deviations, at least 0.
        time_dim: the time axis; None means axis 2 of ``(N, C, T, H, W)``.
        **deep_taylor_options: options of :class:`DeepTaylor`, for a model only.

    Raises:
        TypeError: for something that is neither, or options beside a method.
        ValueError: for a negative threshold.

    Example:
        >>> import torch
        >>> from captum_video import SelectiveRelevance
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> method = SelectiveRelevance(net.eval(), threshold=1.0)
        >>> method.attribute(torch.rand(2, 3, 3, 5, 5), target="predicted").shape
        torch.Size([2, 3, 3, 5, 5])
    """

    def __init__(
        self,
        model_or_method: Callable[..., Any] | Attribution,
        *,
        threshold: float = 1.0,
        time_dim: int | None = None,
        **deep_taylor_options: Any,
    ) -> None:
        if not threshold >= 0:
            raise ValueError(f"threshold must be a number of at least 0, got {threshold!r}")
        self.explainer: Explainer = base_explainer(
            model_or_method, deep_taylor_options, bool(deep_taylor_options)
        )
        super().__init__(self.explainer.forward)
        self.threshold = threshold
        self.time_dim = time_dim

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Any:
        """Relevance where it changes in time, 0 elsewhere.

        Args:
            inputs: ``(N, C, T, H, W)``, or a tuple of clips.
            target: in any form that Captum takes, or ``"predicted"``.
            additional_forward_args: further arguments of the model, not explained.

        Returns:
            Relevance like ``inputs``, detached.

        Raises:
            TypeError: for inputs that are not floating-point tensors.
            ValueError: for clips without a time axis of at least two frames, non-finite values, or a
                target that does not fit.
        """
        is_tuple = isinstance(inputs, tuple)
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        axis = check_clips(clips, self.time_dim)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        explained = self.explainer.session()(tuple(c.detach() for c in clips), target, extra)
        kept = tuple(self._selected(relevance, axis) for relevance in explained.relevance)
        return kept if is_tuple else kept[0]

    @property
    def multiplies_by_inputs(self) -> bool:
        """As the method under it."""
        return self.explainer.multiplies_by_inputs

    def _selected(self, relevance: Tensor, axis: int) -> Tensor:
        """One input's relevance where its temporal derivative stands out."""
        summed = relevance if axis == 1 else relevance.sum(1, keepdim=True)
        change = temporal_derivative(summed, axis)
        spread = change.flatten(1).std(1, correction=0).view(-1, *[1] * (change.dim() - 1))
        return relevance * (change.abs() > self.threshold * spread)


def temporal_derivative(maps: Tensor, time_dim: int) -> Tensor:
    """The Sobel derivative in time, smoothed along the axes after it.

    Args:
        maps: maps with time along ``time_dim``.
        time_dim: the time axis; the axes after it are smoothed by ``(1, 2, 1)``.

    Returns:
        A tensor of the shape of ``maps``.
    """
    result = _filtered(maps, (-1.0, 0.0, 1.0), time_dim)
    for axis in range(time_dim + 1, maps.dim()):
        result = _filtered(result, (1.0, 2.0, 1.0), axis)
    return result


def _filtered(maps: Tensor, taps: tuple[float, float, float], axis: int) -> Tensor:
    """Three taps along one axis, the border repeated."""
    size = maps.shape[axis]
    before = maps.narrow(axis, 0, 1), maps.narrow(axis, 0, size - 1)
    after = maps.narrow(axis, 1, size - 1), maps.narrow(axis, size - 1, 1)
    neighbours = torch.cat(before, axis), maps, torch.cat(after, axis)
    return torch.stack([tap * moved for tap, moved in zip(taps, neighbours, strict=True)]).sum(0)
