"""The chain of affine maps that is nearest to ordinary 3D kernels."""

from __future__ import annotations

import operator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_video.nn._chain import LINEAR, Fit, first_slices, fitted
from captum_video.nn._descent import bfgs, levenberg_marquardt
from captum_video.nn._starts import starting_places
from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices

#: numbers in the derivatives that are held at a time
BLOCK = 2**23
#: iterations of all starts; then the best of them go on
TRIED = 8
#: how many starts go on, and how many of these are refined along the kinks
KEPT, REFINED = 6, 2
#: how far the best is moved, at random, before it is refined again
HOPS = (0.1, 0.03, 0.01, 0.001)
#: shares of the energy that count as equal; the least transformation wins
TIE = 1e-12
#: below this, a translation divided by it could not be told
SMALLEST_SCALE = 1e-6


class AffineChain(NamedTuple):
    """The kernels ``K[b + 1] = S_b K[b]`` nearest to given ones, in the terms of ``Conv3T``.

    Attributes:
        first_slice: ``(C, I, H, W)``.
        scale: ``(steps, C)``, positive.
        rotation: ``(steps, C)``, radians from -pi to pi.
        translation_x: ``(steps, C)``, half widths of the kernel.
        translation_y: ``(steps, C)``, half heights of the kernel.
        explained: ``(C,)``, the share of a kernel's energy,
            ``1 - |K - K_hat|^2 / |K|^2``. Not a number for a kernel of zeros.
    """

    first_slice: Tensor
    scale: Tensor
    rotation: Tensor
    translation_x: Tensor
    translation_y: Tensor
    explained: Tensor


