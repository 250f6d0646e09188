"""Bringing a layer's tensor into the clip's order, with and without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from captum_video.layers import ClipAxes, Extent, Layout, Question, Trace, arrangement

INPUT = (2, 3, 8, 12, 10)


def asked(
    tensor: Tensor,
    layout: Any = None,
    given: tuple[int, ...] = INPUT,
    time_dim: int | None = None,
    frames_per_clip: int | None = None,
    transformed: bool = False,
) -> Question:
    axes = ClipAxes.of(torch.empty(given), time_dim)
    return Question(
        "conv", tuple(tensor.shape), layout, (given,), (axes,), frames_per_clip, transformed
    )


def numbered(*shape: int) -> Tensor:
    return torch.arange(float(torch.tensor(shape).prod())).view(shape)


class TestTraced:
    @pytest.mark.parametrize(
        "order",
        ["nctwh", "nthwc", "ncthw", "tnchw", "cnthw", "whtcn"],
    )
    def test_any_order_of_the_axes(self, order: str) -> None:
        x = numbered(*INPUT)
        with Trace((x,)) as trace:
            moved = x.permute(*("ncthw".index(letter) for letter in order))
        placed = arrangement(asked(moved, trace.layout(moved)))
        assert torch.equal(placed.arrange(moved), x)
        assert (placed.has_time, placed.slices, placed.space) == (True, 8, (3, 4))
        assert placed.coverage is not None
        assert placed.coverage.centres == tuple(range(8))

    def test_folded_axes_and_class_tokens(self) -> None:
        x = numbered(*INPUT)
        with Trace((x,)) as trace:
            frames = x.permute(2, 0, 3, 4, 1).flatten(0, 1).flatten(1, 2)  # (T * N, H * W, C)
            tokens = torch.cat([torch.zeros(16, 2, 3), frames], 1)
        placed = arrangement(asked(tokens, trace.layout(tokens)))
        assert torch.equal(placed.arrange(tokens), x)
        # arranging is linear, so gradients of another shape of values go the same way
        assert torch.equal(placed.arrange(-tokens), -x)

    def test_what_has_no_time(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            stacked = torch.conv2d(x.flatten(1, 2), torch.rand(4, 24, 3, 3))
            pooled = x.mean(2)
        placed = arrangement(asked(stacked, trace.layout(stacked)))
        assert (placed.has_time, placed.slices, placed.space) == (False, 1, (3, 4))
        assert placed.arrange(stacked).shape == (2, 4, 10, 8)
        assert placed.coverage is not None
        assert list(placed.coverage.frames(0)) == list(range(8))
        placed = arrangement(asked(pooled, trace.layout(pooled)))
        assert not placed.has_time

    def test_what_has_no_space(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            pooled = x.mean((3, 4))
        placed = arrangement(asked(pooled, trace.layout(pooled)))
        assert (placed.has_time, placed.space) == (True, ())
        assert placed.arrange(pooled).shape == (2, 3, 8)

    def test_windows_of_time_are_not_one_axis(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            windows = x.unflatten(2, (2, 4)).permute(0, 2, 3, 4, 5, 1).flatten(0, 1)
            tokens = windows.flatten(1, 3)  # (N * 2, 4 * H * W, C)
        with pytest.raises(ValueError, match="cannot be known which of its axes are time"):
            arrangement(asked(tokens, trace.layout(tokens)))

    def test_two_clips_in_one_axis_are_not_a_clip(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            pair = torch.cat([x[:, :, :4].flatten(2), x[:, :, 4:].flip(3).flatten(2)], 2)
        with pytest.raises(ValueError, match="cannot be known which of its axes are time"):
            arrangement(asked(pair, trace.layout(pair)))

    def test_beside_what_cannot_be_followed(self) -> None:
        # the sum says where the other branch lies
        x = numbered(*INPUT)
        with Trace((x,)) as trace:
            last = x.permute(0, 2, 3, 4, 1)
            total = last + torch.cdist(last, last)[..., :3].contiguous() * 0
        placed = arrangement(asked(total, trace.layout(total)))
        assert torch.equal(placed.arrange(total), x)
        assert placed.coverage is not None
        assert placed.coverage.mixed

    def test_a_part_of_the_batch(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            half = x[:1]
        # one of two clips, in the clip's own rank: by rank it could not be told from a batch of one
        with pytest.raises(ValueError, match="cannot be known"):
            arrangement(asked(half, trace.layout(half)))


class TestHalfKnown:
    """A trace that knows some axes only: what it knows must not contradict the rank."""

    @staticmethod
    def of(*sources: Any) -> Layout:
        def extent(source: Any, size: int) -> Extent:
            numbers = tuple(map(float, range(size)))
            return Extent((0, source), size, numbers, numbers)

        axes = [
            ((Extent(None, size),),) if source is None else ((extent(source, size),),)
            for source, size in sources
        ]
        return Layout(tuple(axes))

    def test_lost_time_is_not_taken_for_channels(self) -> None:
        block = torch.rand(2, 7, 4, 12, 10)
        layout = self.of((0, 2), (None, 7), (None, 4), (3, 12), (4, 10))
        placed = arrangement(asked(block, layout))
        assert (placed.has_time, placed.slices, placed.coverage) == (True, 4, None)

    @pytest.mark.parametrize(
        "sources",
        [
            [(0, 2), (2, 8), (None, 4), (None, 6), (None, 5)],  # time where channels should be
            [(0, 2), (None, 7), (3, 4), (None, 6), (None, 5)],  # height where time should be
            [(None, 2), (0, 2), (None, 4), (None, 6), (None, 5)],
        ],
    )
    def test_what_contradicts_the_rank(self, sources: Any) -> None:
        block = torch.rand([size for _, size in sources])
        with pytest.raises(ValueError, match="cannot be known which of its axes are time"):
            arrangement(asked(block, self.of(*sources)))

    def test_slices_that_hold_no_frame_have_no_place(self) -> None:
        nothing = float("inf")
        time = Extent((0, 2), 8, (nothing,) * 8, (-nothing,) * 8)
        plain = self.of((0, 2), (None, 3), (2, 8), (3, 12), (4, 10))
        layout = Layout((*plain.axes[:2], ((time,),), *plain.axes[3:]))
        placed = arrangement(asked(torch.rand(INPUT), layout))
        assert (placed.has_time, placed.coverage) == (True, None)

    def test_axes_of_two_inputs_belong_to_the_first(self) -> None:
        plain = self.of((0, 2), (None, 3), (2, 8), (3, 12), (4, 10))
        width = Extent((1, 4), 10, tuple(map(float, range(10))), tuple(map(float, range(10))))
        given = asked(torch.rand(INPUT), Layout((*plain.axes[:4], ((width,),))))
        both = Question(
            given.name, given.shape, given.layout, (INPUT, INPUT), given.axes * 2, None, False
        )
        placed = arrangement(both)
        assert (placed.source, placed.seen) == (0, {0, 1})

    def test_the_inside_of_attention(self) -> None:
        # heads and tokens: four axes, like a picture
        heads = torch.rand(2, 4, 8, 6)
        layout = self.of((0, 2), (None, 4), (2, 8), (None, 6))
        with pytest.raises(ValueError, match="cannot be known"):
            arrangement(asked(heads, layout))
        with pytest.raises(ValueError, match="cannot be known"):
            arrangement(asked(torch.rand(2, 4, 13, 6)))  # higher than the frames


class TestByRank:
    def test_standard(self) -> None:
        block = torch.rand(2, 7, 4, 6, 5)
        placed = arrangement(asked(block))
        assert torch.equal(placed.arrange(block), block)
        assert (placed.has_time, placed.slices, placed.coverage) == (True, 4, None)

    @pytest.mark.parametrize("shape", [(2, 8, 12, 10, 48), (2, 7, 9, 6, 5), (2, 7, 4, 13, 5)])
    def test_channels_last_is_not_taken_for_a_clip(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match="cannot be known which of its axes are time and space"
        ):
            arrangement(asked(torch.rand(shape)))

    def test_time_first_without_a_trace(self) -> None:
        with pytest.raises(ValueError, match="cannot be known"):
            arrangement(asked(torch.rand(2, 7, 2, 6, 5), given=(2, 8, 3, 12, 10), time_dim=1))

    def test_frames_as_batch(self) -> None:
        frames = numbered(16, 7, 6, 5)
        placed = arrangement(asked(frames, frames_per_clip=8))
        given = placed.arrange(frames)
        for n in range(2):
            for t in range(8):
                assert torch.equal(given[n, :, t], frames[8 * n + t])
        assert placed.coverage is not None
        assert placed.coverage.centres == tuple(range(8))
        half = arrangement(asked(frames[:8], frames_per_clip=4))  # every second frame
        assert (half.slices, half.coverage) == (4, None)

    def test_one_map_for_each_clip(self) -> None:
        placed = arrangement(asked(torch.rand(2, 7, 6, 5)))
        assert (placed.has_time, placed.space) == (False, (3, 4))

    def test_features(self) -> None:
        placed = arrangement(asked(torch.rand(2, 7)))
        assert (placed.has_time, placed.space) == (False, ())
        with pytest.raises(ValueError, match="cannot be known"):
            arrangement(asked(torch.rand(16, 7)))


class TestTransformed:
    def test_rank_and_batch(self) -> None:
        grid = torch.rand(2, 7, 4, 3, 2)
        placed = arrangement(asked(grid, transformed=True))
        assert torch.equal(placed.arrange(grid), grid)
        for bad in (grid[0], grid[:1], grid.flatten(3)):
            with pytest.raises(ValueError, match=r"must return \(N, C, T, H, W\) with N = 2"):
                arrangement(asked(bad, transformed=True))
        with pytest.raises(ValueError, match="must return 4 axes with N = 2"):
            arrangement(asked(grid, given=(2, 3, 12, 10), transformed=True))

    def test_coverage_is_followed_through_the_transform(self) -> None:
        x = torch.rand(INPUT)
        with Trace((x,)) as trace:
            block = torch.conv3d(x, torch.rand(4, 3, 3, 3, 3), stride=(2, 1, 1), padding=1)
            tokens = block.flatten(2).transpose(1, 2)
            grid = tokens.unflatten(1, (4, 12, 10)).permute(0, 4, 1, 2, 3)
        placed = arrangement(asked(grid, trace.layout(grid), transformed=True))
        assert placed.coverage is not None
        assert placed.coverage.centres == (0, 2, 4, 6)


class TestClipAxes:
    @pytest.mark.parametrize(
        ("shape", "time_dim", "expected"),
        [
            ((2, 3, 8, 12, 10), None, (2, (3, 4))),
            ((2, 8, 3, 12, 10), 1, (1, (3, 4))),
            ((2, 3, 12, 10), None, (None, (2, 3))),
            ((2, 3, 8), None, (2, ())),
            ((2, 3), None, (None, ())),
            ((2, 3, 8, 25), 2, (2, (3,))),
        ],
    )
    def test_axes(self, shape: tuple[int, ...], time_dim: int | None, expected: Any) -> None:
        axes = ClipAxes.of(torch.empty(shape), time_dim)
        assert (axes.time, axes.space) == expected

    @pytest.mark.parametrize("time_dim", [0, 5, -1])
    def test_no_axis(self, time_dim: int) -> None:
        with pytest.raises(ValueError, match=f"time_dim must be an axis from 1 to 4 .* {time_dim}"):
            ClipAxes.of(torch.empty(INPUT), time_dim)
