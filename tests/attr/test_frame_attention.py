"""FrameAttention: weights from every kind of module, and the report's recipe."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video import FrameAttention, VideoGradCam
from tests.attr.cam_nets import Frames
from tests.nets import clip, seeded

SHAPE = (2, 3, 8, 12, 10)


def attending() -> Frames:
    net = seeded(Frames(attention=True))
    assert isinstance(net, Frames)
    return net


def by_hand(net: Frames, x: Tensor) -> Tensor:
    """Softmax over frames of the key's products with the last state, in loops."""
    rows = []
    for one in x:
        features = torch.stack([net.cnn(frame[None]).mean((2, 3))[0] for frame in one.unbind(1)])
        states = net.lstm(features[None])[0][0]
        assert net.attention is not None
        scores = torch.stack([net.attention.key(state) @ states[-1] for state in states])
        rows.append(scores.exp() / scores.exp().sum())
    return torch.stack(rows).detach()


class Multihead(nn.Module):
    """The frames' features attend to themselves."""

    def __init__(self, batch_first: bool = True, positional: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first)
        self.proj = nn.Linear(3, 6)
        self.fc = nn.Linear(6, 4)
        self.batch_first, self.positional = batch_first, positional

    def forward(self, x: Tensor) -> Tensor:
        frames = self.proj(x.mean((3, 4)).transpose(1, 2))
        if not self.batch_first:
            frames = frames.transpose(0, 1)
        if self.positional:
            mixed, weights = self.attention(frames, frames, frames, None, False)
        else:
            mixed, weights = self.attention(frames, frames, frames, need_weights=False)
        assert weights is None
        return self.fc(mixed.mean(1 if self.batch_first else 0))


