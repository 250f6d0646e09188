"""What the methods that read a layer share: the layer, how it is read, what goes wrong there."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_video import VideoGradCam
from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._find import find
from captum_video.cli._request import Explanation, Request, UsedLayer
from captum_video.layers import channels_last, mvit_tokens, resolve_layer

MAP = "grad_cam"
CAM_OPTIONS = frozenset({"temporal_pooling", "temporal_alignment", "frames_per_clip", "reshape"})
_RESHAPES = {"channels_last": channels_last, "mvit_tokens": mvit_tokens}
#: what the library's errors say, and what the command's user can do instead
_WORDS = (
    ("give a reshape_transform from", "give --reshape, a function from"),
    ("reshape_transform", "--reshape"),
    (", or ask for upsample=False", ""),
    ("by weights=..., or how many there are by frames_per_clip=...", "by --attention-weights"),
    ("choose one by weights=lambda output: ...", "choose one by --attention-weights"),
    ("frames_per_clip=", "--frames-per-clip "),
    ("frames_per_clip", "--frames-per-clip"),
    ("inputs has", "the sequence has"),
    ("sequences must be at least that long", "give more --frames, or an earlier --layer"),
)


@dataclass(frozen=True)
class Cam:
    """Grad-CAM at one layer, as the options want it.

    Attributes:
        layer: its dotted name.
        pooling: ``"clip"`` or ``"frame"``.
        alignment: ``"receptive-field"`` or ``"uniform"``.
        frames_per_clip: time slices at a layer that sees frames as a batch, if that was said.
        reshape: from the layer's output to ``(N, C, T, H, W)``, if that was given.
    """

    layer: str
    pooling: Any
    alignment: str
    frames_per_clip: int | None
    reshape: Callable[[Any], Tensor] | None

    @classmethod
    def of(cls, options: argparse.Namespace, layer: str) -> Cam:
        """What the options say of a layer.

        Args:
            options: the parsed command line.
            layer: the layer's dotted name.

        Returns:
            All of it.

        Raises:
            UsageError: if ``--reshape`` names nothing that can be called.
        """
        return cls(
            layer,
            options.temporal_pooling or "clip",
            options.temporal_alignment or "receptive-field",
            options.frames_per_clip,
            None if options.reshape is None else _reshape(options.reshape),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """What the classes' constructors take."""
        return {
            "temporal_pooling": self.pooling,
            "frames_per_clip": self.frames_per_clip,
            "reshape_transform": self.reshape,
        }

    @property
    def aligned(self) -> Any:
        """What ``attribute`` takes as ``temporal_alignment``."""
        return self.alignment.replace("-", "_")

    def explained(self, request: Request, found: Any, **more: Any) -> Explanation:
        """Maps as an explanation.

        Args:
            request: what was asked.
            found: ``(1, 1, T, H, W)``.
            **more: what else there is to tell.

        Returns:
            The explanation.

        Raises:
            ModelError: if the layer gave several.
        """
        if not isinstance(found, Tensor):
            raise ModelError(
                f"layer {self.layer!r} gives {len(found)} tensors: choose a layer that gives one, "
                "or the one that counts by --reshape"
            )
        method = VideoGradCam(request.model, self.layer, **self.arguments)
        used = UsedLayer(self.layer, self.pooling, self.alignment, method.coverage(request.inputs))
        return Explanation({MAP: found[0].float().cpu()}, MAP, layer=used, **more)


def layer_of(options: argparse.Namespace, model: nn.Module, field: str, known: str | None) -> str:
    """The layer that ``--layer`` names, or else the model.

    Args:
        options: the parsed command line.
        model: the model.
        field: where the model says so, in ``model.info``.
        known: what it says there.

    Returns:
        Its dotted name; it exists.

    Raises:
        UsageError: if there is no such layer, or none is named.
    """
    given = options.layer
    if given is not None and len(given) > 1:
        raise UsageError(f"--layer: {options.method} takes one layer, got {', '.join(given)}")
    name = existing_layer(model, "--layer", given[0] if given else None, field, known)
    if name is None:
        raise UsageError(
            f"--method {options.method} needs --layer NAME, as the model does not recommend any: "
            f"captum-video layers --model {options.model} lists those it has"
        )
    return name


def existing_layer(
    model: nn.Module, flag: str, given: str | None, field: str, known: str | None
) -> str | None:
    """The layer that an option names, or else the model.

    Args:
        model: the model.
        flag: the option.
        given: its value.
        field: where the model says so, in ``model.info``.
        known: what it says there.

    Returns:
        Its dotted name; ``None`` if neither names one.

    Raises:
        UsageError: if there is no such layer.
    """
    name, origin = (given, flag) if given is not None else (known, f"model.info.{field}")
    if name is None:
        return None
    try:
        resolve_layer(model, name, origin)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{error} (captum-video layers lists the model's)") from error
    return name


def _reshape(spec: str) -> Callable[[Any], Tensor]:
    if spec in _RESHAPES:
        return _RESHAPES[spec]
    if ":" not in spec:
        raise UsageError(
            f"--reshape {spec}: must be {' or '.join(_RESHAPES)}, or MODULE:ATTRIBUTE, a function "
            "of your own from the layer's output to (N, C, T, H, W)"
        )
    found = find("--reshape", spec, "MODULE:ATTRIBUTE", "captum_video.layers:mvit_tokens")
    if isinstance(found, type) or not callable(found):
        what = "a class; name an instance" if isinstance(found, type) else "no function"
        raise UsageError(f"--reshape {spec}: is {what}")
    function: Callable[[Any], Tensor] = found
    return function


@contextmanager
def in_the_command_s_words() -> Iterator[None]:
    """Puts the options' names in place of the arguments' in errors about the model's layers.

    Yields:
        Nothing.

    Raises:
        ModelError: for a ``ValueError`` of the block.
    """
    try:
        yield
    except ValueError as error:
        text = str(error)
        for argument, option in _WORDS:
            text = text.replace(argument, option)
        raise ModelError(text) from error
