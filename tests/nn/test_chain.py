"""What the search for an affine chain descends on, against autograd through dense least squares."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from captum_video.nn import sampling_matrices
from captum_video.nn._chain import fitted, maps_of

IDENTITY = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("inputs", [2, 40])
@pytest.mark.parametrize("spread", [0.3, 0.0])
def test_loss_gradient_and_curvature(inputs: int, spread: float) -> None:
    size, steps = (3, 4), 3
    kernels = normal(2, steps + 1, 12, inputs)
    kernels = kernels / kernels.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    places = IDENTITY.repeat(2, steps) + spread * normal(2, 4 * steps, seed=1)

    def chain(places: Tensor) -> Tensor:
        sampling = sampling_matrices(maps_of(places.unflatten(-1, (-1, 4))), size)
        slices = [torch.eye(12, dtype=torch.float64)]
        for step in sampling:
            slices.append(step @ slices[-1])
        return torch.cat(slices)

    found = fitted(places, kernels, size, slopes=True, curvature=True)
    for number in range(2):
        own, matrix = kernels[number].flatten(0, 1), chain(places[number])
        first = torch.linalg.lstsq(matrix, own).solution
        left = own - matrix @ first
        changes = torch.autograd.functional.jacobian(
            lambda some, first=first: chain(some) @ first, places[number]
        )
        gradient = -2 * torch.einsum("pn,pnk->k", left, changes)
        project = torch.eye(len(own), dtype=torch.float64) - matrix @ torch.linalg.pinv(matrix)
        changes = torch.einsum("qp,pnk->qnk", project, changes).flatten(0, 1)
        assert (found.loss[number] - left.square().sum()).abs() < 1e-12
        assert (found.gradient[number] - gradient).abs().max() < 1e-12
        assert (found.curvature[number] - changes.T @ changes).abs().max() < 1e-9
