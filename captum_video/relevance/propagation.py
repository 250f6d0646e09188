"""One recorded forward pass, and relevance from its output back to its inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from captum_video.relevance.errors import UnsupportedOperationError
from captum_video.relevance.flow import Flow, Value
from captum_video.relevance.ranges import raw_value
from captum_video.relevance.settings import Context
from captum_video.relevance.tracing import Unseen, Watch


@dataclass
class Recording:
    """A forward pass from which relevance can be sent back, once.

    Attributes:
        output: the model's output, to the bit what the plain forward gives.
        kept: what the observed layer gave in each call.
    """

    output: Tensor
    kept: list[Value]
    _context: Context
    _flow: Flow
    _at_output: Value
    _at_inputs: list[Value]
    _dtypes: list[torch.dtype]

    def relevance(self, seed: Tensor) -> tuple[Tensor, ...]:
        """Propagates ``seed`` from the output to the inputs.

        Args:
            seed: relevance at the output, of its shape.

        Returns:
            One tensor for each input; zeros for an input that the output does not depend on.

        Raises:
            UnsupportedOperationError: if the output depends on operations without a rule.
        """
        with torch.no_grad(), torch.autocast(seed.device.type, enabled=False):
            wide = torch.promote_types(seed.dtype, torch.float32)
            self._flow.propagate(self._at_output, seed.to(wide))
        return tuple(
            torch.zeros(value.shape, dtype=dtype, device=seed.device)
            if value.relevance is None
            else value.relevance.to(dtype).contiguous()
            for value, dtype in zip(self._at_inputs, self._dtypes, strict=True)
        )

    @property
    def absorbed(self) -> float:
        """Relevance, summed over the examples, that biases and vanished denominators kept so far."""
        return self._context.absorbed


def record(
    forward: Callable[..., Any],
    inputs: Sequence[Tensor],
    additional_forward_args: Sequence[Any],
    context: Context,
    layer: Module | None = None,
) -> Recording:
    """Runs ``forward`` once, as it is, and records how its output came from ``inputs``.

    Args:
        forward: the model or any callable.
        inputs: the tensors to explain.
        additional_forward_args: further arguments, constant to the explanation.
        context: settings, shared by the passes of one call.
        layer: a module whose output's relevance is wanted as well.

    Returns:
        The recording.

    Raises:
        TypeError: if the model is scripted or compiled, or its output is not a tensor.
        UnsupportedOperationError: if the output depends on operations without a rule.
    """
    refuse_compiled(forward)
    flow = Flow()
    # a clone: the model may write into its input, which belongs to the caller
    entries = [tensor.detach().clone() for tensor in inputs]
    values = []
    for number, tensor in enumerate(entries):
        name = "inputs" if len(entries) == 1 else f"inputs[{number}]"
        input_range = context.settings.range_of(number, len(entries))
        values.append(flow.track(tensor, None, raw_value(tensor, input_range, name)))
    device = entries[0].device.type
    watch = Watch(flow, context)
    with (
        torch.no_grad(),
        torch.autocast(device, enabled=False),
        _keeping(flow, layer) as kept,
        Unseen(flow, watch),
        watch,
    ):
        output = forward(*entries, *additional_forward_args)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model must return one tensor, got {type(output).__name__}: "
            "captum_video.wrap_model(model, output=...) makes it one that does"
        )
    if output not in flow:
        raise UnsupportedOperationError(
            ["the model's output does not depend on its inputs through torch functions"]
        )
    at_output = flow.value(output)
    at_output.consumers += (
        1  # the caller: an output that a norm reads as well is not folded into it
    )
    flow.check_path(at_output)
    context.check_used()
    return Recording(output, kept, context, flow, at_output, values, [t.dtype for t in entries])


@contextmanager
def _keeping(flow: Flow, layer: Module | None) -> Iterator[list[Value]]:
    """Collects what ``layer`` gives to calls of this thread, to read its relevance in the end."""
    kept: list[Value] = []
    thread = threading.get_ident()

    def see(module: Module, args: Any, output: Any) -> None:
        if threading.get_ident() == thread and isinstance(output, Tensor) and output in flow:
            kept.append(flow.keep(output))

    handle = layer.register_forward_hook(see) if layer is not None else None
    try:
        yield kept
    finally:
        if handle is not None:
            handle.remove()


def refuse_compiled(forward: object) -> None:
    """Refuses models whose operations cannot be watched.

    Raises:
        TypeError: if ``forward`` is, or holds, a scripted or compiled module or function.
    """
    parts = forward.named_modules() if isinstance(forward, Module) else [("", forward)]
    for name, part in parts:
        where = f"its module {name!r}" if name else "the model"
        if isinstance(part, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
            raise TypeError(
                f"{where} is scripted or traced ({type(part).__name__}), so its operations cannot be "
                "given relevance rules: pass the original Python module"
            )
        compiled = (
            hasattr(part, "_torchdynamo_orig_callable")
            or type(part).__name__ == "OptimizedModule"
            or getattr(part, "_compiled_call_impl", None) is not None
        )
        if compiled:
            raise TypeError(
                f"{where} was compiled with torch.compile, so its operations cannot be given "
                "relevance rules: pass the original module (an OptimizedModule keeps it as _orig_mod)"
            )