class Holding(nn.Module):
    """Keeps its weights in an attribute, and gives the context alone."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, 1)
        self.alpha = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean((3, 4)).transpose(1, 2)
        self.alpha = self.score(features).softmax(1)
        return (self.alpha * features).sum(1)


class TestWeights:
    def test_equal_those_by_hand(self) -> None:
        net, x = attending(), clip(*SHAPE)
        given = FrameAttention(net, "attention").attribute(x)
        assert given.shape == (2, 8)
        assert torch.allclose(given, by_hand(net, x))
        assert torch.allclose(given.sum(1), torch.ones(2, dtype=torch.float64))
        assert not given.requires_grad

    @pytest.mark.parametrize("positional", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    def test_multihead_attention(self, batch_first: bool, positional: bool) -> None:
        net, x = seeded(Multihead(batch_first, positional)), clip(*SHAPE)
        assert isinstance(net, Multihead)
        frames = net.proj(x.mean((3, 4)).transpose(1, 2))
        given = frames if batch_first else frames.transpose(0, 1)
        _, expected = net.attention(given, given, given)  # (N, queries, T)
        assert torch.allclose(FrameAttention(net, "attention").attribute(x), expected.mean(1))
        last = FrameAttention(net, "attention", query=-1).attribute(x)
        assert torch.allclose(last, expected[:, -1])
        with pytest.raises(ValueError, match="query must be below 8, got 8"):
            FrameAttention(net, "attention", query=8).attribute(x)

    def test_multihead_attention_that_shows_its_heads(self) -> None:
        class Heads(Multihead):
            def forward(self, x: Tensor) -> Tensor:
                frames = self.proj(x.mean((3, 4)).transpose(1, 2))
                mixed, weights = self.attention(frames, frames, frames, average_attn_weights=False)
                assert weights.shape == (2, 2, 8, 8)  # as the model asked
                return self.fc(mixed.mean(1))

        net, x = seeded(Heads()), clip(*SHAPE)
        expected = FrameAttention(seeded(Multihead()), "attention").attribute(x)
        assert torch.allclose(FrameAttention(net, "attention").attribute(x), expected)

    def test_multihead_attention_in_another_thread(self) -> None:
        net, x = seeded(Multihead()), clip(*SHAPE)
        heard: list[object] = []

        def elsewhere() -> None:
            frames = torch.rand(2, 8, 6, dtype=torch.float64)
            heard.append(net.attention(frames, frames, frames, need_weights=False)[1])  # type: ignore[operator]

        def model(clips: Tensor) -> Tensor:
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            result: Tensor = net(clips)
            return result

        given = FrameAttention(model, net.get_submodule("attention")).attribute(x)
        assert torch.equal(given, FrameAttention(net, "attention").attribute(x))
        assert heard == [None]  # what the other thread asked for, it got

    def test_in_a_transformer(self) -> None:
        layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True)
        net = seeded(nn.Sequential(layer, nn.Flatten()))
        x = clip(2, 8, 6)
        _, expected = layer.self_attn(x, x, x)
        cam = FrameAttention(net, layer.self_attn, time_dim=1)
        assert torch.allclose(cam.attribute(x), expected.mean(1))

    def test_an_attribute(self) -> None:
        net, x = seeded(Holding()), clip(*SHAPE)

        def model(clips: Tensor) -> Tensor:
            result: Tensor = net(clips)
            return result

        cam = FrameAttention(model, net, weights="alpha")
        given = cam.attribute(x)
        assert torch.allclose(given, net.alpha.squeeze(2))  # type: ignore[operator]
        first = given.clone()
        with torch.no_grad():
            net.alpha.zero_()  # type: ignore[operator]
        assert torch.equal(given, first)  # not a view of what the module holds
        with pytest.raises(
            ValueError, match="weights 'beta': module 'Holding' has no such attribute"
        ):
            FrameAttention(model, net, weights="beta").attribute(x)

    def test_a_function_of_the_output(self) -> None:
        net, x = attending(), clip(*SHAPE)
        cam = FrameAttention(net, "attention", weights=lambda out: out[1].flip(1))
        assert torch.allclose(cam.attribute(x), by_hand(net, x).flip(1))

    def test_as_many_as_told(self) -> None:
        net, x = attending(), clip(*SHAPE)
        cam = FrameAttention(
            net, "attention", weights=lambda out: out[1].unflatten(1, (4, 2)).sum(2)
        )
        with pytest.raises(ValueError, match=r"no weights of shape \(2, 8\), one for each frame"):
            cam.attribute(x)
        cam.frames_per_clip = 4
        assert cam.attribute(x).shape == (2, 4)

    def test_frames_given_as_a_batch(self) -> None:
        net, x = attending(), clip(*SHAPE)

        def of_frames(frames: Tensor) -> Tensor:
            result: Tensor = net(frames.unflatten(0, (-1, 8)).transpose(1, 2))
            return result

        frames = x.transpose(1, 2).flatten(0, 1)
        whole = FrameAttention(net, "attention")
        folded = FrameAttention(of_frames, net.get_submodule("attention"), frames_per_clip=8)
        assert torch.equal(folded.attribute(frames), whole.attribute(x))
        layer = net.get_submodule("cnn.2")
        given, expected = folded.best_frames(frames, layer, 2), whole.best_frames(x, layer, 2)
        assert torch.equal(given.frames, expected.frames)
        assert torch.allclose(given.maps, expected.maps)
        with pytest.raises(ValueError, match="frames_per_clip=8 does not divide the 10 frames"):
            FrameAttention(net.cnn, net.get_submodule("cnn.3"), frames_per_clip=8).attribute(
                frames[:10]
            )


class TestRanking:
    def test_top_frames(self) -> None:
        net, x = attending(), clip(*SHAPE)
        weights = by_hand(net, x)
        frames, values = FrameAttention(net, "attention").top_frames(x, 3)
        for row in range(2):
            expected = sorted(range(8), key=lambda t: -float(weights[row, t]))[:3]
            assert frames[row].tolist() == expected
        assert torch.allclose(values, weights.gather(1, frames))

    def test_ties_go_to_the_earlier_frame(self) -> None:
        net, x = attending(), clip(*SHAPE)
        even = FrameAttention(net, "attention", weights=lambda out: torch.full_like(out[1], 1 / 8))
        assert even.top_frames(x, 4)[0].tolist() == [[0, 1, 2, 3]] * 2

    @pytest.mark.parametrize("k", [0, 9, 2.0])
    def test_k(self, k: Any) -> None:
        with pytest.raises(ValueError, match=f"k must be from 1 to 8 frames, got {k}"):
            FrameAttention(attending(), "attention").top_frames(clip(*SHAPE), k)

    def test_grad_cam_on_the_best(self) -> None:
        net, x = attending(), clip(*SHAPE)
        attention = FrameAttention(net, "attention")
        best = attention.best_frames(x, "cnn.3", k=2, target=1, temporal_pooling="frame")
        frames, weights = attention.top_frames(x, 2)
        assert torch.equal(best.frames, frames)
        assert torch.equal(best.weights, weights)
        maps = VideoGradCam(net, "cnn.3", temporal_pooling="frame").attribute(x, 1)
        assert best.maps.shape == (2, 2, 1, 12, 10)
        for row in range(2):
            for place in range(2):
                frame = int(frames[row, place])
                assert torch.equal(best.maps[row, place], maps[row, :, frame])


QUERIES = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class TestBadWeights:
    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            (lambda out: out[1] * 2, r"must not be negative and sum to 1 .* got sums \[2.0, 2.0\]"),
            (
                lambda out: torch.cat([out[1][:, :1] * 0 - 1, out[1][:, 1:] * 0 + 2 / 7], 1),
                "a lowest of -1",
            ),
            (lambda out: out[1][:, 1:], r"tensors of shapes \[\(2, 7\)\]"),
            (lambda out: [out[1], out[1].flip(1)], "gives 2 tensors that may be the weights"),
            (lambda out: out[0], r"no weights of shape \(2, 8\)"),
            # distributions over the queries: their mean over queries is even, and says nothing
            (lambda out: out[1].unsqueeze(2) * torch.eye(8).double()[None], "sum to 1"),
            (lambda out: QUERIES.softmax(1), "sum to 1 over the frames, got sums"),
        ],
    )
    def test_refused(self, weights: Any, text: str) -> None:
        net = attending()
        before = [dict(m._forward_hooks) for m in net.modules()]
        with pytest.raises(ValueError, match=text):
            FrameAttention(net, "attention", weights=weights).attribute(clip(*SHAPE))
        assert [dict(m._forward_hooks) for m in net.modules()] == before

    def test_modules(self) -> None:
        net, x = attending(), clip(*SHAPE)
        with pytest.raises(ValueError, match=r"module 'attentoin': .* Did you mean 'attention'"):
            FrameAttention(net, "attentoin")
        with pytest.raises(ValueError, match="'Attention' is called 2 times"):
            FrameAttention(lambda c: net(c) + net(c), net.get_submodule("attention")).attribute(x)
        unused = seeded(Frames())
        unused.spare = nn.Identity()
        with pytest.raises(ValueError, match="'spare' is called 0 times"):
            FrameAttention(unused, "spare").attribute(x)
        with pytest.raises(ValueError, match="have no time axis; name it by time_dim"):
            FrameAttention(nn.Sequential(nn.Identity()).eval(), "0").attribute(x[:, :, 0])

    def test_options(self) -> None:
        with pytest.raises(TypeError, match="weights must be an attribute's name or a function"):
            FrameAttention(attending(), "attention", weights=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="query must be a query's number or 'mean', got 'max'"):
            FrameAttention(attending(), "attention", query="max")  # type: ignore[arg-type]
