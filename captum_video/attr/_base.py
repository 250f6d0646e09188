"""What discriminative and selective relevance build on: deep Taylor or any Captum method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from captum._utils.common import _format_tensor_into_tuples
from captum.attr import Attribution
from torch import Tensor

from captum_video._core.guards import (
    check_evaluation_mode,
    module_of,
    recurrent_backward,
    untouched,
)
from captum_video._core.targets import resolve_target, select
from captum_video.attr.deep_taylor import DeepTaylor
from captum_video.relevance.settings import Context


class Explained(NamedTuple):
    """A batch of clips explained.

    Attributes:
        relevance: one tensor for each input.
        output: the model's output.
        score: ``(N,)``, the target's score.
    """

    relevance: tuple[Tensor, ...]
    output: Tensor
    score: Tensor


class Explainer:
    """Explains batches by one method.

    Args:
        method: a Captum attribution method.
    """

    def __init__(self, method: Attribution) -> None:
        self.method = method
        self.forward: Callable[..., Any] = method.forward_func

    @property
    def multiplies_by_inputs(self) -> bool:
        """As the method."""
        return bool(getattr(self.method, "multiplies_by_inputs", False))

    def session(self) -> Callable[[tuple[Tensor, ...], Any, tuple[Any, ...]], Explained]:
        """A function of (inputs, target, additional arguments) that shares work between calls."""
        if not isinstance(self.method, DeepTaylor):
            return self._by_method
        method = self.method
        context = Context(method.settings, module_of(method.forward_func))

        def explain(inputs: tuple[Tensor, ...], target: Any, extra: tuple[Any, ...]) -> Explained:
            relevance, _, output = method._relevance(inputs, target, extra, context)
            score = select(output, resolve_target(target, output)).detach()
            return Explained(relevance, output, score)

        return explain

    def _by_method(
        self, inputs: tuple[Tensor, ...], target: Any, extra: tuple[Any, ...]
    ) -> Explained:
        """Explains one batch through the method's own ``attribute``."""
        check_evaluation_mode(self.forward)
        # Captum warns about inputs that do not require gradients yet, and then makes them
        leaves = tuple(clip.detach().requires_grad_() for clip in inputs)
        given = leaves if len(leaves) > 1 else leaves[0]
        arguments = extra or None
        with untouched(self.forward, inputs[0].device), recurrent_backward(self.forward, inputs[0]):
            with torch.no_grad():
                output = self.forward(*inputs, *extra)
            resolved = resolve_target(target, output)
            score = select(output, resolved).detach()
            relevance = self.method.attribute(
                given, target=resolved, additional_forward_args=arguments
            )
        parts = tuple(part.detach() for part in _format_tensor_into_tuples(relevance))
        for part, clip in zip(parts, inputs, strict=True):
            if part.shape != clip.shape:
                raise ValueError(
                    f"{type(self.method).__name__} gives attributions of shape {tuple(part.shape)} "
                    f"for an input of shape {tuple(clip.shape)}: the base must be a method that "
                    "attributes to the input itself"
                )
        return Explained(parts, output, score)


def base_explainer(
    model_or_method: Any, deep_taylor_options: dict[str, Any], options_given: bool
) -> Explainer:
    """Deep Taylor on a model, or the method itself.

    Args:
        model_or_method: a model, a callable, or a Captum attribution method.
        deep_taylor_options: for a model.
        options_given: whether the caller gave any.

    Returns:
        The explainer.

    Raises:
        TypeError: for something else, or options beside a method.
    """
    if not isinstance(model_or_method, Attribution):
        return Explainer(DeepTaylor(model_or_method, **deep_taylor_options))
    if options_given:
        raise TypeError(
            f"deep Taylor options ({', '.join(deep_taylor_options)}) apply to a model; "
            f"set up {type(model_or_method).__name__} itself instead"
        )
    return Explainer(model_or_method)
