"""One forward pass of a Res-TCN, with what is known of its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from captum._utils.common import _format_additional_forward_args
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_leaves

from captum_video._core.checks import check_inputs
from captum_video._core.guards import check_evaluation_mode, module_of, untouched
from captum_video.layers.capture import observed
from captum_video.layers.recording import Node, Recording
from captum_video.layers.residual_stack import KEPT, NoResidualStack, ResidualStack, StackLayer


class DecodableLayer(NamedTuple):
    """A layer that can be decoded.

    Attributes:
        name: its dotted name.
        number: which layer of its stack it is, from 1.
        stream: which stack it belongs to, in the order in which the model holds them, from 0;
            MS-Res-TCN has two, the main stream first.
        field: how many frames an activation of it sees.
    """

    name: str
    number: int
    stream: int
    field: int


class StackRun:
    """A forward pass, and what each module gave in it.

    Args:
        forward_func: the model.
        sequence: ``(N, D, T)``.
        additional_forward_args: further arguments of the model.
        layer: a module to watch that the model may not hold.

    Attributes:
        modules: those that were watched, by name.
        seen: what each gave in each of its calls; None where that is no single tensor.
        stack: recognises layers among them.

    Raises:
        RuntimeError: for a model with batch norm or dropout in training mode.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        sequence: Tensor,
        additional_forward_args: Any,
        layer: Module | None = None,
    ) -> None:
        check_evaluation_mode(forward_func)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        model = module_of(forward_func)
        self.modules = dict(model.named_modules()) if model is not None else {}
        if layer is not None and not any(module is layer for module in self.modules.values()):
            self.modules["layer"] = layer
        self.seen: dict[Module, list[Node | None]] = {}
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(sequence.device.type, enabled=False),
            untouched(forward_func, sequence.device),
        ):
            given = sequence.detach().clone()
            recording = Recording(given, KEPT)

            def see(name: str, module: Module, output: Any) -> None:
                tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
                node = recording.node(tensors[0]) if len(tensors) == 1 else None
                self.seen.setdefault(module, []).append(node)

            with observed(self.modules, see), recording:
                forward_func(given, *extra)
        self.stack = ResidualStack(recording)

    def layers(self) -> list[tuple[str, StackLayer]]:
        """The modules that give a layer of the stack, from the first layer to the last.

        Returns:
            Names and layers, a layer by the shortest of its names.
        """
        found: dict[Node, tuple[str, StackLayer]] = {}
        # outer modules first, so that a layer goes by the shortest of its names
        for name, module in sorted(self.modules.items(), key=lambda item: item[0].count(".")):
            calls = self.seen.get(module, [])
            try:
                layer = self.stack.layer(calls[0] if len(calls) == 1 else None)
            except NoResidualStack:
                continue
            if name:
                found.setdefault(layer.node, (name, layer))
        return sorted(found.values(), key=lambda item: item[1].number)


def single_sequence(inputs: Tensor | tuple[Tensor]) -> Tensor:
    """The one tensor of sequences that was given.

    Args:
        inputs: ``(N, D, T)``, or a tuple of one such tensor.

    Returns:
        The tensor.

    Raises:
        TypeError: for inputs that are no floating-point tensor.
        ValueError: for inputs of another shape, or that are empty or not finite.
    """
    given: tuple[Tensor, ...] = inputs if isinstance(inputs, tuple) else (inputs,)
    check_inputs(given)
    if len(given) != 1 or given[0].dim() != 3:
        raise ValueError(
            "inputs must be one tensor of sequences (N, D, T), got "
            + " and ".join(f"shape {tuple(tensor.shape)}" for tensor in given)
        )
    return given[0]
