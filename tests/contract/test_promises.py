"""Every attribution class against every promise that all of them make."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from captum.attr import GradientAttribution, LayerAttribution
from torch import Tensor, nn

from captum_video import FrameAttention, TemporalParameters
from tests.contract.kinds import CLASSES, NEED_TIME, SHAPE, assert_same, state, with_gradients
from tests.nets import C3DLike, Residual, TwoStream, clip, seeded


@pytest.fixture(params=list(CLASSES.values()), ids=list(CLASSES))
def kind(request: pytest.FixtureRequest) -> Callable[..., Any]:
    result: Callable[..., Any] = request.param
    return result


class Noisy(nn.Module):
    """Draws random numbers, counts its calls and switches a flag in its own forward."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = C3DLike()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.inner.features.training = True
        return self.inner(x) + torch.rand(())


class RaisesHalfWay(C3DLike):
    def forward(self, x: Tensor) -> Tensor:
        self.features(x)
        raise LookupError("half-way")


class TestNoTrace:
    @pytest.mark.parametrize("net", [C3DLike, Residual, Noisy])
    def test_returned(self, kind: Callable[..., Any], net: type[nn.Module]) -> None:
        model, x = with_gradients(seeded(net())), clip(*SHAPE)
        given, before = x.clone(), state(model)
        kind(model).attribute(x, target=1)
        assert_same(before, state(model))
        assert torch.equal(x, given)
        assert not x.requires_grad

    def test_raised(self, kind: Callable[..., Any]) -> None:
        model = with_gradients(seeded(RaisesHalfWay()))
        before = state(model)
        with pytest.raises(LookupError, match="half-way"):
            kind(model).attribute(clip(*SHAPE), target=1)
        assert_same(before, state(model))

    def test_a_model_that_writes_into_its_input(self, kind: Callable[..., Any]) -> None:
        net, x = seeded(C3DLike()), clip(*SHAPE)

        def halves(clips: Tensor) -> Tensor:
            clips.mul_(0.5)
            return net(clips)

        given = x.clone()
        relevance = kind(halves, net).attribute(x, target=1)
        assert torch.equal(x, given)
        # pointwise scaling hands relevance on, so it must equal that of the halved clip
        assert torch.allclose(relevance, kind(net).attribute(x * 0.5, target=1))

    def test_a_model_that_writes_into_its_parameters(self, kind: Callable[..., Any]) -> None:
        net = seeded(C3DLike())

        def forward(self: nn.Module, x: Tensor) -> Tensor:
            self.head[0].bias.data.add_(0)  # type: ignore[index, union-attr]
            self.head[0].bias.add_(1)  # type: ignore[index, union-attr]
            return C3DLike.forward(self, x)  # type: ignore[arg-type]

        net.__class__ = type("Writes", (C3DLike,), {"forward": forward})
        # where gradients are on, torch itself refuses first
        text = r"wrote into its parameter 'head.0.bias'|leaf Variable .* in an in-place operation"
        with pytest.raises(RuntimeError, match=text):
            kind(net).attribute(clip(*SHAPE), target=1)

    def test_nothing_grows(self, kind: Callable[..., Any]) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        method = kind(model)

        def count() -> int:
            method.attribute(x, target=1)
            gc.collect()
            return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

        count()
        first = count()
        assert [count() for _ in range(3)] == [first] * 3


