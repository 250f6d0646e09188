"""What the trace sees, what it does not, and that it changes nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.layers.layout import Layout
from captum_video.layers.tracing import Trace
from tests.layers._twin import check, layout_of, strict_trace, text

D = torch.float64


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=D)


def shown(trace: Trace, tensor: Tensor) -> str:
    layout = trace.layout(tensor)
    return "lost" if layout is None else text(layout)


def shifted(x: Tensor) -> Tensor:
    """The temporal shift of TSM: some channels from the next frame, some from the one before."""
    out = torch.zeros_like(x)
    out[:, :-1, :1] = x[:, 1:, :1]
    out[:, 1:, 1:2] = x[:, :-1, 1:2]
    out[:, :, 2:] = x[:, :, 2:]
    return out


def shifted_in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :-1, :1] = x[:, 1:, :1].clone()
    return x


def added_to_a_slice(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 1:] += x[:, :, :-1]
    return y


def added_to_a_view(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 1:].add_(x[:, :, :-1])
    return y


def added_twice_removed(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 1:][:, :, :2].add_(x[:, :, :2])
    return y


def running_sum(x: Tensor) -> Tensor:
    y = x.clone()
    for t in range(1, x.shape[2]):
        y[:, :, t] = y[:, :, t] + y[:, :, t - 1]
    return y


def relu_on_a_view(x: Tensor) -> Tensor:
    y = x.clone()
    y.view(2, -1).sub_(0.5).relu_()
    return y


def copied(x: Tensor) -> Tensor:
    return torch.empty(2, 3, 5, dtype=D).copy_(x)


def filled_by_frames(x: Tensor) -> Tensor:
    y = torch.zeros(2, 5, 3, dtype=D)
    for t in range(5):
        y[:, t] = x[:, :, t]
    return y


def filled_by_copies(x: Tensor) -> Tensor:
    y = torch.zeros(2, 5, 3, dtype=D)
    for t in range(5):
        y[:, t].copy_(x[:, :, t])
    return y * x.transpose(1, 2)


def piece_overwritten(x: Tensor) -> Tensor:
    y = x.unflatten(0, (2, 3)).clone()
    y[1] = y[0] * 1
    return y


def turned_in_place(x: Tensor) -> Tensor:
    return x.clone().transpose_(1, 2).unsqueeze_(0).squeeze_(0)


def tokens_but_the_first(x: Tensor) -> Tensor:
    y = torch.cat([torch.zeros(2, 1, 3, dtype=D), x.flatten(2).transpose(1, 2)], 1)
    y = y + y.mean(1, keepdim=True)
    y[:, 1:] += x.flatten(2).transpose(1, 2)
    return y


IN_PLACE: dict[str, tuple[Callable[..., Any], tuple[int, ...], str]] = {
    "channels shifted into zeros": (shifted, (2, 5, 4, 2), "0, 1, 2, 3"),
    "channels shifted": (shifted_in_place, (2, 5, 4, 2), "0, 1, 2, 3"),
    "added to a slice": (added_to_a_slice, (2, 3, 5), "0, 1, 2"),
    "added to a view": (added_to_a_view, (2, 3, 5), "0, 1, 2"),
    "added to a view of a view": (added_twice_removed, (2, 3, 5), "0, 1, 2"),
    "running sum": (running_sum, (2, 3, 5), "0, 1, 2"),
    "relu on a view": (relu_on_a_view, (2, 3, 5), "0, 1, 2"),
    "copied": (copied, (2, 3, 5), "0, 1, 2"),
    "filled by frames": (filled_by_frames, (2, 3, 5), "0, -, 1"),
    "filled by copies": (filled_by_copies, (2, 3, 5), "0~, 2~, 1~"),
    "piece by another": (piece_overwritten, (6, 2), "0~/, 0~/, 1"),
    "turned": (turned_in_place, (2, 3, 5), "0, 2, 1"),
    "tokens but the first": (tokens_but_the_first, (2, 3, 4, 2, 2), "0, -+2~*3~*4~, 1"),
    "sum, then relu": (
        lambda x: F.relu(x.clone().add_(x.flip(2)), inplace=True),
        (2, 3, 5),
        "0, 1, 2",
    ),
    "in place operators": (lambda x: x.clone().mul_(2).sub_(x.roll(1, 2)), (2, 3, 5), "0, 1, 2"),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    function, shape, expected = IN_PLACE[name]
    check(function, clip(*shape), expected=expected, exact=False)


def test_temporal_shift_by_hand() -> None:
    x = clip(1, 5, 4)
    with strict_trace(x) as trace:
        layout = trace.layout(shifted(x))
    assert layout is not None
    frames = layout.axes[1][0][0]
    assert (frames.first, frames.last) == ((0, 0, 1, 2, 3), (1, 2, 3, 4, 4))


def test_written_through_an_alias_is_lost() -> None:
    x = clip(2, 4, 4)
    with strict_trace(x) as trace:
        y = x.clone()
        other = y.transpose(1, 2)
        y.view(2, -1).add_(x.transpose(1, 2).reshape(2, -1))
        assert trace.layout(y) is None
        assert trace.layout(other) is None
        # and whoever meets it keeps axes but not extents
        assert shown(trace, x + y) == "0~, 1~, 2~"


def test_unknown_operations() -> None:
    x = clip(2, 4, 4)
    with strict_trace(x) as trace:
        gathered = x.gather(1, torch.zeros(2, 4, 4, dtype=torch.long))
        assert trace.layout(gathered) is None
        assert trace.layout(torch.linalg.inv(x + torch.eye(4) * 9)) is None
        assert trace.unknown == {"gather", "linalg_inv"}
        added = trace.layout(x + gathered)
        assert added is not None
        assert text(added) == "0~, 1~, 2~"
        assert added.opaque
        assert shown(trace, F.relu(x + gathered)[:, 1:]) == "0~, 1~, 2~"


def test_unknown_forms_of_known_operations() -> None:
    x = clip(2, 4, 4)
    with strict_trace(x) as trace:
        assert trace.layout(x[x > 0.5]) is None
        assert trace.layout(x[[0, 1], [1, 2]]) is None
        assert trace.layout(F.conv1d(clip(1, 2, 4), x[:, :2])) is None
        assert trace.layout(x.roll(3)) is None
        assert trace.layout(F.unfold(x[:, None], 2)) is None
        assert trace.unknown == {"getitem", "conv1d", "roll", "unfold"}


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy()[:, ::-1].copy())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].flip(1)


def test_results_of_unseen_code_are_not_constants() -> None:
    x = clip(2, 4).requires_grad_()
    with strict_trace(x) as trace:
        foreign = Doubled.apply(x)
        assert trace.layout(foreign) is None
        assert shown(trace, x + foreign) == "0~, 1~"
        assert shown(trace, x * torch.rand(4, dtype=D)) == "0, 1"


def test_weights_made_on_the_way_are_constants() -> None:
    x = clip(2, 3, 5)
    layer = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 3, 1)).double()
    scale = nn.Parameter(torch.ones(1, 3, 1, dtype=D))
    with strict_trace(x) as trace:
        assert shown(trace, layer(x)) == "0, -, 2"
        assert shown(trace, x * scale.exp()) == "0, 1, 2"


def test_weights_made_in_pieces_are_constants() -> None:
    conv, x = nn.Conv1d(2, 4, 3, padding=1).double(), clip(1, 2, 6)
    with strict_trace(x) as trace:
        # iteration and chunks give several tensors at once
        weight = torch.stack([2 * row for row in conv.weight])
        y = F.conv1d(x, torch.cat(weight.chunk(2)), padding=1)
    assert shown(trace, y) == text(layout_of(conv, x))


def test_constants_and_strangers_have_no_layout() -> None:
    x = clip(2, 3)
    with strict_trace(x) as trace:
        assert trace.layout(torch.zeros(2, 3)) is None
        assert trace.layout(torch.zeros_like(x)) is None
        assert trace.layout(x.new_zeros(2)) is None
        constant = torch.zeros(2, 3, dtype=D).to(x)
        assert trace.layout(constant) is None
        assert shown(trace, x + constant) == "0, 1"
        assert trace.layout(x.sum()) is None


def test_a_rule_that_fails_loses_the_result_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from captum_video.layers import tracing

    def broken(name: str) -> Any:
        def rule(call: Any) -> Layout:
            raise KeyError(name)

        return rule

    monkeypatch.setattr(tracing, "find", broken)
    x = clip(2, 3)
    with Trace((x,)) as trace:
        y = x * 2
    assert torch.equal(y, x * 2)
    assert trace.layout(y) is None
    assert trace.unknown == {"mul"}
    with pytest.raises(KeyError), strict_trace(x):
        _ = x * 2


def test_several_inputs_are_numbered() -> None:
    a, b = clip(2, 3, 4), clip(2, 3, 8)
    with strict_trace(a, b) as trace:
        pair = torch.cat([a.mean(2), b.mean(2)], 1)
        assert shown(trace, b) == "1.0, 1.1, 1.2"
        assert shown(trace, pair) == "0, 1+1.1"


def test_layouts_can_be_asked_for_afterwards() -> None:
    x = clip(2, 3)
    with strict_trace(x) as trace:
        y = x.T
    assert shown(trace, y) == "1, 0"
    z = y * 2  # not seen
    assert trace.layout(z) is None


def test_tensors_are_not_kept_alive_and_ids_are_not_confused() -> None:
    x = clip(64, 3)
    with strict_trace(x) as trace:
        for _ in range(50):
            transposed = x.T
            del transposed
            other = torch.zeros(3, 64)  # may take the place of the one that died
            assert trace.layout(other) is None
        del other
        gc.collect()
        alive = [entry[0]() for entry in trace._entries.values()]
    assert [t is x for t in alive if t is not None] == [True]
