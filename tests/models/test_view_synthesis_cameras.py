"""View synthesis where each clip of a batch has a camera of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.geometry import pose_to_matrix
from models.odometry import Views
from models.view_synthesis import ViewSynthesis, inverse_warp
from tests.models.test_view_synthesis import CAMERA, picture, pose
from tests.models.test_view_synthesis import _at as at

CAMERAS = torch.tensor(
    [[20.0, 20.0, 4.5, 2.5], [14.0, 23.0, 5.25, 1.5], [31.0, 17.0, 3.0, 3.75]], dtype=torch.float64
)
MOTIONS = torch.cat(
    [
        pose(0.2, -0.1, 0.5, 0.04, -0.06, 0.1),
        pose(-0.3, 0.2, 0.1, -0.05, 0.02, 0.0),
        pose(0.1, 0.1, -0.4, 0.0, 0.05, -0.08),
    ]
)


def four(row: Tensor) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = row.tolist()
    return fx, fy, cx, cy


def test_each_clip_has_its_own_camera() -> None:
    image, depth = picture(3), 4 + 3 * picture(3, seed=1)[:, 0]
    found, seen = inverse_warp(image, depth, MOTIONS, CAMERAS)
    for row in range(3):
        only = slice(row, row + 1)
        expected, shown = inverse_warp(image[only], depth[only], MOTIONS[only], four(CAMERAS[row]))
        torch.testing.assert_close(found[only], expected)
        assert torch.equal(seen[only], shown)
        # a camera is not another's
        other, _ = inverse_warp(image[only], depth[only], MOTIONS[only], four(CAMERAS[row - 1]))
        assert float((found[only] - other).abs().max()) > 0.05
    # in the precision of the depth
    single, _ = inverse_warp(image.float(), depth.float(), MOTIONS.float(), CAMERAS)
    torch.testing.assert_close(single, found.float(), rtol=0, atol=1e-4)
    assert single.dtype == torch.float32


def test_cameras_pixel_by_pixel() -> None:
    image, depth = picture(3), 4 + 3 * picture(3, seed=1)[:, 0]
    found, seen = inverse_warp(image, depth, MOTIONS, CAMERAS)
    inside = 0
    for clip, (fx, fy, cx, cy) in enumerate(CAMERAS.tolist()):
        matrix = pose_to_matrix(MOTIONS[clip])
        for row in range(6):
            for column in range(10):
                d = float(depth[clip, row, column])
                point = torch.tensor(
                    [(column - cx) / fx * d, (row - cy) / fy * d, d, 1], dtype=torch.float64
                )
                x, y, z, _ = (matrix @ point).tolist()
                u, v = x / z * fx + cx, y / z * fy + cy
                assert bool(seen[clip, row, column]) == (0 <= u <= 9 and 0 <= v <= 5)
                if 0 <= u < 9 and 0 <= v < 5:
                    inside += 1
                    colour = at(image[clip : clip + 1], u, v)[0]
                    torch.testing.assert_close(found[clip, :, row, column], colour)
    assert inside > 90


def test_gradients_with_a_camera_each() -> None:
    depth = (4 + 3 * picture(3, seed=1)[:, 0]).requires_grad_()
    motions, image = MOTIONS.clone().requires_grad_(), picture(3)

    def warped(d: Tensor, p: Tensor) -> Tensor:
        return inverse_warp(image, d, p, CAMERAS)[0]

    assert torch.autograd.gradcheck(warped, (depth, motions), atol=1e-6)


def moving(count: int = 3) -> tuple[Views, Tensor]:
    """Views of two scales, masks and small motions, and clips."""
    generator = torch.Generator().manual_seed(2)

    def numbers(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    views = Views(
        (numbers(count, 2, 6) - 0.5) * 0.1,
        (1 + numbers(count, 1, 6, 10), 1 + numbers(count, 1, 3, 5)),
        (0.5 + 0.5 * numbers(count, 2, 6, 10), 0.5 + 0.5 * numbers(count, 2, 3, 5)),
    )
    return views, numbers(count, 3, 3, 6, 10)


def test_the_loss_of_a_batch_with_several_cameras() -> None:
    views, clip = moving()
    found = ViewSynthesis(CAMERAS)(views, clip)
    for row in range(3):
        only = slice(row, row + 1)
        own = Views(
            views.poses[only],
            tuple(part[only] for part in views.disparities),
            tuple(part[only] for part in views.masks),
        )
        expected = ViewSynthesis(four(CAMERAS[row]))(own, clip[only])
        torch.testing.assert_close(found[only], expected)
        other = ViewSynthesis(four(CAMERAS[row - 1]))(own, clip[only])
        assert abs(float(other - expected)) > 1e-3
    same = ViewSynthesis(CAMERAS[1].expand(3, 4))(views, clip)
    torch.testing.assert_close(same, ViewSynthesis(four(CAMERAS[1]))(views, clip))


def test_the_same_loss_for_other_cameras() -> None:
    views, clip = moving()
    loss = ViewSynthesis(CAMERA, mask_weight=0.7, smooth_weight=0.3)
    before = loss(views, clip)
    found = loss.with_intrinsics(CAMERAS)(views, clip)
    expected = ViewSynthesis(CAMERAS, mask_weight=0.7, smooth_weight=0.3)(views, clip)
    assert torch.equal(found, expected)
    assert torch.equal(loss(views, clip), before)
    assert not torch.equal(found, before)


@pytest.mark.parametrize("shape", [(2, 4), (4,), (1, 4), (3, 3)])
def test_intrinsics_without_a_row_for_each_clip(shape: tuple[int, ...]) -> None:
    views, clip = moving()
    text = rf"intrinsics must be .* of shape \(3, 4\), a row for each clip, got \({shape[0]},"
    with pytest.raises(ValueError, match=text):
        ViewSynthesis(torch.ones(shape))(views, clip)
    with pytest.raises(ValueError, match=text):
        inverse_warp(clip[:, :, 0], torch.ones(3, 6, 10), MOTIONS, torch.ones(shape))


def test_autocast_does_not_misplace_pixels() -> None:
    views, clip = moving()
    views = Views(
        views.poses.bfloat16(),
        tuple(part.bfloat16() for part in views.disparities),
        tuple(part.bfloat16() for part in views.masks),
    )
    loss, clip = ViewSynthesis(CAMERAS), clip.float()
    exact = Views(
        views.poses.float(),
        tuple(part.float() for part in views.disparities),
        tuple(part.float() for part in views.masks),
    )
    expected = loss(exact, clip)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(views, clip)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
