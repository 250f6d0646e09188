"""Several inputs and further arguments of a wrapped model: which of them are clips."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import InputXGradient
from torch import Tensor, nn

from captum_video import DeepTaylor, VideoGradCam, wrap_model
from tests.nets import C3DLike, Residual, clip, seeded
from tests.nn.test_wrapping import A, Loose, X, heard

FLOW = clip(2, 2, 4, 5, 6)
CLIPS = clip(2, 3, 4, 8, 8)
MASKS = {
    "one channel": clip(2, 1, 4, 8, 8, seed=2),
    "the clip's shape": clip(2, 3, 4, 8, 8, seed=3),
    "per example": clip(2, 1, seed=4),
    "a number": 3,
    "none": None,
}


class Masked(nn.Module):
    """Takes a list or tuple of clips, and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.net = C3DLike()

    def forward(self, clips: Any, mask: Any = None) -> dict[str, Tensor]:
        assert len(clips) == 1
        x = clips[0] if not isinstance(mask, Tensor) or mask.dim() < 5 else clips[0] * mask
        scores = self.net(x)
        return {"logits": scores if mask is None or x is not clips[0] else scores * mask}


class MaskedByHand(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, x: Tensor, mask: Any) -> Tensor:
        return self.inner([x], mask)["logits"]


