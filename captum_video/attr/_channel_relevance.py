"""How much each channel of a layer mattered for a decision, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from captum._utils.common import _format_additional_forward_args
from torch import Tensor
from torch.nn import Module

from captum_video._core.checks import check_choice, check_inputs
from captum_video._core.targets import target_score
from captum_video.attr._clip_maps import LayerMap, at_clip_size
from captum_video.attr._grad_cam import GradCam
from captum_video.attr.deep_taylor import DeepTaylor

Method = Literal["grad_cam", "deep_taylor"]


class ChannelRelevance:
    """Relevance of each channel at each place of a layer.

    Args:
        forward: the model, or a callable.
        layer: the module.
        method: ``"grad_cam"`` or ``"deep_taylor"``.
        options: of :class:`DeepTaylor`; relevance starts with one unless they say otherwise.
        time_dim: the input's time axis.

    Raises:
        ValueError: for another method.
        TypeError: for options beside Grad-CAM, or that ``DeepTaylor`` does not take.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        layer: Module,
        method: Method,
        options: Mapping[str, Any],
        time_dim: int | None,
    ) -> None:
        check_choice("method", method, ("grad_cam", "deep_taylor"))
        self.cam = GradCam.of(forward, layer, "clip", None, None, time_dim)
        # from the score, a negative one would turn every sign
        chosen = {"seed": "one", **options}
        self.deep_taylor = DeepTaylor(forward, **chosen) if method == "deep_taylor" else None
        if options and self.deep_taylor is None:
            raise TypeError(
                f"options of DeepTaylor ({', '.join(options)}) need method='deep_taylor', got "
                f"{method!r}"
            )

    def maps(
        self, inputs: Tensor | tuple[Tensor, ...], target: Any, additional_forward_args: Any
    ) -> LayerMap:
        """Relevance at the layer's size.

        Args:
            inputs: one or several.
            target: the output to explain.
            additional_forward_args: further arguments of the model.

        Returns:
            ``(N, channels, T', h, w)`` with its arrangement.

        Raises:
            ValueError: as for :class:`VideoGradCam`.
            TypeError: likewise.
        """
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        if self.deep_taylor is None:
            run = self.cam.gradients(clips, extra, lambda output: target_score(output, target))
            return self.cam.maps(run, summed=False)[0]
        (placed, *_) = self.cam.coverage(clips, extra)
        (relevance,) = self.deep_taylor._relevance_at(self.cam.layer, clips, target, extra)
        if relevance is None:
            raise ValueError(
                f"what is explained does not depend on layer {self.cam.name!r}: choose a layer that "
                "leads to it"
            )
        return LayerMap(placed.arrange(relevance.to(clips[0].dtype)), placed)

    def at_clip_size(self, inputs: Tensor | tuple[Tensor, ...], item: LayerMap) -> Any:
        """A map at the size of the inputs; a tuple for a tuple."""
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        sizes = self.cam.sizes(clips)
        high = tuple(at_clip_size(self.cam.name, [item], sizes, "linear", "receptive_field"))
        return high if isinstance(inputs, tuple) else high[0]