@torch.no_grad()
def fit_affine_chain(
    kernels: Tensor,
    *,
    starts: int = 24,
    iterations: int = 100,
    seed: int = 0,
    show_progress: bool = False,
) -> AffineChain:
    r"""Finds the temporal parameters and the first slice that come nearest to each 3D kernel.

    For each output channel on its own,

    .. math:: \min_{\theta, F} \lVert K - A(\theta) F \rVert^2, \qquad
              A = [1;\; S_1;\; S_2 S_1;\; \dots]

    with the sampling matrices :math:`S_b` of paper 1 (equations 3 to 9), as
    :class:`captum_video.nn.Conv3T` builds its kernel. The paper leaves open what ordinary 3D kernels
    look for in time; this is the answer in its own terms, and ``explained`` says how far to trust
    it. A free first slice and ``4 * steps`` parameters explain a good part of *any* kernel: compare
    with random kernels of the same shape.

    Given :math:`\theta` the best first slice is linear least squares, so only :math:`\theta` is
    searched (variable projection): Levenberg-Marquardt from the identity, from the maps that match
    neighbouring slices best, and from random ones near the identity; then BFGS along the kinks of
    bilinear sampling. All in float64, all channels and starts at once. A channel's result depends on
    the other channels by rounding only (which may tip the choice between close optima), and the
    global random state is not touched. The best of many local optima is found, not proven to be the
    global one.

    What the kernel does not tell is left near the identity: a step's turn when the slice looks the
    same from all sides, what an axis with a single tap cannot show, every parameter of a kernel of
    zeros. Among equally good chains, the one with the least transformation wins. A slice that no map
    of its predecessor resembles is often met best by one pushed out of view, with wild parameters.

    Args:
        kernels: ``(C, I, D, H, W)``, weights of a ``Conv3d`` or any ``kernel()``.
        starts: how many for each kernel; the first is the identity.
        iterations: at most so many for a start, and for its refinement.
        seed: of the random starts.
        show_progress: show a bar over the channels.

    Returns:
        see :class:`AffineChain`, in the dtype and on the device of ``kernels``, detached. Never
        explains less than equal slices (the kernel's mean over time) would.

    Raises:
        TypeError: if ``kernels`` is no floating-point tensor, or ``starts``, ``iterations`` or
            ``seed`` no integer.
        ValueError: if it has another rank, no second slice, a single tap in space, or entries that
            are not finite; if ``starts`` or ``iterations`` is not positive, or ``seed`` has more
            than 64 bits.
    """
    _check(kernels)
    starts = _whole("starts", starts, 1)
    iterations = _whole("iterations", iterations, 1)
    seed = _whole("seed", seed, -(2**63), 2**64 - 1)
    channels, _, depth, height, width = kernels.shape
    device = torch.device("cpu") if kernels.device.type == "mps" else kernels.device
    prepared = _prepared(kernels.detach().to(device, torch.float64))
    generator = torch.Generator().manual_seed(seed)
    begin = starting_places(prepared, (height, width), starts, generator)
    hops = torch.randn(len(HOPS), 1, begin.shape[2], generator=generator, dtype=torch.float64)
    hops = hops.to(device) * begin.new_tensor(HOPS)[:, None, None]
    block = max(1, BLOCK // (starts * begin.shape[2] * depth * (height * width) ** 2))
    found = []
    with tqdm(total=channels, desc="kernels", disable=not show_progress, leave=False) as bar:
        for some, places in zip(prepared.split(block), begin.split(block), strict=True):
            found.append(_search(some, (height, width), places, hops, iterations))
            bar.update(len(some))
    return _result(kernels.detach(), torch.cat(found).unflatten(1, (depth - 1, LINEAR)))


def _check(kernels: Tensor) -> None:
    if not isinstance(kernels, Tensor) or not kernels.is_floating_point():
        got = kernels.dtype if isinstance(kernels, Tensor) else type(kernels).__name__
        raise TypeError(f"kernels must be a floating-point tensor, got {got}")
    shape = tuple(kernels.shape)
    if len(shape) != 5:
        raise ValueError(f"kernels must be (C, I, D, H, W), got the shape {shape}")
    if 0 in shape:
        raise ValueError(f"kernels must not be empty, got the shape {shape}")
    if shape[2] < 2:
        raise ValueError(
            f"kernels must be at least 2 deep in time, got the shape {shape}: without a second "
            "slice there is no transformation to fit"
        )
    if shape[3] * shape[4] < 2:
        raise ValueError(
            f"kernels must have more than one tap in space, got the shape {shape}: a single tap has "
            "no scale, rotation or translation"
        )
    broken = int((~kernels.isfinite()).flatten(1).any(1).sum())
    if broken:
        raise ValueError(f"kernels must be finite, {broken} of {shape[0]} channels are not")


def _whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """An argument as an integer within bounds."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}, got {number}")
    return number


def _search(
    kernels: Tensor, size: tuple[int, int], begin: Tensor, hops: Tensor, iterations: int
) -> Tensor:
    """The best places of some prepared kernels, ``(C, steps * 4)``; the first start is the identity."""
    identity = begin[:, :1]
    places, losses = _descended(kernels, size, begin, min(TRIED, iterations))
    if iterations > TRIED:
        places = _best(places, losses, KEPT)
        places, losses = _descended(kernels, size, places, iterations - TRIED)
    places = _best(places, losses, REFINED)
    places, losses = _descended(kernels, size, places, iterations, kinks=True)
    for hop in hops:
        moved, left = _best(places, losses, 1), losses.amin(1) > TIE
        lower = losses.amin(1, keepdim=True)
        moved[left], lower[left] = _descended(
            kernels[left], size, moved[left] + hop, iterations, kinks=True
        )
        places, losses = torch.cat([places, moved], 1), torch.cat([losses, lower], 1)
    plain = fitted(identity[:, 0], kernels, size, slopes=False).loss
    places, losses = torch.cat([identity, places], 1), torch.cat([plain[:, None], losses], 1)
    effort = (places - identity).square().sum(-1)
    tied = losses <= losses.amin(1, keepdim=True) + TIE
    return _best(places, torch.where(tied, effort, torch.inf), 1)[:, 0]


def _descended(
    kernels: Tensor,
    size: tuple[int, int],
    places: Tensor,
    iterations: int,
    *,
    kinks: bool = False,
) -> tuple[Tensor, Tensor]:
    """Where each of the places ``(C, n, steps * 4)`` leads, and the losses there."""
    owners = torch.arange(len(kernels), device=kernels.device).repeat_interleave(places.shape[1])

    def objective(some: Tensor, numbers: Tensor) -> Fit:
        own = kernels[owners[numbers]]
        return fitted(some, own, size, slopes=True, curvature=not kinks)

    descent = bfgs if kinks else levenberg_marquardt
    found, losses = descent(objective, places.flatten(0, 1), iterations)
    return found.view_as(places), losses.view(places.shape[:2])


def _prepared(kernels: Tensor) -> Tensor:
    """Kernels of norm 1 as ``(C, D, P, n)``, with no more columns than they need."""
    flat = kernels.permute(0, 2, 3, 4, 1).flatten(1, 3)
    flat = flat / _or_one(flat.abs().amax((1, 2), keepdim=True))
    flat = flat / _or_one(flat.norm(dim=(1, 2), keepdim=True))
    if flat.shape[2] > flat.shape[1]:
        # the fit depends on K K^T alone, and this is a square root of it
        flat = torch.linalg.qr(flat.mT, mode="r").R.mT
    return flat.unflatten(1, (kernels.shape[2], -1)).contiguous()


def _or_one(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 1)


def _best(places: Tensor, losses: Tensor, count: int) -> Tensor:
    """The ``count`` best places of each channel."""
    chosen = losses.topk(min(count, losses.shape[1]), largest=False).indices
    return places.gather(1, chosen.unsqueeze(-1).expand(-1, -1, places.shape[-1]))


def _result(kernels: Tensor, places: Tensor) -> AffineChain:
    """The chain at places ``(C, steps, 4)``, as its parameters round to the kernels' dtype."""
    found = _chain(kernels, _parameters(places, kernels.dtype))
    identity = torch.zeros_like(places)
    identity[..., 0] = 1
    plain = _chain(kernels, _parameters(identity, kernels.dtype))
    # rounding the parameters, above all to half precision, can cost more than was won
    worse = ~(found.explained > plain.explained)
    chosen = [
        torch.where(worse.view(shape), one, other)
        for one, other, shape in zip(
            plain, found, ((-1, 1, 1, 1), *[(1, -1)] * 4, (-1,)), strict=True
        )
    ]
    return AffineChain(*(part.to(kernels.dtype).to(kernels.device) for part in chosen))


def _parameters(places: Tensor, dtype: torch.dtype) -> Tensor:
    """Scale, rotation and translations, ``(4, steps, C)``."""
    along, across, x, y = places.movedim((2, 1), (0, 1))
    scale = along.hypot(across)
    kept = scale.clamp(min=max(SMALLEST_SCALE, 16 * torch.finfo(dtype).tiny))
    rotation = torch.atan2(across, along)
    cos, sin = rotation.cos(), rotation.sin()
    return torch.stack([kept, rotation, (cos * x + sin * y) / kept, (cos * y - sin * x) / kept]).to(
        dtype
    )


def _chain(kernels: Tensor, parameters: Tensor) -> AffineChain:
    """The best first slice for given parameters, and what both explain, in float64."""
    parameters = parameters.double()
    wide = kernels.to(parameters.device, torch.float64)
    largest = _or_one(wide.abs().amax((1, 2, 3, 4), keepdim=True))
    wide = wide / largest
    sampling = sampling_matrices(affine_maps(*parameters), (wide.shape[3], wide.shape[4]))
    flat = wide.permute(0, 2, 3, 4, 1).flatten(2, 3)
    first = first_slices(flat, sampling.movedim(1, 0)).mT.unflatten(2, wide.shape[3:])
    missed = (wide - stacked_slices(first, sampling)).square().sum((1, 2, 3, 4))
    explained = 1 - missed / wide.square().sum((1, 2, 3, 4))
    return AffineChain(*(first * largest[:, 0], *parameters, explained))
