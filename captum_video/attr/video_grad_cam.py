"""Grad-CAM for every video model: maps that line up with the frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum._utils.common import _format_additional_forward_args
from captum.attr import LayerGradCam
from captum.log import log_usage
from torch import Tensor
from torch.nn import Module

from captum_video._core.checks import check_choice, check_inputs
from captum_video._core.targets import target_score
from captum_video.attr._cam import TemporalPooling
from captum_video.attr._clip_maps import TemporalAlignment
from captum_video.attr._grad_cam import GradCam
from captum_video.layers import Coverage


class VideoGradCam(LayerGradCam):
    r"""Where and when a video model found a class, as a map at the clip's size.

    Grad-CAM (Selvaraju et al. 2016) weights the channels :math:`A_c` of a layer by the average
    gradient of the score :math:`y`,

    .. math:: L_{t\mathbf{x}} = \sum_c w_c A_{ct\mathbf{x}}, \qquad
              w_c = \frac{1}{|T'||X|} \sum_{t,\mathbf{x}}
              \frac{\partial y}{\partial A_{ct\mathbf{x}}},

    (``temporal_pooling="clip"``, as Captum does), or with weights :math:`w_{ct}` of each time slice,
    averaged over space alone (``"frame"``, paper 4, section 2.4). The map is then enlarged to the
    clip: by interpolation in space, and in time by putting each slice where it looked, at the centre
    of its receptive field. Those centres are computed from the operations that ran between the input
    and the layer. Where that is not possible, as after attention, slices are spread evenly.

    Layers may see the clip as a block ``(N, C, T', h, w)``, as frames folded into the batch
    ``(N * T', C, h, w)``, as tokens ``(N, T' * h * w, C)`` or with channels last. How the layer's
    axes belong to the clip's is followed through the forward pass; where it cannot be, it is asked
    for. All of a clip's frames are explained by one forward and one backward pass.

    Departures from paper 4: no ReLU unless ``relu_attributions`` is set and no normalisation of each
    slice by its maximum, so that slices can be compared; slices are placed in time by arithmetic
    rather than on frames 1 and 6.

    Args:
        model: the model, or any callable of the inputs that returns one tensor, in evaluation mode.
        layer: the layer to explain, as a module or by dotted name. It must run once in a forward
            pass.
        temporal_pooling: ``"clip"`` or ``"frame"``.
        frames_per_clip: the number of time slices of a clip at a layer that sees frames as a batch;
            needed only where it is not evident, and checked where it is.
        reshape_transform: from the layer's output to ``(N, C, T', h, w)``, for layouts that cannot
            be followed; see :mod:`captum_video.layers` for those of common transformers.
        time_dim: the input's time axis. None means axis 2 of ``(N, C, T, H, W)`` and ``(N, C, T)``,
            and no time for images ``(N, C, H, W)``.

    Raises:
        TypeError: for a model that is not callable or a layer that is neither module nor name.
        ValueError: for a layer that the model does not have, or an option that does not exist.

    Example:
        >>> import torch
        >>> from captum_video import VideoGradCam
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> clip = torch.rand(1, 3, 8, 16, 16)
        >>> VideoGradCam(net.eval(), "0").attribute(clip, target="predicted").shape
        torch.Size([1, 1, 8, 16, 16])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        layer: Module | str,
        *,
        temporal_pooling: TemporalPooling = "clip",
        frames_per_clip: int | None = None,
        reshape_transform: Callable[[Any], Tensor] | None = None,
        time_dim: int | None = None,
    ) -> None:
        cam = GradCam.of(
            model, layer, temporal_pooling, frames_per_clip, reshape_transform, time_dim
        )
        super().__init__(model, cam.layer)
        self._cam = cam

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: dict[str, Any] | None = None,
        *,
        upsample: bool = True,
        interpolate_mode: str = "linear",
        temporal_alignment: TemporalAlignment = "receptive_field",
    ) -> Any:
        """The map of each clip.

        Args:
            inputs: clips ``(N, C, T, H, W)``, images, sequences, or a tuple of inputs.
            target: the output to explain, in any form that Captum takes, or ``"predicted"``.
            additional_forward_args: further arguments of the model.
            attribute_to_layer_input: explain the layer's input instead of its output.
            relu_attributions: set negative values to 0, before upsampling.
            attr_dim_summation: sum over channels; without, each channel has its own map.
            grad_kwargs: further arguments of :func:`torch.autograd.grad`.
            upsample: whether to enlarge to the clip's size. Without, the map is at the layer's size
                and equals that of :class:`captum.attr.LayerGradCam` (for frames folded into the
                batch, which that class takes for examples, with ``temporal_pooling="frame"``).
            interpolate_mode: ``"linear"``, ``"nearest"``, or ``"bicubic"`` (in space).
            temporal_alignment: ``"receptive_field"``, or ``"uniform"`` to spread slices evenly.

        Returns:
            ``(N, 1, T, H, W)`` for clips, ``(N, 1, H, W)`` for images, ``(N, 1, T)`` for sequences,
            detached. A tuple where the layer gives several tensors, each at the size of the input
            that it descends from, or else where ``inputs`` is a tuple, one map at each input's size;
            it is zero for an input that does not lead to the layer. Slices are placed by arithmetic
            in the first input that leads to it, evenly in others.

        Raises:
            TypeError: for inputs that are not floating-point tensors.
            ValueError: for empty or non-finite inputs, a target that does not fit, a layer that is
                not called exactly once or has no space, a layout that cannot be known, a number of
                frames that contradicts the time axis, or a gradient that is not finite.
            RuntimeError: for a model with batch norm or dropout in training mode.

        Warns:
            UserWarning: if the layer has one time step for many frames where an earlier layer has
                several (which is named), if where its slices look cannot be followed, or if a
                gradient is zero.
        """
        check_choice("temporal_alignment", temporal_alignment, ("receptive_field", "uniform"))
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        run = self._cam.gradients(
            clips,
            extra,
            lambda output: target_score(output, target),
            layer_input=attribute_to_layer_input,
            grad_kwargs=grad_kwargs,
        )
        return self._cam.explained(
            inputs,
            extra,
            run,
            enlarged=upsample,
            mode=interpolate_mode,
            alignment=temporal_alignment,
            summed=attr_dim_summation,
            positive=relu_attributions,
        )

    def coverage(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Coverage:
        """Which frames each time slice of the layer covers, for inputs of this shape.

        Args:
            inputs: as for :meth:`attribute`; the values do not matter.
            additional_forward_args: further arguments of the model.
            attribute_to_layer_input: as for :meth:`attribute`.

        Returns:
            ``coverage.frames(k)`` is the range of frames that slice ``k`` covers,
            ``coverage.centres[k]`` the middle of its receptive field (unclipped, in frames), and
            ``coverage.traced`` tells whether that is arithmetic or even spacing.

        Raises:
            ValueError: as for :meth:`attribute`.
        """
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        placed = self._cam.coverage(clips, extra, attribute_to_layer_input)[0]
        if placed.coverage is not None:
            return placed.coverage
        return Coverage.uniform(placed.slices, self._cam.frames(clips, placed.source))
