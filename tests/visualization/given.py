"""The same numbers in every form that a figure takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor


def as_kind(exact: Tensor, kind: str) -> Any:
    """A tensor as a NumPy array, on CUDA, with gradients, strided, or of another type."""
    if kind == "numpy":
        return exact.numpy()
    if kind == "grad":
        return exact.clone().requires_grad_()
    if kind == "strided":
        return exact.T.contiguous().T.requires_grad_()
    if kind == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        return exact.cuda()
    return exact.to(getattr(torch, kind))
