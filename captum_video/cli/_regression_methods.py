"""Grad-CAM for regressions, by their outputs or by a loss of the user's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_video import RegressionGradCam
from captum_video.cli._cam import CAM_OPTIONS, Cam, in_the_command_s_words, layer_of
from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._find import find
from captum_video.cli._model import Facts
from captum_video.cli._request import Explain, Explanation, Method, Objective, Request
from captum_video.cli._truth import Truth, read_truth


@dataclass(frozen=True)
class _Loss:
    """A loss of the user's, with what it compares the outputs with."""

    spec: str
    function: Callable[[Any, Any], Any]
    truth: Truth | None

    def __call__(self, outputs: Any, given: Any) -> Any:
        if isinstance(self.function, nn.Module):
            self.function.to(given.device)
        try:
            return self.function(outputs, given)
        except Exception as error:
            forms = " and ".join(map(_form, (outputs, given)))
            raise ModelError(
                f"--loss {self.spec} failed on {forms}: {type(error).__name__}: {error}"
            ) from error

    def given(self, request: Request) -> Tensor:
        """What it compares the outputs with: the clip, or its truth."""
        if self.truth is None:
            return request.inputs
        outputs = request.outputs
        shape = tuple(outputs.shape[1:]) if isinstance(outputs, Tensor) else None
        return self.truth.of(request.number, shape, request.inputs)


def _plan_regression(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    layer = layer_of(options, model, "layer", facts.layer)
    objective = options.objective or ("output" if options.loss is None else "negative-loss")
    if objective != "negative-loss":
        for name in ("loss", "truth", "self_supervised"):
            if getattr(options, name):
                flag = f"--{name.replace('_', '-')}"
                needed = "" if options.objective else ": give --loss MODULE:CALLABLE"
                raise UsageError(f"{flag} is not used by --objective {objective}{needed}")
        return partial(_regression, cam=Cam.of(options, layer), objective=objective, loss=None)
    if options.loss is None:
        raise UsageError("--objective negative-loss needs --loss MODULE:CALLABLE")
    if bool(options.truth) == options.self_supervised:
        raise UsageError(
            "--loss needs either --truth FILE to compare the outputs with, or --self-supervised to "
            f"compare them with the clip; {'both are' if options.truth else 'neither is'} given"
        )
    truth = read_truth(options.truth, len(options.clips)) if options.truth else None
    loss = _Loss(options.loss, _loss(options.loss), truth)
    return partial(_regression, cam=Cam.of(options, layer), objective=objective, loss=loss)


def _regression(request: Request, cam: Cam, objective: str, loss: _Loss | None) -> Explanation:
    if loss is None and not isinstance(request.outputs, Tensor):
        raise ModelError(
            f"the model answers a {type(request.outputs).__name__}; --objective {objective} needs "
            "one tensor: say which part of it by --answer, or give a --loss"
        )
    given = None if loss is None else loss.given(request)
    name: Any = objective.replace("-", "_")
    method = RegressionGradCam(
        request.model,
        cam.layer,
        loss=loss,
        objective=name,
        self_supervised=loss is not None and loss.truth is None,
        **cam.arguments,
    )
    with in_the_command_s_words():
        found = method.attribute(
            request.inputs,
            request.target.index,
            truth=None if loss is None or loss.truth is None else given,
            temporal_alignment=cam.aligned,
        )
        value = None
        if loss is not None:
            with torch.no_grad():
                value = float(loss(request.outputs, given))
        return cam.explained(
            request,
            found,
            objective=Objective(objective, value, None if loss is None else loss.spec),
        )


def _loss(spec: str) -> Callable[[Any, Any], Any]:
    found = find("--loss", spec, "MODULE:CALLABLE", "torch.nn.functional:mse_loss")
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise UsageError(
                f"--loss {spec}: {found.__name__}() raised {type(error).__name__}: {error}. "
                "A class is called without arguments"
            ) from error
    if not callable(found):
        raise UsageError(f"--loss {spec}: is a {type(found).__name__}, no function")
    function: Callable[[Any, Any], Any] = found
    return function


def _form(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


REGRESSION_METHODS = {
    "regression-grad-cam": Method(
        _plan_regression,
        CAM_OPTIONS | {"layer", "objective", "loss", "self_supervised", "truth"},
        regression=True,
    ),
}
