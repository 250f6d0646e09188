from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import models
from models._dispnet import DispNet
from models._posenet import PoseExpNet
from models.odometry import Odometry, output_names


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("references", "masks", "parameters"),
    [
        (2, False, 1_590_668),
        (4, False, 1_598_456),
        (2, True, 3_340_388),
        (4, True, 3_352_504),
    ],
)
def test_the_pose_net_has_its_number_of_parameters(
    references: int, masks: bool, parameters: int
) -> None:
    with torch.device("meta"):
        assert count(PoseExpNet(references, masks=masks)) == parameters
        model = models.build("odometry", references=references, masks=masks)
    assert count(model.get_submodule("pose")) == parameters
    # seven levels down and up with their skips: 31.6 million
    assert count(model.get_submodule("depth")) == 31_596_900


def test_the_papers_nets_in_shapes() -> None:
    with torch.device("meta"):
        model = models.build("odometry")
        assert isinstance(model, Odometry)
        seen = {}
        for name, module in model.pose.named_children():
            module.register_forward_hook(
                lambda _module, _args, output, name=name: seen.update({name: output.shape[1:]})
            )
        clip = torch.empty(2, 3, 5, 128, 416)
        poses, disparities, masks = model.views(clip)
        assert model(clip).shape == poses.shape == (2, 4, 6)
    sizes = [(128, 416), (64, 208), (32, 104), (16, 52)]
    assert [d.shape for d in disparities] == [(2, 1, *size) for size in sizes]
    assert [m.shape for m in masks] == [(2, 4, *size) for size in sizes]
    assert seen["conv1"] == (16, 64, 208)
    assert seen["conv5"] == (256, 4, 13)
    assert seen["conv7"] == (256, 1, 4)
    assert seen["pose"] == (24, 1, 4)
    assert [n for n in seen if n.startswith("conv")] == [f"conv{i}" for i in range(1, 8)]