class Pathways(nn.Module):
    """A list of pathways, as long as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList([C3DLike(), Residual()])

    def forward(self, clips: list[Tensor], gain: Any = 1.0) -> Tensor:
        scores = [net(one) for net, one in zip(self.nets, clips, strict=False)]
        return sum(scores) * gain


class TwoPathways(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, slow: Tensor, fast: Tensor, gain: Any = 1.0) -> Tensor:
        return self.inner([slow, fast], gain)


def relevances(model: nn.Module, inputs: Any, extra: Any, layer: str) -> list[Tensor]:
    """Of two methods here and one of Captum, with the scores."""
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    live = tuple(one.clone().requires_grad_() for one in several)
    found = [model(*several, *extra)]
    for method in (DeepTaylor(model), InputXGradient(model), VideoGradCam(model, layer)):
        told = method.attribute(live, target=1, additional_forward_args=extra)
        found += told if isinstance(told, tuple) else (told,)
    return found


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("form", ["list:1", "tuple:1"])
def test_a_mask_is_no_clip(name: str, form: str) -> None:
    net, extra = seeded(Masked()), (MASKS[name],)
    found = relevances(wrap_model(net, inputs=form), CLIPS, extra, "net.features.3")
    expected = relevances(MaskedByHand(net), CLIPS, extra, "inner.net.features.3")
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(one.any() for one in found)


@pytest.mark.parametrize("extra", [(), (-0.5,), (clip(2, 1, seed=5),), (2,)])
def test_pathways_of_another_length(extra: Any) -> None:
    net, pair = seeded(Pathways()), (CLIPS[:, :, ::2], CLIPS)
    wrapped = wrap_model(net, inputs="list:2")
    found = relevances(wrapped, pair, extra, "nets.0.features.3")
    expected = relevances(TwoPathways(net), pair, extra, "inner.nets.0.features.3")
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not torch.equal(found[0], wrap_model(net, inputs="list")(pair[0]))


@pytest.mark.parametrize("name", ["per example", "a number", "none"])
def test_what_cannot_be_a_clip_needs_no_count(name: str) -> None:
    net, mask = seeded(Masked()), MASKS[name]
    assert torch.equal(wrap_model(net, inputs="list")(CLIPS, mask), MaskedByHand(net)(CLIPS, mask))


@pytest.mark.parametrize(
    ("form", "second", "text"),
    [
        (
            "list",
            MASKS["one channel"],
            "inputs 'list': a tensor (2, 1, 4, 8, 8) beside (2, 3, 4, 8, 8) may be a clip or a further "
            "argument: say how many clips there are, such as 'list:1' or 'list:2'",
        ),
        ("tuple", CLIPS[:, :, ::2], "there are, such as 'tuple:1' or 'tuple:2'"),
        ("list:NTCHW", CLIPS, "such as 'list:1:NTCHW' or 'list:2:NTCHW'"),
        ("tensor:TNCHW", CLIPS, "such as 'tensor:1:TNCHW' or 'tensor:2:TNCHW'"),
    ],
)
def test_what_may_be_either(form: str, second: Tensor, text: str) -> None:
    wrapped = wrap_model(seeded(Masked()), inputs=form)
    with pytest.raises(ValueError, match=re.escape(text)):
        wrapped(CLIPS, second)
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepTaylor(wrapped).attribute(CLIPS, target=1, additional_forward_args=(second,))


@pytest.mark.parametrize(
    ("form", "given", "text"),
    [
        ("list:2", (X,), "inputs 'list:2': wants 2 clips, got 1"),
        ("list:3:NTCHW", (X, X), "inputs 'list:3:NTCHW': wants 3 clips, got 2"),
        ("list", ([X],), "inputs 'list': clips must be tensors, got a list of (2, 3, 4, 5, 6)"),
        ("list:2", (X, 3), "inputs 'list:2': clips must be tensors, got an int"),
    ],
)
def test_calls_without_such_clips(form: str, given: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        wrap_model(Loose(), inputs=form)(*given)


def test_several_clips() -> None:
    model = Loose()
    for form, kind in (("list:2", list), ("tuple:2", tuple)):
        wrap_model(model, inputs=form)(X, FLOW, A)
        (both, rest), _ = heard(model)
        assert type(both) is kind
        assert [one is other for one, other in zip(both, (X, FLOW), strict=True)] == [True, True]
        assert rest is A
    wrap_model(model, inputs="list:2:NTCHW")(X, FLOW, 1)
    (both, rest), _ = heard(model)
    assert [tuple(one.shape) for one in both] == [(2, 4, 3, 5, 6), (2, 4, 2, 5, 6)]
    assert rest == 1
    wrap_model(model, inputs="list:1:NTCHW")(X, FLOW)
    ((only,), rest), _ = heard(model)
    assert torch.equal(only, X.transpose(1, 2))
    assert rest is FLOW
    wrap_model(model, inputs="tensor:1:NTCHW")(X, FLOW)
    (only, rest), _ = heard(model)
    assert torch.equal(only, X.transpose(1, 2))
    assert rest is FLOW
    wrap_model(model)(X, FLOW)
    assert heard(model) == ((X, FLOW), {})


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def all_of_them(x: Tensor, stride: int = 4, *others: Any) -> list[Any]:
    return [x, stride, *others]


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda x: [x], 1),
        (lambda x, flow: [x, flow], 2),
        (lambda *clips: list(clips), 3),
        (lambda x, stride=4: [x], 1),
        (lambda x, flow, stride=4: [x, flow], 2),
        (lambda x=None, stride=4: [x], 1),
        (all_of_them, 3),
        (functools.partial(lambda x, flow, swap: [flow, x], swap=True), 2),
    ],
)
def test_a_function_gets_what_it_asks_for(function: Callable[..., Any], count: int) -> None:
    model = Loose()
    wrap_model(model, inputs=function)(X, FLOW, A)
    (made, *rest), _ = heard(model)
    assert len(made) == count
    assert all(any(one is other for other in (X, FLOW, A)[:count]) for one in made)
    assert [one is other for one, other in zip(rest, (X, FLOW, A)[count:], strict=True)] == [
        True
    ] * (3 - count)


def test_a_module_as_a_function() -> None:
    model = Loose()
    wrap_model(model, inputs=Doubled())(X, A)
    (made, rest), _ = heard(model)
    assert torch.equal(made, 2 * X)
    assert rest is A


def test_a_default_takes_no_further_argument() -> None:
    net, x, gain = seeded(Pathways()), clip(2, 3, 8, 8, 8), torch.tensor(2)
    wrapped = wrap_model(net, inputs=lambda x, stride=4: [x[:, :, ::stride], x])
    expected = net([x[:, :, ::4], x], gain)
    assert torch.equal(wrapped(x, gain), expected)
    assert not torch.equal(net([x[:, :, ::2], x]), expected)
