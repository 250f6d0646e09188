"""Clips that activate a channel most: feature visualisation for video models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from captum._utils.common import _format_additional_forward_args
from torch import Tensor
from torch.nn import Module
from tqdm.auto import tqdm

from captum_video._core.checks import check_choice
from captum_video._core.guards import module_of
from captum_video.attr._clip_parameters import (
    Bounds,
    Fourier,
    Parameterization,
    Pixels,
    check_number,
)
from captum_video.attr._layer_channels import (
    Activations,
    LayerChannels,
    Reduce,
    check_channel,
    gradient_of,
    reduced,
)

Shape = Sequence[int]


class Maximized(NamedTuple):
    """What was found.

    Attributes:
        clips: ``(C, T, H, W)`` for one channel, ``(K, C, T, H, W)`` for several; as the model takes
            them, detached.
        objective: ``(steps + 1,)`` or ``(steps + 1, K)``, the channel's activation before each step,
            under that step's jitter, and at last that of the clips as they are given back.
    """

    clips: Tensor
    objective: Tensor


@dataclass(frozen=True)
class _Settings:
    """How a clip is optimised; see :meth:`ActivationMaximization.maximize`."""

    steps: int
    lr: float
    reduce: Reduce
    jitter: tuple[int, int, int]
    blur: float
    blur_every: int
    l2: float
    total_variation: float
    temporal_variation: float
    seed: int

    def __post_init__(self) -> None:
        check_choice("reduce", self.reduce, ("max", "mean"))
        _check_whole("steps", self.steps, 1)
        _check_whole("blur_every", self.blur_every, 1)
        _check_whole("seed", self.seed, 0)
        if self.seed >= 2**64:
            raise ValueError(f"seed must be whole, from 0 to {2**64 - 1}, got {self.seed}")
        if not isinstance(self.jitter, tuple | list) or len(self.jitter) != 3:
            raise ValueError(f"jitter must be (frames, rows, columns), got {self.jitter!r}")
        for number in self.jitter:
            _check_whole("jitter", number, 0)
        check_number("lr", self.lr, "a positive number", lambda x: x > 0)
        for name in ("blur", "l2", "total_variation", "temporal_variation"):
            check_number(name, getattr(self, name), "a number from 0 up", lambda x: x >= 0)

    def penalty(self, clips: Tensor) -> Tensor:
        """The regularisers of each clip, weighted, ``(K,)``."""
        space = _variation(clips, 3) + _variation(clips, 4)
        return (
            self.l2 * clips.square().mean((1, 2, 3, 4))
            + self.total_variation * space
            + self.temporal_variation * _variation(clips, 2)
        )

    def blurs(self, step: int) -> bool:
        """Whether to blur after a step: now and then, but not near the end."""
        return bool(
            self.blur
            and (step + 1) % self.blur_every == 0
            and step + 1 <= self.steps - self.blur_every
        )


class ActivationMaximization:
    r"""Finds the clip that activates a channel most: what the channel looks for.

    Gradient ascent from noise on the channel's activation :math:`A_c` (Erhan et al. 2009; in the
    manner of Olah et al. 2017, as in paper 1, Figure 1),

    .. math:: \max_v\; \tfrac{1}{|T||X|} \sum_{t,\mathbf{x}} A_{ct\mathbf{x}}(\tau(v))
              - \lambda_2 \overline{v^2} - \lambda_X \mathrm{TV}_X(v) - \lambda_T \mathrm{TV}_T(v),

    with a random shift :math:`\tau` in each step (in space, and by few frames in time), Adam on
    Fourier coefficients over time and space, and a slight Gaussian blur now and then.
    :math:`\mathrm{TV}` is the mean absolute difference of neighbouring pixels, or frames. Shifts go
    around the edges.

    The model stays as it was: parameters, buffers, gradients, flags, hooks and random state, also
    when interrupted. The same seed gives the same bits on the CPU, and the clips of several
    channels do not depend on each other.

    Args:
        model: the model, or any callable of the clips, in evaluation mode.
        layer: the layer, as a module or by dotted name; before the ReLU, since a channel that
            starts inactive has no gradient after it.
        frames_per_clip: as for :class:`captum_video.VideoGradCam`.
        reshape_transform: likewise.

    Raises:
        TypeError: for a model that is not callable or a layer that is neither module nor name.
        ValueError: for a layer that the model does not have.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        layer: Module | str,
        *,
        frames_per_clip: int | None = None,
        reshape_transform: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self._channels = LayerChannels.of(model, layer, frames_per_clip, reshape_transform)

    def maximize(
        self,
        channel: int | Sequence[int],
        shape: Shape,
        *,
        steps: int = 256,
        lr: float = 0.05,
        reduce: Reduce = "mean",
        parameterization: Literal["fourier", "pixels"] = "fourier",
        jitter: tuple[int, int, int] = (1, 4, 4),
        blur: float = 0.5,
        blur_every: int = 16,
        l2: float = 0.0,
        total_variation: float = 0.0,
        temporal_variation: float = 0.0,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        value_range: tuple[float, float] | None = None,
        rms: float = 1.0,
        seed: int = 0,
        additional_forward_args: Any = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        show_progress: bool = False,
    ) -> Maximized:
        """Optimises one clip for each channel.

        Args:
            channel: the channel's number, or several.
            shape: ``(C, T, H, W)`` of a clip.
            steps: the number of steps.
            lr: Adam's learning rate.
            reduce: ``"mean"`` of the activation over all places, or the ``"max"``, which makes the
                pattern appear once.
            parameterization: ``"fourier"`` coefficients over time and space, or ``"pixels"``.
            jitter: the largest shift in frames, rows and columns.
            blur: the Gaussian's standard deviation in pixels; 0 for none.
            blur_every: after how many steps to blur; the last as many go without.
            l2: weight of the mean square.
            total_variation: weight of the variation over rows and columns.
            temporal_variation: weight of the variation over frames.
            mean: what the model's input had subtracted, of all colours or each, so that clips stay
                those of pixels in 0..1; together with ``std``.
            std: what it was divided by.
            value_range: the lowest and the highest value instead.
            rms: where neither is given, the largest root mean square of a clip: clips stay in a
                ball, right for inputs that are normalised to variance 1.
            seed: of the start and of the shifts; torch's own random state is left alone.
            additional_forward_args: further arguments of the model, for a batch of as many clips as
                there are channels.
            dtype: of the clips; None for that of the model's parameters.
            device: likewise.
            show_progress: whether to show a progress bar.

        Returns:
            The clips, and the activation at each step.

        Raises:
            TypeError: for a channel that is no integer, or what should be a number and is none.
            ValueError: for a channel that the layer does not have, another number that is out of
                range, a layer that is not called exactly once or does not depend on the clip, or an
                activation that is not finite.
            RuntimeError: for a model with batch norm or dropout in training mode.

        Warns:
            UserWarning: if the activation of a channel never changed.
        """
        settings = _Settings(
            steps, lr, reduce, jitter, blur, blur_every,
            l2, total_variation, temporal_variation, seed,
        )  # fmt: skip
        check_choice("parameterization", parameterization, ("fourier", "pixels"))
        if not isinstance(shape, Sequence) or len(shape) != 4:
            raise ValueError(f"shape must be (C, T, H, W), got {shape!r}")
        for size in shape:
            _check_whole("shape", size, 1)
        bounds = Bounds.of(shape[0], mean, std, value_range, rms)
        numbers = [channel] if not isinstance(channel, Sequence) else list(channel)
        if not numbers:
            raise ValueError("channel must hold at least one number, got none")
        like = self._like(dtype, device)
        blank = bounds.apply(torch.zeros(len(numbers), *shape).to(like))
        extra = _format_additional_forward_args(additional_forward_args) or ()
        placed = self._channels.arrangement(blank, extra)
        wanted = [check_channel(n, placed.shape[1], self._channels.name) for n in numbers]
        generator = torch.Generator().manual_seed(seed)
        kind = Fourier if parameterization == "fourier" else Pixels
        with self._channels.following(blank, placed) as activations:
            start = kind(len(wanted), shape, generator, like)

            def objective(clips: Tensor) -> Tensor:
                return self._objective(activations, clips.to(like), extra, wanted, reduce)

            clips, history = _ascend(
                objective, self._channels.name, start, bounds, settings, generator, show_progress
            )
        self._warn_of_standstill(history, wanted)
        if isinstance(channel, Sequence):
            return Maximized(clips.to(like), history)
        return Maximized(clips[0].to(like), history[:, 0])

    def _like(self, dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
        """An empty tensor of the dtype and device to use."""
        model = module_of(self._channels.cam.forward)
        parameters = model.parameters() if model is not None else iter(())
        own = next((p for p in parameters if p.is_floating_point()), torch.empty(0))
        return torch.empty(0, dtype=dtype or own.dtype, device=device or own.device)

    def _objective(
        self,
        activations: Activations,
        clips: Tensor,
        extra: tuple[Any, ...],
        channels: list[int],
        reduce: Reduce,
    ) -> Tensor:
        """The activation of each clip's own channel, ``(K,)``."""
        every = activations(clips, extra)
        own = reduced(every[torch.arange(len(channels)), channels].unsqueeze(1), reduce)[:, 0]
        bad = [channels[k] for k in (~own.detach().isfinite()).nonzero().flatten().tolist()]
        if bad:
            raise ValueError(
                f"the activation of channel(s) {bad} of layer {self._channels.name!r} is NaN or "
                "infinite: nothing can be maximised"
            )
        return own

    def _warn_of_standstill(self, history: Tensor, channels: list[int]) -> None:
        still = history.amax(0) == history.amin(0)
        if bool(still.any()):
            numbers = [channels[k] for k in still.nonzero().flatten().tolist()]
            warnings.warn(
                f"the activation of channel(s) {numbers} of layer {self._channels.name!r} never "
                "changed: a ReLU keeps it at 0; choose the layer before the ReLU, or another seed",
                stacklevel=3,
            )


def _ascend(
    objective: Callable[[Tensor], Tensor],
    name: str,
    start: Parameterization,
    bounds: Bounds,
    settings: _Settings,
    generator: torch.Generator,
    show_progress: bool,
) -> tuple[Tensor, Tensor]:
    """Adam on the parameterisation, with jitter, penalties and blur."""
    optimizer = torch.optim.Adam([start.parameter], lr=settings.lr)
    history = []
    with tqdm(
        range(settings.steps),
        desc="activation maximization",
        disable=not show_progress,
        leave=False,
    ) as bar:
        for step in bar:
            clips = bounds.apply(start.clips())
            value = objective(clips.roll(_shift(settings.jitter, generator), (2, 3, 4)))
            ascent = gradient_of(value, clips, name)
            (descent,) = torch.autograd.grad(settings.penalty(clips).sum(), clips)
            (start.parameter.grad,) = torch.autograd.grad(clips, start.parameter, descent - ascent)
            optimizer.step()
            history.append(value.detach())
            if settings.blurs(step):
                start.blur(settings.blur)
    with torch.no_grad():
        clips = bounds.apply(start.clips())
        history.append(objective(clips))
    return clips, torch.stack(history)


def _shift(largest: tuple[int, int, int], generator: torch.Generator) -> tuple[int, ...]:
    """A random shift along each axis."""
    return tuple(int(torch.randint(-most, most + 1, (), generator=generator)) for most in largest)


def _variation(clips: Tensor, axis: int) -> Tensor:
    """The mean absolute difference of neighbours along an axis of ``(K, C, T, H, W)``, ``(K,)``."""
    if clips.shape[axis] < 2:
        return clips.new_zeros(len(clips))
    return clips.diff(dim=axis).abs().mean((1, 2, 3, 4))


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be whole, from {least} up, got {value!r}")
