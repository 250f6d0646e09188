"""The combined explanation of a channel as a figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from captum_video.attr import explain_channel
from captum_video.attr._temporal_readout import Describes
from captum_video.nn import Conv3T
from captum_video.visualization import channel_figure, overlay
from tests.nets import clip, seeded
from tests.visualization.readouts import assert_legible, drawn, motion, readout

SHAPE = (3, 6, 8, 10)


def explanation(**changes: Any) -> Any:
    """Of channel 1, with hand-made motion: cumulated numbers of two steps and two channels."""
    total = motion(
        [[1, 1.1], [1, 1.3]], [[0, -4], [0, -9]], [[0, 0.5], [0, 2]], [[0, 1], [0, -0.5]]
    )
    facts: dict[str, Any] = {
        "layer": "block.conv",
        "channel": 1,
        "clip": clip(*SHAPE),
        "saliency": clip(*SHAPE, seed=1) - 0.5,
        "peak_frame": 4,
        "maximised": clip(*SHAPE, seed=2),
        "maximised_frame": 2,
        "motion": readout(total),
        "note": "",
    }
    return SimpleNamespace(**(facts | changes))


def points(axes: Axes, part: int = 0) -> np.ndarray:
    return np.asarray(axes.collections[part].get_offsets())


def test_the_peak_frame_is_grey_with_the_largest_gradient_of_all_colours() -> None:
    item = explanation()
    _, axes = channel_figure(item)
    low, high = np.percentile(item.clip.numpy(), [0.5, 99.5])
    luma = np.array([0.299, 0.587, 0.114])
    grey = np.einsum("cthw,c->thw", ((item.clip.numpy() - low) / (high - low)).clip(0, 1), luma)
    frames = np.rint(255 * grey).astype(np.uint8)[..., None].repeat(3, axis=3)
    expected = overlay(frames, item.saliency.abs().amax(0))[4]
    assert np.array_equal(axes[0, 0].images[0].get_array(), expected)
    assert axes[0, 0].get_xlabel() == "saliency, frame 4"
    assert axes[0, 0].get_title(loc="left") == "block.conv, channel 1"


def test_a_box_marks_a_small_part() -> None:
    saliency = torch.zeros(SHAPE)
    saliency[1, 4, 2:5, 6] = -1.0
    _, axes = channel_figure(explanation(saliency=saliency))
    (box,) = axes[0, 0].patches
    assert box.get_xy() == (5.5, 1.5)
    assert (box.get_width(), box.get_height()) == (1, 3)
    _, axes = channel_figure(explanation())
    assert not axes[0, 0].patches


def test_the_maximised_clip_shows_as_many_frames_as_the_kernel_has_slices() -> None:
    item = explanation()
    _, axes = channel_figure(item)
    assert axes[0, 1].get_xlabel() == "what activates it most, frames 1, 2, 3"
    picture = np.asarray(axes[0, 1].images[0].get_array())
    assert picture.shape == (8, 3 * 10 + 2, 3)
    low, high = np.percentile(item.maximised.numpy(), [0.5, 99.5])
    shown = ((item.maximised.numpy() - low) / (high - low)).clip(0, 1).transpose(1, 2, 3, 0)
    for k in range(3):
        assert np.allclose(picture[:, 11 * k : 11 * k + 10], shown[1 + k])
    assert (picture[:, [10, 21]] == 1).all()
    for frame, words in ((0, "0, 1, 2"), (3, "2, 3, 4"), (5, "3, 4, 5")):
        _, axes = channel_figure(explanation(maximised_frame=frame))
        assert axes[0, 1].get_xlabel() == f"what activates it most, frames {words}"
    for step, words in ((2.0, "1, 3, 5"), (9.0, "1, 3, 5"), (1.0, "2, 3, 4")):
        own = readout(item.motion.step, units="input", frames_per_step=step)
        _, axes = channel_figure(explanation(maximised_frame=3, motion=own))
        assert axes[0, 1].get_xlabel() == f"what activates it most, frames {words}"
    _, axes = channel_figure(item, maximised_frames=[5])
    assert np.allclose(axes[0, 1].images[0].get_array(), shown[5])
    assert axes[0, 1].get_xlabel() == "what activates it most, frame 5"


def test_parameters_run_from_the_identity_blue_to_red() -> None:
    _, axes = channel_figure(explanation())
    assert points(axes[0, 2]).tolist() == [[1, 1.0], [2, 1.1], [3, 1.3]]
    assert points(axes[0, 3]).tolist() == [[1, 0.0], [2, -4.0], [3, -9.0]]
    colours = np.asarray(axes[0, 2].collections[0].get_facecolors())
    assert colours[0, 2] > 2 * colours[0, 0]  # blue
    assert colours[-1, 0] > 2 * colours[-1, 2]  # red
    assert axes[0, 3].get_title() == "rotation, ° clockwise"
    assert axes[0, 3].get_ylim()[0] < axes[0, 3].get_ylim()[1]


def test_the_path_goes_as_on_the_screen() -> None:
    _, axes = channel_figure(explanation())
    plane = axes[0, 4]
    assert points(plane).tolist() == [[0, 0], [0.5, 1]]  # the arrow's head is the last
    first, second = plane.texts
    assert (first.xyann, first.xy) == ((0, 0), (0.5, 1))
    assert (second.xyann, second.xy) == ((0.5, 1), (2, -0.5))
    assert [t.arrow_patch.get_arrowstyle().arrow for t in (first, second)] == ["-", "-|>"]
    edges = [to_rgb(text.arrow_patch.get_edgecolor()) for text in (first, second)]
    assert edges[1][0] > 2 * edges[1][2]
    down, up = plane.get_ylim()
    assert down == -up > 2  # larger values are lower on the screen
    assert plane.get_xlim() == (up, down)
    assert plane.get_aspect() == 1
    assert plane.get_xlabel() == "feature pixels, right and down"
    total = drawn(2, 2, 1.0)
    paper = readout(total.step, total.cumulative, units="paper", y_axis="up")
    _, axes = channel_figure(explanation(motion=paper))
    assert axes[0, 4].get_ylim()[0] < axes[0, 4].get_ylim()[1]
    assert axes[0, 4].get_xlabel() == "paper's pixels, right and up"


@pytest.mark.parametrize("describes", ["motion", "kernel"])
def test_the_inverse_is_not_named_a_motion(describes: Describes) -> None:
    own = replace(drawn(2, 2, 1.0), describes=describes)
    _, axes = channel_figure([explanation(motion=own), explanation(motion=own)])
    for row in axes:
        titles = [one.get_title() for one in row[2:]]
        for name, title in zip(("scale", "rotation", "translation"), titles, strict=True):
            assert title.startswith(name)
            assert ("of the" in title and "kernel's" in title) == (describes == "kernel")
            assert ("sampling" in title) == (describes == "kernel")
        assert "° clockwise" in titles[1]
        assert "blue to red" in titles[2]


def test_channels_share_their_axes() -> None:
    small = readout(motion([[1.0, 1.0]], [[0.0, 0.5]], [[0.0, 0.01]], [[0.0, 0.0]]))
    figure, axes = channel_figure([explanation(), explanation(motion=small, channel=0)])
    assert isinstance(figure, Figure)
    assert axes.shape == (2, 5)
    for k in (2, 3, 4):
        assert axes[0, k].get_ylim() == axes[1, k].get_ylim()
    alone, _ = channel_figure(explanation())
    _, one = channel_figure(explanation(motion=small))
    assert one[0, 2].get_ylim() == pytest.approx((0.95, 1.05))
    assert one[0, 3].get_ylim() == (-2, 2)
    assert figure.get_figwidth() == pytest.approx(2 * alone.get_figwidth())
    column, _ = channel_figure([explanation(), explanation()], columns=1)
    assert column.get_figwidth() < figure.get_figwidth()


def test_a_fit_says_its_share() -> None:
    fitted = drawn(2, 2, 1.0)
    share = torch.tensor([0.1, 0.476])
    own = readout(fitted.step, fitted.cumulative, explained=share)
    _, axes = channel_figure(explanation(motion=own))
    title = axes[0, 0].get_title(loc="left")
    assert title == "block.conv, channel 1: fit, explains 48 % of the kernel"


def test_without_motion_it_says_why() -> None:
    figure, axes = channel_figure(explanation(motion=None, note="a Conv3d has none"))
    assert [text.get_text() for text in axes[0, 2].texts] == ["a Conv3d has none"]
    assert not any(axis.axison for axis in axes[0, 2:])
    assert axes[0, 1].get_xlabel() == "what activates it most, frames 1, 2, 3"
    whole, _ = channel_figure(explanation())
    assert figure.get_figheight() < whole.get_figheight()


def test_no_saliency_shows_the_plain_frame_and_warns() -> None:
    nothing = explanation(saliency=torch.zeros(SHAPE))
    with pytest.warns(UserWarning, match=r"saliency of channel 1 of layer 'block.conv' is zero"):
        _, axes = channel_figure(nothing)
    picture = np.asarray(axes[0, 0].images[0].get_array())
    assert (picture == picture[..., :1]).all()


def test_a_step_without_motion_ends_the_path() -> None:
    nan = float("nan")
    broken = readout(motion([[1.2], [nan]], [[3.0], [nan]], [[1.0], [nan]], [[1.0], [nan]]))
    _, axes = channel_figure(explanation(motion=broken, channel=0))
    assert len(axes[0, 4].texts) == 1
    assert np.isfinite(axes[0, 4].get_xlim()).all()


@pytest.mark.parametrize("describes", ["motion", "kernel"])
@pytest.mark.parametrize(
    ("shape", "steps", "count"), [((1, 4, 30, 9), 4, 1), ((3, 2, 9, 40), 1, 3), (SHAPE, 2, 4)]
)
def test_everything_can_be_read(
    shape: tuple[int, ...], steps: int, count: int, describes: Describes, tmp_path: Path
) -> None:
    item = explanation(
        clip=clip(*shape), saliency=clip(*shape), maximised=clip(*shape), peak_frame=1,
        maximised_frame=0,
        motion=replace(drawn(steps, 2, 3.0), describes=describes), layer="inception4c." + "branch2." * 9,
    )  # fmt: skip
    figure, _ = channel_figure([item] * count)
    figure.savefig(tmp_path / "channel.png")
    assert_legible(figure)


def test_it_draws_what_explain_channel_gives() -> None:
    model = seeded(torch.nn.Sequential(Conv3T(3, 4, 3, padding=1)))
    found = explain_channel(model, "0", clip(1, *SHAPE), 2, steps=2)
    _, axes = channel_figure(found)
    assert found.motion is not None
    expected = [1.0, *found.motion.cumulative.scale[:, 2].tolist()]
    assert points(axes[0, 2])[:, 1].tolist() == expected


@pytest.mark.parametrize(
    ("changes", "options", "text"),
    [
        ({"peak_frame": 6}, {}, "peak_frame must be a frame from 0 to 5 of the clip, got 6"),
        ({"channel": 2}, {}, "motion of layer 'conv' has 2 channels, but .* channel is 2"),
        ({"clip": clip(*SHAPE) * torch.nan}, {}, "clip holds values that are NaN or infinite"),
        ({"maximised": clip(*SHAPE) / 0}, {}, "maximised holds values that are NaN or infinite"),
        ({"saliency": clip(*SHAPE) / 0}, {}, "not finite"),
        ({}, {"maximised_frames": [6]}, r"maximised_frames must be .* from 0 to 5, got \[6\]"),
        ({}, {"maximised_frames": []}, r"maximised_frames must be .* from 0 to 5, got \[\]"),
        ({}, {"columns": 0}, "columns must be a positive integer or None, got 0"),
    ],
)
def test_refuses(changes: dict[str, Any], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        channel_figure(explanation(**changes), **options)


def test_refuses_none_and_different_kinds() -> None:
    with pytest.raises(ValueError, match="explanations must hold at least one, got none"):
        channel_figure([])
    own = drawn(1, 2, 1.0)
    other = readout(own.step, own.cumulative, units="input")
    with pytest.raises(
        ValueError, match=r"agree in .*\('feature', .*\('input', 'motion', 'down'\)"
    ):
        channel_figure([explanation(), explanation(motion=other)])
