"""What the Grad-CAM classes share: one forward pass, one backward pass, maps in clip layout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from captum_video._core.checks import check_choice, check_frames_per_clip, check_model
from captum_video._core.guards import check_evaluation_mode, recurrent_backward, untouched
from captum_video.attr._cam import TemporalPooling, class_activation_map
from captum_video.attr._clip_maps import ClipSize, LayerMap, TemporalAlignment, at_clip_size
from captum_video.layers import (
    Arrangement,
    Capture,
    ClipAxes,
    Question,
    Trace,
    arrangement,
    captured,
    deepest_with_time,
    layer_name,
    resolve_layer,
)


class Gradients(NamedTuple):
    """What one forward and one backward pass gave.

    Attributes:
        activations: the layer's tensors, arranged.
        gradients: of the score, likewise.
        arrangements: of each.
    """

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

    @classmethod
    def of(
        cls,
        model: Callable[..., Any],
        layer: Module | str,
        temporal_pooling: TemporalPooling,
        frames_per_clip: int | None,
        reshape_transform: Callable[[Any], Tensor] | None,
        time_dim: int | None,
    ) -> GradCam:
        """From what a caller gives.

        Raises:
            TypeError: for a model that is not callable or a layer that is neither module nor name.
            ValueError: for a layer that the model does not have, or an option that does not exist.
        """
        check_model(model)
        check_choice("temporal_pooling", temporal_pooling, ("clip", "frame"))
        check_frames_per_clip(frames_per_clip)
        module = resolve_layer(model, layer)
        return cls(model, module, temporal_pooling, frames_per_clip, reshape_transform, time_dim)

    @property
    def name(self) -> str:
        """What messages call the layer."""
        return layer_name(self.forward, self.layer)

    def axes(self, inputs: tuple[Tensor, ...]) -> list[ClipAxes]:
        """The axes of each input; features ``(N, D)`` beside a clip have neither time nor space."""
        first, *others = inputs
        return [
            ClipAxes.of(first, self.time_dim),
            *(ClipAxes.of(x, self.time_dim if x.dim() > 2 else None) for x in others),
        ]

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
        self._check_pooling(inputs[0])
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(inputs[0].device.type, enabled=False),
            untouched(self.forward, inputs[0].device),
            recurrent_backward(self.forward, inputs[0]),
        ):
            # no leaves, as the model may write into them; with gradients, as parameters may be frozen
            copies = tuple(clip.detach().clone().requires_grad_().clone() for clip in inputs)
            with (
                Trace(copies) as trace,
                captured(self.layer, trace, layer_input=layer_input) as capture,
            ):
                output = self.forward(*copies, *extra)
                capture.check(self.name)
                placed = self._arranged(capture, trace, inputs)
            value = score(output)
            found = capture.gradients(value, self.name, grad_kwargs or {})
        activations, gradients = (
            self._in_clip_layout(capture, placed, tensors) for tensors in (capture.tensors, found)
        )
        self._check_finite("activation", activations)
        self._check_finite("gradient", gradients)
        self._warn_of_zeros(gradients)
        return Gradients(activations, gradients, list(placed.values()))

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
            for activation, gradient, placed in zip(*run, strict=True)
        ]

    def explained(
        self,
        inputs: Any,
        extra: tuple[Any, ...],
        run: Gradients,
        *,
        enlarged: bool,
        mode: str,
        alignment: TemporalAlignment,
        summed: bool = True,
        positive: bool = False,
    ) -> Any:
        """The maps as the caller gets them: a tuple for several tensors or several inputs."""
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.no_grad(), torch.autocast(clips[0].device.type, enabled=False):
            maps = self.maps(run, summed=summed, positive=positive)
            if not enlarged:
                low = tuple(item.map for item in maps)
                return low if len(low) > 1 else low[0]
            high = tuple(at_clip_size(self.name, maps, self.sizes(clips), mode, alignment))
        self._warn_of_time(clips, extra, maps, alignment)
        return high if len(high) > 1 or isinstance(inputs, tuple) else high[0]

    def sizes(self, inputs: tuple[Tensor, ...]) -> list[ClipSize]:
        """What maps are enlarged to, for each input."""
        return [
            ClipSize(
                tuple(clip.shape[axis] for axis in axes.space),
                self.frames(inputs, number),
                axes.time is not None or self.frames_per_clip is not None,
            )
            for number, (clip, axes) in enumerate(zip(inputs, self.axes(inputs), strict=True))
        ]

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
                return list(self._arranged(capture, trace, inputs).values())

    def _warn_of_time(
        self,
        inputs: tuple[Tensor, ...],
        extra: tuple[Any, ...],
        maps: Iterable[LayerMap],
        alignment: TemporalAlignment,
    ) -> None:
        """Warns of slices that could not be placed, and of one slice where a layer has several."""
        for item in maps:
            placed, length = item.arrangement, self.frames(inputs, item.arrangement.source)
            if placed.slices > 1 and placed.coverage is None and alignment != "uniform":
                warnings.warn(
                    f"where the {placed.slices} time slices of layer {self.name!r} look cannot be "
                    "followed through the operations before it, so they are spread evenly (which "
                    "temporal_alignment='uniform' asks for)",
                    stacklevel=5,
                )
            if placed.slices > 1 or length < 2:
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
    ) -> dict[int, Arrangement]:
        """How the layer's tensors belong to the clip, by their number among them.

        Tensors beside the others that do not (a scale, an auxiliary loss) are left out.
        """
        tensors, layouts = capture.tensors, capture.layouts
        if self.reshape_transform is not None:
            grid = self._transformed(capture, capture.tensors)
            tensors, layouts = [grid], [trace.layout(grid)]
        shapes = tuple(tuple(clip.shape) for clip in inputs)
        placed, refused = {}, []
        for number, (tensor, layout) in enumerate(zip(tensors, layouts, strict=True)):
            question = Question(
                self.name,
                tuple(tensor.shape),
                layout,
                shapes,
                tuple(self.axes(inputs)),
                self.frames_per_clip,
                self.reshape_transform is not None,
            )
            try:
                placed[number] = arrangement(question)
            except ValueError as error:
                refused.append((tensor, layout, error))
        serious = [error for tensor, layout, error in refused if layout or tensor.dim() > 1]
        if refused and (serious or not placed):
            raise (serious or [error for *_, error in refused])[0]
        return placed

    def _transformed(self, capture: Capture, tensors: list[Tensor]) -> Tensor:
        assert self.reshape_transform is not None
        grid = self.reshape_transform(capture.with_tensors(tensors))
        if not isinstance(grid, Tensor):
            raise ValueError(
                f"reshape_transform must return a tensor (N, C, T, H, W), got {type(grid).__name__}"
            )
        return grid

    def _in_clip_layout(
        self, capture: Capture, placed: dict[int, Arrangement], tensors: list[Tensor]
    ) -> list[Tensor]:
        if self.reshape_transform is not None:
            tensors = [self._transformed(capture, tensors)]
        return [own.arrange(tensors[number]) for number, own in placed.items()]

    def _check_pooling(self, clip: Tensor) -> None:
        timeless = self.frames_per_clip is None and ClipAxes.of(clip, self.time_dim).time is None
        if self.temporal_pooling == "frame" and timeless:
            raise ValueError(
                f"temporal_pooling='frame' needs a time axis; an input of shape "
                f"{tuple(clip.shape)} is taken for pictures: name its time axis by time_dim, or "
                "give frames_per_clip for frames given as a batch"
            )

    def _check_finite(self, what: str, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            bad = int((~tensor.isfinite()).sum())
            if bad:
                raise ValueError(
                    f"the {what} at layer {self.name!r} is NaN or infinite in {bad} of "
                    f"{tensor.numel()} places, so there is nothing to show"
                    + ("" if what != "gradient" else "; the root of a zero error has none")
                )

    def _warn_of_zeros(self, gradients: list[Tensor]) -> None:
        zero = torch.stack([(g == 0).flatten(1).all(1) for g in gradients]).all(0)
        if bool(zero.any()):
            numbers = zero.nonzero().flatten().tolist()
            warnings.warn(
                f"the gradient at layer {self.name!r} is zero for example(s) {numbers}: their maps "
                "are zero, which says nothing about what the model looked at",
                stacklevel=5,
            )

    def frames(self, inputs: tuple[Tensor, ...], number: int) -> int:
        """The number of frames of an input."""
        time = self.axes(inputs)[number].time
        return int(inputs[number].shape[time]) if time is not None else self.frames_per_clip or 1
