"""Watches an ordinary forward pass and keeps account of the axes of every tensor in it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

from captum_video._core.calls import canonical_name
from captum_video.layers.axes import Unreadable
from captum_video.layers.call import Call, Rule, tensors
from captum_video.layers.layout import Extent, Layout, lost, single
from captum_video.layers.rules import IGNORED, LIKES, find
from captum_video.layers.rules.indexing import places, written


class Trace(TorchFunctionMode):
    """Says of any tensor of a forward pass which axis is which axis of the input.

    The model's code runs as it is; only the arithmetic of the torch functions that it calls is
    followed, never the names or types of its modules. Results are those of the plain forward pass,
    bit for bit; one exception is torch's own doing: under any function mode its transformer
    layers leave out their fused inference path, which without gradients rounds otherwise.

    Modes belong to a thread: calls in other threads are not seen. Nor are scripted and compiled
    code: their results have no layout, and tensors that meet them keep their axes with mixed
    extents; without gradients they cannot be told from constants.

    Args:
        inputs: the model's inputs. Each of their axes starts as itself.

    Example:
        ``with Trace((clip,)) as trace: scores = model(clip)``, with forward hooks that ask for
        ``trace.layout(output)``.

    Attributes:
        unknown: the names of the functions whose results have no layout.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.unknown: set[str] = set()
        self.strict = False
        self._entries: dict[int, tuple[weakref.ref[Tensor], Layout | None, int]] = {}
        self._overwritten: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._parts: dict[int, tuple[weakref.ref[Tensor], Tensor, Any]] = {}
        self._tick = 0
        for number, tensor in enumerate(inputs):
            axes = []
            for axis, size in enumerate(tensor.shape):
                indices = tuple(map(float, range(size)))
                axes.append(single(Extent((number, axis), size, indices, indices)))
            self._store(tensor, Layout(tuple(axes)))

    def layout(self, tensor: Tensor) -> Layout | None:
        """What is known of a tensor's axes.

        Args:
            tensor: any tensor of the forward pass, as it is now.

        Returns:
            Its layout; None if it does not descend from an input, was not seen, or no axis of it is
            known to descend from an input's.
        """
        layout = self._find(tensor)
        return layout if layout is not None and layout.known else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs one call as it is and works out the layouts of its results."""
        kwargs = kwargs or {}
        name = canonical_name(func)
        if name == "iter":
            with self:
                return iter(args[0].unbind(0))
        if name in IGNORED or torch._C._functorch.maybe_current_level() is not None:
            return func(*args, **kwargs)
        given = tensors(args)
        if kwargs:
            given += tensors(kwargs)
        tracked = self._tracked(given[:1] if name in LIKES else given)
        result = func(*args, **kwargs)
        self._tick += 1
        if tracked:
            call = Call(name, args, kwargs, args[0] if name == "setitem" else result, tracked)
            self._record(call, {id(tensor) for tensor in given})
        else:
            for tensor in (result,) if isinstance(result, Tensor) else tensors(result):
                if tensor.grad_fn is not None:
                    self._entries[id(tensor)] = (weakref.ref(tensor), None, self._tick)
        return result

    def _tracked(self, given: list[Tensor]) -> list[tuple[Tensor, Layout]]:
        """Those tensors that descend from an input, with their layouts."""
        found = []
        for tensor in given:
            layout = self._find(tensor)
            if layout is not None:
                found.append((tensor, layout))
        return found

    def _find(self, tensor: Tensor) -> Layout | None:
        """The layout of a tensor; None for constants."""
        entry = self._entries.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            if self._overwritten and self._written_since(tensor, entry[2]):
                return lost(tensor.shape)
            return entry[1]
        if isinstance(tensor, Parameter):
            return None
        if tensor.grad_fn is not None or (self._overwritten and self._written_since(tensor, -1)):
            # made by code that was not seen, or written to through another view
            return lost(tensor.shape)
        return None

    def _store(self, tensor: Tensor, layout: Layout) -> None:
        self._entries[id(tensor)] = (weakref.ref(tensor), layout, self._tick)

    def _record(self, call: Call, given: set[int]) -> None:
        """Stores the layouts of the results of a call.

        Args:
            call: with at least one tensor that descends from an input.
            given: the ids of all tensors among its arguments.
        """
        results = tensors(call.result)
        if not results:
            return
        layouts = self._followed(call, find(call.name), results)
        for tensor, layout in zip(results, layouts, strict=True):
            if id(tensor) in given:
                self._overwrite(tensor, layout, len(call.tracked) == 1)
            else:
                self._store(tensor, layout)
        if call.name == "getitem" and results[0]._is_view():
            self._remember_part(results[0], call.args[0], call.args[1])

    def _followed(self, call: Call, rule: Rule | None, results: list[Tensor]) -> list[Layout]:
        """What the rule makes of a call; nothing is known of the results where it gives up."""
        try:
            if rule is None:
                raise Unreadable
            found = rule(call)
            layouts = found if isinstance(found, list) else [found] * len(results)
            for tensor, layout in zip(results, layouts, strict=True):
                if layout.shape != tuple(tensor.shape):
                    raise Unreadable
        except Unreadable:
            self.unknown.add(call.name)
            return [lost(tensor.shape) for tensor in results]
        except Exception:
            # the model's forward pass must not fail for a form of call that no rule foresaw
            if self.strict:
                raise
            self.unknown.add(call.name)
            return [lost(tensor.shape) for tensor in results]
        return layouts

    def _overwrite(self, tensor: Tensor, layout: Layout, alone: bool) -> None:
        """Stores the layout of a tensor that was written to in place, and of what it is part of.

        Args:
            tensor: as it is now.
            layout: the layout that it has now.
            alone: whether it was the only tensor in the call that descends from an input.
        """
        before = self._find(tensor)
        changed = [(tensor, layout)]
        base = _base(tensor)
        # what a view covers is less exact than what its base does, so that only a base can tell
        # from its layout that nothing came in
        same = before is layout or before == layout
        if not same or not (alone or base is tensor):
            while (part := self._parts.get(id(tensor))) is not None and part[0]() is tensor:
                _, tensor, index = part
                layout = self._with_part(tensor, index, layout)
                changed.append((tensor, layout))
            self._overwritten[id(base)] = (weakref.ref(base), self._tick)
        for tensor, layout in changed:
            self._store(tensor, layout)

    def _remember_part(self, part: Tensor, parent: Tensor, index: Any) -> None:
        """Notes that ``part`` is ``parent[index]``, for as long as the part lives."""
        key, parts = id(part), self._parts
        parts[key] = (weakref.ref(part, lambda _: parts.pop(key, None)), parent, index)

    def _with_part(self, parent: Tensor, index: Any, layout: Layout) -> Layout:
        """The layout of a tensor of which ``parent[index]`` was overwritten."""
        shape = tuple(parent.shape)
        try:
            return written(shape, self._find(parent), places(index, shape), layout)
        except Unreadable:
            return lost(shape)

    def _written_since(self, tensor: Tensor, tick: int) -> bool:
        """Whether other values came into a tensor's memory through another view."""
        base = _base(tensor)
        entry = self._overwritten.get(id(base))
        return entry is not None and entry[0]() is base and entry[1] > tick


def _base(tensor: Tensor) -> Tensor:
    """The tensor whose memory ``tensor`` is a view of: itself if it is none."""
    base = tensor._base
    return tensor if base is None else base
