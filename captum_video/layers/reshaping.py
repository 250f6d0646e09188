"""From a layer's own layout to ``(N, C, T, H, W)``: token sequences and channel-last grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class TokenGrid:
    """A reshape transform for token sequences whose grid is known.

    Args:
        grid: the numbers of tokens along time, height and width.
        class_tokens: how many tokens come before the grid; they are dropped.
        order: the grid's order within the sequence, the slowest axis first: ``"thw"`` (ViViT,
            VideoMAE, MViT) or ``"hwt"`` (TimeSformer).

    Shape:
        ``(N, class_tokens + T * H * W, C)`` to ``(N, C, T, H, W)``. Of a layer that gives several
        things, the first tensor counts.

    Raises:
        ValueError: for a grid that is not three positive numbers or an order that does not exist;
            when called, for a sequence of another length.
    """

    grid: tuple[int, int, int]
    class_tokens: int = 0
    order: Literal["thw", "hwt"] = "thw"

    def __post_init__(self) -> None:
        if len(self.grid) != 3 or min(self.grid) < 1:
            raise ValueError(f"grid must be the positive numbers (T, H, W), got {self.grid}")
        if self.class_tokens < 0:
            raise ValueError(f"class_tokens must not be negative, got {self.class_tokens}")
        if self.order not in ("thw", "hwt"):
            raise ValueError(f"order must be 'thw' or 'hwt', got {self.order!r}")

    def __call__(self, output: Any) -> Tensor:
        """The tokens as a grid.

        Args:
            output: what the layer gives.

        Returns:
            ``(N, C, T, H, W)``, a view where possible.
        """
        tokens = first_tensor(output)
        expected = self.class_tokens + math.prod(self.grid)
        if tokens.dim() != 3 or tokens.shape[1] != expected:
            raise ValueError(
                f"reshape_transform: a grid of {self.grid} with {self.class_tokens} class tokens "
                f"needs tokens (N, {expected}, C), got shape {tuple(tokens.shape)}"
            )
        t, h, w = self.grid
        kept = tokens[:, self.class_tokens :]
        if self.order == "thw":
            return kept.unflatten(1, (t, h, w)).permute(0, 4, 1, 2, 3)
        return kept.unflatten(1, (h, w, t)).permute(0, 4, 3, 1, 2)


def channels_last(output: Any) -> Tensor:
    """A reshape transform for channel-last grids, such as the blocks of ``swin3d_t``.

    Args:
        output: ``(N, T, H, W, C)``, or several things of which that is the first tensor.

    Returns:
        ``(N, C, T, H, W)``.

    Raises:
        ValueError: for a tensor that has not five axes.
    """
    tensor = first_tensor(output)
    if tensor.dim() != 5:
        raise ValueError(
            "reshape_transform channels_last: needs (N, T, H, W, C), got shape "
            f"{tuple(tensor.shape)}"
        )
    return tensor.permute(0, 4, 1, 2, 3)


def mvit_tokens(output: Any) -> Tensor:
    """A reshape transform for the blocks of torchvision's MViT, which give tokens and their grid.

    Args:
        output: the pair of tokens ``(N, 1 + T * H * W, C)`` and ``(T, H, W)``.

    Returns:
        ``(N, C, T, H, W)``, without the class token.

    Raises:
        ValueError: for anything else.
    """
    if not (isinstance(output, (tuple, list)) and len(output) == 2 and len(output[1]) == 3):
        raise ValueError(
            "reshape_transform mvit_tokens: needs the output of an MViT block, a pair of tokens and "
            f"(T, H, W), got {type(output).__name__}; a block is model.blocks[i]"
        )
    tokens, (t, h, w) = output
    extra = tokens.shape[1] - t * h * w
    return TokenGrid((int(t), int(h), int(w)), class_tokens=max(extra, 0))(tokens)


def first_tensor(output: Any) -> Tensor:
    """The first floating-point tensor of what a layer gives.

    Args:
        output: a tensor, or anything that holds some.

    Returns:
        The tensor.

    Raises:
        ValueError: if there is none.
    """
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf
    raise ValueError(f"the layer gives no floating-point tensor but {type(output).__name__}")
