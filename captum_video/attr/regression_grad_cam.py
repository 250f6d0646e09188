"""Grad-CAM for regression: what lowers the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_leaves, tree_map

from captum_video._core.checks import check_choice, check_inputs
from captum_video._core.targets import one_hot, select
from captum_video.attr._cam import TemporalPooling
from captum_video.attr._clip_maps import TemporalAlignment
from captum_video.attr._grad_cam import GradCam

Objective = Literal["negative_loss", "output", "negative_output"]
Loss = Callable[[Any, Any], Tensor]


class RegressionGradCam(LayerAttribution):
    r"""Where a regression model found what makes its answer right.

    A regression has no class whose score could be explained, so the score is the negated loss
    (paper 4, sections 2.3 and 2.4): with outputs :math:`\hat y`, truth :math:`y` and activations
    :math:`A`,

    .. math:: L_{t\mathbf{x}} = \sum_c w_c A_{ct\mathbf{x}}, \qquad
              w_c = \operatorname{mean}_{t,\mathbf{x}}
              \frac{\partial \bigl(-\ell(\hat y, y)\bigr)}{\partial A_{ct\mathbf{x}}}.

    Positive values mark places whose activation, were it stronger, would lower the error. Objectives:

    * ``"negative_loss"``: the score is :math:`-\ell`. With ``target``, only the gradient through that
      output counts, so that one degree of freedom is explained.
    * ``"output"``: the score is the output itself, one of them by ``target``, or the sum of all.
    * ``"negative_output"``: the same, negated.

    The map changes its sign with the loss's, and grows in proportion to it. A loss at its minimum has
    no gradient: the map is zero, with a warning.

    Args:
        model: the model, or any callable of the inputs (such as a method of a model), in evaluation
            mode. For ``"output"`` it must return one tensor; a loss may take anything.
        layer: the layer to explain, as a module or by dotted name, called once.
        loss: a callable of (outputs, truth), or with ``self_supervised`` of (outputs, inputs), that
            returns one value per example, ``(N,)``, or one value for all; then examples are given to
            it one by one, so that a batch explains as its examples do. Needed for
            ``"negative_loss"``.
        objective: what is explained.
        self_supervised: whether the loss compares the outputs with the inputs, as view synthesis
            does, rather than with a truth.
        temporal_pooling: as for :class:`VideoGradCam`.
        frames_per_clip: as for :class:`VideoGradCam`.
        reshape_transform: as for :class:`VideoGradCam`.
        time_dim: as for :class:`VideoGradCam`.

    Raises:
        TypeError: for a model or a loss that is not callable.
        ValueError: for an objective that does not exist, or a layer that the model does not have.

    Example:
        >>> import torch
        >>> from captum_video import RegressionGradCam
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 2, 3), torch.nn.AdaptiveAvgPool3d(1))
        >>> net = torch.nn.Sequential(*net, torch.nn.Flatten())  # two numbers for each clip
        >>> error = torch.nn.MSELoss(reduction="none")
        >>> method = RegressionGradCam(net.eval(), "0", loss=lambda out, y: error(out, y).mean(1))
        >>> method.attribute(torch.rand(1, 3, 4, 8, 8), truth=torch.zeros(1, 2)).shape
        torch.Size([1, 1, 4, 8, 8])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        layer: Module | str,
        *,
        loss: Loss | None = None,
        objective: Objective = "negative_loss",
        self_supervised: bool = False,
        temporal_pooling: TemporalPooling = "clip",
        frames_per_clip: int | None = None,
        reshape_transform: Callable[[Any], Tensor] | None = None,
        time_dim: int | None = None,
    ) -> None:
        cam = GradCam.of(
            model, layer, temporal_pooling, frames_per_clip, reshape_transform, time_dim
        )
        check_choice("objective", objective, ("negative_loss", "output", "negative_output"))
        if objective == "negative_loss" and not callable(loss):
            raise TypeError(
                "loss must be a callable of (outputs, truth) for objective='negative_loss', got "
                f"{type(loss).__name__}"
            )
        super().__init__(model, cam.layer)
        self.loss, self.objective, self.self_supervised = loss, objective, self_supervised
        self._cam = cam

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        truth: Any = None,
        upsample: bool = True,
        relu_attributions: bool = False,
        attribute_to_layer_input: bool = False,
        interpolate_mode: str = "linear",
        temporal_alignment: TemporalAlignment = "receptive_field",
    ) -> Any:
        """The map of each example.

        Args:
            inputs: clips ``(N, C, T, H, W)``, images, sequences, or a tuple of inputs.
            target: one output in any form that Captum takes; None for all of them.
            additional_forward_args: further arguments of the model.
            truth: what the loss compares the outputs with. Where the loss is one value for all
                examples, it must hold tensors with one row per example.
            upsample: whether to enlarge to the clip's size.
            relu_attributions: set negative values to 0, before upsampling. What then remains lowers
                the error.
            attribute_to_layer_input: explain the layer's input instead of its output.
            interpolate_mode: as for :meth:`VideoGradCam.attribute`.
            temporal_alignment: as for :meth:`VideoGradCam.attribute`.

        Returns:
            Signed maps as those of :meth:`VideoGradCam.attribute`, in the unit of the loss (or of the
            output) per pooled activation.

        Raises:
            TypeError: for inputs that are not floating-point tensors, or a model that returns several
                things where one tensor is needed.
            ValueError: if the truth is missing or not used, a loss is not finite, of another shape or
                does not depend on the layer, the gradient is not finite, or as for
                :meth:`VideoGradCam.attribute`.
            RuntimeError: for a model with batch norm or dropout in training mode.

        Warns:
            UserWarning: if the layer has one time step for many frames where an earlier layer has
                several (which is named), if where its slices look cannot be followed, or if a
                gradient is zero.
        """
        check_choice("temporal_alignment", temporal_alignment, ("receptive_field", "uniform"))
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        self._check_truth(truth)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        given = inputs if self.self_supervised else truth
        run = self._cam.gradients(
            clips,
            extra,
            lambda output: self._score(output, given, target, self._cam.count(clips[0])),
            layer_input=attribute_to_layer_input,
        )
        return self._cam.explained(
            inputs,
            extra,
            run,
            enlarged=upsample,
            mode=interpolate_mode,
            alignment=temporal_alignment,
            positive=relu_attributions,
        )

    def _check_truth(self, truth: Any) -> None:
        if self.objective != "negative_loss":
            if truth is not None:
                raise ValueError(f"truth is not used by objective={self.objective!r}: leave it out")
        elif self.self_supervised:
            if truth is not None:
                raise ValueError("truth is not used by a self-supervised loss: leave it out")
        elif truth is None:
            raise ValueError(
                "truth is needed: the loss compares the outputs with it (self_supervised=True gives "
                "the loss the inputs instead)"
            )

    def _score(self, output: Any, given: Any, target: Any, count: int) -> Tensor:
        """What is differentiated, one value per example."""
        if self.objective == "negative_loss":
            if target is not None:
                output = _through_one(_one_tensor(output, "target"), target)
            return -self._losses(output, given, count)
        outputs = _one_tensor(output, f"objective={self.objective!r}")
        every = outputs.reshape(len(outputs), -1).sum(1)
        chosen = every if target is None else select(outputs, target)
        return chosen if self.objective == "output" else -chosen

    def _losses(self, output: Any, given: Any, count: int) -> Tensor:
        """One loss per example."""
        assert self.loss is not None
        given = tree_map(_outside_inference_mode, given)
        losses = self.loss(output, given)
        if isinstance(losses, Tensor) and losses.numel() == 1 and count > 1:
            if not self.self_supervised:
                _check_rows(given, count)
            each = [
                self.loss(_example(output, n, count), _example(given, n, count))
                for n in range(count)
            ]
            losses = torch.stack([value.reshape(()) for value in each])
        if not isinstance(losses, Tensor):
            raise ValueError(f"loss must return a tensor, got {type(losses).__name__}")
        if losses.numel() != count:
            raise ValueError(
                f"loss must return one value per example ({count},) or one for all, got shape "
                f"{tuple(losses.shape)}"
            )
        if not bool(losses.isfinite().all()):
            raise ValueError(f"loss must be finite, got {losses.detach().reshape(-1).tolist()}")
        return losses.reshape(-1)


