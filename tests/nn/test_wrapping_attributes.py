"""Attributes of a wrapped model: read, set and deleted where they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video import wrap_model
from tests.nets import Residual, clip, seeded

X = clip(2, 3, 4, 8, 8)


class Switched(Residual):
    """Looks at attributes of its own, and has one that only looks like an attribute."""

    shift: Tensor

    def __init__(self) -> None:
        super().__init__(5)
        self.use_relu = True
        self.config = {"scale": 1.0}
        self.gain = nn.Parameter(torch.ones(5))
        self.register_buffer("shift", torch.zeros(5))

    @property
    def scale(self) -> float:
        return self.config["scale"]

    @scale.setter
    def scale(self, value: float) -> None:
        self.config["scale"] = value

    @property
    def fixed(self) -> int:
        return 3

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        scores = super().forward(x) - 1
        scores = scores.relu() if self.use_relu else scores
        return [scores * self.gain * self.scale + self.shift]


def pair() -> tuple[Switched, Any]:
    model: Any = seeded(Switched())
    return model, wrap_model(model)


def test_setting_reaches_the_model() -> None:
    model, wrapped = pair()
    before = wrapped(X)
    wrapped.use_relu = False
    assert model.use_relu is wrapped.use_relu is False
    assert "use_relu" not in vars(wrapped)
    assert not torch.equal(wrapped(X), before)
    by_hand: Any = seeded(Switched())
    by_hand.use_relu = False
    assert torch.equal(wrapped(X), by_hand(X)[0])
    wrapped.scale = 3.0
    assert model.config == {"scale": 3.0}
    assert torch.allclose(wrapped(X), 3 * by_hand(X)[0])
    wrapped.config = {"scale": 1.0}
    assert model.scale == 1.0
    with pytest.raises(AttributeError, match="fixed"):
        wrapped.fixed = 4
    model.use_relu = True
    assert wrapped.use_relu
    assert torch.equal(wrapped(X), before)


def test_parts_are_set_as_in_the_model() -> None:
    model, wrapped = pair()
    expected = model(X)[0]
    wrapped.gain = nn.Parameter(torch.full((5,), 2.0))
    wrapped.shift = torch.ones(5)
    assert model.gain is wrapped.gain
    assert bool((model.state_dict()["gain"] == 2).all())
    assert "shift" in dict(model.named_buffers())
    assert torch.allclose(wrapped(X), 2 * expected + 1)
    with pytest.raises(TypeError, match="cannot assign"):
        wrapped.gain = torch.ones(5)
    wrapped.conv = nn.Identity()
    assert model.conv is wrapped.conv
    wrapped.fresh = nn.Linear(2, 2)
    assert model.fresh is wrapped.fresh


def test_deleting_reaches_the_model() -> None:
    model, wrapped = pair()
    del wrapped.use_relu
    assert not hasattr(model, "use_relu")
    del wrapped.gain
    assert "gain" not in dict(model.named_parameters())
    del wrapped.conv
    assert not hasattr(model, "conv")
    with pytest.raises(AttributeError, match="use_relu"):
        del wrapped.use_relu


def test_what_the_model_has_not_stays_here() -> None:
    model: Any
    model, wrapped = pair()
    wrapped.note = "mine"
    assert wrapped.note == "mine"
    assert not hasattr(model, "note")
    model.note = "its own"
    wrapped.note = "still mine"
    assert (wrapped.note, model.note) == ("still mine", "its own")
    del wrapped.note
    assert wrapped.note == "its own"


def test_its_own_methods_are_its_own() -> None:
    model, wrapped = pair()
    wrapped.forward = lambda x: x
    assert wrapped(X) is X
    assert "forward" not in vars(model)
    del wrapped.forward
    assert torch.equal(wrapped(X), model(X)[0])
    with pytest.raises(AttributeError, match="unwrapped"):
        wrapped.unwrapped = model


def test_a_copy_is_set_alone() -> None:
    model, wrapped = pair()
    other = copy.deepcopy(wrapped)
    other.use_relu = False
    assert model.use_relu is wrapped.use_relu is True
    assert other.unwrapped.use_relu is False


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flag = True
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain if self.flag else x


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_scripted_model() -> None:
    model: Any = torch.jit.script(Scripted())
    wrapped: Any = wrap_model(model)
    wrapped.flag = False
    assert model.flag is False
    assert torch.equal(wrapped(X), X)
    wrapped.flag = True
    wrapped.gain = nn.Parameter(torch.full((1,), 3.0))
    assert torch.equal(wrapped(X), 3 * X)
    assert wrapped.gain.item() == 3
    assert dict(wrapped.named_parameters())["gain"].item() == 3


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("recurse", [True, False])
def test_parts_are_named_once(remove: bool, recurse: bool) -> None:
    model, wrapped = pair()
    model.again = model.gain  # the one that does occur twice
    model.twin = model.conv
    for kind in ("named_parameters", "named_buffers"):
        options = {"recurse": recurse, "remove_duplicate": remove}
        names = [name for name, _ in getattr(wrapped, kind)("net", **options)]
        assert names == [name for name, _ in getattr(model, kind)("net", **options)]
        assert len(set(names)) == len(names)
    names = [name for name, _ in wrapped.named_parameters(remove_duplicate=remove)]
    assert ("again" in names) is ("twin.weight" in names) is not remove
