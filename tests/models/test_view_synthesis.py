from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from models.data import Drives
from models.data.drives import INTRINSICS, MEAN, REFERENCES, STD
from models.geometry import pose_to_matrix
from models.odometry import Views
from models.view_synthesis import ViewSynthesis, inverse_warp, roughness

CAMERA = (20.0, 20.0, 4.5, 2.5)


def picture(count: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 6, 10, generator=generator, dtype=torch.float64)


def pose(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def test_no_motion_gives_the_picture_back() -> None:
    image, depth = picture(2), 1 + picture(2)[:, 0]
    found, seen = inverse_warp(image, depth, torch.zeros(2, 6, dtype=torch.float64), CAMERA)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-12)
    assert seen.all()
    single, seen = inverse_warp(image.float(), depth.float(), torch.zeros(2, 6), CAMERA)
    torch.testing.assert_close(single, image.float(), rtol=0, atol=1e-5)
    assert seen.all()


def test_shifts_of_a_wall_by_hand() -> None:
    image, depth = picture(), torch.full((1, 6, 10), 10.0, dtype=torch.float64)
    # a metre at ten metres is 20 / 10 pixels: the target's points are two columns to the right
    found, seen = inverse_warp(image, depth, pose(1, 0, 0, 0, 0, 0), CAMERA)
    torch.testing.assert_close(found[..., :8], image[..., 2:])
    assert seen[..., :8].all()
    assert not seen[..., 8:].any()
    found, seen = inverse_warp(image, depth, pose(0, -0.5, 0, 0, 0, 0), CAMERA)
    torch.testing.assert_close(found[..., 1:, :], image[..., :-1, :])
    assert not seen[..., 0, :].any()
    # from half as far everything is twice as far from the middle (4.5, 2.5)
    found, seen = inverse_warp(image, depth, pose(0, 0, -5, 0, 0, 0), CAMERA)
    middle = image[..., 1:3, 3:5].mean((-1, -2))
    torch.testing.assert_close(found[..., 2, 4], _at(image, 3.5, 1.5))
    torch.testing.assert_close(found[..., 2, 4], middle)
    assert seen[0].sum() == 2 * 4  # 2 of 6 rows, 4 of 10 columns
    # what comes to lie behind the camera is not seen
    found, seen = inverse_warp(image, depth, pose(0, 0, -20, 0, 0, 0), CAMERA)
    assert not seen.any()
    assert found.isfinite().all()


def _at(image: Tensor, x: float, y: float) -> Tensor:
    """Bilinear reading of the first picture."""
    column, row = math.floor(x), math.floor(y)
    fx, fy = x - column, y - row
    top = image[0, :, row, column] * (1 - fx) + image[0, :, row, column + 1] * fx
    below = image[0, :, row + 1, column] * (1 - fx) + image[0, :, row + 1, column + 1] * fx
    return ((1 - fy) * top + fy * below)[None]


def test_any_motion_pixel_by_pixel() -> None:
    image = picture()
    depth = 4 + 3 * picture(seed=1)[:, 0]
    motion = pose(0.2, -0.1, 0.5, 0.04, -0.06, 0.1)
    found, seen = inverse_warp(image, depth, motion, CAMERA)
    matrix = pose_to_matrix(motion)[0]
    inside = 0
    for row in range(6):
        for column in range(10):
            d = float(depth[0, row, column])
            point = torch.tensor(
                [(column - 4.5) / 20 * d, (row - 2.5) / 20 * d, d, 1], dtype=torch.float64
            )
            x, y, z, _ = (matrix @ point).tolist()
            u, v = x / z * 20 + 4.5, y / z * 20 + 2.5
            shown = 0 <= u <= 9 and 0 <= v <= 5
            assert bool(seen[0, row, column]) == shown
            if shown and u < 9 and v < 5:
                inside += 1
                torch.testing.assert_close(found[..., row, column], _at(image, u, v))
    assert inside > 30


