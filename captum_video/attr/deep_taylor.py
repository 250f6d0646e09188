"""Deep Taylor decomposition by relevance rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from captum._utils.common import _format_additional_forward_args, _format_tensor_into_tuples
from captum.attr import GradientAttribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Module

from captum_video._core.checks import check_choice, check_inputs, check_model
from captum_video._core.guards import (
    check_evaluation_mode,
    exact_convolutions,
    module_of,
    untouched,
)
from captum_video._core.targets import one_hot, resolve_target, select
from captum_video.relevance import Recording, Rule, Settings, record
from captum_video.relevance.ranges import InputRange
from captum_video.relevance.settings import (
    AverageMode,
    BiasMode,
    Context,
    RuleKey,
)

Seed = Literal["one", "score"]


class DeepTaylor(GradientAttribution):
    r"""Relevance of every input value for one output, by deep Taylor decomposition.

    Relevance starts at the target and is handed back from layer to layer by rules that divide each
    unit's relevance :math:`R_j` over its inputs (paper 2, section 4.3, after Montavon et al. 2017
    and Bach et al. 2015):

    * convolutions and linear layers, alpha-beta, with :math:`z_{ij} = x_i w_{ij}`:

      .. math:: R_i = \sum_j \Big(\alpha \frac{z_{ij}^+}{\sum_{i'} z_{i'j}^+ + b_j^+}
                - \beta \frac{z_{ij}^-}{\sum_{i'} z_{i'j}^- + b_j^-}\Big) R_j

    * the first weighted layer, z-beta where ``input_range`` is given, w-squared where it is not;
    * activations pass relevance on, maxima give it to the winner, averages divide it.

    The model is watched, not changed: its ordinary forward runs once, and what it did to the input
    is traced back. Functional calls, shared and in-place modules, and residual sums are covered;
    what is not covered is named in one :class:`UnsupportedOperationError`.

    Departures from the paper: ties for a maximum share equally (a frozen clip's copies tie all the
    time); averages divide in proportion to what went in unless ``average="uniform"``; a residual sum
    is a unit with two inputs; units whose contributions have one sign only pass all their relevance
    through them, where the formula reads 0/0.

    Args:
        model: the model or any callable of the inputs that returns one tensor, in evaluation mode.
        alpha: weight of positive contributions; ``alpha - beta = 1``.
        beta: weight of negative contributions, at least 0.
        input_range: the smallest and largest value that the input can take, after normalisation:
            ``(low, high)``, each a number or one value per channel; for several inputs a tuple with
            one pair (or None) for each. See :func:`captum_video.normalized_range`.
        bias: ``"absorb"`` (the paper's formula) lets biases keep their share; ``"ignore"`` leaves it
            to the inputs, so that relevance sums to the seed.
        seed: relevance at the target, its ``"score"`` or ``"one"``.
        average: ``"proportional"``, or ``"uniform"`` for the paper's :math:`R_j / N_j`.
        rules: rules for some layers, by ``"first"``, module name or module type. A name comes before
            ``"first"``, ``"first"`` before a type, an inner module before an outer one.

    Raises:
        ValueError: for a choice that does not exist or a module that the model does not have.
        TypeError: for rules that are not rules, or a scripted or compiled model.

    Example:
        >>> import torch
        >>> from captum_video import DeepTaylor
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> clip = torch.rand(1, 3, 3, 5, 5)  # N, C, T, H, W
        >>> method = DeepTaylor(net.eval(), input_range=(0.0, 1.0), seed="one", bias="ignore")
        >>> relevance = method.attribute(clip, target=7)
        >>> relevance.shape
        torch.Size([1, 3, 3, 5, 5])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        input_range: InputRange | tuple[InputRange | None, ...] | None = None,
        bias: BiasMode = "absorb",
        seed: Seed = "score",
        average: AverageMode = "proportional",
        rules: Mapping[RuleKey, Rule] | None = None,
    ) -> None:
        check_model(model)
        super().__init__(model)
        check_choice("seed", seed, ("one", "score"))
        self.seed = seed
        self.settings = Settings(alpha, beta, bias, average, input_range, dict(rules or {}))
        self.settings.check_names(model)

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Relevance of each input value for the target.

        Args:
            inputs: ``(N, C, ...)`` of any rank (images, sequences, clips), or a tuple of inputs.
            target: the output to explain, in any form that Captum takes, or ``"predicted"``.
            additional_forward_args: further arguments of the model, not explained.
            return_convergence_delta: also return what the inputs did not receive.

        Returns:
            Relevance of the shape, dtype and device of ``inputs``, detached; with
            ``return_convergence_delta`` a pair of it and ``(N,)``, the seed minus the sum of
            relevance: the share of biases and vanished denominators.

        Raises:
            TypeError: for inputs that are not floating-point tensors.
            ValueError: for empty or non-finite inputs, or a target that does not fit.
            RuntimeError: for a model with batch norm or dropout in training mode.
            UnsupportedOperationError: if the model does something that no rule covers.
        """
        is_tuple = isinstance(inputs, tuple)
        formatted: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        relevance, seeds, _ = self._relevance(
            formatted,
            target,
            additional_forward_args,
            Context(self.settings, module_of(self.forward_func)),
        )
        result = relevance if is_tuple else relevance[0]
        if not return_convergence_delta:
            return result
        return result, self.compute_convergence_delta(relevance, seeds)

    def compute_convergence_delta(self, attributions: Any, seeds: Tensor) -> Tensor:
        """What the inputs did not receive: the seed minus the sum of relevance.

        Args:
            attributions: relevance, one tensor or a tuple.
            seeds: ``(N,)``, the relevance that each example started with.

        Returns:
            ``(N,)`` in the dtype of ``seeds``.
        """
        parts = _format_tensor_into_tuples(attributions)
        received = sum(part.flatten(1).sum(1, dtype=torch.float64) for part in parts)
        return (seeds.to(torch.float64) - received).to(seeds.dtype)

    def has_convergence_delta(self) -> bool:
        """There is one."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Relevance is a share of the score, not a slope."""
        return True

    def _relevance(
        self,
        inputs: tuple[Tensor, ...],
        target: Any,
        additional_forward_args: Any,
        context: Context,
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Relevance, the seeds ``(N,)`` and the output; ``context`` keeps split weights."""
        relevance, seed, recording, resolved = self._propagated(
            inputs, target, additional_forward_args, context, None
        )
        return relevance, select(seed, resolved).detach(), recording.output

    def _relevance_at(
        self, layer: Module, inputs: tuple[Tensor, ...], target: Any, additional_forward_args: Any
    ) -> list[Tensor | None]:
        """Relevance of what ``layer`` gave in each call; None where the target does not use it."""
        context = Context(self.settings, module_of(self.forward_func))
        recording = self._propagated(inputs, target, additional_forward_args, context, layer)[2]
        return [value.relevance for value in recording.kept]

    def _propagated(
        self,
        inputs: tuple[Tensor, ...],
        target: Any,
        additional_forward_args: Any,
        context: Context,
        layer: Module | None,
    ) -> tuple[tuple[Tensor, ...], Tensor, Recording, Any]:
        """Relevance, the seed at the output, the recording and the resolved target."""
        check_inputs(inputs)
        check_evaluation_mode(self.forward_func)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        with (
            torch.inference_mode(False),
            untouched(self.forward_func, inputs[0].device),
            exact_convolutions(inputs[0]),
        ):
            recording = record(self.forward_func, inputs, extra, context, layer)
            resolved = resolve_target(target, recording.output)
            seed = one_hot(recording.output, resolved)
            if self.seed == "score":
                seed = seed * recording.output
            relevance = recording.relevance(seed)
        return relevance, seed, recording, resolved
