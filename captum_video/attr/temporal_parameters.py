"""Which motion the channels of a 3TConv, or of any 3D convolution, look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from captum._utils.common import _format_additional_forward_args
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Conv3d, Module

from captum_video._core.checks import check_choice, check_inputs, check_model
from captum_video.attr._channel_relevance import ChannelRelevance, Method
from captum_video.attr._decision_motion import DecisionMotion, Sign, channel_weights, strongest
from captum_video.attr._temporal_layers import (
    chosen_layers,
    explained_by_equal_slices,
    has_motion,
    what_has_none,
)
from captum_video.attr._temporal_reading import (
    check_finite,
    check_needed,
    read_layer,
    warn_of_degenerate,
)
from captum_video.attr._temporal_readout import Describes, TemporalReadout, Units
from captum_video.layers.strides import input_strides
from captum_video.nn import Conv3T, FactorizedConv3d, FreeConv3T, fit_affine_chain
from captum_video.nn.motion import Parameters, weighted_motion


class TemporalParameters(LayerAttribution):
    r"""The scale, rotation and translation that each channel of a 3TConv looks for.

    Slice ``b + 1`` of a 3TConv's kernel samples slice ``b`` at :math:`M_b p` (paper 1, equations 3
    to 9), so that the kernel's content moves by :math:`M_b^{-1}` from slice to slice:

    .. math:: p \mapsto \tfrac{1}{s_b} R(-r_b)\, p - t_b.

    A convolution multiplies slice ``b`` with frame ``t + b``, so this is also the motion of the
    pattern that the channel responds to most. :meth:`read` gives it by default
    (``describes="motion"``); ``describes="kernel"`` gives the parameters as they are. Rotations are
    in degrees, clockwise on the screen, as in the paper's plots; translations go right and down.
    Motion over several steps is the *composition* of their maps: a shift after a turn goes another
    way than before it, so that sums of parameters, which the paper plots, are only an approximation.

    Translations are fractions of half the kernel's extent, and pixels:

    * ``units="feature"``, of the layer's input: :math:`t (k - 1) / 2` times the dilation;
    * ``units="input"``, of the model's input: that times the layer's stride, which is followed
      through the forward pass of example ``inputs``; a step then lasts as many frames as the
      layer's temporal stride (``frames_per_step``);
    * ``units="paper"``, as the paper plots them: cumulative products and sums, :math:`-t_x W / 2`
      and :math:`+t_y H / 2` for a frame of height H and width W, the vertical axis pointing up. A
      kernel sees a small part of the frame, so these are not distances in the video.

    In a rectangular kernel the sampling map also shears; scale is then the root of its determinant
    and rotation that of its polar decomposition. A scale below 0.001 has no motion behind it: it
    reads as NaN, from that step on, with a warning.

    :meth:`attribute` says how much each channel of one layer mattered for a decision, and
    :meth:`motion` puts both together. :meth:`fit` does the same for ordinary 3D convolutions.

    Args:
        model: the model, or any callable of the inputs (then a layer is needed), in evaluation mode.
        layer: a :class:`captum_video.nn.Conv3T`, as a module or by dotted name; None for all.
        time_dim: the input's time axis, as for :class:`VideoGradCam`.

    Raises:
        TypeError: for a model that is not callable or a layer that is neither module nor name.
        ValueError: for a layer that the model does not have or that is no ``Conv3T``, or a model
            without any.

    Example:
        >>> import torch
        >>> from captum_video import TemporalParameters
        >>> from captum_video.nn import Conv3T
        >>> net = torch.nn.Sequential(Conv3T(3, 4, 5), torch.nn.Flatten()).eval()
        >>> TemporalParameters(net).read()["0"].cumulative.rotation.shape  # four steps, four channels
        torch.Size([4, 4])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        layer: Module | str | None = None,
        *,
        time_dim: int | None = None,
    ) -> None:
        check_model(model)
        layers = chosen_layers(model, layer, (Conv3T,))
        if not layers:
            raise ValueError(
                f"{what_has_none(model, layer)} no Conv3T, so there are no temporal parameters to read; "
                "TemporalParameters.fit(model, layer) finds those that come nearest to ordinary 3D "
                "kernels"
            )
        self._set_up(model, layers, time_dim, {})

    @classmethod
    def fit(
        cls,
        model: Callable[..., Any],
        layer: Module | str | None = None,
        *,
        time_dim: int | None = None,
        seed: int = 0,
        show_progress: bool = False,
        **options: Any,
    ) -> TemporalParameters:
        """The same for ordinary trained 3D kernels: the nearest affine chain of each channel.

        Finds, for each output channel, the first slice and the temporal parameters whose kernel
        comes closest in energy (paper 1's discussion leaves this open), see
        :func:`captum_video.nn.fit_affine_chain`. ``read()[layer].explained`` says how close: the
        parameters of a channel that is explained badly mean little. Equal slices, which do not move,
        explain ``explained_still`` of it, and a free first slice with a chain explains a good part
        of *any* kernel: compare both with kernels of random numbers of the same shape.

        Args:
            model: the model, or a ``Conv3d`` itself.
            layer: a ``Conv3d`` (or ``FreeConv3T``), as a module or by dotted name; None for all
                that have more than one slice and more than one tap in a slice.
            time_dim: the input's time axis.
            seed: of the random starts.
            show_progress: whether to show a progress bar.
            options: further options of :func:`captum_video.nn.fit_affine_chain`.

        Returns:
            The readout of these layers, as they are now: later changes of the weights do not count.

        Raises:
            ValueError: for a layer without such kernels, a model without any, or weights that are
                not finite.
        """
        check_model(model)
        layers = chosen_layers(
            model, layer, (Conv3d, FactorizedConv3d) if layer else (Conv3d, FreeConv3T)
        )
        if layer is None:
            layers = {n: m for n, m in layers.items() if has_motion(m)}
        if not layers:
            raise ValueError(
                f"{what_has_none(model, layer)} no Conv3d with more than one slice and more than "
                "one tap in a slice, so there is nothing to fit"
            )
        fits = {}
        for name, module in layers.items():
            weight = module.kernel() if isinstance(module, FactorizedConv3d) else module.weight
            kernel = cast(Tensor, weight).detach()
            try:
                chain = fit_affine_chain(
                    kernel,
                    seed=seed,
                    show_progress=show_progress,
                    **options,
                )
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
            parameters = Parameters(
                chain.scale, chain.rotation, chain.translation_x, chain.translation_y
            )
            fits[name] = parameters, (chain.explained, explained_by_equal_slices(kernel))
        made = cls.__new__(cls)
        made._set_up(model, layers, time_dim, fits)
        return made

    def _set_up(
        self,
        model: Callable[..., Any],
        layers: dict[str, Module],
        time_dim: int | None,
        fits: dict[str, tuple[Parameters, tuple[Tensor, Tensor]]],
    ) -> None:
        modules = list(layers.values())
        LayerAttribution.__init__(self, model, modules[0] if len(modules) == 1 else modules)
        self._layers, self._fits, self._time_dim = layers, fits, time_dim

    def read(
        self,
        *,
        units: Units = "feature",
        describes: Describes = "motion",
        frame_size: tuple[int, int] | None = None,
        inputs: Tensor | tuple[Tensor, ...] | None = None,
        additional_forward_args: Any = None,
    ) -> TemporalReadout:
        """The parameters of each layer, channel and step.

        Args:
            units: of translations, ``"feature"``, ``"input"`` or ``"paper"``.
            describes: ``"motion"`` or ``"kernel"``.
            frame_size: height and width of the frame, for ``units="paper"``.
            inputs: clips of the usual size, for ``units="input"``; their values do not matter.
            additional_forward_args: further arguments of the model, for ``units="input"``.

        Returns:
            A mapping from layer names to :class:`LayerReadout`, which can be written as a table.

        Raises:
            ValueError: for a unit or description that does not exist, a missing ``frame_size`` or
                ``inputs``, parameters that are not finite, or a stride that cannot be followed.

        Warns:
            UserWarning: for scales so near 0 that there is no motion behind them.
        """
        check_choice("units", units, ("feature", "input", "paper"))
        check_choice("describes", describes, ("motion", "kernel"))
        check_needed(units, frame_size, inputs)
        strides = {}
        if units == "input":
            clips = inputs if isinstance(inputs, tuple) else (cast(Tensor, inputs),)
            check_inputs(clips)
            extra = _format_additional_forward_args(additional_forward_args) or ()
            strides = input_strides(
                self.forward_func, self._layers, clips, extra, time_dim=self._time_dim
            )
        readouts = {}
        for name, module in self._layers.items():
            parameters, shares = self._parameters(name)
            check_finite(name, parameters)
            if describes == "motion":
                warn_of_degenerate(name, parameters)
            readouts[name] = read_layer(
                name, module, parameters, shares, units, describes,
                strides.get(name, (1.0, 1.0, 1.0)), frame_size,
            )  # fmt: skip
        return TemporalReadout(readouts)

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        method: Method = "grad_cam",
        **deep_taylor_options: Any,
    ) -> Tensor:
        r"""How much each channel of the layer mattered for a decision.

        ``"grad_cam"``: the channel's share of the Grad-CAM map summed over all places,
        :math:`w_c \sum_{t,\mathbf{x}} A_{ct\mathbf{x}}` with :math:`w_c` the mean gradient.
        ``"deep_taylor"``: the relevance of the channel's activations, summed over all places, of a
        target that starts with one (``seed="score"`` would turn all signs where a score is negative).

        Args:
            inputs: clips ``(N, C, T, H, W)``, or a tuple of inputs.
            target: the output to explain, in any form that Captum takes, or ``"predicted"``.
            additional_forward_args: further arguments of the model.
            method: ``"grad_cam"`` or ``"deep_taylor"``.
            deep_taylor_options: options of :class:`DeepTaylor`.

        Returns:
            ``(N, channels)``, detached; negative for channels that spoke against the target.

        Raises:
            TypeError: for inputs that are not floating-point tensors, or options beside Grad-CAM.
            ValueError: for empty or non-finite inputs, a target that does not fit, a layer that is
                not called exactly once or not fed a clip, or several layers to choose from.
            RuntimeError: for a model with batch norm or dropout in training mode.
        """
        explained = self._relevance(method, deep_taylor_options)
        return explained.maps(inputs, target, additional_forward_args).map.flatten(2).sum(2)

    def motion(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        method: Method = "grad_cam",
        sign: Sign = "positive",
        top: int | None = None,
        units: Units = "feature",
        frame_size: tuple[int, int] | None = None,
        **deep_taylor_options: Any,
    ) -> DecisionMotion:
        r"""The motion that a decision rests on: the channels' motions, weighted by relevance.

        With the relevance :math:`R_c` of :meth:`attribute`, weights are
        :math:`\max(R_c, 0) / \sum_{c'} \max(R_{c'}, 0)`; scales are averaged by their logarithms.

        Args:
            inputs: as for :meth:`attribute`.
            target: likewise.
            additional_forward_args: likewise.
            method: likewise.
            sign: which relevance counts: ``"positive"``, ``"negative"`` or ``"absolute"``.
            top: how many channels to name and to show; None for three, or all if there are fewer.
            units: as for :meth:`read`.
            frame_size: as for :meth:`read`.
            deep_taylor_options: as for :meth:`attribute`.

        Returns:
            The motion of each example, its most relevant channels, and where they saw it.

        Raises:
            TypeError: as for :meth:`attribute`.
            ValueError: as for :meth:`attribute` and :meth:`read`, or if ``top`` is not from 1 to
                the number of channels.

        Warns:
            UserWarning: as for :meth:`read`, and for examples without relevance of that sign.
        """
        check_choice("sign", sign, ("positive", "negative", "absolute"))
        explainer = self._relevance(method, deep_taylor_options)
        given = inputs if units == "input" else None
        args = additional_forward_args if units == "input" else None
        readout = TemporalParameters.read(
            self, units=units, frame_size=frame_size, inputs=given, additional_forward_args=args
        )[next(iter(self._layers))]
        top = min(3, readout.channels) if top is None else top
        if not isinstance(top, int) or not 1 <= top <= readout.channels:
            raise ValueError(f"top must be from 1 to {readout.channels} channels, got {top!r}")
        maps = explainer.maps(inputs, target, additional_forward_args)
        relevance = maps.map.flatten(2).sum(2)
        weights = channel_weights(relevance, sign)
        motion = weighted_motion(readout.cumulative, weights.to(readout.cumulative.scale.device))
        channels, shown = strongest(maps, weights, sign, top)
        where = explainer.at_clip_size(inputs, shown)
        return DecisionMotion(readout, relevance, weights, motion, channels, where)

    def _parameters(self, name: str) -> tuple[Parameters, tuple[Tensor, Tensor] | tuple[()]]:
        """Raw parameters of a layer; of a fit, the shares that it and equal slices explain."""
        if name in self._fits:
            return self._fits[name]
        layer = cast(Conv3T, self._layers[name])
        raw = (layer.scale, layer.rotation, layer.translation_x, layer.translation_y)
        return Parameters(*(parameter.detach().clone() for parameter in raw)), ()

    def _relevance(self, method: Method, options: Mapping[str, Any]) -> ChannelRelevance:
        """What explains the channels of the one layer."""
        if len(self._layers) > 1:
            shown = ", ".join(map(repr, self._layers))
            raise ValueError(
                f"layer is needed to explain a decision, as the model has several: {shown}"
            )
        (layer,) = self._layers.values()
        return ChannelRelevance(self.forward_func, layer, method, options, self._time_dim)
