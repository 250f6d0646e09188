"""Watches a model's ordinary forward pass and writes down what happens to its inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captum_video.relevance.errors import UnsupportedOperationError
from captum_video.relevance.flow import Flow, Unsupported, Value
from captum_video.relevance.operations import Call, Entry, find, floating
from captum_video.relevance.settings import Context

#: calls that give a tensor's memory to another library
_LEAVING = frozenset({"numpy", "array", "dlpack"})


class Watch(TorchFunctionMode):
    """Runs every torch function as it is and records those that take a tracked tensor.

    The model's own code runs unchanged, so its output is the plain forward's output. Modes belong
    to a thread: calls in other threads are not seen.
    """

    def __init__(self, flow: Flow, context: Context) -> None:
        super().__init__()
        self._flow = flow
        self._context = context
        self.running = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs and records one call."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "__iter__":
            with self:
                return iter(args[0].unbind(0))
        if torch._C._functorch.maybe_current_level() is not None:
            self._check_unwrapped((args, kwargs))
            return func(*args, **kwargs)
        before, self.running = self.running, True
        try:
            call = Call(func, args, kwargs, self._flow, self._context)
            if not call.tracked:
                self._flow.check_constants(call.constants)
                if call.mutated is not None:
                    self._flow.preserve(call.mutated)
                return func(*args, **kwargs)
            return self._recorded(call)
        finally:
            self.running = before

    def _check_unwrapped(self, arguments: object) -> None:
        """Refuses tracked tensors inside ``torch.vmap`` and its like, which wrap them."""
        for leaf in tree_leaves(arguments):
            while isinstance(leaf, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(
                leaf
            ):
                leaf = torch._C._functorch.get_unwrapped(leaf)
            if isinstance(leaf, Tensor) and leaf in self._flow:
                raise UnsupportedOperationError(
                    ["a function under torch.vmap or another torch.func"]
                )

    def _recorded(self, call: Call) -> Any:
        """Runs a call with tracked arguments; its operation reads them first."""
        self._flow.check_constants(call.constants)
        if call.name in _LEAVING:
            warnings.warn(
                f"the model hands a value that depends on its input to NumPy or another library "
                f"({call.name}): what is computed there counts as a constant and gets no relevance",
                stacklevel=3,
            )
        versions = [tensor._version for tensor in call.tracked]
        entry = self._prepared(call)
        inputs = [self._flow.value(tensor) for tensor in entry.inputs] if entry else []
        result = call.function(*call.args, **call.kwargs)
        if call.mutated is None and versions != [tensor._version for tensor in call.tracked]:
            raise UnsupportedOperationError([f"{call.name} (changes its argument in place)"])
        if entry is not None:
            self._attach(call, entry, inputs, result)
        return result

    def _prepared(self, call: Call) -> Entry | None:
        """The call's operation, with everything kept that the call is about to overwrite."""
        mutated = call.mutated
        if mutated is None:
            return find(call)
        if mutated in self._flow:
            producer = self._flow.producer(self._flow.value(mutated))
            if isinstance(producer, Unsupported) and producer.shares_memory:
                raise UnsupportedOperationError(
                    [producer.description, f"{call.name} on its result"]
                )
        self._flow.preserve(mutated)
        return find(call)

    def _attach(self, call: Call, entry: Entry, inputs: list[Value], result: object) -> None:
        """Declares what the call gave."""
        flow, mutated = self._flow, call.mutated
        results = [mutated] if mutated is not None else list(floating(result))
        if mutated is None and all(any(r is t for t in call.tracked) for r in results):
            return  # nothing that carries relevance, or the argument itself
        marks = call.carried(len(results)) if entry.carries else [None] * len(results)
        number = flow.add(entry.operation, inputs)
        entry.operation.outputs = [
            flow.track(tensor, number, mark) for tensor, mark in zip(results, marks, strict=True)
        ]
        if mutated is not None:
            flow.overwritten(mutated)
        entry.operation.finish(flow, mutated if mutated is not None else result)


class Unseen(TorchDispatchMode):
    """Notices what reaches the kernels without passing :class:`Watch`: scripted and C++ code."""

    def __init__(self, flow: Flow, watch: Watch) -> None:
        super().__init__()
        self._flow = flow
        self._watch = watch

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Marks the results of an unseen call as unsupported."""
        result = func(*args, **(kwargs or {}))
        if self._watch.running:
            return result
        tracked = [
            leaf
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor) and leaf in self._flow
        ]
        if tracked:
            operation = Unsupported(f"{func} (called from scripted or compiled code)")
            number = self._flow.add(operation, [self._flow.value(tensor) for tensor in tracked])
            operation.outputs = [self._flow.track(t, number) for t in floating(result)]
        return result
