"""Where the search for an affine chain begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_video.nn._chain import LINEAR, Sampling

#: maps that are tried for each pair of slices
MAPS = 4096
#: how many of them take part in the starts
BEST = 16
#: numbers in the sampling matrices that are compared at a time
BLOCK = 2**22
#: how far the starts near the identity are from it, in each parameter, and the maps halfway
NEAR, HALFWAY = 0.3, 0.7


def starting_places(
    kernels: Tensor, size: tuple[int, int], starts: int, generator: torch.Generator
) -> Tensor:
    """The identity, the maps that match neighbouring slices best, and random ones near the identity.

    The random numbers are the same for every kernel, so that one does not depend on the others.

    Args:
        kernels: ``(B, D, P, n)``.
        size: the slice's height and width.
        starts: how many for each kernel.
        generator: of random numbers, on the CPU.

    Returns:
        ``(B, starts, (D - 1) * 4)``, see :func:`captum_video.nn._chain.maps_of`.
    """
    steps = kernels.shape[1] - 1
    out = kernels.new_zeros(len(kernels), starts, steps, LINEAR)
    out[..., 0] = 1
    if starts > 1:
        tried = _random_maps(MAPS, generator).to(kernels)
        found = tried[_matches(kernels, _kept(tried, size), size)]
        matched = 1 + (starts - 1) // 2
        ranks = torch.randint(BEST, (matched, steps), generator=generator)
        ranks[0] = 0
        out[:, 1 : 1 + matched] = found[:, torch.arange(steps), ranks]
        rest = starts - 1 - matched
        near = _maps(NEAR * (2 * _uniform((4, rest, steps), generator) - 1))
        out[:, 1 + matched :] = near.to(kernels)
    return _kept(out, size).flatten(2)


def _random_maps(count: int, generator: torch.Generator) -> Tensor:
    """``(count, 4)``: a quarter near the identity, a quarter halfway, the others all over."""
    deviations = 2 * _uniform((4, count), generator) - 1
    deviations[:, : count // 4] *= NEAR
    deviations[:, count // 4 : count // 2] *= HALFWAY
    scale, rotation, x, y = deviations[:, count // 2 :]
    wide = torch.stack([(1.1 * scale).exp() - 1, math.pi * rotation, 1.5 * x, 1.5 * y])
    return _maps(torch.cat([deviations[:, : count // 2], wide], 1))


def _maps(deviations: Tensor) -> Tensor:
    """From deviations ``(4, ...)`` of scale, rotation and translations to ``(..., 4)``."""
    scale, rotation, x, y = deviations
    along, across = (1 + scale) * rotation.cos(), (1 + scale) * rotation.sin()
    return torch.stack([along, across, along * x - across * y, across * x + along * y], -1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _kept(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Leaves what an axis with a single tap cannot show at the identity."""
    height, width = size
    if height > 1 and width > 1:
        return places
    places = places.clone()
    places[..., 1] = 0
    places[..., 2 if width == 1 else 3] = 0
    return places


def _matches(kernels: Tensor, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The numbers of the maps that take each slice nearest to the next, ``(B, steps, BEST)``."""
    before, after = kernels[:, :-1], kernels[:, 1:]
    crossed, own = (after @ before.mT).flatten(2), (before @ before.mT).flatten(2)
    numbers = torch.arange(len(maps), device=maps.device)
    nearest, found = own.new_empty(*own.shape[:2], 0), numbers.new_empty(*own.shape[:2], 0)
    some = max(1, BLOCK // max(own.shape[-1], own.shape[0] * own.shape[1]))
    for chosen in numbers.split(some):
        matrix = Sampling(maps[chosen], size).matrix
        square = (matrix.mT @ matrix).flatten(1)
        distances = own @ square.T - 2 * crossed @ matrix.flatten(1).T
        nearest = torch.cat([nearest, distances], -1)
        found = torch.cat([found, chosen.expand(*own.shape[:2], -1)], -1)
        nearest, kept = nearest.topk(min(BEST, nearest.shape[-1]), largest=False)
        found = found.gather(-1, kept)
    return found
