"""The nearest affine chain: planted parameters come back, and nothing nearby is better."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import least_squares
from torch import Tensor

import models
from captum_video.nn import (
    AffineChain,
    Conv3T,
    FreeConv3T,
    affine_maps,
    fit_affine_chain,
    sampling_matrices,
    stacked_slices,
)
from captum_video.nn import fitting as module

IDENTITY = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def planted(
    shape: tuple[int, int, int, int, int], spread: float = 0.15, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Parameters ``(4, steps, C)`` up to so far from the identity, and their kernels."""
    channels, inputs, depth, height, width = shape
    rng = torch.Generator().manual_seed(seed)
    uniform = torch.rand(4, depth - 1, channels, generator=rng, dtype=torch.float64)
    parameters = IDENTITY[:, None, None] + spread * (2 * uniform - 1)
    first = normal(channels, inputs, height, width, seed=seed + 1)
    sampling = sampling_matrices(affine_maps(*parameters), (height, width))
    return parameters, stacked_slices(first, sampling)


def parameters_of(chain: AffineChain) -> Tensor:
    return torch.stack(chain[1:5])


def share(kernels: Tensor, guess: Tensor) -> Tensor:
    """What a guess explains of each kernel, in float64."""
    kernels, guess = kernels.double().flatten(1), guess.double().flatten(1)
    return 1 - (kernels - guess).square().sum(1) / kernels.square().sum(1)


def best_share(kernels: Tensor, parameters: Tensor) -> Tensor:
    """What given parameters explain with the best first slice, by dense least squares."""
    size = (kernels.shape[3], kernels.shape[4])
    sampling = sampling_matrices(affine_maps(*parameters), size)
    taps = size[0] * size[1]
    eye = torch.eye(taps, dtype=torch.float64).expand(len(kernels), -1, -1)
    chain = stacked_slices(eye.unflatten(2, size), sampling).flatten(2).mT  # (C, D P, P)
    flat = kernels.permute(0, 2, 3, 4, 1).flatten(1, 3)
    return share(flat, chain @ torch.linalg.lstsq(chain, flat).solution)


def trained(name: str, channels: int) -> Tensor:
    net = models.load("c3d_small").get_submodule(name)
    return net.weight.detach()[:channels].double()  # type: ignore[operator]


def naive_chain(first: Tensor, parameters: Tensor) -> Tensor:
    """One channel, sampled step by step by torch; ``first (I, H, W)``, ``parameters (4, steps)``."""
    slices = [first]
    for s, r, x, y in parameters.T:
        turn = s * torch.stack([r.cos(), -r.sin(), r.sin(), r.cos()]).view(2, 2)
        theta = torch.cat([turn, turn @ torch.stack([x, y])[:, None]], 1)[None]
        grid = F.affine_grid(theta, [1, *first.shape], align_corners=True)
        slices.append(F.grid_sample(slices[-1][None], grid, align_corners=True)[0])
    return torch.stack(slices, 1)


