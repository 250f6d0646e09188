"""The layers of a model, their shapes and time slices."""

from __future__ import annotations

import re
import threading

import pytest
import torch
from torch import Tensor, nn

from captum_video.layers import deepest_with_time, list_layers
from tests.attr.cam_nets import Frames, Tokens
from tests.nets import C3DLike, Residual, clip, seeded

X = clip(2, 3, 8, 12, 10)


def test_blocks() -> None:
    found = list_layers(seeded(C3DLike()), (X,))
    table = {facts.name: (facts.kind, facts.shape, facts.slices) for facts in found}
    assert list(table)[:3] == ["features.0", "features.1", "features.2"]
    assert table["features.0"] == ("Conv3d", (2, 6, 8, 12, 10), 8)
    assert table["features.5"] == ("MaxPool3d", (2, 8, 4, 3, 2), 4)
    assert table["features"] == ("Sequential", (2, 8, 4, 3, 2), 4)
    explainable = {facts.name: facts.explainable for facts in found}
    assert explainable["features.5"]
    assert not explainable["head.0"]
    assert not explainable["head"]


def test_frames_and_tokens() -> None:
    folded = {f.name: f for f in list_layers(seeded(Frames(attention=True)), (X,))}
    assert (folded["cnn.2"].shape, folded["cnn.2"].slices) == ((16, 8, 6, 5), 8)
    assert not folded["lstm"].explainable
    tokens = {f.name: f for f in list_layers(seeded(Tokens()), (X,))}
    assert (tokens["block"].shape, tokens["block"].slices) == ((2, 25, 8), 4)
    opaque = {f.name: f for f in list_layers(seeded(Tokens(opaque=True)), (X,))}
    assert opaque["embed"].explainable
    assert not opaque["block"].explainable
    assert opaque["block"].slices is None


def test_layers_called_twice() -> None:
    found = {f.name: f for f in list_layers(seeded(Residual()), (X,))}
    assert (found["relu"].calls, found["relu"].explainable) == (2, False)
    assert (found["conv"].calls, found["conv"].explainable) == (1, True)


def test_up_to_a_layer() -> None:
    model = seeded(C3DLike())
    names = [f.name for f in list_layers(model, (X,), until=model.get_submodule("features.3"))]
    assert names == ["features.0", "features.1", "features.2"]
    last = deepest_with_time(model, model.get_submodule("head"), (X,), (), None)
    assert last is not None
    assert last.name == "features"
    assert deepest_with_time(model, model.get_submodule("features.0"), (X,), (), None) is None
    assert list_layers(lambda x: x, (X,)) == []


def test_one_batch_needs_no_tuple() -> None:
    model = seeded(C3DLike())
    assert list_layers(model, X) == list_layers(model, (X,))


def test_inputs_that_are_none() -> None:
    model = seeded(C3DLike())
    with pytest.raises(TypeError, match=re.escape("inputs must be a tensor, got list")):
        list_layers(model, ([1.0],))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs must be a non-empty batch"):
        list_layers(model, X[:0])


def test_leaves_nothing_behind() -> None:
    model = seeded(Residual())
    before = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
    list_layers(model, (X,), until=model.get_submodule("conv"))

    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            self.inner(x)
            raise LookupError("half-way")

    try:
        list_layers(Fails(), (X,))
    except LookupError:
        pass
    else:
        raise AssertionError("the error was swallowed")
    after = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
    assert before == after


def test_other_threads_are_not_listed() -> None:
    model = seeded(C3DLike())
    started, go = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            if threading.current_thread() is threading.main_thread():
                started.set()
                go.wait(10)
            result: Tensor = self.inner(x)
            return result

    net = Waits()

    def elsewhere() -> None:
        started.wait(10)
        with torch.no_grad():
            model(X[:1])
        go.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    found = list_layers(net, (X,))
    thread.join()
    assert all(facts.calls == 1 and facts.shape[0] == 2 for facts in found)
