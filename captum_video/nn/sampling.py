"""Affine maps of a kernel's slices, and the bilinear sampling that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor


def affine_maps(
    scale: Tensor, rotation: Tensor, translation_x: Tensor, translation_y: Tensor
) -> Tensor:
    r"""The sampling map of each set of temporal parameters.

    .. math:: M = s \begin{bmatrix} \cos r & -\sin r \\ \sin r & \cos r \end{bmatrix}
              \begin{bmatrix} 1 & 0 & t_x \\ 0 & 1 & t_y \end{bmatrix}

    (paper 1, equation 6). A slice's value at place ``p`` is the previous slice's value at ``M p``,
    so the content moves by the inverse of ``M``.

    Args:
        scale: any shape.
        rotation: likewise, in radians.
        translation_x: likewise; 1 is half of the kernel's width, from centre to centre of its
            outermost taps.
        translation_y: likewise, of its height, downwards.

    Returns:
        ``(..., 2, 3)``, from a slice's coordinates ``(x, y, 1)`` to the previous slice's; both run
        from -1 to 1 between the centres of the outermost taps.
    """
    along, across = scale * rotation.cos(), scale * rotation.sin()
    x = along * translation_x - across * translation_y
    y = across * translation_x + along * translation_y
    rows = torch.stack([along, -across, x]), torch.stack([across, along, y])
    return torch.stack(rows).movedim((0, 1), (-2, -1))


def sampling_matrices(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear sampling of a slice, written as a matrix.

    Equals ``affine_grid`` followed by ``grid_sample`` with zeros outside and ``align_corners``, in
    value and in gradient. Between two taps, bilinear interpolation is smooth; on a tap (as all
    places are at the identity) it has a kink, where the slope to the right counts, as there.

    Args:
        maps: ``(..., 2, 3)``, from :func:`affine_maps`.
        size: the slice's height and width.

    Returns:
        ``(..., P, P)`` with ``P = height * width``: a row holds what each tap of the previous slice
        gives to one tap of the next. Not a number where a map is not finite.
    """
    height, width = size
    leading = maps.shape[:-2]
    flat = maps.reshape(-1, 2, 3)
    # not F.affine_grid, which warns of axes with a single tap
    grid = torch.affine_grid_generator(flat, [len(flat), 1, height, width], align_corners=True)
    places = grid.reshape(*leading, height * width, 2)
    across = _tents(places[..., 0], width)
    down = _tents(places[..., 1], height)
    return (down.unsqueeze(-1) * across.unsqueeze(-2)).flatten(-2)


def _tents(places: Tensor, size: int) -> Tensor:
    """What each tap of an axis gives to a place on it, ``(..., size)``; places run from -1 to 1."""
    position = ((places + 1) / 2 * (size - 1)).unsqueeze(-1)
    before = position.detach().floor()
    rest = position - before
    taps = torch.arange(size, dtype=places.dtype, device=places.device)
    # products, not a choice: a position that is not a number must not give a slice of zeros
    return (taps == before) * (1 - rest) + (taps == before + 1) * rest


def chained(sampling: Tensor) -> Tensor:
    r"""From the first slice to each slice: :math:`1,\; \Theta_1,\; \Theta_2 \Theta_1, \dots`.

    Args:
        sampling: ``(steps, C, P, P)``.

    Returns:
        ``(C, steps + 1, P, P)``.
    """
    chain = [torch.eye(sampling.shape[-1], dtype=sampling.dtype, device=sampling.device)]
    chain[0] = chain[0].expand_as(sampling[0])
    for step in sampling:
        chain.append(step @ chain[-1])
    return torch.stack(chain, 1)


def stacked_slices(first: Tensor, sampling: Tensor) -> Tensor:
    r"""The slices :math:`K_{b+1} = \Theta_b K_b` of a kernel (paper 1, equation 3).

    Args:
        first: ``(C, I, H, W)``, the first slice of each output channel.
        sampling: ``(steps, C, H * W, H * W)``, for each step and output channel.

    Returns:
        ``(C, I, steps + 1, H, W)``.
    """
    chain = chained(sampling)
    # all slices of a channel by one product with its few input channels, laid out as a kernel
    slices = first.flatten(2) @ chain.flatten(1, 2).mT
    return slices.unflatten(2, (chain.shape[1], *first.shape[2:]))
