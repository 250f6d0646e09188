"""Strips of skeletons: what is drawn where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from torch import Tensor

from captum_video.visualization import robust_maximum, signed_colours, skeleton_strip
from captum_video.visualization._skeleton import INKS
from tests.visualization.given import as_kind
from tests.visualization.readouts import assert_legible
from tests.visualization.test_skeleton import BONES, JOINTS, OWN, at, sequence

PAIRS = ((0, 1), (1, 2), (1, 3))


def limbs(axes: Axes, actor: int = 1) -> LineCollection:
    (found,) = [c for c in axes.collections if c.get_gid() == f"actor {actor}"]
    assert isinstance(found, LineCollection)
    return found


def segments(axes: Axes, actor: int = 1) -> set[tuple[float, ...]]:
    return {tuple(np.round(line, 9).ravel()) for line in limbs(axes, actor).get_segments()}


def expected(values: Tensor, actor: int, frame: int) -> set[tuple[float, ...]]:
    """The front view: x to the left, y up."""
    return {
        tuple(
            round(number, 9)
            for joint in pair
            for number in (-at(values, actor, joint, 0, frame), at(values, actor, joint, 1, frame))
        )
        for pair in PAIRS
    }


def test_lines_join_the_projected_joints() -> None:
    first, second = sequence(second=True), 4 * sequence(second=True, seed=1)
    figure, axes = skeleton_strip(
        {"input": first, "layer 1": second}, frames=[4, 0, 2], title="jump up", **OWN
    )
    assert axes.shape == (2, 3)
    assert [one.get_ylabel() for one in axes[:, 0]] == ["input", "layer 1"]
    assert [one.get_title() for one in axes[0]] == ["4", "0", "2"]
    assert figure.get_suptitle() == "jump up"
    assert axes[0, 0].get_position().y0 > axes[1, 0].get_position().y0
    assert axes[0, 0].get_position().x0 < axes[0, 1].get_position().x0
    for row, values in enumerate((first, second)):
        for column, frame in enumerate((4, 0, 2)):
            for actor in (0, 1):
                found = segments(axes[row, column], actor + 1)
                assert found == expected(values, actor, frame)


def test_left_limbs_and_second_actors_have_inks_of_their_own() -> None:
    _, axes = skeleton_strip({"input": sequence(second=True)}, frames=1, **OWN)
    for actor in (1, 2):
        lines = limbs(axes[0, 0], actor)
        other, left = (to_rgb(ink) for ink in INKS[actor - 1])
        values = sequence(second=True)
        hand = -at(values, actor - 1, 2, 0, 3), at(values, actor - 1, 2, 1, 3)
        for line, colour in zip(lines.get_segments(), np.asarray(lines.get_color()), strict=True):
            on_left = np.allclose(line[1], hand)
            assert np.allclose(colour[:3], left if on_left else other)


def test_near_bones_lie_on_far_ones() -> None:
    values = sequence()
    last = {}
    for view in ("side", (0, -90)):
        _, axes = skeleton_strip({"input": values}, frames=[0], view=view, **OWN)
        lines = limbs(axes[0, 0])
        last[view] = tuple(np.asarray(lines.get_color())[-1][:3])
    other, left = (to_rgb(ink) for ink in INKS[0])
    assert last == {"side": left, (0, -90): other}


def spans(axes: Axes) -> tuple[float, float]:
    """Units in a pixel, across and up."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    return (high - low) / axes.bbox.width, (top - bottom) / axes.bbox.height


@pytest.mark.parametrize("view", ["front", "top", (20, 30)])
@pytest.mark.parametrize("scale", ["row", "shared"])
def test_scales(scale: str, view: Any) -> None:
    values = sequence(second=True)
    _, axes = skeleton_strip({"a": values, "b": 7 * values}, scale=scale, view=view, **OWN)
    for row in axes:
        assert len({(*one.get_xlim(), *one.get_ylim()) for one in row}) == 1
    across, up = spans(axes[0, 0])
    assert across == pytest.approx(up)
    assert spans(axes[1, 0])[0] == pytest.approx(across * (7 if scale == "row" else 1))
    for one in axes.ravel():
        for actor in (1, 2):
            points = np.concatenate(limbs(one, actor).get_segments())
            for line, limits in zip(points.T, (one.get_xlim(), one.get_ylim()), strict=True):
                margin = 0.03 * (limits[1] - limits[0])
                assert line.min() > limits[0] + margin
                assert line.max() < limits[1] - margin