class TestPlanted:
    @pytest.mark.parametrize(
        ("shape", "starts"),
        [((300, 16, 3, 3, 3), 16), ((8, 16, 5, 5, 5), 6), ((8, 16, 3, 7, 7), 6)],
    )
    def test_parameters_come_back(self, shape: tuple[int, ...], starts: int) -> None:
        parameters, kernels = planted(shape)  # type: ignore[arg-type]
        chain = fit_affine_chain(kernels, starts=starts)
        error = (parameters_of(chain) - parameters).abs().amax((0, 1))
        assert (error < 1e-2).double().mean() >= 0.99
        assert (1 - chain.explained).abs().max() < 1e-8

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [(3, 3, 3), (5, 5, 5), (3, 7, 7)])
    def test_parameters_of_hundreds_of_channels_come_back(self, size: tuple[int, ...]) -> None:
        parameters, kernels = planted((300, 16, *size), seed=5)  # type: ignore[arg-type]
        chain = fit_affine_chain(kernels)
        error = (parameters_of(chain) - parameters).abs().amax((0, 1))
        assert (error < 1e-2).double().mean() >= 0.99
        assert (1 - chain.explained).abs().median() < 1e-12

    def test_noise_costs_in_proportion(self) -> None:
        parameters, kernels = planted((40, 16, 3, 3, 3), seed=2)
        noise = normal(*kernels.shape, seed=9)
        medians = []
        for size in (1e-4, 1e-3, 1e-2):
            chain = fit_affine_chain(kernels + size * noise, starts=8)
            error = (parameters_of(chain) - parameters).abs()
            medians.append(error.median().item() / size)
            missed = size**2 * noise.square().sum() / kernels.square().sum()
            assert (1 - chain.explained).mean() < 1.2 * missed
        assert max(medians) < 1  # noise of so much moves a parameter by less
        assert max(medians) < 2 * min(medians)

    def test_a_quarter_turn_and_a_whole_tap_are_read_exactly(self) -> None:
        first = normal(3, 16, 5, 5)
        turned = torch.rot90(first, 1, (2, 3))
        moved = F.pad(turned, (0, 1, 0, 0))[..., 1:]  # to the left
        chain = fit_affine_chain(torch.stack([first, turned, moved], 2))
        expected = torch.tensor([[1, math.pi / 2, 0, 0], [1, 0, 0.5, 0]], dtype=torch.float64)
        assert (1 - chain.explained).abs().max() < 1e-12
        assert (parameters_of(chain).permute(2, 1, 0) - expected).abs().max() < 1e-5

    def test_the_first_slice_is_free(self) -> None:
        parameters, kernels = planted((6, 16, 3, 3, 3), seed=4)
        broken = kernels.clone()
        broken[:, :, 0] += 0.05 * normal(6, 16, 3, 3, seed=3)
        chain = fit_affine_chain(broken)
        assert (parameters_of(chain) - parameters).abs().max() < 0.1
        assert (chain.first_slice - broken[:, :, 0]).abs().max() > 1e-3
        assert torch.all(chain.explained > best_share(broken, parameters))