def weights(model: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    state = model.state_dict()
    return state[f"{name}.weight"], state[f"{name}.bias"]


def test_the_pose_net_is_the_plain_chain() -> None:
    torch.manual_seed(0)
    widths, strides = (2, 3, 4, 5, 6, 7, 8), (2, 2, 2, 1, 1, 2, 2)
    net = PoseExpNet(2, masks=True, widths=widths, strides=strides).double()
    views = torch.randn(2, 9, 24, 40, dtype=torch.float64)
    f = nn.functional
    hidden, shared = views, views
    for number, (kernel, stride) in enumerate(zip((7, 5, 3, 3, 3, 3, 3), strides, strict=True), 1):
        hidden = f.relu(f.conv2d(hidden, *weights(net, f"conv{number}"), stride, kernel // 2))
        if number == 5:
            shared = hidden
    poses = 0.01 * f.conv2d(hidden, *weights(net, "pose")).mean((2, 3)).view(2, 2, 6)
    found, masks = net(views)
    torch.testing.assert_close(found, poses)
    up, expected = shared, []
    for number in (5, 4, 3, 2, 1):
        up = f.relu(
            f.conv_transpose2d(up, *weights(net, f"upconv{number}"), strides[number - 1], 1)
        )
        if number < 5:
            expected.append(f.conv2d(up, *weights(net, f"mask{number}"), padding=1).sigmoid())
    assert [tuple(mask.shape[2:]) for mask in masks] == [(24, 40), (12, 20), (6, 10), (3, 5)]
    for mask, twin in zip(masks, reversed(expected), strict=True):
        torch.testing.assert_close(mask, twin)


def test_the_depth_net_is_the_plain_chain() -> None:
    torch.manual_seed(0)
    net = DispNet((2, 3, 4, 5, 6, 7, 8), (3, 4, 5, 6, 7, 8, 9)).double()
    picture = torch.randn(1, 3, 128, 128, dtype=torch.float64)
    f = nn.functional
    skips = [picture]
    for level, kernel in enumerate((7, 5, 3, 3, 3, 3, 3), start=1):
        half = f.relu(f.conv2d(skips[-1], *weights(net, f"down{level}.0"), 2, kernel // 2))
        skips.append(f.relu(f.conv2d(half, *weights(net, f"down{level}.2"), 1, kernel // 2)))
    hidden = skips.pop()
    expected: list[Tensor] = []
    for level in (7, 6, 5, 4, 3, 2, 1):
        up = f.relu(f.conv_transpose2d(hidden, *weights(net, f"up{level}.0"), 2, 1, 1))
        parts = [up] if level == 1 else [up, skips[level - 1]]
        if level < 4:
            parts.append(f.interpolate(expected[-1], scale_factor=2.0, mode="bilinear"))
        hidden = f.relu(f.conv2d(torch.cat(parts, 1), *weights(net, f"join{level}.0"), padding=1))
        if level <= 4:
            raw = f.conv2d(hidden, *weights(net, f"disparity{level}"), padding=1)
            expected.append(10 * raw.sigmoid() + 0.01)
    for disparity, twin in zip(net(picture), reversed(expected), strict=True):
        torch.testing.assert_close(disparity, twin)


def test_sizes_that_do_not_halve() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        disparities = DispNet((2,) * 7, (2,) * 7)(torch.rand(1, 3, 37, 70))
    assert [tuple(d.shape[2:]) for d in disparities] == [(37, 70), (19, 35), (10, 18), (5, 9)]
    for disparity in disparities:
        assert float(disparity.min()) >= 0.01
        assert float(disparity.max()) <= 10.01


def test_the_target_comes_first_and_the_rest_in_order() -> None:
    torch.manual_seed(0)
    model = models.build("odometry_small").eval()
    assert isinstance(model, Odometry)
    clip = torch.randn(1, 3, 5, 32, 104)
    stacked = torch.cat([clip[:, :, frame] for frame in (2, 0, 1, 3, 4)], dim=1)
    expected, _ = model.pose(stacked)
    assert torch.equal(model(clip), expected)
    # the depth is the target's
    views = model.views(clip)
    assert torch.equal(views.poses, expected)
    expected_depth = model.depth(clip[:, :, 2])
    assert all(torch.equal(a, b) for a, b in zip(views.disparities, expected_depth, strict=True))


def test_poses_are_the_mean_over_the_picture_times_a_hundredth() -> None:
    torch.manual_seed(0)
    model = models.build("odometry_small").eval()
    assert isinstance(model, Odometry)
    seen = []
    model.pose.pose.register_forward_hook(lambda _m, _a, output: seen.append(output))
    poses = model(torch.randn(2, 3, 5, 32, 104))
    expected = 0.01 * seen[0].flatten(2).mean(2).view(2, 4, 6)
    torch.testing.assert_close(poses, expected)


def test_the_small_net_says_what_its_numbers_are() -> None:
    model = models.build("odometry_small")
    info = model.info
    poses = model(torch.zeros(2, 3, info.frames, *info.size))
    assert poses.shape == (2, 4, 6)
    assert len(info.classes) == 24
    assert info.groups == {"pose": range(24)}
    assert info.classes[0] == "frame -2: x"
    assert info.classes[2 * 6 + 2] == "frame +1: z"
    assert info.classes[-1] == "frame +2: turn about z"
    assert output_names(2)[6] == "frame +1: x"
    assert model.get_submodule(info.layer) is model.get_submodule("pose.relu5")
    assert count(model) * 4 < 10e6
    assert float(info.normalize(torch.ones(3, 1, 1, 1)).max()) == 1
    assert float(info.normalize(torch.zeros(3, 1, 1, 1)).min()) == -1


def test_masks_are_from_nought_to_one_and_may_be_left_out() -> None:
    model = models.build("odometry", masks=False, references=2)
    assert isinstance(model, Odometry)
    views = model.views(torch.rand(1, 3, 3, 32, 64))
    assert views.masks == ()
    assert views.poses.shape == (1, 2, 6)
    small = models.build("odometry_small")
    assert isinstance(small, Odometry)
    for found in small.views(torch.randn(1, 3, 5, 32, 104)).masks:
        mask = found.detach()
        assert 0 < float(mask.min()) <= float(mask.max()) < 1


@pytest.mark.parametrize("references", [0, 3, -2])
def test_references_lie_around_the_target(references: int) -> None:
    with pytest.raises(ValueError, match=f"even and positive, got {references}"):
        Odometry(references)
