"""Guards that leave model and global state as they found it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


def module_of(forward: Callable[..., Any]) -> Module | None:
    """The module behind a callable: itself, or the one whose method it is."""
    if isinstance(forward, Module):
        return forward
    owner = getattr(forward, "__self__", None)
    return owner if isinstance(owner, Module) else None


def check_evaluation_mode(forward: Callable[..., Any]) -> None:
    """Refuses a model whose training mode would make explanations random or change its buffers.

    Raises:
        RuntimeError: if a batch norm or dropout module is in training mode; a model that is in
            training mode without any gets a warning.
    """
    model = module_of(forward)
    if model is None:
        return
    for name, module in model.named_modules():
        if module.training and isinstance(module, (_NormBase, _DropoutNd)):
            kind = type(module).__name__
            raise RuntimeError(
                f"the model's {kind} {name!r} is in training mode, where its output depends on "
                "chance or on the rest of the batch: call model.eval() first"
            )
    if model.training:
        warnings.warn(
            "the model is in training mode; call model.eval() unless that is meant", stacklevel=3
        )


@contextmanager
def untouched(forward: Callable[..., Any], device: torch.device) -> Iterator[None]:
    """Gives back model and random state as they were, whether the block returns or raises.

    Buffers, training flags and ``requires_grad`` that the model's own forward changes are put back,
    and so are the random generators of the CPU and of ``device``. Parameters are not copied: a
    forward that writes into them is an error.

    Args:
        forward: the model or a callable.
        device: where the inputs are.

    Raises:
        RuntimeError: if the forward pass wrote into a parameter.
    """
    model = module_of(forward)
    modules = list(model.modules()) if model is not None else []
    present = [b for m in modules for b in m._buffers.values() if b is not None]
    buffers = [(b, b.detach().clone()) for b in present]
    # a scripted module keeps its own table of buffers, which cannot be written to
    plain = [m for m in modules if not isinstance(m, torch.jit.ScriptModule)]
    held = [(m, dict(m._buffers)) for m in plain]
    parameters = list(model.named_parameters()) if model is not None else []
    marks = [(p, p.requires_grad, p._version) for _, p in parameters]
    training = [(m, m.training) for m in modules]
    with ExitStack() as stack:
        devices = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=devices))
        try:
            yield
        finally:
            for module, flag in training:
                module.training = flag
            for module, names in held:
                module._buffers.update(names)
            for buffer, copy in buffers:
                # not by version: batch norm in training mode writes without counting it
                if not torch.equal(buffer, copy):
                    with torch.no_grad():
                        buffer.copy_(copy)
            for parameter, flag, _ in marks:
                parameter.requires_grad_(flag)
    for (name, parameter), (_, _, version) in zip(parameters, marks, strict=True):
        if parameter._version != version:
            raise RuntimeError(
                f"the model's forward pass wrote into its parameter {name!r}, so it is no longer "
                "what it was; only models whose forward leaves parameters alone can be explained"
            )


@contextmanager
def exact_convolutions(tensor: Tensor) -> Iterator[None]:
    """On CUDA, computes convolutions and products in full precision instead of TF32.

    Rules subtract sums that are nearly equal, which TF32's ten bits do not survive. The flags are
    global to the process and put back at the end.
    """
    if tensor.device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@contextmanager
def recurrent_backward(forward: Callable[..., Any], tensor: Tensor) -> Iterator[None]:
    """Lets gradients pass recurrent layers in evaluation mode on CUDA, which cuDNN refuses.

    cuDNN is switched off inside the block only, and only for a model with recurrent layers on CUDA.
    """
    model = module_of(forward)
    recurrent = model is not None and any(isinstance(m, torch.nn.RNNBase) for m in model.modules())
    if not recurrent or tensor.device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before
