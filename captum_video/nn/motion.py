"""From temporal parameters to motion: what moves how far, in which unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from captum_video.nn.sampling import affine_maps

#: below it a slice is practically one value, and the motion it stands for has no size
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class AffineMotion:
    """Scale, rotation and translation, each of the same shape, such as ``(steps, channels)``.

    Attributes:
        scale: a factor.
        rotation: degrees, clockwise on the screen.
        translation_x: to the right, of the point in the kernel's middle.
        translation_y: downwards, likewise.
        fraction_x: ``translation_x`` as a share of half the kernel's width, the unit of the parameter.
        fraction_y: ``translation_y`` as a share of half the kernel's height.
    """

    scale: Tensor
    rotation: Tensor
    translation_x: Tensor
    translation_y: Tensor
    fraction_x: Tensor
    fraction_y: Tensor

    def apply(self, function: Callable[[Tensor], Tensor]) -> AffineMotion:
        """The same function of each tensor."""
        return AffineMotion(*(function(getattr(self, item.name)) for item in fields(self)))


@dataclass(frozen=True)
class Parameters:
    """Raw temporal parameters in the convention of :class:`captum_video.nn.Conv3T`.

    Attributes:
        scale: ``(steps, channels)``.
        rotation: likewise, radians.
        translation_x: likewise, half widths.
        translation_y: likewise, half heights.
    """

    scale: Tensor
    rotation: Tensor
    translation_x: Tensor
    translation_y: Tensor

    def maps(self) -> Tensor:
        """The sampling maps ``(steps, channels, 3, 3)``, float64, in homogeneous coordinates."""
        raw = (self.scale, self.rotation, self.translation_x, self.translation_y)
        top = affine_maps(*(tensor.double() for tensor in raw))
        return torch.cat([top, top.new_tensor([0.0, 0, 1]).expand_as(top[..., :1, :])], -2)

    @property
    def degenerate(self) -> Tensor:
        """``(steps, channels)`` bool: scales so near 0 that there is no motion behind them."""
        return self.scale.abs() < SMALLEST_SCALE


def stepwise_and_composed(
    parameters: Parameters, half: tuple[float, float], *, inverse: bool
) -> tuple[AffineMotion, AffineMotion]:
    r"""Each step's map and what the steps up to it make together, in lengths of some unit.

    With ``inverse`` these are motions: content moves by :math:`M_b^{-1}` in step ``b`` and by
    :math:`M_b^{-1} \dots M_1^{-1}` from the first slice on. Without, they are sampling maps:
    :math:`M_b`, and :math:`M_1 \dots M_b` for where slice ``b + 1`` samples the first.

    Args:
        parameters: of all steps.
        half: half of the kernel's width and of its height, in the unit; 0 for a single tap.
        inverse: whether motion is meant.

    Returns:
        Two times ``(steps, channels)``. A motion through a degenerate step is NaN, and so is all
        that is composed with it.
    """
    width, height = half
    # along an axis with a single tap nothing can be told; it takes the other axis's unit
    diagonal = torch.tensor([width or height, height or width, 1.0], dtype=torch.float64)
    diagonal = diagonal.to(parameters.scale.device)
    maps = diagonal[:, None] * parameters.maps() / diagonal
    angles = torch.rad2deg(parameters.rotation.double())
    angles = angles + 180.0 * (parameters.scale < 0)
    if inverse:
        maps = torch.where(parameters.degenerate[..., None, None], torch.nan, maps)
        maps, angles = torch.linalg.inv(_filled(maps)) + 0 * maps, -angles
    composed = [maps[0]]
    for step in maps[1:]:
        composed.append(step @ composed[-1] if inverse else composed[-1] @ step)
    return (
        _read(maps, angles, half),
        _read(torch.stack(composed), angles.cumsum(0), half),
    )


def summed_as_in_paper(
    parameters: Parameters, half: tuple[float, float], *, inverse: bool
) -> tuple[AffineMotion, AffineMotion]:
    r"""Parameters as the paper plots them: cumulated one by one, in pixels of the frame.

    With ``inverse`` the plotted :math:`\prod 1/s`, :math:`\sum -r` (degrees),
    :math:`\sum -t_x W/2` and :math:`\sum +t_y H/2`, whose vertical axis points *up*; without, the
    products and sums of the parameters themselves. A sum of translations is not the motion of the
    whole: what a step has shifted, the next ones turn and scale.

    Args:
        parameters: of all steps.
        half: half of the frame's width and of its height, in pixels.
        inverse: whether motion is meant.

    Returns:
        Each step, and cumulated. A motion through a degenerate step is NaN, as above.
    """
    scale = parameters.scale.double()
    x, y = parameters.translation_x.double(), parameters.translation_y.double()
    angle = torch.rad2deg(parameters.rotation.double())
    if inverse:
        void = torch.where(parameters.degenerate, torch.nan, 0.0)
        scale, angle, x, y = 1 / scale + void, -angle + void, -x + void, y + void
    width, height = half
    step = AffineMotion(scale, angle, x * width, y * height, x, y)
    total = step.apply(lambda tensor: tensor.cumsum(0))
    product = AffineMotion(**{**vars(total), "scale": scale.cumprod(0)})
    return step, product


def _read(maps: Tensor, angles: Tensor, half: tuple[float, float]) -> AffineMotion:
    """Scale, rotation and translation of maps ``(..., 3, 3)``; angles say how often they turned."""
    a, b, c, d = maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1]
    scale = (a * d - b * c).abs().sqrt()
    turned = torch.rad2deg(torch.atan2(c - b, a + d))
    turned = turned + 360 * ((angles - turned) / 360).round()
    width, height = half
    x = maps[..., 0, 2] if width else 0 * maps[..., 0, 2]
    y = maps[..., 1, 2] if height else 0 * maps[..., 1, 2]
    return AffineMotion(scale, turned, x, y, x / (width or 1), y / (height or 1))


def _filled(maps: Tensor) -> Tensor:
    """The identity in place of maps that are not finite, which cannot be inverted."""
    bad = ~maps.isfinite().all(-1).all(-1)
    return torch.where(
        bad[..., None, None], torch.eye(3, dtype=maps.dtype, device=maps.device), maps
    )


def weighted_motion(motion: AffineMotion, weights: Tensor) -> AffineMotion:
    r"""The mean motion over channels; scales are averaged by their logarithms.

    Args:
        motion: ``(steps, channels)``.
        weights: ``(N, channels)``, not negative, in float64; a channel whose motion is not finite
            is left out.

    Returns:
        ``(steps, N)``; NaN for an example without any weight.
    """

    def mean(values: Tensor) -> Tensor:
        known = values.isfinite()
        filled = torch.where(known, values, 0.0)
        return (filled @ weights.mT) / (known.to(weights) @ weights.mT)

    logarithms = AffineMotion(**{**vars(motion), "scale": motion.scale.log()})
    means = logarithms.apply(mean)
    return AffineMotion(**{**vars(means), "scale": means.scale.exp()})


def describe(motion: AffineMotion, unit: str, downwards: bool) -> str:
    """One motion in words.

    Args:
        motion: of a single number each.
        unit: what a translation is measured in.
        downwards: whether ``translation_y`` points down.

    Returns:
        Such as ``"moves 1.2 px right and 0.4 px down, turns 12° clockwise, grows by 8 %"``.
    """
    x, y = float(motion.translation_x), float(motion.translation_y)
    y = y if downwards else -y
    angle, growth = float(motion.rotation), float(motion.scale) - 1
    if not all(map(math.isfinite, (x, y, angle, growth))):
        return "no motion that can be read"
    return (
        f"moves {abs(x):.2g} {unit} {'right' if x >= 0 else 'left'} and {abs(y):.2g} {unit} "
        f"{'down' if y >= 0 else 'up'}, turns {abs(angle):.2g}° "
        f"{'clockwise' if angle >= 0 else 'counter-clockwise'}, "
        f"{'grows' if growth >= 0 else 'shrinks'} by {abs(growth):.1%}"
    )
