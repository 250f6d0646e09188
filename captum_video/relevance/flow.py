"""The tape: which values descend from the inputs, and through which operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from captum_video.relevance.errors import UnsupportedOperationError


@dataclass(frozen=True)
class Raw:
    """Marks a value that is still the input, only moved or rescaled, with the range it can take.

    ``low`` and ``high`` have the value's shape (usually as expanded views) or are None when the
    caller gave no range.
    """

    low: Tensor | None = None
    high: Tensor | None = None


class Value:
    """One state of one tensor that descends from an input; an in-place call makes a new one.

    A value that is ``kept`` still has its relevance when all has been handed on.
    """

    __slots__ = ("consumers", "kept", "producer", "raw", "relevance", "shape")

    def __init__(self, shape: torch.Size, producer: int | None, raw: Raw | None) -> None:
        self.shape = shape
        self.producer = producer
        self.raw = raw
        self.consumers = 0
        self.kept = False
        self.relevance: Tensor | None = None

    def receive(self, relevance: Tensor) -> None:
        """Adds what one consumer gives back."""
        self.relevance = relevance if self.relevance is None else self.relevance + relevance


class Saved:
    """A tensor kept for the way back; cloned just before something overwrites its memory."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Operation(ABC):
    """One recorded call: it knows how relevance at its outputs becomes relevance at its inputs."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []

    def finish(self, flow: Flow, result: object) -> None:
        """Takes what it needs of the call's result; called once, right after the call."""
        return

    @abstractmethod
    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Relevance at the inputs from relevance at the outputs (None: there is none)."""


class Unsupported(Operation):
    """A call without a rule: harmless unless the explained output depends on it.

    Args:
        description: the call, as an error names it.
        shares_memory: whether the result is its argument under another name, as after ``detach``.
    """

    def __init__(self, description: str, shares_memory: bool = False) -> None:
        super().__init__()
        self.description = description
        self.shares_memory = shares_memory

    def propagate(self, relevances: list[Tensor | None]) -> list[Tensor | None]:
        """Never lets relevance pass."""
        raise UnsupportedOperationError([self.description])


class Flow:
    """The record of one forward pass."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._values: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._saved: dict[int, list[Saved]] = {}
        self._written: dict[int, Tensor] = {}

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._values

    def track(self, tensor: Tensor, producer: int | None, raw: Raw | None = None) -> Value:
        """Declares that ``tensor``, as it is now, is what operation number ``producer`` gave."""
        value = Value(tensor.shape, producer, raw)
        self._values[tensor] = (value, tensor._version)
        return value

    def value(self, tensor: Tensor) -> Value:
        """The value that ``tensor`` holds.

        Raises:
            UnsupportedOperationError: if its memory was overwritten through another view.
        """
        value, version = self._values[tensor]
        if tensor._version != version:
            raise UnsupportedOperationError(
                [f"an in-place call that changed a {tuple(tensor.shape)} tensor through a view"]
            )
        return value

    def keep(self, tensor: Tensor) -> Value:
        """The value that ``tensor`` holds, whose relevance is to be read in the end."""
        value = self.value(tensor)
        value.kept = True
        return value

    def check_constants(self, tensors: Iterable[Tensor]) -> None:
        """Refuses constants whose memory received input-dependent values through a view.

        Raises:
            UnsupportedOperationError: if there is one.
        """
        if not self._written:
            return
        for tensor in tensors:
            if tensor.untyped_storage().data_ptr() in self._written and tensor.numel():
                raise UnsupportedOperationError(
                    [f"an in-place call that wrote into a {tuple(tensor.shape)} tensor by a view"]
                )

    def save(self, tensor: Tensor) -> Saved:
        """Keeps ``tensor`` as it is now for the way back."""
        saved = Saved(tensor)
        self._saved.setdefault(tensor.untyped_storage().data_ptr(), []).append(saved)
        return saved

    def preserve(self, tensor: Tensor) -> None:
        """Clones whatever was saved of the memory that ``tensor`` is about to be written to."""
        for saved in self._saved.pop(tensor.untyped_storage().data_ptr(), []):
            saved.tensor = saved.tensor.clone()

    def overwritten(self, tensor: Tensor) -> None:
        """Notes that input-dependent values were written into ``tensor``'s memory."""
        self._written[tensor.untyped_storage().data_ptr()] = tensor

    def add(self, operation: Operation, inputs: list[Value]) -> int:
        """Appends an operation, counts it as a consumer of its inputs, returns its number."""
        operation.inputs = inputs
        for value in inputs:
            value.consumers += 1
        self.operations.append(operation)
        return len(self.operations) - 1

    def producer(self, value: Value) -> Operation | None:
        """The operation that gave ``value``, or None for an input."""
        return None if value.producer is None else self.operations[value.producer]

    def check_path(self, output: Value) -> None:
        """Refuses an output that depends on an operation without a rule.

        Raises:
            UnsupportedOperationError: naming all of them at once.
        """
        faults = [op.description for op in self.leading_to(output) if isinstance(op, Unsupported)]
        if faults:
            raise UnsupportedOperationError(reversed(faults))

    def leading_to(self, output: Value) -> Iterator[Operation]:
        """The operations that ``output`` depends on, last first."""
        needed = {output.producer}
        for number in range(len(self.operations) - 1, -1, -1):
            if number in needed:
                operation = self.operations[number]
                needed.update(value.producer for value in operation.inputs)
                yield operation

    def propagate(self, output: Value, relevance: Tensor) -> None:
        """Sends ``relevance`` from ``output`` back to where nothing produced the value.

        Frees the record on the way: a flow can be propagated once.
        """
        output.receive(relevance)
        needed = {id(op) for op in self.leading_to(output)}
        self._saved.clear()
        self._written.clear()
        while self.operations:
            operation = self.operations.pop()
            if id(operation) not in needed:
                continue
            at_outputs = [value.relevance for value in operation.outputs]
            if any(r is not None for r in at_outputs):
                for value, share in zip(
                    operation.inputs, operation.propagate(at_outputs), strict=True
                ):
                    if share is not None:
                        value.receive(share)
            for value in operation.outputs:
                if not value.kept:
                    value.relevance = None


def sum_to_shape(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Adds up the copies that broadcasting made."""
    return tensor if tensor.shape == shape else tensor.sum_to_size(shape)


def vector_jacobian(
    function: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    like: Tensor,
    gradients: list[Tensor | None],
) -> Tensor:
    """The adjoint of a linear function at ``gradients``, by autograd.

    Args:
        function: linear in its argument, one or several outputs.
        like: gives shape, strides and dtype; its values do not matter to a linear function.
        gradients: one for each output; None counts as zero.

    Returns:
        A tensor of the shape of ``like``.
    """
    with torch.enable_grad():
        leaf = like.detach().requires_grad_()
        result = function(leaf)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
        (adjoint,) = torch.autograd.grad([o for o, _ in pairs], leaf, [g for _, g in pairs])
    return adjoint
