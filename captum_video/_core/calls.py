"""Torch functions as function modes see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def canonical_name(function: Callable[..., Any]) -> str:
    """The name by which tables know a torch function.

    ``torch.add``, ``Tensor.add`` and ``Tensor.__add__`` are all ``"add"``; a property is named by
    itself; a trailing underscore, which marks in-place methods, stays.
    """
    name = getattr(function, "__name__", str(function))
    if name == "__get__":
        return str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name
