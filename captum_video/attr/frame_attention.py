"""Which frames a model attends to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Module, MultiheadAttention
from torch.utils._pytree import tree_leaves

from captum_video._core.checks import check_frames_per_clip, check_inputs, check_model
from captum_video._core.guards import check_evaluation_mode, untouched
from captum_video.attr.video_grad_cam import VideoGradCam
from captum_video.layers import ClipAxes, layer_name, resolve_layer

Weights = str | Callable[[Any], Tensor]


class AttendedFrames(NamedTuple):
    """The frames that a model attends to most, with what it saw there.

    Attributes:
        frames: ``(N, k)``, frame numbers from the most attended down.
        weights: ``(N, k)``, their attention weights.
        maps: ``(N, k, 1, H, W)``, Grad-CAM on these frames.
    """

    frames: Tensor
    weights: Tensor
    maps: Tensor


class FrameAttention(LayerAttribution):
    r"""How much attention each frame gets, as ``(N, T)`` that sums to 1 for each clip.

    Attention over time forms a context :math:`\sum_t \alpha_t h_t` of the frames' features
    :math:`h_t`; the weights :math:`\alpha_t` rank the frames (paper 4, section 3). They are read in an
    ordinary forward pass from

    * the output of ``module``: the one tensor among what it returns that is ``(N, T)`` (axes of size
      1 aside), not negative, and sums to 1 over time;
    * :class:`torch.nn.MultiheadAttention`, which is made to return its weights, averaged over heads;
    * an attribute of ``module``, or a function of its output, given as ``weights``.

    Attention says where information *may* come from: a frame with a large weight need not have
    changed the decision. :meth:`best_frames` therefore shows Grad-CAM on the frames that attention
    ranks first, which is the recipe of paper 4.

    Args:
        model: the model, or any callable of the inputs, in evaluation mode.
        module: the attention, as a module or by dotted name, called once in a forward pass.
        weights: where the weights are, if not in the output: the name of an attribute that ``module``
            sets in its forward (not safe if several threads share the model), or a function of its
            output that returns ``(N, T)``.
        query: which query's weights count where there are several ``(N, queries, T)``: its number, or
            ``"mean"`` over all.
        frames_per_clip: the expected number of weights, if it is not the clip's number of frames, or
            if frames are given as a batch ``(N * T, C, H, W)``.
        time_dim: the input's time axis. None means axis 2 of ``(N, C, T, H, W)`` and ``(N, C, T)``.

    Raises:
        TypeError: for a model that is not callable or a module that is neither module nor name.
        ValueError: for a module that the model does not have.

    Example:
        >>> import torch
        >>> from captum_video import FrameAttention
        >>> class Net(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.attention = torch.nn.Softmax(dim=1)
        ...     def forward(self, clip):  # the brighter a frame, the more of it
        ...         weights = self.attention(clip.mean((1, 3, 4)))
        ...         return (clip * weights[:, None, :, None, None]).sum((2, 3, 4))
        >>> weights = FrameAttention(Net().eval(), "attention").attribute(torch.rand(2, 3, 6, 4, 4))
        >>> weights.shape, torch.allclose(weights.sum(1), torch.ones(2))
        (torch.Size([2, 6]), True)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        module: Module | str,
        *,
        weights: Weights | None = None,
        query: int | Literal["mean"] = "mean",
        frames_per_clip: int | None = None,
        time_dim: int | None = None,
    ) -> None:
        check_model(model)
        if weights is not None and not isinstance(weights, str) and not callable(weights):
            raise TypeError(
                "weights must be an attribute's name or a function of the module's output, got "
                f"{type(weights).__name__}"
            )
        if query != "mean" and (not isinstance(query, int) or isinstance(query, bool)):
            raise ValueError(f"query must be a query's number or 'mean', got {query!r}")
        check_frames_per_clip(frames_per_clip)
        super().__init__(model, resolve_layer(model, module, "module"))
        self.weights, self.query = weights, query
        self.frames_per_clip, self.time_dim = frames_per_clip, time_dim

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """The attention weight of each frame.

        Args:
            inputs: clips ``(N, C, T, H, W)``, sequences, or a tuple of inputs, of which the first
                gives the number of frames.
            target: not used, since attention does not depend on it; Captum's tools pass it.
            additional_forward_args: further arguments of the model.

        Returns:
            ``(N, T)``, detached.

        Raises:
            TypeError: for inputs that are not floating-point tensors.
            ValueError: if the module is not called once, the weights are not found, do not sum to 1,
                or are not as many as there are frames.
            RuntimeError: for a model with batch norm or dropout in training mode.
        """
        clips: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        check_evaluation_mode(self.forward_func)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(clips[0].device.type, enabled=False),
            untouched(self.forward_func, clips[0].device),
            _listening(self.layer, self._read) as heard,
        ):
            self.forward_func(*(clip.detach().clone() for clip in clips), *extra)
        if len(heard) != 1:
            raise ValueError(
                f"module {self._name!r} is called {len(heard)} times in the model's forward pass; "
                "attention weights can be read from a module that is called once"
            )
        return self._checked(heard[0], clips[0])

    def top_frames(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        k: int = 3,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """The frames with the largest weights.

        Args:
            inputs: as for :meth:`attribute`.
            k: how many frames of each clip.
            additional_forward_args: further arguments of the model.

        Returns:
            Frame numbers and weights, each ``(N, k)``, from the largest weight down; the earlier
            frame first where weights are equal.

        Raises:
            ValueError: if ``k`` is not from 1 to the number of frames, or as for :meth:`attribute`.
        """
        weights = self.attribute(inputs, additional_forward_args=additional_forward_args)
        if not isinstance(k, int) or not 1 <= k <= weights.shape[1]:
            raise ValueError(f"k must be from 1 to {weights.shape[1]} frames, got {k!r}")
        order = weights.argsort(dim=1, descending=True, stable=True)[:, :k]
        return order, weights.gather(1, order)

    def best_frames(
        self,
        inputs: Tensor,
        layer: Module | str,
        k: int = 3,
        target: Any = "predicted",
        additional_forward_args: Any = None,
        **grad_cam_options: Any,
    ) -> AttendedFrames:
        """Ranks the frames by attention and shows Grad-CAM on the best (paper 4, section 3).

        Args:
            inputs: clips ``(N, C, T, H, W)``.
            layer: the layer for Grad-CAM.
            k: how many frames of each clip.
            target: the output to explain.
            additional_forward_args: further arguments of the model.
            **grad_cam_options: options of :class:`VideoGradCam`.

        Returns:
            Frames, weights and maps.

        Raises:
            ValueError: as for :meth:`top_frames` and :meth:`VideoGradCam.attribute`, or if the
                weights are not one for each of the clip's frames.
        """
        options: dict[str, Any] = {"time_dim": self.time_dim}
        if ClipAxes.of(inputs, self.time_dim).time is None:
            options["frames_per_clip"] = self.frames_per_clip
        cam = VideoGradCam(self.forward_func, layer, **{**options, **grad_cam_options})
        frames, weights = self.top_frames(inputs, k, additional_forward_args)
        maps = cam.attribute(inputs, target, additional_forward_args)
        if self.frames_per_clip not in (None, maps.shape[2]):
            raise ValueError(
                f"the {self.frames_per_clip} attention weights are not one for each of the "
                f"{maps.shape[2]} frames, so they cannot choose frames to show"
            )
        rows = torch.arange(len(maps), device=maps.device).unsqueeze(1)
        return AttendedFrames(frames, weights, maps.transpose(1, 2)[rows, frames])

    @property
    def _name(self) -> str:
        return layer_name(self.forward_func, self.layer)

    def _read(self, output: Any) -> Any:
        """What may hold the weights, taken while the module's call has just ended."""
        if isinstance(self.weights, str):
            if not hasattr(self.layer, self.weights):
                raise ValueError(
                    f"weights {self.weights!r}: module {self._name!r} has no such attribute after "
                    "its forward pass"
                )
            value = getattr(self.layer, self.weights)
            return value.detach().clone() if isinstance(value, Tensor) else value
        if self.weights is not None:
            return self.weights(output)
        if not isinstance(self.layer, MultiheadAttention):
            return output
        # one map per head where the model asked for them: (N, heads, queries, T)
        return output[1].mean(1) if output[1].dim() == 4 else output[1]

    def _checked(self, heard: Any, clip: Tensor) -> Tensor:
        """The weights ``(N, T)`` among what was read."""
        axis, count = ClipAxes.of(clip, self.time_dim).time, len(clip)
        length = self.frames_per_clip or (clip.shape[axis] if axis is not None else 0)
        if not length:
            raise ValueError(
                f"inputs of shape {tuple(clip.shape)} have no time axis; name it by time_dim, or "
                "give frames_per_clip for frames given as a batch"
            )
        if axis is None:
            if count % length:
                raise ValueError(f"frames_per_clip={length} does not divide the {count} frames")
            count //= length
        found = [leaf for leaf in tree_leaves(heard) if isinstance(leaf, Tensor)]
        found = [leaf for leaf in found if leaf.is_floating_point()]
        rows = [self._one_query(leaf, count, length) for leaf in found]
        fitting = [row for row in rows if row is not None]
        weights = [row for row in fitting if _sums_to_one(row)]
        if len(weights) > 1 and len(found) > 1:
            raise ValueError(
                f"module {self._name!r} gives {len(weights)} tensors that may be the weights: "
                "choose one by weights=lambda output: ..."
            )
        if weights:
            return weights[0].detach()
        if fitting:
            sums = fitting[0].sum(1).tolist()
            low = float(fitting[0].min())
            raise ValueError(
                f"the attention weights of module {self._name!r} must not be negative and sum to 1 "
                f"over the frames, got sums {[round(s, 4) for s in sums[:4]]} and a lowest of "
                f"{low:.4g}"
            )
        shapes = [tuple(leaf.shape) for leaf in found]
        raise ValueError(
            f"module {self._name!r} gives no weights of shape ({count}, {length}), one for each "
            f"frame, but tensors of shapes {shapes}: say where they are by weights=..., or how many "
            "there are by frames_per_clip=..."
        )

    def _one_query(self, leaf: Tensor, count: int, length: int) -> Tensor | None:
        """``(N, T)`` from ``(N, T)``, ``(N, queries, T)``, or ``(N, T, 1)``."""
        if leaf.dim() < 2 or len(leaf) != count:
            return None
        if leaf.numel() == count * length and length in leaf.shape[1:]:
            return leaf.reshape(count, length)
        if leaf.dim() != 3 or leaf.shape[2] != length:
            return None
        if self.query == "mean":
            # a mean of rows that are no distributions may look like one
            return leaf.mean(1) if _sums_to_one(leaf.flatten(0, 1)) else leaf[:, 0]
        if not -leaf.shape[1] <= self.query < leaf.shape[1]:
            raise ValueError(f"query must be below {leaf.shape[1]}, got {self.query}")
        return leaf[:, self.query]


@contextmanager
def _listening(module: Module, read: Callable[[Any], Any]) -> Iterator[list[Any]]:
    """Collects what ``read`` makes of the module's output in each call by this thread."""
    heard: list[Any] = []
    asked: list[bool] = []
    thread = threading.get_ident()

    def ask(
        module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if threading.get_ident() != thread:
            return None
        named = {**dict(zip(_MULTIHEAD_ARGUMENTS, args, strict=False)), **kwargs}
        asked.append(bool(named.get("need_weights", True)))
        return (), {**named, "need_weights": True}

    def hear(module: Module, args: Any, output: Any) -> Any:
        if threading.get_ident() != thread:
            return None
        heard.append(read(output))
        return None if not asked or asked.pop() else (output[0], None)

    handles = [module.register_forward_hook(hear)]
    if isinstance(module, MultiheadAttention):
        handles.append(module.register_forward_pre_hook(ask, with_kwargs=True))
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


_MULTIHEAD_ARGUMENTS = (
    "query",
    "key",
    "value",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "average_attn_weights",
    "is_causal",
)


def _sums_to_one(weights: Tensor) -> bool:
    """Whether rows are distributions, within the rounding of their dtype."""
    tolerance = max(1e-4, weights.shape[1] * torch.finfo(weights.dtype).eps)
    sums = weights.double().sum(1)
    return bool((weights >= 0).all()) and bool(((sums - 1).abs() <= tolerance).all())
