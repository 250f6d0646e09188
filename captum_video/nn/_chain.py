"""How well a chain of affine maps explains kernels, with the best first slice, and its slopes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_video.nn.sampling import chained

#: numbers per map: ``s cos r``, ``s sin r`` and the last column of M
LINEAR = 4


class Fit(NamedTuple):
    """The unexplained share of each kernel, and its derivatives where they were asked for.

    Attributes:
        loss: ``(B,)``.
        gradient: ``(B, steps * 4)``, or empty.
        curvature: ``(B, steps * 4, steps * 4)``, the Gauss-Newton matrix, or empty.
    """

    loss: Tensor
    gradient: Tensor
    curvature: Tensor


def maps_of(places: Tensor) -> Tensor:
    r"""The map :math:`\begin{bmatrix} a & -b & x \\ b & a & y \end{bmatrix}` of each quadruple.

    Args:
        places: ``(..., 4)``, ``a, b, x, y``. A tap's place is linear in them, so that the kinks of
            bilinear sampling are flat.

    Returns:
        ``(..., 2, 3)``, as from :func:`captum_video.nn.affine_maps`.
    """
    a, b, x, y = places.unbind(-1)
    return torch.stack([torch.stack([a, -b, x], -1), torch.stack([b, a, y], -1)], -2)


class Sampling:
    """Bilinear sampling as matrices, and their slopes in the places that are sampled.

    The value is :func:`captum_video.nn.sampling_matrices`; its slopes on a tap are those to the
    right, as there.

    Args:
        places: ``(..., 4)``, see :func:`maps_of`.
        size: the slice's height and width.

    Attributes:
        matrix: ``(..., P, P)`` with ``P = height * width``.
    """

    def __init__(self, places: Tensor, size: tuple[int, int]) -> None:
        height, width = size
        y, x = torch.meshgrid(*(_centred(taps, places) for taps in (height, width)), indexing="ij")
        self._x, self._y = x.flatten(), y.flatten()
        self._half = (width - 1) / 2, (height - 1) / 2
        a, b, to_x, to_y = places.unsqueeze(-1).unbind(-2)
        self._across = _Tents((a * self._x - b * self._y + to_x + 1) * self._half[0], width)
        self._down = _Tents((b * self._x + a * self._y + to_y + 1) * self._half[1], height)
        self.matrix = _product(self._down.value, self._across.value)

    def slopes(self) -> tuple[Tensor, Tensor]:
        """The derivative of each row in the place that it samples, along x and along y.

        Returns:
            twice ``(..., P, P)``, in units of the coordinates that run from -1 to 1.
        """
        along_x = _product(self._down.value, self._across.slope()) * self._half[0]
        along_y = _product(self._down.slope(), self._across.value) * self._half[1]
        return along_x, along_y

    def combine(self, along_x: Tensor, along_y: Tensor) -> Tensor:
        """From derivatives in the places of all taps to those in ``a, b, x, y``.

        Args:
            along_x: ``(..., P, n)``.
            along_y: likewise.

        Returns:
            ``(..., 4, P, n)``, what each tap adds to each derivative.
        """
        x, y = self._x.unsqueeze(-1), self._y.unsqueeze(-1)
        parts = (x * along_x + y * along_y, x * along_y - y * along_x, along_x, along_y)
        return torch.stack(parts, -3)


class _Tents:
    """What each tap of an axis gives to places on it, ``(..., size)``, and its slope."""

    def __init__(self, position: Tensor, size: int) -> None:
        before = position.floor().unsqueeze(-1)
        rest = position.unsqueeze(-1) - before
        taps = torch.arange(size, dtype=position.dtype, device=position.device)
        self._left, self._right = (taps == before).to(rest), (taps == before + 1).to(rest)
        self.value = self._left * (1 - rest) + self._right * rest

    def slope(self) -> Tensor:
        return self._right - self._left


def _product(down: Tensor, across: Tensor) -> Tensor:
    return (down.unsqueeze(-1) * across.unsqueeze(-2)).flatten(-2)


def _centred(taps: int, like: Tensor) -> Tensor:
    """The coordinates of an axis' taps, 0 for a single one."""
    if taps == 1:
        return like.new_zeros(1)
    return torch.linspace(-1, 1, taps, dtype=like.dtype, device=like.device)


def first_slices(kernels: Tensor, sampling: Tensor) -> Tensor:
    """The first slice with which the chain is nearest to each kernel (linear least squares).

    Args:
        kernels: ``(B, D, P, n)``.
        sampling: ``(B, D - 1, P, P)``.

    Returns:
        ``(B, P, n)``.
    """
    stacked = chained(sampling.movedim(1, 0)).flatten(1, 2)
    factor = torch.linalg.cholesky(stacked.mT @ stacked)
    return torch.cholesky_solve(stacked.mT @ kernels.flatten(1, 2), factor)


