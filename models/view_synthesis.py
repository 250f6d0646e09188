"""Training without labels: each frame predicted from its neighbours by depth and camera motion."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.geometry import Intrinsics, euler_to_matrix, scale_intrinsics
from models.odometry import Views

_NEAREST = 1e-3  # what projects from nearer is behind the camera
_TOLERANCE = 1e-4  # of the half picture: rounding at the border


def inverse_warp(
    picture: Tensor, depth: Tensor, pose: Tensor, intrinsics: Intrinsics
) -> tuple[Tensor, Tensor]:
    """Predicts the target view from a reference view.

    A target pixel goes out to its depth, over to the reference by the pose, and onto the
    reference's picture, where its colour is read bilinearly.

    Args:
        picture: ``(N, C, H, W)``, the reference.
        depth: ``(N, H, W)``, the target's.
        pose: ``(N, 6)``, from the target to the reference.
        intrinsics: ``(fx, fy, cx, cy)``, of both views, in pixels; or a tensor ``(N, 4)`` with a
            row for each.

    Returns:
        The predicted target ``(N, C, H, W)``, and ``(N, H, W)`` bool: pixels whose colour the
        reference shows.

    Raises:
        ValueError: a tensor of intrinsics of another shape.
    """
    height, width = depth.shape[-2:]
    fx, fy, cx, cy = _columns(intrinsics, depth)
    x = (torch.arange(width, dtype=depth.dtype, device=depth.device) - cx) / fx
    y = (torch.arange(height, dtype=depth.dtype, device=depth.device) - cy) / fy
    x = x[..., None, :].expand(*x.shape[:-1], height, width)
    rays = torch.stack([x, y[..., None].expand_as(x), torch.ones_like(x)], dim=-3).flatten(-2)
    rotation, shift = euler_to_matrix(pose[:, 3:]), pose[:, :3, None]
    points = (rotation @ rays) * depth.flatten(1)[:, None] + shift
    ahead = points[:, 2].clamp(min=_NEAREST)
    # from -1 in the middle of the first pixel to 1 in that of the last
    u = (points[:, 0] / ahead * fx + cx) * (2 / (width - 1)) - 1
    v = (points[:, 1] / ahead * fy + cy) * (2 / (height - 1)) - 1
    grid = torch.stack([u, v], dim=-1)
    seen = (grid.detach().abs() <= 1 + _TOLERANCE).all(-1) & (points.detach()[:, 2] > _NEAREST)
    predicted = F.grid_sample(
        picture,
        grid.unflatten(1, (height, width)),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return predicted, seen.unflatten(1, (height, width))


class ViewSynthesis:
    """SfMLearner's loss: photometric, plus masks near one, plus smooth disparities.

    For every scale ``s`` (0 the finest) the target and the references are averaged down to the
    disparities' size, and the loss adds, with means over pixels and the first two terms summed
    over the references, ::

        mask * |target - predicted| + mask_weight * -log(mask)
        + smooth_weight / 2**s * |second differences of the disparities|

    The photometric mean is over the pixels that the reference shows. Disparities are divided by
    their mean, without which the smoothness term rewards ever smaller ones (Wang et al. 2018); a
    pose's lengths are then in units of the scene's (harmonic) mean depth. All is computed in the
    clip's precision, under autocast too: half precision would misplace pixels.

    Args:
        intrinsics: ``(fx, fy, cx, cy)`` in pixels of the clips, or a tensor ``(N, 4)`` with a row
            for each of N clips.
        mask_weight: of the masks' cross-entropy against one.
        smooth_weight: of the second differences.

    Shape:
        Views and the normalised clip ``(N, 3, R + 1, H, W)``, the target in its middle, to
        ``(N,)``.
    """

    def __init__(
        self,
        intrinsics: Intrinsics,
        *,
        mask_weight: float = 0.2,
        smooth_weight: float = 0.1,
    ) -> None:
        self.intrinsics = intrinsics
        self.mask_weight = mask_weight
        self.smooth_weight = smooth_weight

    def with_intrinsics(self, intrinsics: Intrinsics) -> ViewSynthesis:
        """The same loss of clips of other cameras.

        Args:
            intrinsics: as for the class.

        Returns:
            A new loss.
        """
        other = copy.copy(self)
        other.intrinsics = intrinsics
        return other

    def __call__(self, views: Views, clip: Tensor) -> Tensor:
        """The loss of each clip.

        Args:
            views: what the model makes of the clips.
            clip: the clips.

        Returns:
            ``(N,)``.

        Raises:
            ValueError: a tensor of intrinsics that has no row for each clip.
        """
        disparities = tuple(disparity.to(clip.dtype) for disparity in views.disparities)
        masks = tuple(mask.to(clip.dtype) for mask in views.masks)
        with torch.autocast(clip.device.type, enabled=False):
            return self._sum(Views(views.poses.to(clip.dtype), disparities, masks), clip)

    def _sum(self, views: Views, clip: Tensor) -> Tensor:
        """The loss of each clip, of views in its precision."""
        count, references = views.poses.shape[:2]
        frames = clip.transpose(1, 2)
        target = frames[:, references // 2]
        others = torch.cat(
            [frames[:, : references // 2], frames[:, references // 2 + 1 :]], dim=1
        ).flatten(0, 1)
        cameras = self.intrinsics
        if isinstance(cameras, Tensor):
            cameras = _rows(cameras, count).repeat_interleave(references, 0)
        total = clip.new_zeros(count)
        for scale, disparity in enumerate(views.disparities):
            size = (disparity.shape[-2], disparity.shape[-1])
            intrinsics = scale_intrinsics(cameras, (clip.shape[-2], clip.shape[-1]), size)
            disparity = disparity[:, 0] / disparity.mean((1, 2, 3))[:, None, None]
            predicted, seen = inverse_warp(
                _shrink(others, size),
                (1 / disparity).repeat_interleave(references, 0),
                views.poses.flatten(0, 1),
                intrinsics,
            )
            error = predicted.unflatten(0, (count, references)) - _shrink(target, size)[:, None]
            error, seen = error.abs().mean(2), seen.unflatten(0, (count, references))
            if views.masks:
                mask = views.masks[scale]
                error = error * mask
                total = total + self.mask_weight * -mask.clamp(min=1e-6).log().mean((2, 3)).sum(1)
            shown = seen.sum((2, 3)).clamp(min=1)
            total = total + ((error * seen).sum((2, 3)) / shown).sum(1)
            total = total + self.smooth_weight / 2**scale * roughness(disparity)
        return total


def roughness(disparity: Tensor) -> Tensor:
    """The mean size of second differences.

    Args:
        disparity: ``(N, H, W)``.

    Returns:
        ``(N,)``: the sum of the mean absolute second differences along x, along y and (twice)
        across.
    """
    dx, dy = disparity.diff(dim=2), disparity.diff(dim=1)
    parts = (dx.diff(dim=2), dy.diff(dim=1), dx.diff(dim=1), dx.diff(dim=1))
    return torch.stack([part.abs().mean((1, 2)) for part in parts]).sum(0)


def _rows(intrinsics: Tensor, count: int) -> Tensor:
    """The same tensor if it has a row for each view."""
    if intrinsics.shape != (count, 4):
        raise ValueError(
            f"intrinsics must be four numbers or a tensor of shape ({count}, 4), a row for each "
            f"clip, got {tuple(intrinsics.shape)}."
        )
    return intrinsics


def _columns(intrinsics: Intrinsics, depth: Tensor) -> Sequence[float | Tensor]:
    """Each of the four as a number, or ``(N, 1)``, as exact and where the depth is."""
    if isinstance(intrinsics, Tensor):
        return _rows(intrinsics, len(depth)).to(depth)[..., None].unbind(1)
    return intrinsics


def _shrink(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture at a smaller size, by averaging areas."""
    return picture if picture.shape[-2:] == size else F.interpolate(picture, size, mode="area")
