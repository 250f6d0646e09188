from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from captum_video import DeepTaylor, DiscriminativeRelevance, RelevanceComponents
from captum_video.metrics import temporal_share
from tests.nets import (
    C3DLike,
    FeaturesPerFrame,
    Recurrent,
    Residual,
    ScoresPerFrame,
    TwoStream,
    clip,
    seeded,
)

LENGTH = 4


def frozen(x: Tensor, t: int) -> Tensor:
    return torch.stack([x[:, :, t]] * x.shape[2], 2)


@pytest.fixture(params=[C3DLike, Residual], ids=["c3d", "residual"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    return seeded(request.param())


@pytest.fixture
def x() -> Tensor:
    return clip(2, 3, LENGTH, 8, 8)


class TestDefinition:
    """Against one explanation per frame, put together by hand."""

    @pytest.mark.parametrize("seed", ["one", "score"])
    def test_frozen_frames(self, net: nn.Module, x: Tensor, seed: Any) -> None:
        options: dict[str, Any] = {"input_range": (0, 1), "seed": seed}
        base = DeepTaylor(net, **options)
        total = base.attribute(x, target=1)
        maps = torch.stack([base.attribute(frozen(x, t), target=1) for t in range(LENGTH)], 2)
        # maps[n, c, t] is the frozen clip of frame t, its own time axis next
        places = torch.arange(LENGTH)
        spatial: dict[Any, Tensor] = {
            "same": maps[:, :, places, places],
            "mean": maps.mean(3),
            "first": maps[:, :, :, 0],
        }
        method = DiscriminativeRelevance(net, **options)
        for choice, expected in spatial.items():
            parts = method.decompose(x, target=1, frozen_frame=choice)
            assert isinstance(parts, RelevanceComponents)
            assert torch.allclose(parts.total, total)
            assert torch.allclose(parts.spatial, expected)
            assert torch.equal(parts.temporal, parts.total - parts.spatial)
            for component in ("total", "spatial", "temporal"):
                given = method.attribute(
                    x,
                    target=1,
                    component=component,
                    frozen_frame=choice,
                )
                assert torch.equal(given, getattr(parts, component))

    def test_normalised(self, net: nn.Module, x: Tensor) -> None:
        base = DeepTaylor(net, input_range=(0, 1), seed="one")
        total = base.attribute(x, target=1)
        total = total / total.abs().flatten(1).amax(1).view(-1, 1, 1, 1, 1)
        parts = DiscriminativeRelevance(net, input_range=(0, 1)).decompose(
            x, target=1, normalize="max_abs", frozen_frame="first"
        )
        assert torch.allclose(parts.total, total)
        for t in range(LENGTH):
            maps = base.attribute(frozen(x, t), target=1)
            largest = maps.abs().flatten(1).amax(1).view(-1, 1, 1, 1)
            assert torch.allclose(parts.spatial[:, :, t], maps[:, :, 0] / largest)

    def test_seed_is_one_by_default(self, net: nn.Module, x: Tensor) -> None:
        parts = DiscriminativeRelevance(net, bias="ignore").decompose(x, target=1)
        assert torch.allclose(parts.total.flatten(1).sum(1), torch.ones(2, dtype=torch.float64))

    def test_predicted_is_the_moving_clips_class(self, net: nn.Module, x: Tensor) -> None:
        classes = net(x).argmax(1)
        parts, frames = DiscriminativeRelevance(net).decompose(
            x, target="predicted", return_frozen=True
        )
        given = DiscriminativeRelevance(net).decompose(x, target=classes)
        assert torch.equal(parts.temporal, given.temporal)
        assert torch.equal(frames.target, classes)
        assert torch.equal(frames.prediction, classes)
        assert torch.allclose(frames.score, net(x).gather(1, classes[:, None])[:, 0])
        for t in range(LENGTH):
            output = net(frozen(x, t))
            assert torch.allclose(frames.scores[:, t], output.gather(1, classes[:, None])[:, 0])
            assert torch.equal(frames.predictions[:, t], output.argmax(1))


class TestAxioms:
    @pytest.mark.parametrize("options", [{}, {"alpha": 2, "beta": 1}, {"bias": "ignore"}])
    def test_no_motion_no_temporal_relevance(
        self, net: nn.Module, x: Tensor, options: dict[str, Any]
    ) -> None:
        method = DiscriminativeRelevance(net, **options)
        parts = method.decompose(frozen(x, 1), target=2, internal_batch_size=3)
        assert parts.temporal.abs().max() <= 1e-10 * parts.total.abs().max()
        assert parts.total.abs().max() > 0
        moving = method.decompose(x, target=2)
        assert moving.temporal.abs().max() > 1e-3 * moving.total.abs().max()

    @pytest.mark.parametrize("frozen_frame", ["same", "mean", "first"])
    @pytest.mark.parametrize("options", [{}, {"alpha": 2, "beta": 1}, {"input_range": (0, 1)}])
    def test_no_temporal_model_no_temporal_relevance(
        self, x: Tensor, options: dict[str, Any], frozen_frame: Any
    ) -> None:
        net = seeded(ScoresPerFrame())
        for target in range(4):
            method = DiscriminativeRelevance(net, seed="score", **options)
            parts = method.decompose(x, target=target, frozen_frame=frozen_frame)
            assert parts.temporal.abs().max() <= 1e-10 * parts.total.abs().max()
        uniform = DiscriminativeRelevance(net, seed="score", average="uniform", **options)
        parts = uniform.decompose(x, target=0, frozen_frame=frozen_frame)
        assert parts.temporal.abs().max() > 1e-3 * parts.total.abs().max()

    def test_averaged_features_have_some(self, x: Tensor) -> None:
        """What the documentation says of nets that average before their last linear layer."""
        method = DiscriminativeRelevance(seeded(FeaturesPerFrame()), seed="score")
        parts = method.decompose(x, target=0)
        assert parts.temporal.abs().max() > 1e-6 * parts.total.abs().max()

    def test_temporal_share(self, x: Tensor) -> None:
        net = seeded(ScoresPerFrame())
        none = temporal_share(DiscriminativeRelevance(net, seed="score").decompose(x, target=0))
        assert none.max() < 1e-10
        one, two = torch.ones(1, 3, 2, 2, 2), torch.full((1, 3, 2, 2, 2), -3.0)
        parts = RelevanceComponents(one + two, one, two)
        assert temporal_share(parts).tolist() == [0.75]
        both = RelevanceComponents(None, (one, one), (two, -one))
        assert temporal_share(both).tolist() == pytest.approx([4 / 6])


class TestBatches:
    def test_batch_gives_what_its_clips_give(self, net: nn.Module) -> None:
        x = clip(3, 3, LENGTH, 8, 8)
        method = DiscriminativeRelevance(net, input_range=(0, 1))
        whole = method.decompose(x, target=[0, 3, 1])
        scale = whole.total.abs().max()
        for i, target in enumerate((0, 3, 1)):
            one = method.decompose(x[i : i + 1], target=target)
            for a, b in zip(one, whole, strict=True):
                assert (a[0] - b[i]).abs().max() <= 1e-10 * scale

    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_chunked_is_unchunked(self, net: nn.Module, size: int) -> None:
        x = clip(3, 3, LENGTH, 8, 8)
        method = DiscriminativeRelevance(net, input_range=(0, 1))
        for target in ([0, 3, 1], torch.tensor([0, 3, 1]), 2, "predicted"):
            whole, frames = method.decompose(x, target=target, return_frozen=True)
            parts, chunked = method.decompose(
                x, target=target, return_frozen=True, internal_batch_size=size
            )
            for a, b in zip(parts, whole, strict=True):
                assert (a - b).abs().max() <= 1e-10 * whole.total.abs().max()
            assert torch.allclose(frames.scores, chunked.scores)

    @pytest.mark.parametrize("size", [None, 1, 2])
    @pytest.mark.parametrize(
        "target", [[0, 1], [(0,), (1,)], torch.tensor([0, 1]), [0], [], torch.tensor([0] * 5)]
    )
    def test_targets_of_another_number(self, size: int | None, target: Any) -> None:
        """Two targets would fit each half of four clips."""
        x = clip(4, 3, LENGTH, 8, 8)
        text = f"target must have one entry for each of the 4 examples, got {len(target)}"
        with pytest.raises(ValueError, match=text):
            DiscriminativeRelevance(seeded(C3DLike())).attribute(
                x, target=target, internal_batch_size=size
            )

    @pytest.mark.parametrize("target", [(1,), torch.tensor(1), torch.tensor([1]), [(1,)] * 4])
    def test_targets_for_all_or_for_each(self, target: Any) -> None:
        x = clip(4, 3, LENGTH, 8, 8)
        method = DiscriminativeRelevance(seeded(C3DLike()))
        want = method.attribute(x, target=1)
        got = method.attribute(x, target=target, internal_batch_size=2)
        assert torch.allclose(got, want, rtol=0, atol=1e-10 * float(want.abs().max()))

    def test_never_more_than_internal_batch_size(self, x: Tensor) -> None:
        net, sizes = seeded(C3DLike()), []

        def watched(clips: Tensor) -> Tensor:
            sizes.append(clips.shape[0])
            return net(clips)

        DiscriminativeRelevance(watched).attribute(x, target=0, internal_batch_size=3)
        assert sizes == [2, 3, 3, 2]
        sizes.clear()
        DiscriminativeRelevance(watched).attribute(x, target=0, internal_batch_size=1)
        assert sizes == [1] * 10

    def test_progress(self, x: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
        method = DiscriminativeRelevance(seeded(C3DLike()))
        method.attribute(x, target=0, internal_batch_size=2)
        assert capsys.readouterr().err == ""
        method.attribute(x, target=0, internal_batch_size=2, show_progress=True)
        assert "frozen clips" in capsys.readouterr().err

    def test_arguments_follow_their_example(self) -> None:
        net = seeded(TwoStream())
        pair = clip(2, 3, LENGTH, 8, 8), clip(2, 2, LENGTH, 8, 8, seed=1)
        gain = torch.tensor([[2.0], [5.0]], dtype=torch.float64)
        method = DiscriminativeRelevance(net, seed="score")
        plain = method.decompose(pair, target=0, internal_batch_size=3)
        scaled = method.decompose(pair, 0, gain, internal_batch_size=3)
        for a, b in zip(plain, scaled, strict=True):
            assert isinstance(a, tuple)
            for stream, other in zip(a, b, strict=True):
                assert torch.allclose(stream * gain.view(2, 1, 1, 1, 1), other)


class TestBases:
    """Any Captum method can stand under the split."""

    @pytest.mark.parametrize("kind", [InputXGradient, Saliency, IntegratedGradients])
    def test_frozen_frames_by_hand(self, x: Tensor, kind: Any) -> None:
        net = seeded(Recurrent())
        parts = DiscriminativeRelevance(kind(net)).decompose(x, target=1, internal_batch_size=5)
        assert not parts.total.requires_grad
        leaf = x.clone().requires_grad_()
        assert torch.allclose(parts.total, kind(net).attribute(leaf, target=1))
        for t in range(LENGTH):
            maps = kind(net).attribute(frozen(x, t).requires_grad_(), target=1)
            assert torch.allclose(parts.spatial[:, :, t], maps[:, :, t])

    def test_deep_taylor_as_base(self, net: nn.Module, x: Tensor) -> None:
        given = DiscriminativeRelevance(DeepTaylor(net, seed="one")).attribute(x, target=1)
        assert torch.equal(given, DiscriminativeRelevance(net).attribute(x, target=1))

    def test_options_belong_to_a_model(self, net: nn.Module) -> None:
        with pytest.raises(TypeError, match=r"apply to a model; set up Saliency itself"):
            DiscriminativeRelevance(Saliency(net), alpha=1)
        with pytest.raises(TypeError, match="model must be callable, got str"):
            DiscriminativeRelevance("net")
        with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
            DiscriminativeRelevance(net, gamma=1)


class TestInsideCaptum:
    net = seeded(C3DLike())
    x = clip(2, 3, LENGTH, 8, 8)

    def test_noise_tunnel(self) -> None:
        seen = []

        def watched(clips: Tensor) -> Tensor:
            seen.append(clips.detach().clone())
            return self.net(clips)

        noisy = NoiseTunnel(DiscriminativeRelevance(watched)).attribute(
            self.x, target=1, nt_type="smoothgrad", nt_samples=4, stdevs=0.02
        )
        assert seen[0].shape[0] == 8
        assert (seen[0] - self.x.repeat_interleave(4, 0)).std() == pytest.approx(0.02, rel=0.1)
        each = DiscriminativeRelevance(self.net).attribute(seen[0], target=1)
        assert torch.allclose(noisy, each.view(2, 4, 3, LENGTH, 8, 8).mean(1))

    def test_metrics(self) -> None:
        method = DiscriminativeRelevance(self.net, seed="score")
        relevance = method.attribute(self.x, target=1, component="total")

        def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
            noise = torch.randn_like(x) * 0.01
            return noise, x - noise

        score = infidelity(self.net, perturb, self.x, relevance, target=1, n_perturb_samples=2)
        assert score.shape == (2,)
        assert score.isfinite().all()
        sensitivity = sensitivity_max(
            method.attribute, self.x, target=1, n_perturb_samples=2, perturb_radius=1e-6
        )
        assert (sensitivity < 0.05).all()


class TestSeveralInputs:
    def test_frozen_together(self) -> None:
        net = seeded(TwoStream())
        pair = clip(2, 3, LENGTH, 8, 8), clip(2, 2, LENGTH, 8, 8, seed=1)
        parts = DiscriminativeRelevance(net).decompose(pair, target=3)
        for t in range(LENGTH):
            still = tuple(frozen(stream, t) for stream in pair)
            maps = DeepTaylor(net, seed="one").attribute(still, target=3)
            for part, one in zip(parts.spatial, maps, strict=True):
                assert torch.allclose(part[:, :, t], one[:, :, t])
        single = DiscriminativeRelevance(net).attribute(pair, target=3)
        assert isinstance(single, tuple)

    def test_lengths_must_agree(self) -> None:
        pair = clip(2, 3, LENGTH, 8, 8), clip(2, 2, LENGTH + 1, 8, 8)
        with pytest.raises(ValueError, match=r"same number of frames, got \[4, 5\]"):
            DiscriminativeRelevance(seeded(TwoStream())).attribute(pair, target=0)


class TestOtherLayouts:
    def test_time_dim(self) -> None:
        net = seeded(C3DLike())
        x = clip(2, LENGTH, 3, 8, 8)

        def time_first(clips: Tensor) -> Tensor:
            return net(clips.transpose(1, 2))

        given = DiscriminativeRelevance(time_first, time_dim=1).attribute(x, target=1)
        expected = DiscriminativeRelevance(net).attribute(x.transpose(1, 2), target=1)
        assert torch.allclose(given, expected.transpose(1, 2))

    def test_choices(self) -> None:
        method, x = DiscriminativeRelevance(seeded(C3DLike())), clip(1, 3, LENGTH, 8, 8)
        for name, value in (
            ("component", "motion"),
            ("frozen_frame", "last"),
            ("normalize", "sum"),
        ):
            with pytest.raises(ValueError, match=f"{name} must be .*, got '{value}'"):
                method.attribute(x, target=0, **{name: value})
        for size in (0, -1, 2.0, True):
            with pytest.raises(ValueError, match="internal_batch_size must be a positive integer"):
                method.attribute(x, target=0, internal_batch_size=size)