def test_a_row_fills_its_cells() -> None:
    values = sequence()
    _, axes = skeleton_strip({"a": values}, frames=[1, 3], **OWN)
    points = np.concatenate([np.concatenate(limbs(one).get_segments()) for one in axes[0]])
    low, high = axes[0, 0].get_ylim()
    bottom = axes[0, 0].lines[0].get_ydata()
    assert np.allclose(bottom, points[:, 1].min())
    assert np.ptp(points[:, 1]) / (high - low) == pytest.approx(1 / 1.14)
    _, above = skeleton_strip({"a": values}, frames=[1, 3], view="top", **OWN)
    assert not len(above[0, 0].lines)


@pytest.mark.parametrize("factor", [1, 13, 4000, 1e-3])
def test_the_bar_has_the_length_that_it_says(factor: float) -> None:
    _, axes = skeleton_strip({"a": factor * sequence()}, frames=2, **OWN)
    (bar,) = [line for line in axes[0, 1].lines if line.get_gid() == "length"]
    (text,) = axes[0, 1].texts
    low, high = axes[0, 1].get_ylim()
    length = float(np.ptp(np.asarray(bar.get_ydata(), dtype=float))) * (high - low)
    assert float(text.get_text()) == pytest.approx(length)
    assert 0.15 <= length / (high - low) <= 0.4


def test_a_second_actor_whom_the_input_lacks_is_hidden() -> None:
    rows = {"input": sequence(), "layer": sequence(second=True, seed=2)}
    figure, axes = skeleton_strip(rows, **OWN)
    assert not any(segments(one, 2) for one in axes.ravel())
    assert all(len(segments(one, 1)) == 3 for one in axes.ravel())
    assert not any("actor" in text.get_text() for text in legend_texts(figure))
    figure, axes = skeleton_strip(rows, actors=2, **OWN)
    assert not any(segments(one, 2) for one in axes[0])
    assert all(len(segments(one, 2)) == 3 for one in axes[1])
    assert sum("actor 2" in text.get_text() for text in legend_texts(figure)) == 2
    _, axes = skeleton_strip({"input": sequence(second=True)}, actors=1, **OWN)
    assert not any(segments(one, 2) for one in axes.ravel())
    _, narrow = skeleton_strip({"input": sequence()}, **OWN)
    assert axes[0, 0].get_xlim() == narrow[0, 0].get_xlim()


def legend_texts(figure: Any) -> list[Any]:
    return [text for legend in figure.legends for text in legend.get_texts()]


def test_an_actor_is_absent_from_frames_of_zeros() -> None:
    values = sequence(second=True)
    values[12:, 3:] = 0
    _, axes = skeleton_strip({"input": values}, frames=[2, 3], **OWN)
    assert segments(axes[0, 0], 2) == expected(values, 1, 2)
    assert segments(axes[0, 1], 2) == set()
    assert 0 not in np.round(np.concatenate(limbs(axes[0, 1]).get_segments()), 6)[:, 1]
    _, axes = skeleton_strip({"input": values, "dead": 0 * values}, frames=[2], **OWN)
    assert "all zero" in [text.get_text() for text in axes[1, 0].texts]
    assert not segments(axes[1, 0])


def dots(axes: Axes) -> list[PathCollection]:
    found = [c for c in axes.collections if c.get_gid() == "weights"]
    return [c for c in found if isinstance(c, PathCollection)]


