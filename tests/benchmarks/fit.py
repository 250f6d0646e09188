"""How far do affine chains explain ordinary 3D kernels, and when do planted parameters come back?

Paper 1 leaves open what ordinary 3D kernels look for in time. ``fit_affine_chain`` says how much of a
kernel's energy the best chain of affine maps explains. A free first slice explains a good part of
any kernel, so each figure stands beside those of equal slices (the mean over time), of the same
kernels with their slices in another order, and of normal weights. Another order means one in which
the middle slice leaves the middle: a reversed chain is much like a chain.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

import models
from captum_video.nn import affine_maps, fit_affine_chain, sampling_matrices, stacked_slices

SEED = 0
ORDERS = ((1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1))
INPUTS = (1, 4, 16, 64)
SPREADS = (0.15, 0.3, 0.6)
SIZES = ((3, 3, 3), (5, 5, 5), (3, 7, 7))
NOISES = (0.01, 0.03, 0.1, 0.3)
STARTS = (6, 24, 96)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal weights in float64."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def shuffled(kernels: Tensor, seed: int) -> Tensor:
    """Each kernel of three slices with another slice in its middle."""
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(ORDERS), (len(kernels),), generator=rng)
    order = torch.tensor(ORDERS)[chosen].view(-1, 1, 3, 1, 1).expand_as(kernels)
    return kernels.gather(2, order)


def equal_slices(kernels: Tensor) -> Tensor:
    """What the mean over time explains of each kernel."""
    missed = (kernels - kernels.mean(2, keepdim=True)).square().sum((1, 2, 3, 4))
    return 1 - missed / kernels.square().sum((1, 2, 3, 4))


def planted(
    channels: int, inputs: int, size: tuple[int, int, int], spread: float, seed: int = SEED
) -> tuple[Tensor, Tensor]:
    """Parameters ``(4, steps, C)`` so far from the identity at most, and their kernels."""
    depth, height, width = size
    rng = torch.Generator().manual_seed(seed)
    uniform = torch.rand(4, depth - 1, channels, generator=rng, dtype=torch.float64)
    parameters = spread * (2 * uniform - 1)
    parameters[0] += 1
    first = normal((channels, inputs, height, width), seed + 1)
    sampling = sampling_matrices(affine_maps(*parameters), (height, width))
    return parameters, stacked_slices(first, sampling)


def recovery(
    channels: int, inputs: int, size: tuple[int, int, int], spread: float, noise: float = 0.0
) -> str:
    """A row: channels with all parameters within 1e-2, channels explained, median error."""
    parameters, kernels = planted(channels, inputs, size, spread)
    noisy = kernels + noise * kernels.std() * normal(tuple(kernels.shape), SEED + 2)
    begin = time.perf_counter()
    chain = fit_affine_chain(noisy)
    took = (time.perf_counter() - begin) / channels
    error = (torch.stack(chain[1:5]) - parameters).abs()
    within = (error.amax((0, 1)) < 1e-2).double().mean()
    whole = (chain.explained > 1 - 1e-8).double().mean()
    shape = "x".join(map(str, size))
    return (
        f"| {shape} | {inputs} | {spread} | {noise} | {within:.1%} | {whole:.1%} "
        f"| {error.median():.1e} | {chain.explained.mean():.4f} | {1e3 * took:.0f} ms |"
    )


def layer_row(name: str, kind: str, kernels: Tensor, trained: Tensor | None = None) -> Tensor:
    """Prints what equal slices and the best chain explain, and returns the latter."""
    plain, chain = equal_slices(kernels), fit_affine_chain(kernels).explained
    won = (chain - plain) / (1 - plain)
    more = "-"
    if trained is not None:
        difference = trained - chain
        half = 1.96 * difference.std() / len(chain) ** 0.5
        more = f"{100 * difference.mean():+.2f} ± {100 * half:.2f}"
    print(
        f"| {name} | {kind} | {plain.mean():.1%} | {chain.mean():.1%} | {chain.median():.1%} "
        f"| {chain.min():.1%} to {chain.max():.1%} | {won.mean():.1%} | {more} |",
        flush=True,
    )
    return chain


def explained(channels: int | None) -> None:
    """Prints the table of the bundled net's layers."""
    print(
        "| layer | weights | equal slices | chain | its median | range | of the rest | trained - |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, layer in models.load("c3d_small").named_modules():
        if isinstance(layer, nn.Conv3d):
            kernels = layer.weight.detach()[:channels].double()
            shape = "x".join(map(str, layer.weight.shape))
            trained = layer_row(f"{name} {shape}", "trained", kernels)
            layer_row(name, "trained, in another order", shuffled(kernels, SEED), trained)
            layer_row(name, "normal", normal(tuple(kernels.shape), SEED))


def main(channels: int = 100, layer_channels: int | None = None) -> None:
    """Prints the tables."""
    print("Share of the energy. 'Of the rest': what the chain wins of what equal slices leave;")
    print(
        "'trained -': mean over the channels of trained less another order, in points, with a 95 %"
    )
    print("confidence interval.\n")
    explained(layer_channels)
    print("\nMore starts, 32 channels of conv2:\n\n| starts | best chain |\n|---|---|")
    kernels = models.load("c3d_small").get_submodule("conv2").weight.detach().double()  # type: ignore[operator]
    for starts in STARTS:
        print(f"| {starts} | {fit_affine_chain(kernels, starts=starts).explained.mean():.2%} |")
    print(f"\nPlanted parameters, {channels} channels each:\n")
    print(
        "| kernel | inputs | deviations up to | noise | all within 1e-2 | explained > 1 - 1e-8 "
        "| median error | explained | a channel |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for inputs in INPUTS:
        for spread in SPREADS:
            print(recovery(channels, inputs, (3, 3, 3), spread), flush=True)
    for noise in NOISES:
        print(recovery(channels, 16, (3, 3, 3), SPREADS[0], noise), flush=True)
    for size in SIZES[1:]:
        for spread in SPREADS:
            print(recovery(max(1, channels // 4), 16, size, spread), flush=True)
    weights = normal((512, 512, 3, 3, 3), SEED)
    begin = time.perf_counter()
    chain = fit_affine_chain(weights.float())
    took = time.perf_counter() - begin
    print(
        f"\n512x512x3x3x3 of normal weights: {took:.0f} s on {torch.get_num_threads()} thread(s), "
    )
    print(f"explained {chain.explained.mean():.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=100, help="of each planted case")
    parser.add_argument("--layer-channels", type=int, help="at most, of each trained layer")
    options = parser.parse_args()
    main(options.channels, options.layer_channels)
