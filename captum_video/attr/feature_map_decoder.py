"""A hidden layer of a residual temporal convolutional network, drawn in the input's own domain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Conv1d, Module

from captum_video._core.checks import check_choice, check_model
from captum_video._core.guards import check_evaluation_mode, module_of
from captum_video.attr._decoding import compressed, decoded, rescaled, unprepared
from captum_video.attr._stack_run import DecodableLayer, StackRun, single_sequence
from captum_video.layers import layer_name, resolve_layer
from captum_video.layers.residual_stack import NoResidualStack, StackLayer

SCALES, ENDS = ("filters", "input"), ("padded", "held")
_PROBE_FRAMES = 256


class FeatureMapDecoder(LayerAttribution):
    r"""What a layer of a Res-TCN has made of a sequence, as a sequence like the input.

    A filter of the first layer is a *motion primitive*: a snippet of the input's own dimensions, such
    as a moving skeleton. Deeper layers weigh and gate these primitives, so that their activations
    say when each of them is present. The decoder draws them again (paper 5, section 4.1): with the
    primitives compressed to single frames :math:`\hat W_1^{(i)}`, the means of their two middle taps
    (equation 6),

    .. math:: \hat x_l(t) = \sum_i \hat W_1^{(i)} x_l^{(i)}(t) \quad\text{(equation 7)},

    and for a layer behind a change of width at layer :math:`m`, first

    .. math::
        x'_l(t) = \sum_i \hat W_m^{(i)} (x_l^{(i)}(t) - x_m^{(i)}(t)) + \tilde W_m^{(i)} x_m^{(i)}(t)
        \quad\text{(equation 10)},

    with the residual filters :math:`W_m`, compressed alike, and the shortcut's :math:`\tilde W_m`; once
    for every change of width between the layer and the first. Biases do not take part. The
    architecture is read from the forward pass: any net is taken that starts with a convolution of
    the input and adds one convolution of its activated output at each layer, whatever its modules
    are called. A stream of MS-Res-TCN is such a stack too; what is piped into it counts as a further
    gate, which the paper does not say.

    Where the paper is silent or inexact:

    * The mean skeleton is added back if the model subtracts it; arithmetic with constants between
      input and first convolution is undone. If it is subtracted before the model, give ``mean``.
    * A filter of odd length has one middle tap, which is taken, so that a filter that is one-hot there
      decodes to the input; of even length, to half the input, as two taps are averaged.
    * Time, which the paper omits: a step stands at the frame where its shortcut is (in the first
      layer, the earlier middle tap of the filter), and frames between steps are interpolated linearly.
      A retrieved sequence is stretched before :math:`x_m` is subtracted.
    * A net that pads with zeros after subtracting the mean sees the mean skeleton before and after the
      sequence, so that near both ends what is decoded moves there. This is what the net sees, and
      larger than most motion; ``ends="held"`` keeps it out of what is measured.

    The decoded sequence is a picture of the layer, not a reconstruction of the input; its scale is the
    filters' own. It does not depend on a target.

    Args:
        model: the model of ``(N, D, T)``, or a callable, in evaluation mode.
        layer: a layer of the stack, as a module or by dotted name.
        mean: what was subtracted from the sequences before they came to the model: a number, or
            ``(D,)``. It is added to what is decoded.
        std: what they were divided by after that, which what is decoded is multiplied by.
        scale: ``"filters"`` leaves what is decoded as the formula gives it; ``"input"`` scales its
            difference from the mean, in each sequence, to the root mean square of the input's. Beside
            an activation of a hundred the mean is nothing, and the picture no person.
        ends: ``"padded"`` decodes the model's own forward pass; ``"held"`` that of a longer sequence
            whose first and last frame are held for as long as an activation sees.

    Raises:
        TypeError: for a model that is not callable or a layer that is neither module nor name.
        ValueError: for a layer that the model does not have, a mean or std of several axes, a std of
            zero, or an unknown scale or kind of ends.

    Example:
        >>> import torch
        >>> from captum_video import FeatureMapDecoder
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(6, 8, 8, padding=4), torch.nn.ReLU())
        >>> FeatureMapDecoder(net.eval(), "0").attribute(torch.randn(1, 6, 20)).shape
        torch.Size([1, 6, 20])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        layer: Module | str,
        *,
        mean: Tensor | float = 0.0,
        std: Tensor | float = 1.0,
        scale: Literal["filters", "input"] = "filters",
        ends: Literal["padded", "held"] = "padded",
    ) -> None:
        check_model(model)
        check_choice("scale", scale, SCALES)
        check_choice("ends", ends, ENDS)
        self.scale, self.ends = scale, ends
        super().__init__(model, resolve_layer(model, layer))
        self.mean, self.std = (torch.as_tensor(value) for value in (mean, std))
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value.dim() > 1:
                raise ValueError(
                    f"{name} must be a number or one for each dimension (D,), got shape "
                    f"{tuple(value.shape)}"
                )
        if bool((self.std == 0).any()):
            raise ValueError(f"std must not be zero, got {self.std.tolist()}")

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor],
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor | tuple[Tensor]:
        """Decodes the layer's activations.

        Args:
            inputs: sequences ``(N, D, T)``, or a tuple of one such tensor.
            target: not used; Captum's tools pass it.
            additional_forward_args: further arguments of the model.

        Returns:
            ``(N, D, T)``, detached; a tuple for a tuple.

        Raises:
            TypeError: for inputs that are no floating-point tensor.
            ValueError: for inputs of another shape, of another ``D`` than the first convolution's, or
                shorter than the layer's receptive field; for a layer outside the residual stack or
                a model without one.
            RuntimeError: for a model with batch norm or dropout in training mode.
        """
        sequence = single_sequence(inputs)
        length = sequence.shape[2]
        layer, held = self._with_ends(sequence, additional_forward_args)
        if layer.field > length:
            raise ValueError(
                f"inputs has {length} frames, but an activation of layer {self._name!r} sees "
                f"{layer.field}: sequences must be at least that long"
            )
        result = decoded(layer)[..., held : held + length]
        if self.scale == "input":
            result = rescaled(result, sequence, layer.prepared)
        result = self._in_units(result).to(sequence.dtype)
        return (result,) if isinstance(inputs, tuple) else result

    def responses(self, inputs: Tensor, additional_forward_args: Any = None) -> Tensor:
        r"""The magnitude of each filter's response over time, :math:`|x_l^{(i)}(t)|` (figure 8).

        Args:
            inputs: sequences ``(N, D, T)``.
            additional_forward_args: further arguments of the model.

        Returns:
            ``(N, N_l, T_l)``, at the layer's own rate; the steps that stand inside the sequence if the
            ends are held.

        Raises:
            TypeError: as for :meth:`attribute`.
            ValueError: as for :meth:`attribute`, but for the length.
            RuntimeError: as for :meth:`attribute`.
        """
        sequence = single_sequence(inputs)
        layer, held = self._with_ends(sequence, additional_forward_args)
        if not held:
            return layer.value.abs()
        first, end = (
            -((layer.first.middle - frame) // layer.step)
            for frame in (held, held + sequence.shape[2])
        )
        return layer.value[..., first:end].abs()

    def motion_primitives(self, inputs: Tensor | None = None, *, compress: bool = False) -> Tensor:
        r"""The filters of the first layer as sequences of the input's domain (figure 3, right).

        The mean is added to each, as to a decoded sequence.

        Args:
            inputs: a sequence ``(1, D, T)`` to run the model on, so that the first layer is found.
                None tries zeros with the channels of each of the model's ``Conv1d``.
            compress: whether to return single frames :math:`\hat W_1^{(i)}` (equation 6), without the
                mean.

        Returns:
            ``(N_1, D, f_1)``, or ``(N_1, D)`` if compressed.

        Raises:
            ValueError: as for :meth:`attribute`, if no sequence of zeros can be run, or if the mean
                is not the same for all frames and sequences.
            RuntimeError: as for :meth:`attribute`.
        """
        layer = self._probed(inputs)
        weight = layer.first.weight.clone()
        if compress:
            return compressed(weight)
        for step in layer.prepared:
            shape = step.constant.shape if isinstance(step.constant, Tensor) else ()
            if math.prod(shape[:-2]) * math.prod(shape[-1:]) != 1:
                raise ValueError(
                    f"a constant of shape {tuple(shape)} between input and first layer differs from "
                    "frame to frame or from sequence to sequence, and a filter belongs to none; use "
                    "compress=True"
                )
        return self._in_units(unprepared(weight, layer.prepared))

    def gates(self, inputs: Tensor | None = None) -> Tensor:
        """The filters of the layer's residual convolution (figure 3, middle).

        Args:
            inputs: as for :meth:`motion_primitives`.

        Returns:
            ``(N_l, N_{l-1}, f_l)``.

        Raises:
            ValueError: as for :meth:`motion_primitives`, or for the first layer, which has none.
            RuntimeError: as for :meth:`attribute`.
        """
        layer = self._probed(inputs)
        if layer.gate is None:
            raise ValueError(
                f"layer {self._name!r} is the first of the stack and has no gates; its filters are "
                "motion_primitives()"
            )
        return layer.gate.weight.clone()

    @staticmethod
    def layers(
        model: Callable[..., Any], inputs: Tensor, additional_forward_args: Any = None
    ) -> list[DecodableLayer]:
        """The layers of a model that can be decoded.

        Args:
            model: as for the class.
            inputs: sequences ``(N, D, T)`` to run it on.
            additional_forward_args: further arguments of the model.

        Returns:
            From the first layer to the last. Of a model that is not like a Res-TCN there is no more
            than a first convolution.

        Raises:
            TypeError: for a model that is not callable, as for :meth:`attribute`.
            ValueError: for inputs of another shape.
            RuntimeError: as for :meth:`attribute`.
        """
        check_model(model)
        found = StackRun(model, single_sequence(inputs), additional_forward_args).layers()
        streams = list(dict.fromkeys(id(layer.first) for _, layer in found))
        return [
            DecodableLayer(name, layer.number, streams.index(id(layer.first)), layer.field)
            for name, layer in found
        ]

    @property
    def _name(self) -> str:
        return layer_name(self.forward_func, self.layer)

    def _with_ends(self, sequence: Tensor, additional_forward_args: Any) -> tuple[StackLayer, int]:
        """The layer, and how many frames are held before the sequence and after it."""
        layer = self._layer(sequence, additional_forward_args)
        if self.ends == "padded":
            return layer, 0
        # a multiple of the step, so that strided layers stand on the same frames
        held = -(-layer.field // layer.step) * layer.step
        longer = F.pad(sequence, (held, held), mode="replicate")
        return self._layer(longer, additional_forward_args), held

    def _in_units(self, sequence: Tensor) -> Tensor:
        """A decoded sequence in the units before mean and std were taken off."""
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value.dim() and len(value) != sequence.shape[1]:
                raise ValueError(
                    f"{name} must have one value for each of {sequence.shape[1]} dimensions, got "
                    f"{len(value)}"
                )
        mean, std = (value.to(sequence).reshape(-1, 1) for value in (self.mean, self.std))
        return (sequence * std + mean).contiguous()

    def _probed(self, inputs: Tensor | None) -> StackLayer:
        """The layer in a run on the given sequence, or on zeros."""
        if inputs is not None:
            return self._layer(single_sequence(inputs), None)
        check_evaluation_mode(self.forward_func)
        model = module_of(self.forward_func)
        convs = [m for m in model.modules() if isinstance(m, Conv1d)] if model is not None else []
        failures = []
        for channels in dict.fromkeys(conv.in_channels for conv in convs):
            zeros = convs[0].weight.new_zeros(1, channels, _PROBE_FRAMES).detach()
            try:
                run = StackRun(self.forward_func, zeros, None, self.layer)
            except Exception as error:
                failures.append(f"{channels} dimensions: {error}")
            else:
                return self._layer_of(run)
        raise ValueError(
            "the model cannot be run on zeros to find its first layer; give inputs"
            + "".join(f"; {failure}" for failure in failures[:2])
        )

    def _layer(self, sequence: Tensor, additional_forward_args: Any) -> StackLayer:
        """The layer as one forward pass computes it, or an error that lists those that can be."""
        return self._layer_of(
            StackRun(self.forward_func, sequence, additional_forward_args, self.layer)
        )

    def _layer_of(self, run: StackRun) -> StackLayer:
        """The layer in a run."""
        calls = run.seen.get(self.layer, [])
        if len(calls) == 1:
            try:
                return run.stack.layer(calls[0])
            except NoResidualStack as error:
                reason = f"its output is no layer of the residual stack: {error}"
        else:
            reason = f"it is called {len(calls)} times in a forward pass, not once"
        found = run.layers()
        if not any(layer.number > 1 for _, layer in found):
            cure = (
                "The model is not like a Res-TCN, in which each layer adds one convolution of its "
                "normalised and activated output to itself"
            )
        else:
            cure = f"Layers of the stack: {', '.join(name for name, _ in found)}"
        raise ValueError(f"layer {self._name!r} cannot be decoded, since {reason}. {cure}.")
