"""The kernel of a 3TConv against affine_grid and grid_sample, exact array operations and identities."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.nn import affine_maps, sampling_matrices, stacked_slices

STEPS, CHANNELS, INPUTS = 3, 5, 4
SIZES = [(3, 3), (5, 5), (7, 7), (3, 7), (6, 4), (2, 2)]
NAMES = ("scale", "rotation", "translation_x", "translation_y")
IDENTITY = (1.0, 0.0, 0.0, 0.0)


def chain(first: Tensor, *parameters: Tensor) -> Tensor:
    """The kernel as the paper's text has it: one grid and one sampling after the other."""
    scale, rotation, x, y = parameters
    slices = [first]
    for s, r, tx, ty in zip(scale, rotation, x, y, strict=True):
        cos, sin = r.cos(), r.sin()
        theta = torch.stack(
            [
                torch.stack([s * cos, -s * sin, tx * s * cos - ty * s * sin], -1),
                torch.stack([s * sin, s * cos, tx * s * sin + ty * s * cos], -1),
            ],
            -2,
        )
        grid = F.affine_grid(theta, list(first.shape), align_corners=True)
        slices.append(
            F.grid_sample(slices[-1], grid, "bilinear", padding_mode="zeros", align_corners=True)
        )
    return torch.stack(slices, 2)


def built(first: Tensor, *parameters: Tensor) -> Tensor:
    height, width = first.shape[2:]
    return stacked_slices(first, sampling_matrices(affine_maps(*parameters), (height, width)))