def test_gradients_of_depth_and_pose() -> None:
    image = picture()
    depth = (4 + 3 * picture(seed=1)[:, 0]).requires_grad_()
    motion = pose(0.2, -0.1, 0.5, 0.04, -0.06, 0.1).requires_grad_()

    def warped(d: Tensor, p: Tensor) -> Tensor:
        return inverse_warp(image, d, p, CAMERA)[0]

    assert torch.autograd.gradcheck(warped, (depth, motion), atol=1e-6)


def still(count: int = 1, masks: float | None = None, scales: int = 1) -> Views:
    """What a model says that sees no motion, a flat world, and trusts it all the same."""
    sizes = [(6, 10), (3, 5)][:scales]
    return Views(
        torch.zeros(count, 2, 6, dtype=torch.float64),
        tuple(torch.full((count, 1, *size), 2.0, dtype=torch.float64) for size in sizes),
        ()
        if masks is None
        else tuple(torch.full((count, 2, *s), masks, dtype=torch.float64) for s in sizes),
    )


def clip_of(*levels: float) -> Tensor:
    frames = [torch.full((1, 3, 6, 10), level, dtype=torch.float64) for level in levels]
    return torch.stack(frames, dim=2)


def test_the_loss_by_hand() -> None:
    loss = ViewSynthesis(CAMERA)
    # references 0.25 and 0.5 away from the target in the middle
    clip = clip_of(0.25, 0.5, 1.0)
    assert float(loss(still(), clip)) == pytest.approx(0.75)
    assert float(loss(still(scales=2), clip)) == pytest.approx(1.5)
    masked = 0.5 * 0.75 + 0.2 * 2 * math.log(2)
    assert float(loss(still(masks=0.5), clip)) == pytest.approx(masked)
    # each scale has its own masks
    fine, coarse = still(masks=0.5, scales=2).masks
    views = still(scales=2)._replace(masks=(fine, coarse / 2))
    both = masked + 0.25 * 0.75 + 0.2 * 2 * math.log(4)
    assert float(loss(views, clip)) == pytest.approx(both)
    weighted = ViewSynthesis(CAMERA, mask_weight=1.0)
    assert float(weighted(still(masks=0.5), clip)) == pytest.approx(0.375 + 2 * math.log(2))


def test_only_what_the_reference_shows_counts() -> None:
    # moved by two columns, the ten become eight, and the difference of those is 0.5
    clip = clip_of(0.0, 0.5, 0.5)
    views = still()
    poses = views.poses.clone()
    # depth is 1 after division by the mean: 0.1 of it is two pixels
    poses[:, 0, 0] = 0.1
    clip[:, :, 0, :, :2] = 9.0  # columns that no target pixel comes from
    found = float(ViewSynthesis(CAMERA)(views._replace(poses=poses), clip))
    assert found == pytest.approx(0.5)


def test_roughness_by_hand() -> None:
    x, y = torch.arange(10.0).double(), torch.arange(6.0).double()[:, None]
    flat = torch.zeros(1, 6, 10, dtype=torch.float64)
    assert float(roughness(flat + (2 * x + 3 * y))) == pytest.approx(0)
    assert float(roughness(flat + x**2)) == pytest.approx(2)
    assert float(roughness(flat + 3 * y**2)) == pytest.approx(6)
    assert float(roughness(flat + x * y)) == pytest.approx(2)
    # in the loss: of disparities with mean one, by their weight and scale
    disparity = (1 + 0.5 * x**2 + 0 * y)[None, None]
    mean = float(disparity.mean())
    views = still(scales=2)
    rough = (disparity, disparity[..., ::2, ::2] * 0 + (x**2)[:5] + 1)
    clip = clip_of(1, 1, 1)
    expected = 0.1 * 1 / mean + 0.1 / 2 * 2 / float(rough[1].mean())
    found = ViewSynthesis(CAMERA)(views._replace(disparities=rough), clip)
    assert float(found) == pytest.approx(expected)


