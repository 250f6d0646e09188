"""The channels of a layer as functions of the clip, differentiable in it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_leaves

from captum_video._core.guards import check_evaluation_mode, recurrent_backward, untouched
from captum_video.attr._grad_cam import GradCam
from captum_video.layers import Arrangement
from captum_video.layers.capture import observed

Reduce = Literal["max", "mean"]
#: from clips and further arguments of the model to activations ``(N, channels, [T',] ...)``
Activations = Callable[[Tensor, tuple[Any, ...]], Tensor]


@dataclass(frozen=True)
class LayerChannels:
    """What the channels of one layer give for clips.

    Attributes:
        cam: knows model and layer, and brings the layer's axes into the clip's order.
    """

    cam: GradCam

    @classmethod
    def of(
        cls,
        model: Callable[..., Any],
        layer: Module | str,
        frames_per_clip: int | None,
        reshape_transform: Callable[[Any], Tensor] | None,
    ) -> LayerChannels:
        """From what a caller gives.

        Raises:
            TypeError: for a model that is not callable or a layer that is neither module nor name.
            ValueError: for a layer that the model does not have, or ``frames_per_clip`` below 1.
        """
        return cls(GradCam.of(model, layer, "clip", frames_per_clip, reshape_transform, None))

    @property
    def name(self) -> str:
        """What messages call the layer."""
        return self.cam.name

    def arrangement(self, clips: Tensor, extra: tuple[Any, ...]) -> Arrangement:
        """How the layer's axes belong to the clip's, by a forward pass without gradients.

        Args:
            clips: ``(N, C, T, H, W)``.
            extra: further arguments of the model.

        Returns:
            The arrangement.

        Raises:
            ValueError: if the layer is not called once, does not give one tensor, or has a layout
                that cannot be known.
            RuntimeError: for a model with batch norm or dropout in training mode.
        """
        check_evaluation_mode(self.cam.forward)
        (placed, *more) = self.cam.coverage((clips,), extra)
        if more:
            raise ValueError(
                f"layer {self.name!r} gives {1 + len(more)} tensors, so its channels are not one "
                "list: give a reshape_transform that picks one, as (N, C, T, H, W)"
            )
        return placed

    @contextmanager
    def following(self, clips: Tensor, placed: Arrangement) -> Iterator[Activations]:
        """Runs the model on this thread with gradients, and leaves it as it was.

        Args:
            clips: on the device that is used.
            placed: the layer's arrangement, for these clips or as many others of their shape.

        Yields:
            A function that gives the layer's activations, part of the graph.
        """
        kept: list[Any] = []
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(clips.device.type, enabled=False),
            untouched(self.cam.forward, clips.device),
            recurrent_backward(self.cam.forward, clips),
            observed({self.name: self.cam.layer}, lambda *call: kept.append(self._copied(call[2]))),
        ):

            def activations(given: Tensor, extra: tuple[Any, ...]) -> Tensor:
                kept.clear()
                self.cam.forward(given.clone(), *extra)  # the model may write into what it gets
                return placed.arrange(kept[0])

            yield activations

    def _copied(self, output: Any) -> Tensor:
        """The layer's tensor, before later in-place calls change it."""
        if self.cam.reshape_transform is not None:
            return self.cam.reshape_transform(output).clone()
        found = [x for x in tree_leaves(output) if isinstance(x, Tensor) and x.is_floating_point()]
        if len(found) != 1:
            raise ValueError(
                f"layer {self.name!r} gives {len(found)} floating-point tensors, so its channels "
                "are not one list: give a reshape_transform that picks one, as (N, C, T, H, W)"
            )
        return found[0].clone()


def check_channel(channel: object, count: int, name: str, argument: str = "channel") -> int:
    """Refuses a channel that a layer does not have.

    Args:
        channel: what the caller gave.
        count: the number of channels.
        name: the layer.
        argument: what the caller calls it.

    Returns:
        The channel as an int.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is out of range.
    """
    try:
        number = operator.index(channel)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(channel, bool):
        raise TypeError(f"{argument} must be an integer, got {channel!r}")
    if not 0 <= number < count:
        raise ValueError(
            f"{argument} must be from 0 to {count - 1}, the {count} channels of layer {name!r}, got "
            f"{number}"
        )
    return number


def reduced(activations: Tensor, reduce: Reduce) -> Tensor:
    """One number for each channel: at its most active place, or the mean over all.

    Args:
        activations: ``(N, channels, ...)``.
        reduce: ``"max"`` (places that tie share the gradient) or ``"mean"``.

    Returns:
        ``(N, channels)``.
    """
    flat = activations.reshape(*activations.shape[:2], -1)
    return flat.amax(2) if reduce == "max" else flat.mean(2)


def gradient_of(value: Tensor, clips: Tensor, name: str) -> Tensor:
    """The gradient of a layer's activation.

    Args:
        value: any tensor; its sum is differentiated.
        clips: with respect to what.
        name: the layer.

    Returns:
        A tensor like ``clips``.

    Raises:
        ValueError: if there is none.
    """
    found: Tensor | None = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), clips, allow_unused=True)
    if found is None:
        raise ValueError(
            f"layer {name!r} does not depend on the clips by gradients: choose one that does (or the "
            "model cuts them before it, by torch.no_grad, detach or NumPy)"
        )
    return found