def test_weights_are_dots_at_their_joints() -> None:
    values = sequence(second=True)
    weights = torch.linspace(-1, 2, 48).reshape(8, 6)
    weights[2] = 0
    rows = {"input": values, "layer": 2 * values}
    figure, axes = skeleton_strip(rows, frames=[5], weights=weights, quantity="grad", **OWN)
    assert not dots(axes[1, 0])
    scale = robust_maximum(weights.double().numpy())
    for actor, found in enumerate(dots(axes[0, 0])):
        places, areas = np.asarray(found.get_offsets()), found.get_sizes()
        for joint in range(4):
            weight = float(weights[actor * 4 + joint, 5])
            place = -at(values, actor, joint, 0, 5), at(values, actor, joint, 1, 5)
            assert np.allclose(places[joint], place)
            colour = signed_colours(np.array([weight]), scale)[0]
            assert np.allclose(np.asarray(found.get_facecolor())[joint, :3], colour)
            assert areas[joint] == pytest.approx(70 * min(1, abs(weight) / scale))
    texts = [text.get_text() for text in legend_texts(figure)]
    assert {"positive grad", "negative grad"} < set(texts)
    _, axes = skeleton_strip(
        rows, frames=[5], weights={"layer": weights, "input": weights / 1000}, **OWN
    )
    assert not any(found.get_sizes().any() for found in dots(axes[0, 0]))
    assert dots(axes[1, 0])[0].get_sizes().tolist() == areas_of(weights, scale)
    _, axes = skeleton_strip(rows, frames=[5], weights=weights, saturation=7.5, **OWN)
    assert dots(axes[0, 0])[0].get_sizes().tolist() == areas_of(weights, 7.5)


def test_dots_and_legend_in_other_colours() -> None:
    weights = torch.linspace(-1, 2, 48).reshape(8, 6)
    figure, axes = skeleton_strip(
        {"input": sequence()}, frames=[5], weights=weights, cmap="colour-blind", **OWN
    )
    scale = robust_maximum(weights.double().numpy())
    wanted = signed_colours(weights[:4, 5].double().numpy(), scale, "colour-blind")
    assert np.allclose(np.asarray(dots(axes[0, 0])[0].get_facecolor())[:, :3], wanted)
    found = [
        to_rgb(handle.get_color())
        for legend in figure.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if text.get_text() in ("positive relevance", "negative relevance")
        and isinstance(handle, Line2D)
    ]
    expected = signed_colours(np.array([0.7, -0.7]), 1.0, "colour-blind")
    assert np.allclose(found, expected, atol=0.02)


def areas_of(weights: Tensor, scale: float) -> list[float]:
    shares = np.clip(np.abs(weights[:4, 5].double().numpy()) / scale, 0, 1)
    return (70 * np.where(shares < 0.05, 0, shares)).tolist()


@pytest.mark.parametrize("kind", ["half", "float32", "bfloat16", "numpy", "strided", "cuda"])
def test_any_device_and_type(kind: str) -> None:
    values = (sequence(second=True) * 8).round() / 8
    _, axes = skeleton_strip({"input": as_kind(values, kind)}, frames=[1], **OWN)
    assert segments(axes[0, 0], 2) == expected(values, 1, 1)


def test_kinect_by_default() -> None:
    clip = torch.rand(150, 3)
    _, axes = skeleton_strip({"input": clip}, frames=[0])
    assert len(limbs(axes[0, 0], 1).get_segments()) == 24
    (head, _) = [c for c in axes[0, 0].collections if c.get_gid() == "head"]
    assert np.allclose(head.get_offsets(), [[-float(clip[9, 0]), float(clip[10, 0])]])


LONG = "layer 10 of the stream that attends to hands"


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("frames", [1, 3, 12])
def test_can_be_read(second: bool, frames: int) -> None:
    values = sequence(12, second=second)
    figure, _ = skeleton_strip(
        {"input": values, LONG: 1e4 * values}, frames=frames, weights=torch.ones(8, 12),
        title="A title that is far longer than a figure of one frame is wide, " * 2,
        labels=[f"{k / 20:.2f} s" for k in range(12)], **OWN,
    )  # fmt: skip
    assert_legible(figure)
    assert figure.canvas.manager is None
    with pytest.raises(ValueError, match=r"one per frame \(12\), got 2"):
        skeleton_strip({"input": values}, labels=["a", "b"], **OWN)


@pytest.mark.parametrize("frames", [[6], [-1], [], 0])
def test_frames_that_are_not_there(frames: Any) -> None:
    with pytest.raises(ValueError, match=r"frame numbers from 0 to 5, got|at least 1, got 0"):
        skeleton_strip({"a": sequence()}, frames=frames, joints=JOINTS, bones=BONES)
