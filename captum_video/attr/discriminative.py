"""Appearance against motion: relevance split into a spatial and a temporal part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import Attribution, GradientAttribution
from captum.log import log_usage
from torch import Tensor
from tqdm.auto import tqdm

from captum_video._core.checks import (
    check_choice,
    check_clips,
    check_inputs,
    check_target_length,
    chunks,
    examples,
)
from captum_video._core.targets import resolve_target, select
from captum_video.attr._base import Explained, Explainer, base_explainer
from captum_video.relevance import frozen_clips

Component = Literal["total", "spatial", "temporal"]
FrozenFrame = Literal["same", "mean", "first"]


class RelevanceComponents(NamedTuple):
    """Relevance of a clip and its two parts, each like the inputs (a tuple for a tuple).

    ``temporal = total - spatial``, exactly.
    """

    total: Any
    spatial: Any
    temporal: Any


class FrozenFrames(NamedTuple):
    """What the model says of each frame alone, shown for the clip's whole length.

    Attributes:
        scores: ``(N, T)``, the target's score.
        predictions: ``(N, T)``, the class with the highest score, or None for outputs that are not
            ``(N, classes)``.
        score: ``(N,)``, the target's score for the clip as given.
        prediction: ``(N,)``, the class predicted for it, or None.
        target: the target that was explained; class numbers where it was ``"predicted"``.
    """

    scores: Tensor
    predictions: Tensor | None
    score: Tensor
    prediction: Tensor | None
    target: Any


class DiscriminativeRelevance(GradientAttribution):
    r"""How much of a decision is owed to appearance and how much to motion, voxel by voxel.

    Paper 2 (Hiley et al. 2019, section 3.2): a clip is explained once as it is, giving the total
    relevance :math:`R`, and once for each frame :math:`t` with that frame repeated over the whole
    length, giving :math:`F^{(t)}`, where nothing moves. What a frame earns without motion is its
    spatial relevance, what remains is temporal:

    .. math:: S_t = F^{(t)}_t, \qquad M = R - S

    with :math:`F^{(t)}_t` the slice of the frozen clip's relevance that stands where the frame stood
    (``frozen_frame="same"``); ``"mean"`` averages the slices of all copies and ``"first"`` takes the
    first one, as the paper's released script did. On a still clip the temporal part is 0 under
    ``"same"``.

    Relevance starts with 1 at the target (``seed="one"``, the paper) or with the target's score
    (``seed="score"``). To see *where* motion counted use ``"one"``; to say *how much* it counted use
    ``"score"`` with :func:`captum_video.metrics.temporal_share`. A frozen clip's score is often
    negative, so under ``"score"`` the subtraction can add.

    A net whose last operation is a mean over time of per-frame scores has no temporal relevance
    under ``seed="score"``; one that averages features before its last linear layer may have some.

    Args:
        model_or_method: a model, explained by :class:`DeepTaylor`, or any Captum attribution method
            whose ``attribute`` takes ``(inputs, target, additional_forward_args)``.
        time_dim: the time axis; None means axis 2 of ``(N, C, T, H, W)``.
        **deep_taylor_options: options of :class:`DeepTaylor`, for a model only; here ``seed`` is
            ``"one"`` unless given.

    Raises:
        TypeError: for something that is neither, or options beside a method.

    Example:
        >>> import torch
        >>> from captum_video import DiscriminativeRelevance
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> still = torch.rand(1, 3, 1, 5, 5).expand(-1, -1, 3, -1, -1)  # one frame, three times
        >>> method = DiscriminativeRelevance(net.eval(), input_range=(0.0, 1.0))
        >>> total, spatial, temporal = method.decompose(still, target="predicted")
        >>> bool(temporal.abs().max() < 1e-5 * total.abs().max())  # no motion, no temporal relevance
        True
    """

    def __init__(
        self,
        model_or_method: Callable[..., Any] | Attribution,
        *,
        time_dim: int | None = None,
        **deep_taylor_options: Any,
    ) -> None:
        self.explainer: Explainer = base_explainer(
            model_or_method, {"seed": "one", **deep_taylor_options}, bool(deep_taylor_options)
        )
        super().__init__(self.explainer.forward)
        self.time_dim = time_dim

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        component: Component = "temporal",
        frozen_frame: FrozenFrame = "same",
        normalize: Literal["max_abs"] | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
    ) -> Any:
        """One component of :meth:`decompose`, so that it nests in Captum's own tools.

        Args:
            inputs: ``(N, C, T, H, W)``, or a tuple of clips of equal length.
            target: see :meth:`decompose`.
            additional_forward_args: see :meth:`decompose`.
            component: ``"temporal"``, ``"spatial"`` or ``"total"``.
            frozen_frame: see :meth:`decompose`.
            normalize: see :meth:`decompose`.
            internal_batch_size: see :meth:`decompose`.
            show_progress: see :meth:`decompose`.

        Returns:
            Relevance like ``inputs``, detached.

        Raises:
            TypeError: see :meth:`decompose`.
            ValueError: for an unknown component, and see :meth:`decompose`.
        """
        check_choice("component", component, RelevanceComponents._fields)
        parts = self.decompose(
            inputs,
            target,
            additional_forward_args,
            frozen_frame=frozen_frame,
            normalize=normalize,
            internal_batch_size=internal_batch_size,
            show_progress=show_progress,
        )
        return getattr(parts, component)

    def decompose(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        frozen_frame: FrozenFrame = "same",
        normalize: Literal["max_abs"] | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        return_frozen: bool = False,
    ) -> Any:
        """Total, spatial and temporal relevance.

        Args:
            inputs: ``(N, C, T, H, W)``, or a tuple of clips of equal length; several inputs are
                frozen at the same frame together.
            target: in any form that Captum takes, or ``"predicted"``: the class that the model
                predicts for the moving clip, also asked of its frozen frames.
            additional_forward_args: further arguments of the model; tensors with one row for each
                example follow their example.
            frozen_frame: ``"same"``, ``"mean"`` or ``"first"``; see the class.
            normalize: ``"max_abs"`` divides the total by its largest magnitude over the clip and
                each frozen map by its own, as the paper's released script did.
            internal_batch_size: how many clips, moving or frozen, are explained at a time; it bounds
                the memory. None: all ``N`` together, then all ``N * T`` frozen ones.
            show_progress: show a bar over the frozen clips.
            return_frozen: also return what the model says of the frozen frames.

        Returns:
            :class:`RelevanceComponents`; with ``return_frozen`` a pair of it and
            :class:`FrozenFrames`.

        Raises:
            TypeError: for inputs that are not floating-point tensors.
            ValueError: for clips without a time axis of at least two frames, non-finite values, a
                target that does not fit, or an unknown choice.
        """
        check_choice("frozen_frame", frozen_frame, ("same", "mean", "first"))
        if normalize is not None:
            check_choice("normalize", normalize, ("max_abs",))
        is_tuple = isinstance(inputs, tuple)
        clips = tuple(clip.detach() for clip in _checked(inputs))
        axis = check_clips(clips, self.time_dim)
        count, length = clips[0].shape[0], clips[0].shape[axis]
        moving, still = (
            chunks(count, internal_batch_size),
            chunks(count * length, internal_batch_size),
        )
        check_target_length(target, count)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        run = _Run(self.explainer, clips, extra, count)
        parts = [run.explain(rows, rows, target, None) for rows in moving]
        output = torch.cat([part.output for part in parts])
        total = _joined([part.relevance for part in parts])
        resolved = resolve_target(target, output)
        scores, predictions = [], []
        spatial = tuple(torch.empty_like(clip) for clip in total)
        if normalize:
            total = tuple(_scaled(clip) for clip in total)
        for places in tqdm(still, desc="frozen clips", disable=not show_progress, leave=False):
            pairs = [(place // length, place % length) for place in places]
            part = run.explain([n for n, _ in pairs], pairs, resolved, axis)
            scores.append(part.score)
            predictions.append(part.output)
            for whole, frozen in zip(spatial, part.relevance, strict=True):
                maps = _scaled(frozen) if normalize else frozen
                for row, (n, t) in zip(maps, pairs, strict=True):
                    whole[n].select(axis - 1, t).copy_(_slice(row, t, axis - 1, frozen_frame))
        temporal = tuple(a - b for a, b in zip(total, spatial, strict=True))
        components = RelevanceComponents(
            *(part if is_tuple else part[0] for part in (total, spatial, temporal))
        )
        if not return_frozen:
            return components
        classes = output.dim() == 2
        return components, FrozenFrames(
            torch.cat(scores).view(count, length),
            torch.cat(predictions).argmax(1).view(count, length) if classes else None,
            select(output, resolved).detach(),
            output.argmax(1) if classes else None,
            resolved,
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        """As the method under it."""
        return self.explainer.multiplies_by_inputs


class _Run:
    """The explanations of one call, moving or frozen, a batch at a time."""

    def __init__(
        self, explainer: Explainer, clips: tuple[Tensor, ...], extra: tuple[Any, ...], count: int
    ) -> None:
        self._explain = explainer.session()
        self._clips, self._extra, self._count = clips, extra, count

    def explain(self, numbers: Any, pairs: Any, target: Any, axis: int | None) -> Explained:
        """One batch: the clips of ``numbers``, or with ``axis`` the frozen clips of ``pairs``."""
        rows = torch.tensor(list(numbers))
        if axis is None:
            batch = tuple(clip[rows.to(clip.device)] for clip in self._clips)
        else:
            batch = tuple(frozen_clips(clip, pairs, axis) for clip in self._clips)
        extra = tuple(examples(value, rows, self._count) for value in self._extra)
        return self._explain(batch, examples(target, rows, self._count), extra)


def _checked(inputs: Any) -> tuple[Tensor, ...]:
    clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
    check_inputs(clips)
    return clips


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The batches of each input put together."""
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def _scaled(maps: Tensor) -> Tensor:
    """Each example divided by its largest magnitude; a map of zeros stays."""
    largest = maps.flatten(1).abs().amax(1).view(-1, *[1] * (maps.dim() - 1))
    return torch.where(largest > 0, maps / largest, 0)


def _slice(frozen: Tensor, frame: int, axis: int, frozen_frame: FrozenFrame) -> Tensor:
    """One slice of a frozen clip's relevance."""
    if frozen_frame == "mean":
        return frozen.mean(axis)
    return frozen.select(axis, frame if frozen_frame == "same" else 0)