class TestSameAnswer:
    def test_twice(self, kind: Callable[..., Any]) -> None:
        method, x = kind(seeded(Residual(), dtype=torch.float32)), clip(*SHAPE, dtype=torch.float32)
        assert torch.equal(method.attribute(x, target=1), method.attribute(x, target=1))

    def test_batch_is_single(self, kind: Callable[..., Any]) -> None:
        method, x = kind(seeded(Residual())), clip(3, *SHAPE[1:])
        whole = method.attribute(x, target=[0, 1, 2])
        for i in range(3):
            one = method.attribute(x[i : i + 1], target=i)
            assert (one[0] - whole[i]).abs().max() <= 1e-10 * whole.abs().max()

    def test_batch_is_single_in_float32(self, kind: Callable[..., Any]) -> None:
        x = clip(3, *SHAPE[1:], dtype=torch.float32)
        method = kind(seeded(Residual(), dtype=torch.float32))
        whole = method.attribute(x, target=1)
        each = torch.cat([method.attribute(x[i : i + 1], target=1) for i in range(3)])
        assert (each - whole).abs().sum() <= 1e-4 * whole.abs().sum()

    def test_non_contiguous(self, kind: Callable[..., Any]) -> None:
        method, x = kind(seeded(Residual())), clip(*SHAPE)
        turned = x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
        assert not turned.is_contiguous()
        expected = method.attribute(x, target=1)
        assert torch.allclose(method.attribute(turned, target=1), expected)
        wide = torch.cat([x, x], 3)[:, :, :, : x.shape[3]]
        assert torch.allclose(method.attribute(wide, target=1), expected)

    def test_two_threads(self, kind: Callable[..., Any]) -> None:
        model = seeded(Residual())
        clips = [clip(*SHAPE, seed=s) for s in range(2)]
        expected = [kind(model).attribute(x, target=1) for x in clips]
        results: list[list[Tensor]] = [[], []]

        def work(number: int) -> None:
            for _ in range(5):
                results[number].append(kind(model).attribute(clips[number], target=1))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, values in enumerate(results):
            assert len(values) == 5
            assert all(torch.allclose(v, expected[number], atol=1e-14) for v in values)

    def test_under_other_modes(self, kind: Callable[..., Any]) -> None:
        method, x = kind(seeded(Residual(), dtype=torch.float32)), clip(*SHAPE, dtype=torch.float32)
        expected = method.attribute(x, target=1)
        with torch.no_grad():
            assert torch.equal(method.attribute(x, target=1), expected)
        with torch.inference_mode():
            given = method.attribute(x.clone(), target=1)
        assert torch.equal(given, expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(method.attribute(x, target=1), expected)
        leaf = x.clone().requires_grad_()
        relevance = method.attribute(leaf, target=1)
        assert torch.equal(relevance, expected)
        assert not relevance.requires_grad
        assert leaf.grad is None

    def test_copied_model(self, kind: Callable[..., Any]) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        expected = kind(model).attribute(x, target=1)
        assert torch.equal(kind(copy.deepcopy(model)).attribute(x, target=1), expected)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda(self, kind: Callable[..., Any]) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        expected = kind(model).attribute(x, target=1)
        given = kind(model.cuda()).attribute(x.cuda(), target=1)
        assert given.is_cuda
        assert torch.allclose(given.cpu(), expected)


class TestForms:
    def test_tuple_for_tuple(self, kind: Callable[..., Any]) -> None:
        method, x = kind(seeded(C3DLike())), clip(*SHAPE)
        alone, wrapped = method.attribute(x, target=1), method.attribute((x,), target=1)
        if not isinstance(method, FrameAttention | TemporalParameters):
            assert isinstance(wrapped, tuple)
            (wrapped,) = wrapped
        assert torch.equal(wrapped, alone)
        pair = x, clip(2, 2, 4, 8, 8, seed=1)
        both = kind(seeded(TwoStream())).attribute(pair, target=1)
        if isinstance(both, Tensor):  # one weight for each frame of both, or each channel
            assert both.shape == (2, 4)
        else:
            maps = isinstance(kind(seeded(C3DLike())), LayerAttribution)
            expected = [(2, 1 if maps else p.shape[1], *p.shape[2:]) for p in pair]
            assert [tuple(b.shape) for b in both] == expected

    def test_captum_base(self, kind: Callable[..., Any]) -> None:
        method = kind(seeded(C3DLike()))
        assert isinstance(method, GradientAttribution | LayerAttribution)
        assert callable(method.attribute.__wrapped__)  # what NoiseTunnel calls
        assert method.forward_func is not None

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_dtype(self, kind: Callable[..., Any], dtype: torch.dtype) -> None:
        relevance = kind(seeded(C3DLike(), dtype=dtype)).attribute(
            clip(*SHAPE, dtype=dtype), target=1
        )
        assert relevance.dtype == dtype
        assert relevance.isfinite().all()
        assert relevance.abs().max() > 0


def bad_inputs() -> Iterator[Any]:
    x = clip(*SHAPE)
    nan, infinite = x.clone(), x.clone()
    nan[0, 0, 0, 0, 0] = float("nan")
    infinite[0, 0, 0, 0, :2] = float("inf")
    yield x.mul(255).byte(), TypeError, r"inputs must be of a floating-point dtype, got torch.uint8"
    yield nan, ValueError, "inputs holds 1 values that are NaN or infinite"
    yield infinite, ValueError, "inputs holds 2 values that are NaN or infinite"
    yield x[:0], ValueError, r"non-empty batch .* got shape \(0, 3, 4, 8, 8\)"
    yield x.numpy(), TypeError, "inputs must be a tensor, got ndarray"
    yield (x, x[:1]), ValueError, r"agree in their number of examples, got \[1, 2\]"
    yield (), ValueError, "at least one tensor"


class TestBadInput:
    @pytest.mark.parametrize(("given", "error", "text"), list(bad_inputs()))
    def test_any_class(
        self, kind: Callable[..., Any], given: Any, error: type[Exception], text: str
    ) -> None:
        model = seeded(C3DLike())
        before = state(model)
        with pytest.raises(error, match=text):
            kind(model).attribute(given, target=1)
        assert_same(before, state(model))

    @pytest.mark.parametrize("kind", NEED_TIME)
    @pytest.mark.parametrize(
        ("shape", "text"),
        [
            (
                (3, 4, 8, 8),
                r"must be clips \(N, C, T, H, W\), got shape \(3, 4, 8, 8\); add the batch",
            ),
            ((2, 8, 16, 16, 3), r"looks like \(N, T, H, W, C\): use clip.permute\(0, 4, 1, 2, 3\)"),
            ((2, 3, 1, 8, 8), r"has 1 frame along axis 2 .* takes at least 2"),
        ],
    )
    def test_time(self, kind: Callable[..., Any], shape: tuple[int, ...], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            kind(seeded(C3DLike())).attribute(clip(*shape), target=1)

    @pytest.mark.parametrize("kind", NEED_TIME)
    def test_time_dim(self, kind: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="time_dim must be an axis from 1 to 4, got 5"):
            kind(seeded(C3DLike()), time_dim=5).attribute(clip(*SHAPE), target=1)

    def test_training_mode(self, kind: Callable[..., Any]) -> None:
        model = seeded(Residual()).train()
        with pytest.raises(RuntimeError, match="BatchNorm3d 'stem_norm' is in training mode"):
            kind(model).attribute(clip(*SHAPE), target=1)
        with pytest.raises(RuntimeError, match=r"Dropout 'head.2' is in training mode"):
            kind(seeded(C3DLike()).train()).attribute(clip(*SHAPE), target=1)
        harmless = seeded(TwoStream()).train()
        pair = clip(*SHAPE), clip(2, 2, 4, 8, 8)
        with pytest.warns(UserWarning, match=r"in training mode; call model.eval\(\)"):
            relevance = kind(harmless).attribute(pair, target=1)
        assert torch.equal(relevance[0], kind(harmless.eval()).attribute(pair, target=1)[0])

    def test_a_model_that_returns_a_list(self, kind: Callable[..., Any]) -> None:
        net = seeded(C3DLike())

        def listed(x: Tensor) -> list[Tensor]:
            return [net(x)]

        method = kind(listed, net)
        if isinstance(method, FrameAttention) or getattr(method, "loss", None):
            return  # they take any output
        with pytest.raises(TypeError, match=r"must return one tensor|returns one tensor, got list"):
            method.attribute(clip(*SHAPE), target=1)