def _one_tensor(output: Any, argument: str) -> Tensor:
    """The output, if it is one tensor."""
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{argument} needs a model that returns one tensor, got {type(output).__name__}"
        )
    return output


def _through_one(output: Tensor, target: Any) -> Tensor:
    """The same values, with a gradient through one output of each example only."""
    mask = one_hot(output, target)
    fixed = output.detach()
    return fixed + mask * (output - fixed)


def _example(value: Any, number: int, count: int) -> Any:
    """One example of outputs, truth or inputs (a clip's frames), keeping the batch axis."""

    def pick(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dim() == 0 or len(leaf) % count:
            return leaf
        rows = len(leaf) // count
        return leaf[number * rows : (number + 1) * rows]

    return tree_map(pick, value)


def _check_rows(truth: Any, count: int) -> None:
    """Refuses a truth that cannot be divided by examples, which one loss for all needs.

    Raises:
        ValueError: naming what is in it.
    """
    for leaf in tree_leaves(truth):
        rows = leaf.shape[0] if isinstance(leaf, Tensor) and leaf.dim() > 0 else None
        if rows != count:
            what = f"shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
            raise ValueError(
                "a loss that returns one value for all examples is given them one by one, so truth "
                f"must hold tensors with one row for each of the {count} examples, got {what}; "
                "constants belong into the loss itself"
            )


def _outside_inference_mode(leaf: Any) -> Any:
    """A tensor that autograd can keep."""
    return leaf.clone() if isinstance(leaf, Tensor) and leaf.is_inference() else leaf
