"""What the Grad-CAM classes share: one forward pass, one backward pass, maps in clip layout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from captum_video._core.guards import check_evaluation_mode, recurrent_backward, untouched
from captum_video.attr._cam import (
    TemporalPooling,
    check_mode,
    class_activation_map,
    upsample,
)
from captum_video.layers import (
    Arrangement,
    Capture,
    ClipAxes,
    Coverage,
    Question,
    Trace,
    arrangement,
    captured,
    deepest_with_time,
    layer_name,
)

TemporalAlignment = Literal["receptive_field", "uniform"]


class LayerMap(NamedTuple):
    """One tensor of a layer, explained.

    Attributes:
        map: ``(N, 1, [T',] ...)`` at the layer's size, detached.
        arrangement: how the layer's axes belong to the clip's.
    """

    map: Tensor
    arrangement: Arrangement


class ClipSize(NamedTuple):
    """What a map is enlarged to: the sizes of space, the number of frames, whether it has time."""

    space: tuple[int, ...]
    frames: int
    has_time: bool


class Gradients(NamedTuple):
    """What one forward and one backward pass gave.

    Attributes:
        output: the model's output, detached where it is a tensor.
        activations: the layer's tensors, arranged.
        gradients: of the score, likewise.
        arrangements: of each.
    """

    output: Any
    activations: list[Tensor]
    gradients: list[Tensor]
    arrangements: list[Arrangement]


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM of one layer for any score.

    Attributes:
        forward: the model, or a callable.
        layer: the module.
        temporal_pooling: ``"clip"`` or ``"frame"``.
        frames_per_clip: time slices of a clip at a layer that sees frames as a batch.
        reshape_transform: from the layer's output to ``(N, C, T, H, W)``.
        time_dim: the input's time axis, or None for that of its rank.
    """

    forward: Callable[..., Any]
    layer: Module
    temporal_pooling: TemporalPooling
    frames_per_clip: int | None
    reshape_transform: Callable[[Any], Tensor] | None
    time_dim: int | None

    @property
    def name(self) -> str:
        """What messages call the layer."""
        return layer_name(self.forward, self.layer)

    def axes(self, inputs: tuple[Tensor, ...]) -> list[ClipAxes]:
        """The axes of each input."""
        return [ClipAxes.of(clip, self.time_dim) for clip in inputs]

    def count(self, clip: Tensor) -> int:
        """The number of examples: of clips, where frames are given as a batch."""
        folded = self.frames_per_clip is not None and ClipAxes.of(clip, self.time_dim).time is None
        return len(clip) // (self.frames_per_clip or 1) if folded else len(clip)

    def gradients(
        self,
        inputs: tuple[Tensor, ...],
        extra: tuple[Any, ...],
        score: Callable[[Any], Tensor],
        *,
        layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Gradients:
        """The layer's activations and the gradient of a score with respect to them.

        Args:
            inputs: checked inputs.
            extra: further arguments of the model.
            score: from the model's output to a tensor whose sum is differentiated.
            layer_input: whether the layer's input counts instead of its output.
            grad_kwargs: further arguments of ``torch.autograd.grad``.

        Returns:
            Both, in clip layout.

        Raises:
            ValueError: if the layer is not called once, gives no tensor, has a layout that cannot
                be known, has no influence on the score, or the gradient is not finite.
        """
        check_evaluation_mode(self.forward)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(inputs[0].device.type, enabled=False),
            untouched(self.forward, inputs[0].device),
            recurrent_backward(self.forward, inputs[0]),
        ):
            copies = tuple(clip.detach().clone() for clip in inputs)
            with (
                Trace(copies) as trace,
                captured(self.layer, trace, layer_input=layer_input) as capture,
            ):
                output = self.forward(*copies, *extra)
                capture.check(self.name)
                placed = self._arranged(capture, trace, inputs)
            value = score(output)
            found = capture.gradients(value, self.name, grad_kwargs or {})
        leaves = [leaf.detach() for leaf in capture.leaves]
        activations, gradients = (
            self._in_clip_layout(capture, placed, tensors) for tensors in (leaves, found)
        )
        self._check_gradients(gradients)
        return Gradients(_detached(output), activations, gradients, placed)

    def maps(
        self, run: Gradients, *, summed: bool = True, positive: bool = False
    ) -> list[LayerMap]:
        """Maps at the layer's size, one for each of its tensors."""
        return [
            LayerMap(
                class_activation_map(
                    activation,
                    gradient,
                    pooling=self.temporal_pooling,
                    has_time=placed.has_time,
                    summed=summed,
                    positive=positive,
                ),
                placed,
            )
            for activation, gradient, placed in zip(*run[1:], strict=True)
        ]

    def explained(
        self,
        inputs: Any,
        extra: tuple[Any, ...],
        run: Gradients,
        *,
        at_clip_size: bool,
        mode: str,
        alignment: TemporalAlignment,
        summed: bool = True,
        positive: bool = False,
    ) -> Any:
        """The maps as the caller gets them: a tuple for several tensors or several inputs."""
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.no_grad(), torch.autocast(clips[0].device.type, enabled=False):
            maps = self.maps(run, summed=summed, positive=positive)
            if not at_clip_size:
                low = tuple(item.map for item in maps)
                return low if len(low) > 1 else low[0]
            high = tuple(self.at_clip_size(clips, maps, mode, alignment))
        self.warn_if_timeless(clips, extra, maps)
        return high if len(high) > 1 or isinstance(inputs, tuple) else high[0]

    def at_clip_size(
        self,
        inputs: tuple[Tensor, ...],
        maps: list[LayerMap],
        mode: str,
        alignment: TemporalAlignment,
    ) -> list[Tensor]:
        """Maps enlarged to the clips: each to the one it belongs to, or one to all of them."""
        sizes = [
            ClipSize(
                tuple(clip.shape[axis] for axis in axes.space),
                self._length(clip, axes),
                axes.time is not None or self.frames_per_clip is not None,
            )
            for clip, axes in zip(inputs, self.axes(inputs), strict=True)
        ]
        if len(maps) > 1:
            return [
                self._enlarged(item, sizes[item.arrangement.source], mode, alignment)
                for item in maps
            ]
        seen = maps[0].arrangement.seen
        high = [self._enlarged(maps[0], size, mode, alignment) for size in sizes]
        return [
            each if seen is None or number in seen else torch.zeros_like(each)
            for number, each in enumerate(high)
        ]

    def _enlarged(
        self, item: LayerMap, size: ClipSize, mode: str, alignment: TemporalAlignment
    ) -> Tensor:
        placed = item.arrangement
        if len(placed.space) != len(size.space) or not (size.space or placed.has_time):
            raise ValueError(
                f"layer {self.name!r} gives maps of shape {tuple(item.map.shape)}, which have not "
                f"the {len(size.space)} spatial axes of the input: choose a layer with space, or "
                "ask for upsample=False"
            )
        low = item.map if placed.has_time else item.map.unsqueeze(2)
        coverage = placed.coverage
        if coverage is None or alignment == "uniform" or coverage.length != size.frames:
            coverage = Coverage.uniform(low.shape[2], size.frames)
        high = upsample(low, coverage, size.space, check_mode(mode, len(size.space)))
        return high if size.has_time else high.squeeze(2)

    def coverage(
        self, inputs: tuple[Tensor, ...], extra: tuple[Any, ...], layer_input: bool = False
    ) -> list[Arrangement]:
        """How the layer's tensors belong to the clip, by a forward pass without gradients."""
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            untouched(self.forward, inputs[0].device),
        ):
            copies = tuple(clip.detach().clone() for clip in inputs)
            with (
                Trace(copies) as trace,
                captured(self.layer, trace, layer_input=layer_input) as capture,
            ):
                self.forward(*copies, *extra)
                capture.check(self.name)
                return self._arranged(capture, trace, inputs)

    def warn_if_timeless(
        self, inputs: tuple[Tensor, ...], extra: tuple[Any, ...], maps: Iterable[LayerMap]
    ) -> None:
        """Warns if the layer has one time step for many frames and an earlier one has several."""
        for item in maps:
            number = item.arrangement.source
            length = self._length(inputs[number], self.axes(inputs)[number])
            if item.arrangement.slices > 1 or length < 2:
                continue
            other = deepest_with_time(self.forward, self.layer, inputs, extra, self.time_dim)
            if other is None:
                continue  # the model never tells frames apart, so one map is all there is
            warnings.warn(
                f"layer {self.name!r} has one time step for {length} frames, so every frame gets "
                f"the same map; the deepest layer before it that still has several is "
                f"{other.name!r}, with {other.slices}",
                stacklevel=5,
            )

    def _arranged(
        self, capture: Capture, trace: Trace, inputs: tuple[Tensor, ...]
    ) -> list[Arrangement]:
        """How each of the layer's tensors belongs to the clip."""
        tensors, layouts = capture.leaves, capture.layouts
        if self.reshape_transform is not None:
            grid = self._transformed(capture, capture.leaves)
            tensors, layouts = [grid], [trace.layout(grid)]
        shapes = tuple(tuple(clip.shape) for clip in inputs)
        return [
            arrangement(
                Question(
                    self.name,
                    tuple(tensor.shape),
                    layout,
                    shapes,
                    tuple(self.axes(inputs)),
                    self.frames_per_clip,
                    self.reshape_transform is not None,
                )
            )
            for tensor, layout in zip(tensors, layouts, strict=True)
        ]

    def _transformed(self, capture: Capture, tensors: list[Tensor]) -> Tensor:
        assert self.reshape_transform is not None
        grid = self.reshape_transform(capture.with_tensors(tensors))
        if not isinstance(grid, Tensor):
            raise ValueError(
                f"reshape_transform must return a tensor (N, C, T, H, W), got {type(grid).__name__}"
            )
        return grid

    def _in_clip_layout(
        self, capture: Capture, placed: list[Arrangement], tensors: list[Tensor]
    ) -> list[Tensor]:
        if self.reshape_transform is not None:
            tensors = [self._transformed(capture, tensors)]
        return [own.arrange(tensor) for own, tensor in zip(placed, tensors, strict=True)]

    def _check_gradients(self, gradients: list[Tensor]) -> None:
        zero = torch.ones(len(gradients[0]), dtype=torch.bool)
        for gradient in gradients:
            if not bool(gradient.isfinite().all()):
                bad = int((~gradient.isfinite()).sum())
                raise ValueError(
                    f"the gradient at layer {self.name!r} is NaN or infinite in {bad} of "
                    f"{gradient.numel()} places, so there is nothing to show; the root of a zero "
                    "error, for one, has no gradient"
                )
            zero &= (gradient == 0).flatten(1).all(1).cpu()
        if bool(zero.any()):
            numbers = zero.nonzero().flatten().tolist()
            warnings.warn(
                f"the gradient at layer {self.name!r} is zero for example(s) {numbers}: their maps "
                "are zero, which says nothing about what the model looked at",
                stacklevel=5,
            )

    def _length(self, clip: Tensor, axes: ClipAxes) -> int:
        """The number of frames of a clip."""
        if axes.time is not None:
            return int(clip.shape[axes.time])
        return self.frames_per_clip or 1


def _detached(output: Any) -> Any:
    return output.detach() if isinstance(output, Tensor) else output
