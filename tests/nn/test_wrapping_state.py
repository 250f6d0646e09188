"""A wrapped model is the model: its parts, its names, its state; and it stays as it is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_video import DeepTaylor, wrap_model
from captum_video.layers import layer_name, list_layers, resolve_layer
from tests.contract.kinds import CLASSES, SHAPE, assert_same, state, with_gradients
from tests.nets import C3DLike, Residual, clip, seeded


class Heads(Residual):
    """A dict of scores, with a parameter and buffers of the model itself."""

    info: Any
    counted: Tensor

    def __init__(self, classes: int = 5) -> None:
        super().__init__(classes)
        self.gain = nn.Parameter(torch.ones(classes))
        self.register_buffer("counted", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"scores": super().forward(x) * self.gain, "names": self.counted}


def scores(answer: Any) -> Tensor:
    return answer["scores"]


X = clip(*SHAPE)


def pair() -> tuple[Heads, Any]:
    model: Any = seeded(Heads())
    return model, wrap_model(model, "scores")


def test_the_names_are_the_model_s() -> None:
    model, wrapped = pair()
    assert dict(wrapped.named_parameters()).keys() == dict(model.named_parameters()).keys()
    assert all(a is b for a, b in zip(wrapped.parameters(), model.parameters(), strict=True))
    assert [n for n, _ in wrapped.named_buffers()] == [n for n, _ in model.named_buffers()]
    assert [n for n, _ in wrapped.named_children()] == [n for n, _ in model.named_children()]
    own, other = list(wrapped.named_modules()), list(model.named_modules())
    assert own == [("", wrapped), *other]
    assert wrapped.get_submodule("conv") is model.conv
    assert wrapped.conv is model.conv
    assert resolve_layer(wrapped, "stem_norm") is model.stem_norm
    assert layer_name(wrapped, model.conv) == "conv"
    assert layer_name(wrapped, model) == "Heads"
    with pytest.raises(ValueError, match=r"no such layer\. Did you mean 'stem_norm'"):
        resolve_layer(wrapped, "stem_nrm")
    names = [facts.name for facts in list_layers(wrapped, (X,))]
    assert names == [facts.name for facts in list_layers(model, (X,))]
    assert "conv" in names


def test_what_a_parent_sees() -> None:
    model, wrapped = pair()
    parent = nn.Sequential(nn.Identity(), wrapped)
    assert [n for n, _ in parent.named_parameters()] == [
        f"1.{n}" for n, _ in model.named_parameters()
    ]
    saved = parent.state_dict()
    assert saved.keys() == {f"1.{name}" for name in model.state_dict()}
    other = nn.Sequential(nn.Identity(), wrap_model(seeded(Heads(), 1), "scores"))
    assert not torch.equal(other(X), parent(X))
    other.load_state_dict(saved)
    assert torch.equal(other(X), parent(X))
    parent.train()
    assert model.training
    assert model.norm.training
    assert parent.double().float()(X.float()).dtype == torch.float32
    assert model.gain.dtype == torch.float32


class Renamed(Heads):
    """Loads what an older version of it has saved."""

    def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
        state[f"{prefix}gain"] = state.pop(f"{prefix}factor")
        super()._load_from_state_dict(state, prefix, *args)


def test_old_weights_in_a_parent() -> None:
    model: Any = seeded(Renamed())
    parent = nn.Sequential(wrap_model(model, "scores"))
    old = parent.state_dict()
    old["0.factor"] = torch.full_like(old.pop("0.gain"), 7)
    parent.load_state_dict(old)
    assert bool((model.gain == 7).all())


def test_weights_fit_either(tmp_path: Any) -> None:
    model, wrapped = pair()
    assert_same(dict(model.state_dict()), dict(wrapped.state_dict()))
    assert "scratch" not in wrapped.state_dict()
    save_file(wrapped.state_dict(), tmp_path / "weights.safetensors")
    other = seeded(Heads(), 3)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(X)["scores"], wrapped(X))
    fresh = wrap_model(seeded(Heads(), 4), "scores")
    told = fresh.load_state_dict(model.state_dict())
    assert not told.missing_keys
    assert torch.equal(fresh(X), wrapped(X))
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({})


def test_modes_and_dtypes() -> None:
    model, wrapped = pair()
    assert wrapped.train() is wrapped
    assert (model.training, model.norm.training, wrapped.training) == (True, True, True)
    assert wrapped.eval() is wrapped
    assert (model.training, model.norm.training, wrapped.training) == (False, False, False)
    model.train()
    assert wrapped.training
    wrapped.training = False
    assert not model.training
    assert model.norm.training
    wrapped.eval()
    expected = model(X)["scores"]
    assert wrapped.float() is wrapped
    assert model.gain.dtype == model.counted.dtype == torch.float32
    assert wrapped(X.float()).dtype == torch.float32
    wrapped.to(torch.float64)
    assert torch.allclose(wrapped(X), expected, atol=1e-4)
    assert wrapped.requires_grad_(False).gain.requires_grad is False
    wrapped.requires_grad_(True)
    wrapped(X).sum().backward()
    assert model.gain.grad is not None
    wrapped.zero_grad()
    assert model.gain.grad is None
    moved = wrapped.to("meta")
    assert model.gain.is_meta
    assert moved.scratch.is_meta


def test_a_model_with_a_train_of_its_own() -> None:
    class Frozen(Heads):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.norm.eval()
            return self

    model = Frozen()
    wrap_model(model, "scores").train()
    assert model.training
    assert not model.norm.training


def test_attributes_shine_through() -> None:
    model, wrapped = pair()
    model.info = SimpleNamespace(classes=("a", "b"))
    assert wrapped.info is model.info
    assert wrapped.gain is model.gain
    with pytest.raises(AttributeError, match="'Heads' object has no attribute 'config'"):
        _ = wrapped.config
    assert not hasattr(wrapped, "__deepcopy__")
    assert repr(wrapped).startswith("WrappedModel(\n  Heads, output='scores', inputs=None\n")
    assert "stem_norm" in repr(wrapped)
    wrapped.fc = nn.Linear(8, 5, dtype=torch.float64)
    assert model.fc is wrapped.fc


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("output", ["scores", scores])
def test_copies(copied: Callable[[Any], Any], output: Any) -> None:
    model: Any = seeded(Heads())
    wrapped = wrap_model(model, output, "x:NCTHW")
    other = copied(wrapped)
    assert torch.equal(other(X), wrapped(X))
    assert other.unwrapped is not model
    with torch.no_grad():
        other.unwrapped.gain.zero_()
        other.conv.weight.zero_()
    assert not other(X).any()
    assert not other.float().unwrapped.conv.weight.any()
    assert other.gain is other.unwrapped.gain
    assert other.unwrapped.gain.dtype == torch.float32
    assert wrapped(X).any()


class SelfMade(Heads):
    """Copies itself in a way of its own, as ``GraphModule`` does."""

    def __deepcopy__(self, memo: Any) -> SelfMade:
        made = SelfMade().double().eval()
        made.load_state_dict(self.state_dict())
        return made


def test_a_model_that_copies_itself() -> None:
    wrapped: Any = wrap_model(seeded(SelfMade()), "scores")
    other = copy.deepcopy(wrapped)
    assert torch.equal(other(X), wrapped(X))
    assert other.conv is other.unwrapped.conv
    assert other.conv is not wrapped.conv


@pytest.mark.parametrize("name", CLASSES)
def test_the_model_is_left_as_it_was(name: str) -> None:
    model: Any = with_gradients(seeded(Heads()))
    wrapped = wrap_model(model, "scores")
    before, own = state(model), state(wrapped)
    CLASSES[name](wrapped).attribute(X, target=1)
    assert_same(before, state(model))
    assert_same(own, state(wrapped))


class Careless(Heads):
    """Switches flags and writes into its own buffers."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        self.training = True
        self.counted += 1
        self.gain.requires_grad_(False)
        return super().forward(x)