def fitted(
    places: Tensor, kernels: Tensor, size: tuple[int, int], *, slopes: bool, curvature: bool = False
) -> Fit:
    r"""How much of each kernel the chain leaves unexplained, with the best first slice.

    With :math:`A = [1; S_1; S_2 S_1; \dots]`, ``loss`` is
    :math:`\min_F |K - A F|^2 = |K|^2 - |A^+ K|_{A^T A}^2`, for kernels of norm 1. ``curvature`` is the
    Gauss-Newton matrix of the projected residual in Kaufman's form, of which
    ``gradient`` is twice the right side.

    Args:
        places: ``(B, steps * 4)``.
        kernels: ``(B, steps + 1, P, n)`` of norm 1.
        size: the slice's height and width.
        slopes: whether to give ``gradient``.
        curvature: whether to give ``curvature`` too.

    Returns:
        see :class:`Fit`.
    """
    flat = kernels.flatten(1, 2)
    sampling = Sampling(places.unflatten(1, (-1, LINEAR)), size)
    stacked = chained(sampling.matrix.movedim(1, 0))
    chain = stacked.flatten(1, 2)
    factor = torch.linalg.cholesky(chain.mT @ chain)
    whitened = torch.linalg.solve_triangular(factor, chain.mT @ flat, upper=False)
    loss = 1 - whitened.square().sum((1, 2))
    none = loss.new_empty(0)
    if not slopes:
        return Fit(loss, none, none)
    first = torch.linalg.solve_triangular(factor.mT, whitened, upper=True)
    outer = first @ first.mT
    residual = (flat @ first.mT - chain @ outer).unflatten(1, stacked.shape[1:3])
    along_x, along_y = sampling.slopes()
    gradient = _gradient(residual, stacked, sampling, along_x, along_y)
    if not curvature:
        return Fit(loss, gradient, none)
    # its product with its own transpose is all that counts
    root = first if first.shape[2] <= first.shape[1] else _root(outer)
    changes = _changes(stacked, root, sampling, along_x, along_y)
    # without what a change of the first slice undoes
    basis = torch.linalg.solve_triangular(factor, chain.mT, upper=False)
    undone, changes = (basis.unsqueeze(1) @ changes).flatten(2), changes.flatten(2)
    return Fit(loss, gradient, changes @ changes.mT - undone @ undone.mT)


def _gradient(
    residual: Tensor, stacked: Tensor, sampling: Sampling, along_x: Tensor, along_y: Tensor
) -> Tensor:
    """The loss' derivatives, backwards through the chain; ``residual`` is ``(B, D, P, P)``."""
    steps = stacked.shape[1] - 1
    reached = residual[:, steps]
    pulls = []
    for step in reversed(range(steps)):
        pulls.append(reached @ stacked[:, step].mT)
        if step:
            reached = residual[:, step] + sampling.matrix[:, step].mT @ reached
    pull = torch.stack(pulls[::-1], 1)
    places = ((pull * slope).sum(-1, keepdim=True) for slope in (along_x, along_y))
    return -2 * sampling.combine(*places).sum((-2, -1)).flatten(1)


def _changes(
    stacked: Tensor, root: Tensor, sampling: Sampling, along_x: Tensor, along_y: Tensor
) -> Tensor:
    """What each number changes, ``(B, steps * 4, D * P, n)``, for first slices ``(B, P, n)``."""
    batch, depth, taps, _ = stacked.shape
    slices = stacked[:, :-1] @ root.unsqueeze(1)
    fresh = sampling.combine(along_x @ slices, along_y @ slices)
    out = stacked.new_zeros(batch, depth - 1, LINEAR, depth, taps, root.shape[2])
    for step in range(depth - 1):
        change = fresh[:, step]
        out[:, step, :, step + 1] = change
        for later in range(step + 1, depth - 1):
            change = sampling.matrix[:, later].unsqueeze(1) @ change
            out[:, step, :, later + 1] = change
    return out.flatten(3, 4).flatten(1, 2)


def _root(outer: Tensor) -> Tensor:
    """A square root of matrices that may lack full rank."""
    trace = outer.diagonal(dim1=-2, dim2=-1).sum(-1)
    jitter = (1e-12 * trace + 1e-30)[:, None, None]
    eye = torch.eye(outer.shape[-1], dtype=outer.dtype, device=outer.device)
    return torch.linalg.cholesky(outer + jitter * eye)
