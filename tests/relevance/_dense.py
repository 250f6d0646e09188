"""Relevance rules by plain matrix algebra: every contribution of every unit written out.

Nothing here comes from the package. An operation is turned into its matrix by feeding it unit
vectors, and each unit is then divided on its own, as the papers write it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def matrix(function: Callable[[Tensor], Tensor], shape: torch.Size | tuple[int, ...]) -> Array:
    """The matrix (outputs, inputs) of a linear or affine function, its constant part left out."""
    size = torch.Size(shape).numel()
    basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
    constant = function(torch.zeros(shape, dtype=torch.float64)).flatten()
    columns = [function(vector).flatten() - constant for vector in basis]
    result: Array = torch.stack(columns, dim=1).numpy()
    return result


@dataclass
class Dense:
    """An affine operation written out; every rule gives (relevance at the inputs, absorbed).

    Attributes:
        w: ``w[j, i]``, the weight of input i in unit j.
        b: ``b[j]``.
        reach: ``reach[j, i]``, whether input i is one of unit j's at all, whatever its weight.
        absorbs: whether biases keep their share.
    """

    w: Array
    b: Array
    reach: Array
    absorbs: bool

    def lose(self, j: int, given: Array, r: float) -> float:
        """A unit without anything to divide by; returns what is absorbed."""
        count = self.reach[j].sum()
        if self.absorbs or count == 0:
            return r
        given += r / count * self.reach[j]
        return 0.0

    def alpha_beta(self, x: Array, r: Array, alpha: float, beta: float) -> tuple[Array, float]:
        given, absorbed = np.zeros_like(x), 0.0
        for j in range(len(r)):
            z = self.w[j] * x
            b = self.b[j] if self.absorbs else 0.0
            plus, minus = np.where(z > 0, z, 0), np.where(z < 0, z, 0)
            above, below = plus.sum() + max(b, 0.0), minus.sum() + min(b, 0.0)
            if above > 0 and below < 0:
                given += r[j] * (alpha * plus / above - beta * minus / below)
                absorbed += r[j] * (alpha * max(b, 0.0) / above - beta * min(b, 0.0) / below)
            elif above > 0 or below < 0:  # one sign only: all of the relevance goes there
                given += r[j] * z / (above + below)
                absorbed += r[j] * b / (above + below)
            else:
                absorbed += self.lose(j, given, r[j])
        return given, absorbed

    def z_beta(self, x: Array, r: Array, low: Array, high: Array) -> tuple[Array, float]:
        given, absorbed = np.zeros_like(x), 0.0
        for j in range(len(r)):
            w = self.w[j]
            z = x * w - low * np.where(w > 0, w, 0) - high * np.where(w < 0, w, 0)
            if z.sum() > 0:
                given += r[j] * z / z.sum()
            else:
                absorbed += self.lose(j, given, r[j])
        return given, absorbed

    def weighted(self, weight: Array, r: Array) -> tuple[Array, float]:
        """Shares by ``weight[j, i]`` whatever the input: w-squared and flat."""
        given, absorbed = np.zeros(weight.shape[1]), 0.0
        for j in range(len(r)):
            if weight[j].sum() > 0:
                given += r[j] * weight[j] / weight[j].sum()
            else:
                absorbed += self.lose(j, given, r[j])
        return given, absorbed

    def epsilon(self, x: Array, r: Array, epsilon: float) -> tuple[Array, float]:
        given, absorbed = np.zeros_like(x), 0.0
        for j in range(len(r)):
            z = self.w[j] * x
            total = z.sum() + (self.b[j] if self.absorbs else 0.0)
            stable = total + (epsilon if total >= 0 else -epsilon)
            if stable != 0:
                given += r[j] * z / stable
                absorbed += r[j] * (1 - z.sum() / stable)
            else:
                absorbed += self.lose(j, given, r[j])
        return given, absorbed