def test_the_unit_of_disparity_does_not_matter() -> None:
    clip = picture(3).unflatten(0, (1, 3)).transpose(1, 2)
    views = still()._replace(
        poses=torch.rand(1, 2, 6, dtype=torch.float64) * 0.1,
        disparities=(1 + picture()[:, :1],),
    )
    larger = views._replace(disparities=(3 * views.disparities[0],))
    loss = ViewSynthesis(CAMERA)
    torch.testing.assert_close(loss(views, clip), loss(larger, clip))


@pytest.fixture(scope="module")
def batch() -> Any:
    data = Drives(12)
    return default_collate([data[index] for index in range(12)])


def truth(batch: Any, turn: float = 0.0, ahead: float = 1.0) -> Views:
    """What a model says that knows everything, or is wrong about turns and speed."""
    disparity = torch.where(batch.depth[:, 2].isfinite(), 1 / batch.depth[:, 2], 1e-4)[:, None]
    poses = batch.poses.clone()
    poses[..., :3] *= disparity.mean((1, 2, 3))[:, None, None] * ahead
    poses[..., 4] += turn
    return Views(poses, (disparity,), ())


def test_the_truth_explains_the_frames(batch: Any) -> None:
    clip = (batch.clip - MEAN[0]) / STD[0]
    loss = ViewSynthesis(INTRINSICS, smooth_weight=0.0)
    right = loss(truth(batch), clip)
    assert right.shape == (12,)
    for views in (
        truth(batch, turn=math.radians(2)),
        truth(batch, turn=math.radians(-2)),
        truth(batch, ahead=0.0),
        truth(batch, ahead=-1.0),
    ):
        wrong = loss(views, clip)
        assert int((wrong > right).sum()) >= 11
        assert float(wrong.mean()) > 1.2 * float(right.mean())
    alone = torch.cat(
        [loss(Views(v.poses[i : i + 1], (v.disparities[0][i : i + 1],), ()), clip[i : i + 1])
         for v in [truth(batch)] for i in range(12)]
    )  # fmt: skip
    torch.testing.assert_close(right, alone)


def test_the_true_warp_gives_the_target_where_nothing_moves_or_hides(batch: Any) -> None:
    for number, frame in enumerate(REFERENCES):
        depth = batch.depth[:, 2].clamp(max=1e5)
        reference = batch.clip[:, :, frame].contiguous()
        found, seen = inverse_warp(reference, depth, batch.poses[:, number], INTRINSICS)
        # what the reference sees must be as far from it as the target says
        far, _ = inverse_warp(
            batch.depth[:, None, frame].clamp(max=1e3), depth, batch.poses[:, number], INTRINSICS
        )
        expected = _depth_in_reference(depth, batch.poses[:, number])
        open_view = (far[:, 0] / expected.clamp(max=1e3) - 1).abs() < 0.05
        good = seen & open_view & ~batch.moving[:, 2]
        error = (found - batch.clip[:, :, 2]).abs().mean(1)
        before = (reference - batch.clip[:, :, 2]).abs().mean(1)
        assert float(good.float().mean()) > 0.35
        assert float(error[good].mean()) < 0.025
        assert float(error[good].mean()) < 0.35 * float(before[good].mean())
        assert float(error[seen & batch.moving[:, 2]].mean()) > 2 * float(error[good].mean())


def _depth_in_reference(depth: Tensor, poses: Tensor) -> Tensor:
    fx, fy, cx, cy = INTRINSICS
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(104.0), indexing="ij")
    rays = torch.stack([(columns - cx) / fx, (rows - cy) / fy, torch.ones(32, 104)])
    matrix = pose_to_matrix(poses)
    turned = torch.einsum("nj,jhw->nhw", matrix[:, 2, :3], rays)
    return turned * depth + matrix[:, 2, 3][:, None, None]
