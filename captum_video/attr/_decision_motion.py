"""The motion that a decision rests on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_video.attr._clip_maps import LayerMap
from captum_video.attr._temporal_readout import LayerReadout
from captum_video.nn.motion import AffineMotion, describe

Sign = Literal["positive", "negative", "absolute"]
_UNITS = {"feature": "feature px", "input": "px", "paper": "px (paper)"}


@dataclass(frozen=True)
class DecisionMotion:
    """Channels' motions weighted by their relevance for one decision each.

    Attributes:
        readout: the layer's parameters, with units and conventions.
        relevance: ``(N, channels)``.
        weights: ``(N, channels)``, what counts of it, as shares that sum to 1; zero for an example
            without any.
        motion: ``(steps, N)``, the weighted mean of the channels' cumulative motions; its last row
            is the motion over the whole depth of the kernel.
        channels: ``(N, top)``, the channels with the largest weights, largest first.
        where: ``(N, 1, T, H, W)``, what those of them with any weight gave to the decision, at the
            clip's size; a tuple for a tuple of inputs.
    """

    readout: LayerReadout
    relevance: Tensor
    weights: Tensor
    motion: AffineMotion
    channels: Tensor
    where: Any

    def describe(self, example: int = 0) -> str:
        """The motion of one example in words.

        Args:
            example: its number.

        Returns:
            One sentence: what moves how, seen by which channels.

        Raises:
            IndexError: if there is no such example.
        """
        if not 0 <= example < len(self.weights):
            raise IndexError(f"example must be from 0 to {len(self.weights) - 1}, got {example}")
        last = self.motion.apply(lambda values: values[-1, example])
        frames = self.readout.frames_per_step * self.readout.steps
        shares = self.weights[example, self.channels[example]]
        listed = ", ".join(
            f"{channel} ({share:.0%})"
            for channel, share in zip(self.channels[example].tolist(), shares.tolist(), strict=True)
            if share > 0
        )
        unit = _UNITS[self.readout.units]
        text = describe(last, unit, self.readout.y_axis == "down")
        return (
            f"What layer {self.readout.layer!r} looks for {text} over {frames:g} frames "
            f"(channels {listed or 'none'}).{self._reservations(example)}"
        )

    @property
    def known(self) -> Tensor:
        """``(N,)``, the share of the weights whose channels have a motion that can be read."""
        finite = self.readout.cumulative.scale[-1].isfinite().to(self.weights)
        return self.weights @ finite

    def _reservations(self, example: int) -> str:
        """What a reader must know beside the motion."""
        weights, text = self.weights[example], ""
        unknown = float(weights.sum() - self.known[example])
        if unknown > 5e-3:
            text += f" Channels with {unknown:.0%} of the weight have no motion that can be read."
        explained, still = self.readout.explained, self.readout.explained_still
        if explained is not None and still is not None:
            fit, still_fit = (
                float(weights.to(share) @ share.nan_to_num()) for share in (explained, still)
            )
            text += (
                f" This is a fit, which explains {fit:.0%} of these kernels; equal slices, without "
                f"any motion, explain {still_fit:.0%}."
            )
        return text


def channel_weights(relevance: Tensor, sign: Sign) -> Tensor:
    """The shares of relevance of one sign.

    Args:
        relevance: ``(N, channels)``.
        sign: ``"positive"``, ``"negative"`` or ``"absolute"``.

    Returns:
        ``(N, channels)`` float64, rows sum to 1, or to 0 where there is none.

    Warns:
        UserWarning: for examples without any.
    """
    counted = _signed(relevance.double(), sign)
    total = counted.sum(1, keepdim=True)
    none = (total.flatten() == 0).nonzero().flatten().tolist()
    if none:
        warnings.warn(
            f"no channel has {sign if sign != 'absolute' else 'any'} relevance for example(s) "
            f"{none}, so there is no motion behind the decision",
            stacklevel=3,
        )
    return counted / torch.where(total == 0, 1.0, total)


def strongest(maps: LayerMap, weights: Tensor, sign: Sign, top: int) -> tuple[Tensor, LayerMap]:
    """The channels that count most, and the sum of their maps.

    Args:
        maps: ``(N, channels, ...)`` with its arrangement.
        weights: ``(N, channels)``.
        sign: what counts; of ``"negative"`` relevance the map shows the magnitude.
        top: how many channels.

    Returns:
        Their numbers ``(N, top)``, largest weight first and the lower number first among equals,
        and the map ``(N, 1, ...)`` of what counts, from channels with any weight.
    """
    order = weights.argsort(dim=1, descending=True, stable=True)[:, :top]
    rows = torch.arange(len(order), device=order.device).unsqueeze(1)
    chosen = _signed(maps.map[rows, order], sign)
    counted = (weights.gather(1, order) > 0).to(chosen)
    shown = torch.einsum("nc,nc...->n...", counted, chosen).unsqueeze(1)
    return order, LayerMap(shown, maps.arrangement)


def _signed(values: Tensor, sign: Sign) -> Tensor:
    if sign == "absolute":
        return values.abs()
    return (values if sign == "positive" else -values).clamp(min=0)
