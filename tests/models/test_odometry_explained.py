"""The bundled odometry net: better than a guess on fresh drives, and explained by its own loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import models
from captum_video import RegressionGradCam
from models.data.drives import INTRINSICS
from models.odometry import Odometry, numbers
from models.training.odometry import CONSTANT, MEAN, MODEL
from models.view_synthesis import ViewSynthesis
from tests.benchmarks.odometry import PARTS, Snippets, errors, maps, parts, place, share, snippets

pytestmark = pytest.mark.filterwarnings("ignore:layer .* has one time step:UserWarning")


@pytest.fixture(scope="module")
def model() -> Odometry:
    loaded = models.load("odometry_small")
    assert isinstance(loaded, Odometry)
    return loaded


@pytest.fixture(scope="module")
def fresh(model: Odometry) -> Snippets:
    """Snippets of a dozen drives that nothing has been chosen by."""
    return snippets(model, 96, seed=0)


def test_better_than_the_mean_motion_on_fresh_drives(model: Odometry, fresh: Snippets) -> None:
    found = errors(model, fresh)
    stated = model.info.score
    assert stated is not None
    assert set(stated) == set(found) == {MODEL, MEAN, CONSTANT}
    assert stated[MODEL] < stated[MEAN]
    assert float(found[MODEL].mean()) < 0.8 * float(found[MEAN].mean())
    assert float((found[MODEL] < found[MEAN]).float().mean()) > 0.65
    # a dozen drives tell the card's score within a third
    assert float(found[MODEL].mean()) == pytest.approx(stated[MODEL], rel=0.35)


def test_weights_are_small_and_in_the_plain_layout(model: Odometry) -> None:
    path = models.registry.WEIGHTS / "odometry_small.safetensors"
    assert path.stat().st_size < 10e6
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_turns_are_seen_in_the_right_sense(model: Odometry, fresh: Snippets) -> None:
    with torch.no_grad():
        poses = model(fresh.clips)
    for reference in range(4):
        both = torch.stack([poses[:, reference, 4], fresh.truth.poses[:, reference, 4]])
        assert float(torch.corrcoef(both)[0, 1]) > 0.9
    # mirrored, the net says about the mirrored motion
    with torch.no_grad():
        mirrored = model(fresh.clips.flip(-1))
    assert float(torch.corrcoef(torch.stack([poses[:, 3, 4], mirrored[:, 3, 4]]))[0, 1]) < -0.9


def test_the_synthesis_loss_is_explained(model: Odometry, fresh: Snippets) -> None:
    loss = ViewSynthesis(INTRINSICS)
    clips = fresh.clips[:3]
    found = RegressionGradCam(
        model.views, model.pose.get_submodule("relu5"), loss=loss, self_supervised=True
    ).attribute(clips)
    assert found.shape == (3, 1, 5, 32, 104)
    # by hand: the gradient of the negated losses at conv5, averaged over the map
    seen = []
    handle = model.pose.get_submodule("relu5").register_forward_hook(
        lambda _module, _args, output: seen.append(output)
    )
    losses = loss(model.views(clips), clips)
    handle.remove()
    (gradient,) = torch.autograd.grad(-losses.sum(), seen[0])
    expected = (gradient.mean((2, 3), keepdim=True) * seen[0]).sum(1).detach()
    coarse = RegressionGradCam(
        model.views, model.pose.get_submodule("relu5"), loss=loss, self_supervised=True
    ).attribute(clips, upsample=False)
    torch.testing.assert_close(coarse.reshape(expected.shape), expected)
    positive = maps(model, clips, model.info.layer, "negative_loss", None)
    assert positive.shape == (3, 5, 32, 104)
    assert float(positive.min()) >= 0
    assert float(positive.max()) > 0


class Knowing(models.BundledModel):
    """Answers the true poses in another unit, with one number of one reference shifted."""

    def __init__(self, poses: Tensor, number: int | None = None) -> None:
        super().__init__()
        self.poses = poses * torch.tensor([0.2, 0.2, 0.2, 1, 1, 1])
        if number is not None:
            self.poses[:, 3, number] += 0.1

    def forward(self, clip: Tensor) -> Tensor:
        return self.poses[: len(clip)]


def test_the_parts_of_the_error(fresh: Snippets) -> None:
    truth = type(fresh.truth)(*(part[:9] for part in fresh.truth))
    few = Snippets(fresh.clips[:9], truth, fresh.drives[:9])
    assert list(PARTS.values()) == [[2], [0], [1], [3, 4, 5]]
    for number, guilty in ((0, "sideways (x)"), (1, "up and down (y)"), (4, "turns")):
        found = parts(Knowing(truth.poses, number), few)
        assert float(found.pop(guilty).min()) > 0.01
        assert all(float(error.max()) < 1e-5 for error in found.values())
    assert float(parts(Knowing(truth.poses, 2), few)["ahead (z)"].min()) > 0.01
    assert all(float(e.max()) < 1e-5 for e in parts(Knowing(few.truth.poses), few).values())


def test_shares_by_hand() -> None:
    positive = torch.zeros(4, 1, 2, 2)
    mask = torch.zeros(4, 1, 2, 2, dtype=torch.bool)
    mask[:, 0, 0, 0] = True  # a quarter of the area
    positive[:, 0, 0, 0] = torch.tensor([1.0, 3.0, 0.0, 0.0])
    positive[:, 0, 1, 1] = torch.tensor([1.0, 1.0, 5.0, 0.0])  # the last has no relevance
    found = share(positive, mask, torch.tensor([7, 7, 9, 9]))
    assert found.relevance == pytest.approx((0.5 + 0.75 + 0) / 3)
    assert found.area == pytest.approx(0.25)
    # resampled drives: both, twice the first (mean 0.625), or twice the second (0)
    assert found.low == 0
    assert found.high == pytest.approx(0.625 / 0.25)
    assert found.elsewhere == pytest.approx(found.relevance / 0.25)


def test_places_are_apart(fresh: Snippets) -> None:
    moving, parked, road = (place(fresh.truth, name) for name in ("moving", "parked", "road"))
    assert torch.equal(moving | parked, fresh.truth.vehicles)
    assert not (moving & parked).any()
    assert not (road & fresh.truth.vehicles).any()
    assert all(part.any() for part in (moving, parked, road))


def test_the_numbers_are_the_poses_in_a_row(model: Odometry, fresh: Snippets) -> None:
    flat = numbers()
    assert not flat.training
    with torch.no_grad():
        assert torch.equal(flat(fresh.clips[:2]), model(fresh.clips[:2]).flatten(1))
    assert len(flat.info.classes) == 24
    assert flat.get_submodule(flat.info.layer) is flat.model.get_submodule("pose.relu5")