def drawn(size: tuple[int, int], spread: float, seed: int = 0) -> list[Tensor]:
    """A first slice, and parameters that far from the identity."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    first = normal(CHANNELS, INPUTS, *size)
    others = [base + spread * normal(STEPS, CHANNELS) for base in IDENTITY]
    return [tensor.requires_grad_() for tensor in (first, *others)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_equals_the_chain_of_samplings(size: tuple[int, int], spread: float) -> None:
    leaves = drawn(size, spread)
    ours, theirs = built(*leaves), chain(*leaves)
    assert (ours - theirs).abs().max() < 1e-12
    weights = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, leaves, weights)
    expected = torch.autograd.grad(theirs, leaves, weights)
    for name, a, b in zip(("first", *NAMES), mine, expected, strict=True):
        assert (a - b).abs().max() < 1e-10, name
        assert b.abs().max() > 1e-3, name


@pytest.mark.parametrize("varied", range(4))
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5, 5), (6, 6), (7, 7)])
def test_each_parameter_alone(size: tuple[int, int], varied: int) -> None:
    first, *parameters = drawn(size, 0.0, seed=3)
    moved = parameters[varied].detach() + 0.4 * torch.randn(STEPS, CHANNELS, dtype=torch.float64)
    parameters[varied] = moved.requires_grad_()
    ours, theirs = built(first, *parameters), chain(first, *parameters)
    assert (ours - theirs).abs().max() < 1e-12
    assert (ours - first.unsqueeze(2)).abs().max() > 1e-2
    both = (torch.autograd.grad(k.square().sum(), parameters) for k in (ours, theirs))
    for a, b in zip(*both, strict=True):
        assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_the_kink_at_the_identity_in_single_precision(size: tuple[int, int]) -> None:
    leaves = [leaf.detach().float().requires_grad_() for leaf in drawn(size, 0.0)]
    ours, theirs = built(*leaves), chain(*leaves)
    weights = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, leaves, weights)
    expected = torch.autograd.grad(theirs, leaves, weights)
    for name, a, b in zip(("first", *NAMES), mine, expected, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max(), name
        assert b.abs().max() > 1e-3, name


def test_away_from_the_kinks_the_gradient_is_that_of_the_kernel() -> None:
    leaves = drawn((3, 3), 0.13, seed=5)
    assert torch.autograd.gradcheck(built, leaves, eps=1e-7, atol=1e-5)


class TestExact:
    """By hand: a 3x3 slice of the numbers 1 to 9, and what a step makes of it."""

    first = torch.arange(1.0, 10, dtype=torch.float64).view(1, 1, 3, 3)

    def step(self, scale: float, rotation: float, x: float, y: float) -> Tensor:
        parameters = [torch.tensor([[p]], dtype=torch.float64) for p in (scale, rotation, x, y)]
        return built(self.first, *parameters)[0, 0, 1].round(decimals=12)

    def test_a_quarter_turn(self) -> None:
        expected = torch.rot90(self.first[0, 0])  # counter-clockwise
        assert torch.equal(self.step(1, math.pi / 2, 0, 0), expected)
        assert torch.equal(self.step(1, -math.pi / 2, 0, 0), torch.rot90(self.first[0, 0], -1))
        assert torch.equal(self.step(-1, 0, 0, 0), self.first[0, 0].flip(0, 1))

    def test_whole_pixels(self) -> None:
        left = torch.tensor([[2.0, 3, 0], [5, 6, 0], [8, 9, 0]], dtype=torch.float64)
        up = torch.tensor([[4.0, 5, 6], [7, 8, 9], [0, 0, 0]], dtype=torch.float64)
        assert torch.equal(self.step(1, 0, 1, 0), left)
        assert torch.equal(self.step(1, 0, 0, 1), up)

    def test_scale(self) -> None:
        small = torch.tensor([[0.0, 0, 0], [0, 5, 0], [0, 0, 0]], dtype=torch.float64)
        assert torch.equal(self.step(2, 0, 0, 0), small)
        large = torch.tensor([[3.0, 3.5, 4], [4.5, 5, 5.5], [6, 6.5, 7]], dtype=torch.float64)
        assert torch.equal(self.step(0.5, 0, 0, 0), large)

    def test_half_pixels(self) -> None:
        half = torch.tensor([[1.5, 2.5, 1.5], [4.5, 5.5, 3], [7.5, 8.5, 4.5]], dtype=torch.float64)
        assert torch.equal(self.step(1, 0, 0.5, 0), half)

    def test_content_turns_before_it_shifts(self) -> None:
        # equation 6: the translation of the sampling map stands inside of the rotation
        turned = torch.rot90(self.first[0, 0])
        expected = torch.zeros(3, 3, dtype=torch.float64)
        expected[:, 1:] = turned[:, :2]
        assert torch.equal(self.step(1, math.pi / 2, -1, 0), expected)

    def test_at_scale_0_a_slice_is_one_value(self) -> None:
        assert torch.equal(self.step(0, 0, 0, 0), torch.full((3, 3), 5.0, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(), (2,), (2, 3, 4)])
def test_maps_of_any_shape(shape: tuple[int, ...]) -> None:
    quarter = math.pi / 2
    maps = affine_maps(*(torch.full(shape, v) for v in (2.0, quarter, 0.5, 0.25)))
    assert maps.shape == (*shape, 2, 3)
    # two times the quarter turn of (x + 1/2, y + 1/4)
    expected = torch.tensor([[0.0, -2.0, -0.5], [2.0, 0.0, 1.0]])
    assert torch.allclose(maps, expected.expand_as(maps), atol=1e-6)
    matrices = sampling_matrices(maps, (3, 2))
    assert matrices.shape == (*shape, 6, 6)


def test_each_slice_is_sampled_from_the_one_before() -> None:
    first, *parameters = drawn((5, 5), 0.3, seed=7)
    kernel = built(first, *parameters)
    for step in range(STEPS):
        again = built(kernel[:, :, step], *(p[step : step + 1] for p in parameters))
        assert torch.allclose(again[:, :, 1], kernel[:, :, step + 1], atol=1e-14)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_seen(value: float) -> None:
    first, *parameters = (leaf.detach() for leaf in drawn((3, 3), 0.1))
    parameters[2][1, 4] = value
    kernel = built(first, *parameters)
    assert kernel[4, :, 2:].isnan().all(-1).all(-1).all()
    assert kernel[:4].isfinite().all()
