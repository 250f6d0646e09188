"""What temporal parameters mean as motion: by hand, by points, and by what a kernel's content does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from captum_video.nn import Conv3T
from captum_video.nn.motion import (
    AffineMotion,
    Parameters,
    describe,
    stepwise_and_composed,
    summed_as_in_paper,
    weighted_motion,
)

IDENTITY = {"scale": 1.0, "rotation": 0.0, "translation_x": 0.0, "translation_y": 0.0}


def steps(*changes: dict[str, float]) -> Parameters:
    """One channel; each step says what is not the identity."""
    columns = {
        name: torch.tensor([[change.get(name, value)] for change in changes], dtype=torch.float64)
        for name, value in IDENTITY.items()
    }
    return Parameters(**columns)


def drawn(count: int, channels: int, spread: float) -> Parameters:
    rng = torch.Generator().manual_seed(0)
    return Parameters(
        *(
            base + spread * torch.randn(count, channels, generator=rng, dtype=torch.float64)
            for base in IDENTITY.values()
        )
    )


def numbers(values: Tensor) -> list[float]:
    return [round(value, 9) + 0.0 for value in values.flatten().tolist()]


class TestByHand:
    def test_each_parameter(self) -> None:
        quarter = math.pi / 2
        step, _ = stepwise_and_composed(
            steps(
                {"scale": 2.0},
                {"rotation": quarter},
                {"translation_x": 0.5},
                {"translation_y": 0.25},
            ),
            (2.0, 4.0),
            inverse=True,
        )
        assert numbers(step.scale) == [0.5, 1, 1, 1]
        # half extents differ, so only the square part can be read as a pure turn
        assert numbers(step.rotation) == [0, -90, 0, 0]
        assert numbers(step.translation_x) == [0, 0, -1, 0]
        assert numbers(step.translation_y) == [0, 0, 0, -1]
        assert numbers(step.fraction_x) == [0, 0, -0.5, 0]
        assert numbers(step.fraction_y) == [0, 0, 0, -0.25]

    def test_as_parameters(self) -> None:
        step, total = stepwise_and_composed(
            steps({"scale": 2.0, "translation_x": 0.5}, {"scale": 0.5, "translation_x": 1.0}),
            (1.0, 1.0),
            inverse=False,
        )
        # a sampling map is a scaled shift: s * (p + t)
        assert numbers(step.scale) == [2, 0.5]
        assert numbers(step.translation_x) == [1, 0.5]
        assert numbers(total.scale) == [2, 1]
        assert numbers(total.translation_x) == [1, 2]

    def test_what_is_shifted_turns_with_the_rest(self) -> None:
        moves = steps({"translation_x": -1.0}, {"rotation": -math.pi / 2})
        step, total = stepwise_and_composed(moves, (1.0, 1.0), inverse=True)
        assert numbers(step.translation_x) == [1, 0]  # right by one pixel
        assert numbers(step.rotation) == [0, 90]  # then clockwise
        assert numbers(total.translation_x) == [1, 0]
        assert numbers(total.translation_y) == [0, 1]  # what was right of the middle is below it
        _, summed = summed_as_in_paper(moves, (1.0, 1.0), inverse=True)
        assert numbers(summed.translation_x) == [1, 1]

    def test_more_than_half_a_turn(self) -> None:
        turns = steps(*[{"rotation": math.radians(-75)}] * 6)
        _, total = stepwise_and_composed(turns, (1.0, 1.0), inverse=True)
        assert numbers(total.rotation) == [75, 150, 225, 300, 375, 450]

    def test_a_negative_scale_is_half_a_turn(self) -> None:
        step, total = stepwise_and_composed(
            steps({"scale": -2.0}, {"scale": -1.0}), (1.0, 1.0), inverse=True
        )
        assert numbers(step.scale) == [0.5, 1]
        assert numbers(step.rotation.abs()) == [180, 180]
        assert numbers(total.rotation.abs()) == [180, 360]

    def test_the_papers_plots(self) -> None:
        moves = steps(
            {"scale": 2.0, "rotation": math.radians(10), "translation_x": 0.1},
            {"scale": 0.25, "rotation": math.radians(20), "translation_y": 0.5},
        )
        step, total = summed_as_in_paper(moves, (112.0, 75.0), inverse=True)
        assert numbers(total.scale) == [0.5, 2]
        assert numbers(total.rotation) == [-10, -30]
        assert numbers(total.translation_x) == [-11.2, -11.2]
        assert numbers(total.translation_y) == [0, 37.5]
        assert numbers(step.translation_y) == [0, 37.5]
        _, raw = summed_as_in_paper(moves, (112.0, 75.0), inverse=False)
        assert numbers(raw.scale) == [2, 0.5]
        assert numbers(raw.rotation) == [10, 30]
        assert numbers(raw.translation_x) == [11.2, 11.2]
        assert numbers(raw.translation_y) == [0, 37.5]

    def test_no_motion_behind_a_degenerate_scale(self) -> None:
        moves = steps({}, {"scale": 9e-4}, {})
        step, total = stepwise_and_composed(moves, (1.0, 1.0), inverse=True)
        assert numbers(step.scale.isnan().double()) == [0, 1, 0]
        assert numbers(total.translation_x.isnan().double()) == [0, 1, 1]
        assert numbers(total.rotation.isnan().double()) == [0, 1, 1]
        raw, _ = stepwise_and_composed(moves, (1.0, 1.0), inverse=False)
        assert raw.scale.flatten().tolist() == pytest.approx([1, 9e-4, 1])
        _, summed = summed_as_in_paper(moves, (1.0, 1.0), inverse=True)
        assert numbers(summed.translation_x.isnan().double()) == [0, 1, 1]

    def test_an_axis_with_a_single_tap_has_no_translation(self) -> None:
        moves = steps({"translation_x": 1.0, "translation_y": 1.0}, {})
        for half, x, y in (((0.0, 2.0), 0, -2), ((2.0, 0.0), -2, 0)):
            step, total = stepwise_and_composed(moves, half, inverse=True)
            assert numbers(step.translation_x) == [x, 0]
            assert numbers(step.translation_y) == [y, 0]
            assert numbers(step.fraction_x) == [x / 2, 0]
            assert numbers(step.fraction_y) == [y / 2, 0]
            assert numbers(total.translation_x) == [x, x]

    def test_an_axis_with_a_single_tap_takes_the_others_unit(self) -> None:
        moves = steps({"rotation": math.radians(-30), "scale": 0.5}, {"translation_y": -1.0})
        for half in ((0.0, 3.0), (3.0, 0.0)):
            _, total = stepwise_and_composed(moves, half, inverse=True)
            assert numbers(total.rotation) == [30, 30]
            assert numbers(total.scale) == [2, 2]


@pytest.mark.parametrize("half", [(1.0, 1.0), (3.0, 3.0), (1.0, 2.0)])
def test_points(half: tuple[float, float]) -> None:
    """Cumulative motion of three points, step by step through the inverse sampling maps."""
    raw = drawn(4, 6, 0.3)
    step, total = stepwise_and_composed(raw, half, inverse=True)
    unit = torch.tensor(half, dtype=torch.float64)
    for channel in range(6):
        points = torch.tensor([[0.0, 0], [1e-3, 0], [0, 1e-3]], dtype=torch.float64)
        for b in range(4):
            s, r, x, y = (float(v[b, channel]) for v in vars(raw).values())
            turn = s * torch.tensor(
                [[math.cos(r), -math.sin(r)], [math.sin(r), math.cos(r)]], dtype=torch.float64
            )
            shift = torch.tensor([x, y], dtype=torch.float64)
            # M p = turn (p + shift), inverted
            points = (torch.linalg.solve(turn, (points / unit).T).T - shift) * unit
            middle, right, below = points
            assert total.translation_x[b, channel] == pytest.approx(float(middle[0]))
            assert total.translation_y[b, channel] == pytest.approx(float(middle[1]))
            (a, c), (d, e) = ((right - middle) / 1e-3).tolist(), ((below - middle) / 1e-3).tolist()
            assert total.scale[b, channel] == pytest.approx(math.sqrt(a * e - c * d))
            if half[0] == half[1]:
                angle = math.degrees(math.atan2(c, a))
                assert math.cos(
                    math.radians(float(total.rotation[b, channel]) - angle)
                ) == pytest.approx(1)
                assert total.rotation[b, channel] == pytest.approx(
                    float(step.rotation[: b + 1, channel].sum())
                )


@pytest.mark.parametrize(
    "change",
    [
        {"translation_x": 0.1},
        {"translation_y": -0.1},
        {"rotation": 0.25},
        {"rotation": -0.25},
        {"scale": 0.93},
        {"scale": 1.07},
        {"scale": 1.08, "rotation": 0.2, "translation_x": -0.06, "translation_y": 0.08},
    ],
)
def test_the_content_of_a_kernel_moves_as_it_reads(change: dict[str, float]) -> None:
    size, place = 15, (2.0, -1.5)  # x and y of a blob, in taps from the middle
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    layer = Conv3T(1, 1, (4, size, size), dtype=torch.float64)
    with torch.no_grad():
        blob = torch.exp(-((axis - place[1])[:, None] ** 2 + (axis - place[0]) ** 2) / 4)
        layer.first_slice.copy_(blob)
        for name, value in change.items():
            getattr(layer, name).fill_(value)
        slices = layer.kernel()[0, 0]
    own = (layer.scale, layer.rotation, layer.translation_x, layer.translation_y)
    raw = Parameters(*(parameter.detach() for parameter in own))
    _, total = stepwise_and_composed(raw, ((size - 1) / 2,) * 2, inverse=True)
    for b in range(3):
        s, angle = float(total.scale[b, 0]), math.radians(float(total.rotation[b, 0]))
        x = s * (math.cos(angle) * place[0] - math.sin(angle) * place[1])
        y = s * (math.sin(angle) * place[0] + math.cos(angle) * place[1])
        expected = (x + float(total.translation_x[b, 0]), y + float(total.translation_y[b, 0]))
        mass = slices[b + 1] / slices[b + 1].sum()
        seen = (float((mass.sum(0) * axis).sum()), float((mass.sum(1) * axis).sum()))
        # repeated interpolation blurs, and moves a centre a little
        assert seen == pytest.approx(expected, abs=0.08)
    assert math.dist(seen, place) > 0.3


def test_weighted() -> None:
    values = torch.tensor([[1.0, 2, 4], [2, 4, float("nan")]], dtype=torch.float64)
    motion = AffineMotion(*[values] * 6)
    weights = torch.tensor([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0]], dtype=torch.float64)
    mean = weighted_motion(motion, weights)
    assert mean.translation_x[0, :2].tolist() == [1.5, 3]
    assert mean.translation_x[1, :2].tolist() == [3, 4]  # without the channel that has none
    assert mean.scale[0, :2].tolist() == pytest.approx([math.sqrt(2), math.sqrt(8)])
    assert all(bool(v[:, 2].isnan().all()) for v in vars(mean).values())


def test_in_words() -> None:
    step, _ = stepwise_and_composed(
        steps({"scale": 0.8, "rotation": 0.1, "translation_x": -0.5, "translation_y": -1.0}),
        (2.0, 2.0),
        inverse=True,
    )
    motion = step.apply(lambda values: values[0, 0])
    expected = "moves 1 px right and 2 px down, turns 5.7° counter-clockwise, grows by 25.0%"
    assert describe(motion, "px", True) == expected
    assert describe(motion, "px", False) == expected.replace("down", "up")
    nothing = motion.apply(lambda values: values * math.nan)
    assert describe(nothing, "px", True) == "no motion that can be read"
