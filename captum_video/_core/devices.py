"""Devices by name."""

from __future__ import annotations

import torch


def find_device(name: str) -> torch.device:
    """The device that ``--device`` names.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ..., or ``"auto"`` for CUDA if there is any.

    Returns:
        The device, which works.

    Raises:
        ValueError: if it does not; the message says why.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name}: {reason}. Use --device cpu") from error
    return device