def test_what_the_model_itself_changes_is_put_back() -> None:
    model: Any = with_gradients(seeded(Careless()))
    before = state(model)
    DeepTaylor(wrap_model(model, "scores")).attribute(X, target=1)
    assert_same(before, state(model))


def test_one_module_alone() -> None:
    lstm = nn.LSTM(3, 4, batch_first=True)
    wrapped = wrap_model(lstm, 0)
    assert lstm in list(wrapped.modules())  # so that what treats recurrent layers finds it
    assert wrapped(torch.rand(2, 5, 3)).shape == (2, 5, 4)
    assert wrapped.weight_ih_l0 is lstm.weight_ih_l0
    norm = wrap_model(nn.BatchNorm3d(3))
    with pytest.raises(RuntimeError, match="BatchNorm3d '' is in training mode"):
        DeepTaylor(norm).attribute(X.float(), target=(0, 0, 0, 0))


def test_models_that_cannot_be_watched_are_still_seen() -> None:
    net = seeded(C3DLike())
    wrapped = wrap_model(torch.compile(net))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"the model was compiled with torch\.compile"):
        DeepTaylor(wrapped).attribute(X, target=1)
    assert resolve_layer(wrapped, "features.3") is net.get_submodule("features.3")


def test_parallel() -> None:
    model, wrapped = pair()
    outside = wrap_model(nn.DataParallel(model), "scores")
    assert torch.equal(outside(X), wrapped(X))
    assert outside.module is model
    with pytest.raises(TypeError, match="wrap the parallel model instead"):
        wrapped._replicate_for_data_parallel()


class Open(nn.Module):
    """Takes any argument by name."""

    def forward(self, clip: Tensor | None = None, **others: Tensor) -> Tensor:
        return others["pixels"]


def test_a_keyword_that_only_the_call_can_judge() -> None:
    assert wrap_model(Open(), inputs="pixels")(X) is X