class TestBest:
    def test_reproduced_by_conv3t(self) -> None:
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
            kernels = trained("conv2", 8).to(dtype)
            chain = fit_affine_chain(kernels, starts=6, iterations=10)
            layer = Conv3T(16, 8, 3, dtype=dtype)
            with torch.no_grad():
                layer.first_slice.copy_(chain.first_slice)
                for name in ("scale", "rotation", "translation_x", "translation_y"):
                    getattr(layer, name).copy_(getattr(chain, name))
                found = share(kernels, layer.kernel())
            assert (found - chain.explained.double()).abs().max() < tolerance

    def test_no_move_of_the_parameters_or_of_the_first_slice_is_better(self) -> None:
        kernels = torch.cat([trained("conv2", 8), normal(4, 16, 3, 3, 3)])
        chain = fit_affine_chain(kernels)
        own = parameters_of(chain)
        assert (best_share(kernels, own) - chain.explained).abs().max() < 1e-12
        sampling = sampling_matrices(affine_maps(*own), (3, 3))
        for seed in range(30):
            for size in (1e-2, 1e-3, 1e-4):
                tried = own + size * normal(*own.shape, seed=seed)
                # kinks are met to within rounding only
                assert (best_share(kernels, tried) - chain.explained).max() < 1e-6, size
                slices = chain.first_slice + size * normal(12, 16, 3, 3, seed=seed)
                assert torch.all(share(kernels, stacked_slices(slices, sampling)) < chain.explained)

    def test_scipy_finds_nothing_better(self) -> None:
        kernels = torch.cat([planted((1, 2, 3, 3, 3), 0.3)[1], normal(2, 2, 3, 3, 3, seed=8)])
        chain = fit_affine_chain(kernels)
        rng = np.random.default_rng(0)
        for number, kernel in enumerate(kernels):

            def residual(values: np.ndarray, kernel: Tensor = kernel) -> np.ndarray:
                flat = torch.from_numpy(values)
                guess = naive_chain(flat[8:].view(2, 3, 3), flat[:8].view(4, 2))
                return ((guess - kernel) / kernel.norm()).flatten().numpy()

            own = parameters_of(chain)[:, :, number].flatten()
            ours = torch.cat([own, chain.first_slice[number].flatten()]).numpy()
            explained = chain.explained[number].item()
            assert 1 - np.square(residual(ours)).sum() == pytest.approx(explained, abs=1e-12)
            starts = [ours]
            for _ in range(4):
                near = IDENTITY.repeat_interleave(2).numpy() + rng.uniform(-0.3, 0.3, 8)
                starts.append(np.concatenate([near, kernel[:, 0].flatten().numpy()]))
            costs = [2 * least_squares(residual, start, max_nfev=60).cost for start in starts]
            assert 1 - min(costs) < explained + 1e-6

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
    def test_never_below_equal_slices(self, dtype: torch.dtype) -> None:
        for size in ((2, 3, 3), (4, 2, 5), (3, 1, 4)):
            kernels = normal(12, 3, *size).to(dtype)
            chain = fit_affine_chain(kernels, starts=3, iterations=4)
            mean = kernels.double().mean(2, keepdim=True).expand_as(kernels)
            assert torch.all(chain.explained >= (share(kernels, mean) - 1e-12).to(dtype))
            assert all(part.dtype == dtype and part.isfinite().all() for part in chain)
            assert torch.all(chain.scale > 0)

    def test_constant_in_time_is_the_identity(self) -> None:
        first = normal(5, 4, 3, 5)
        chain = fit_affine_chain(first.unsqueeze(2).expand(-1, -1, 4, -1, -1))
        assert torch.equal(parameters_of(chain), IDENTITY[:, None, None].expand(4, 3, 5))
        assert torch.equal(chain.explained, torch.ones(5, dtype=torch.float64))
        assert (chain.first_slice - first).abs().max() < 1e-14

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_rounded_parameters_are_never_below_equal_slices(self, dtype: torch.dtype) -> None:
        """Where a motion wins less than its rounding costs, there is none."""
        still = normal(24, 3, 1, 3, 3)
        kernels = (still + 0.01 * normal(24, 3, 8, 3, 3, seed=2)).to(dtype)
        own = parameters_of(fit_affine_chain(kernels, starts=3, iterations=4)).double()
        mean = kernels.double().mean(2, keepdim=True).expand_as(kernels)
        assert torch.all(best_share(kernels.double(), own) >= share(kernels, mean) - 1e-12)
        moved = (own - IDENTITY[:, None, None]).abs().amax((0, 1)) > 0
        assert 0 < moved.sum() < 24

    @pytest.mark.parametrize(("dtype", "spread"), [(torch.bfloat16, 0.02), (torch.float64, 1e-5)])
    def test_a_small_motion_is_not_lost(self, dtype: torch.dtype, spread: float) -> None:
        """Though equal slices explain nearly all, in half precision as much as can be told."""
        parameters, kernels = planted((12, 16, 3, 3, 3), spread)
        chain = fit_affine_chain(kernels.to(dtype), starts=3)
        error = (parameters_of(chain).double() - parameters).abs()
        assert error.max() < 0.5 * spread
        mean = kernels.mean(2, keepdim=True).expand_as(kernels)
        assert share(kernels, mean).min() > 1 - 4 * spread**2

    def test_of_equally_good_chains_the_least_transformation_wins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A slice that looks the same after quarter turns, turned by 20 or by 110 degrees."""
        first = normal(40, 4, 5, 5)
        first = torch.stack([first.rot90(k, (2, 3)) for k in range(4)]).sum(0)
        near, far = math.radians(20), math.radians(110)
        turn = IDENTITY[:, None, None].repeat(1, 1, 40)
        turn[1] = near
        kernels = stacked_slices(first, sampling_matrices(affine_maps(*turn), (5, 5)))
        places = [[1, 0, 0, 0], *([math.cos(r), math.sin(r), 0, 0] for r in (far, near))]
        begin = torch.tensor(places, dtype=torch.float64).expand(40, -1, -1)
        monkeypatch.setattr(module, "starting_places", lambda *_: begin)
        chain = fit_affine_chain(kernels, starts=3)
        assert (chain.rotation - near).abs().max() < 1e-5


class TestWhatDoesNotCount:
    def test_seed_and_neighbours_and_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, kernels = planted((6, 16, 3, 3, 3), seed=7)
        torch.manual_seed(3)
        before = torch.random.get_rng_state()
        chain = fit_affine_chain(kernels, starts=6)
        assert torch.equal(torch.random.get_rng_state(), before)
        again = fit_affine_chain(kernels, starts=6)
        assert all(torch.equal(one, other) for one, other in zip(chain, again, strict=True))
        alone = fit_affine_chain(kernels[2:3], starts=6)
        monkeypatch.setattr(module, "BLOCK", 1)
        pieces = fit_affine_chain(kernels, starts=6)
        for whole, one, piece in zip(parameters_of(chain), alone[1:5], pieces[1:5], strict=True):
            assert (whole[:, 2] - one[:, 0]).abs().max() < 1e-6
            assert (whole - piece).abs().max() < 1e-6

    def test_seed_moves_the_starts(self) -> None:
        kernels = normal(20, 1, 3, 3, 3)
        one, other = (
            fit_affine_chain(kernels, starts=4, iterations=4, seed=seed) for seed in (0, 1)
        )
        assert not torch.allclose(one.explained, other.explained)

    def test_unit_and_basis_of_the_inputs(self) -> None:
        _, kernels = planted((4, 40, 3, 3, 3), seed=7)
        basis = torch.linalg.qr(normal(40, 40)).Q
        turned = torch.einsum("oidhw,ij->ojdhw", kernels, basis)
        chain = fit_affine_chain(kernels, starts=6)
        for changed in (turned, 1e-200 * kernels, 1e200 * kernels):
            other = fit_affine_chain(changed, starts=6)
            assert (parameters_of(chain) - parameters_of(other)).abs().max() < 1e-6
            assert (chain.explained - other.explained).abs().max() < 1e-12

    def test_gradients_and_layout(self) -> None:
        layer = FreeConv3T(16, 4, 3)
        chain = fit_affine_chain(layer.kernel(), starts=2)
        assert not any(part.requires_grad for part in chain)
        assert torch.equal(chain.explained, torch.ones(4))
        strided = planted((4, 16, 3, 3, 3))[1].permute(2, 3, 4, 1, 0).contiguous()
        strided = strided.permute(4, 3, 0, 1, 2)
        one, other = (fit_affine_chain(k, starts=6) for k in (strided, strided.contiguous()))
        assert (parameters_of(one) - parameters_of(other)).abs().max() < 1e-6

    def test_progress(self, capsys: pytest.CaptureFixture[str]) -> None:
        kernels = normal(2, 1, 2, 2, 2)
        fit_affine_chain(kernels, starts=1, iterations=1)
        assert capsys.readouterr().err == ""
        fit_affine_chain(kernels, starts=1, iterations=1, show_progress=True)
        assert "kernels" in capsys.readouterr().err


class TestUnidentifiable:
    def test_zeros(self) -> None:
        kernels = torch.cat([torch.zeros(1, 16, 3, 3, 3), planted((1, 16, 3, 3, 3))[1].float()])
        chain = fit_affine_chain(kernels)
        assert chain.explained[0].isnan()
        assert chain.explained[1] > 1 - 1e-6
        assert torch.equal(parameters_of(chain)[:, :, 0], IDENTITY[:, None].float().expand(4, 2))
        assert torch.equal(chain.first_slice[0], torch.zeros(16, 3, 3))

    def test_an_axis_with_a_single_tap(self) -> None:
        parameters = IDENTITY[:, None, None].repeat(1, 2, 5)
        parameters[0] += 0.15 * normal(2, 5).tanh()
        parameters[2] += 0.15 * normal(2, 5, seed=1).tanh()
        sampling = sampling_matrices(affine_maps(*parameters), (1, 5))
        kernels = stacked_slices(normal(5, 16, 1, 5), sampling)
        chain = fit_affine_chain(kernels)
        assert (parameters_of(chain) - parameters).abs().max() < 1e-5
        upright = fit_affine_chain(kernels.mT)
        expected = torch.stack([parameters[0], parameters[1], parameters[3], parameters[2]])
        assert (parameters_of(upright) - expected).abs().max() < 1e-5
        assert torch.equal(upright.translation_x, torch.zeros(2, 5, dtype=torch.float64))

    def test_a_slice_that_looks_the_same_from_all_sides(self) -> None:
        first = normal(3, 16, 1, 1) * torch.tensor([0.5, 1, 0.5], dtype=torch.float64).outer(
            torch.tensor([0.5, 1, 0.5], dtype=torch.float64)
        )
        kernels = torch.stack([first, first.rot90(1, (2, 3))], 2)
        chain = fit_affine_chain(kernels)
        assert torch.equal(chain.rotation, torch.zeros(1, 3, dtype=torch.float64))
        assert torch.equal(chain.explained, torch.ones(3, dtype=torch.float64))

    def test_a_mirrored_axis_is_half_a_turn(self) -> None:
        first = normal(2, 16, 1, 5)
        chain = fit_affine_chain(torch.stack([first, first.flip(3)], 2))
        assert torch.all(chain.scale > 0)
        assert (chain.rotation.abs() - math.pi).abs().max() < 1e-6
        assert (1 - chain.explained).abs().max() < 1e-12
