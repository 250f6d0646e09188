"""What a layer gives in one forward pass, and the gradient with respect to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import Module
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from captum_video.layers.layout import Layout
from captum_video.layers.tracing import Trace


class Capture:
    """What a layer gave (or got) in one forward pass, and where gradients with respect to it end.

    Its tensors are copied as they are, and the model goes on with another copy, so that later
    in-place calls change neither what was given nor the gradient. Uses of the same tensor under
    another name (a residual branch, the input that an in-place layer wrote into) count, as they do
    for Captum. Where the model computes without gradients, the gradient starts at the copy.

    Attributes:
        calls: how often the layer was called.
        tensors: copies of its floating-point tensors, detached.
        layouts: what the trace knows of each of them.
        kind: the type of what it gave, for messages.
    """

    def __init__(self, trace: Trace) -> None:
        self.calls = 0
        self.tensors: list[Tensor] = []
        self.layouts: list[Layout | None] = []
        self.kind = ""
        self._trace = trace
        self._points: list[GradientEdge] = []
        self._passed: list[tuple[Tensor, Tensor, int]] = []
        self._flat: list[Any] = []
        self._places: list[int] = []
        self._spec: TreeSpec | None = None

    def replace(self, value: Any) -> Any:
        """Keeps ``value`` and gives what is to take its place."""
        self.calls += 1
        if self.calls > 1:
            return value
        self.kind = type(value).__name__
        self._flat, self._spec = tree_flatten(value)
        self._places = [
            place
            for place, leaf in enumerate(self._flat)
            if isinstance(leaf, Tensor) and leaf.is_floating_point()
        ]
        given = list(self._flat)
        for place in self._places:
            given[place] = self._copied(self._flat[place])
        return tree_unflatten(given, self._spec)

    def _copied(self, old: Tensor) -> Tensor:
        """Keeps one tensor; gives the copy with which the model goes on."""
        kept = old.detach().clone()
        with torch.enable_grad():
            if old.requires_grad:
                self._points.append(get_gradient_edge(old))
                new = old.clone()
            else:
                new = kept.clone().requires_grad_().clone()
                self._points.append(get_gradient_edge(new))
        self.layouts.append(self._trace.layout(old))
        self.tensors.append(kept)
        self._passed.append((old, new, new._version))
        return new

    def write_back(self) -> None:
        """Lets what a layer wrote into its input be seen under the input's other names."""
        for old, new, version in self._passed:
            if new._version != version:
                old.copy_(new)

    def check(self, name: str) -> None:
        """Refuses a layer without a single activation.

        Args:
            name: what to call the layer.

        Raises:
            ValueError: if it was not called, was called several times, or gave no tensor.
        """
        if self.calls == 0:
            raise ValueError(
                f"layer {name!r} is not called in the model's forward pass; choose one that is "
                "(its weights may be used without calling it, or this input takes another branch)"
            )
        if self.calls > 1:
            raise ValueError(
                f"layer {name!r} is called {self.calls} times in one forward pass, so it has no "
                "single activation to explain; choose a layer that runs once, or let it see all "
                "frames at once, as a batch (N * T, C, H, W)"
            )
        if not self.tensors:
            raise ValueError(
                f"layer {name!r} gives no floating-point tensor but {self.kind!r}, so there is no map"
            )

    def gradients(self, score: Tensor, name: str, options: dict[str, Any]) -> list[Tensor]:
        """The gradient of a score with respect to each tensor.

        Args:
            score: any tensor; its sum is differentiated.
            name: what to call the layer.
            options: further arguments of ``torch.autograd.grad``.

        Returns:
            One tensor like each, zero where the score does not depend on it.

        Raises:
            ValueError: if the score depends on none of them.
        """
        found: Sequence[Tensor | None] = [None]
        if score.requires_grad:
            options = {"allow_unused": True, **options}
            found = torch.autograd.grad(score.sum(), self._points, **options)
        if all(gradient is None for gradient in found):
            raise ValueError(
                f"what is explained does not depend on layer {name!r}: choose a layer that leads to "
                "it (or the model cuts gradients after it, by torch.no_grad, detach, NumPy or "
                "checkpoint(use_reentrant=True))"
            )
        return [
            torch.zeros_like(kept) if gradient is None else gradient.detach()
            for gradient, kept in zip(found, self.tensors, strict=True)
        ]

    def with_tensors(self, tensors: list[Tensor]) -> Any:
        """What the layer gave, with other tensors in place of its own.

        Args:
            tensors: one for each of its own.

        Returns:
            A structure like the layer's.
        """
        assert self._spec is not None
        flat = list(self._flat)
        for place, tensor in zip(self._places, tensors, strict=True):
            flat[place] = tensor
        return tree_unflatten(flat, self._spec)


@contextmanager
def captured(layer: Module, trace: Trace, *, layer_input: bool = False) -> Iterator[Capture]:
    """Captures what ``layer`` gives to calls of this thread inside the block.

    Args:
        layer: the module.
        trace: the trace of the same forward pass.
        layer_input: whether to capture what the layer gets instead.

    Yields:
        The capture, filled by the forward pass.
    """
    capture, thread = Capture(trace), threading.get_ident()

    def before(
        module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if threading.get_ident() != thread:
            return None
        changed_args, changed_kwargs = capture.replace((args, kwargs))
        return changed_args, changed_kwargs

    def after(module: Module, args: tuple[Any, ...], output: Any) -> Any:
        if threading.get_ident() != thread:
            return None
        if layer_input:
            return capture.write_back()
        return capture.replace(output)

    handles = [layer.register_forward_hook(after)]
    if layer_input:
        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield capture
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def observed(modules: dict[str, Module], see: Callable[[str, Module, Any], None]) -> Iterator[None]:
    """Calls ``see(name, module, output)`` after each call of a module by this thread.

    Args:
        modules: by name.
        see: what to call; its result is ignored.

    Yields:
        Nothing.
    """
    thread = threading.get_ident()

    def hook(name: str) -> Callable[[Module, Any, Any], None]:
        def after(module: Module, args: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                see(name, module, output)

        return after

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
