"""Arrays and tensors of any kind as tensors that can be computed with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def host_tensor(value: Tensor | np.ndarray, name: str) -> Tensor:
    """A tensor or an array of real numbers as a tensor on the CPU, without gradients.

    Arrays that torch cannot read as they lie (reversed, read-only, of another byte order, of
    extended precision) are copied; others share their memory.

    Args:
        value: a tensor or an array of any layout and real type.
        name: what messages call it.

    Returns:
        The same numbers; extended precision becomes float64.

    Raises:
        ValueError: if it is masked, sparse or complex, or holds no numbers at all.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array: fill it first, for example {name}.filled(0)")
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(_readable(value, name))
    elif not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor or an array, got {type(value).__name__}")
    if value.layout != torch.strided:
        raise ValueError(f"{name} is a sparse tensor: give {name}.to_dense()")
    if value.is_complex():
        raise ValueError(f"{name} must hold real numbers, got {value.dtype}: give {name}.real")
    return value.detach().cpu().resolve_neg()


def _readable(array: np.ndarray, name: str) -> np.ndarray:
    kind = array.dtype
    if kind.kind == "c":
        raise ValueError(f"{name} must hold real numbers, got {kind}: give {name}.real")
    if kind.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got an array of {kind}")
    if kind.kind == "f" and kind.itemsize > 8:
        with np.errstate(over="ignore"):
            return array.astype(np.float64)
    laid_out = all(step >= 0 and step % kind.itemsize == 0 for step in array.strides)
    if laid_out and array.flags.writeable and kind.isnative:
        return array
    return array.astype(kind.newbyteorder("="), order="C", copy=True)
