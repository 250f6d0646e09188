"""What a wrapped model is called with, and which part of its answer it gives."""

from __future__ import annotations

import re
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

from captum_video import wrap_model
from tests.nets import clip

X = clip(2, 3, 4, 5, 6)
A, B = clip(2, 5, seed=1), clip(2, 3, seed=2)
Heads = namedtuple("Heads", "verb noun")


@dataclass
class Answer:
    verb: Tensor
    noun: Tensor | None = None


@dataclass
class Logits:
    states: Tensor
    logits: Tensor | None = None


class Says(nn.Module):
    """Answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, clip: Tensor) -> Any:
        return self.answer


class Told(nn.Module):
    """Remembers what it is called with."""

    heard: Any

    def forward(self, clip: Any, mask: Any = None, *, gain: float = 1.0) -> Tensor:
        self.heard = clip, mask, gain
        return A


class Late(Told):
    """Its clip is not its first argument."""

    def forward(self, tokens: Any, clip: Any = None, mask: Any = None) -> Tensor:  # type: ignore
        self.heard = tokens, clip, mask
        return A


def heard(model: Any) -> Any:
    return model.heard


@pytest.mark.parametrize(
    ("answer", "output", "expected"),
    [
        (A, None, A),
        ([A], None, A),
        ((A,), None, A),
        ({"scores": A, "names": ["walk", "run"], "loss": None}, None, A),
        ({"head": [A]}, None, A),
        ({"logits": B, "states": A}, None, B),
        (ImageClassifierOutput(loss=A.mean(), logits=A, hidden_states=(B, B)), None, A),
        (SimpleNamespace(logits=A, other=B), None, A),
        (SimpleNamespace(scores=A, _cache=B), None, A),
        (Answer(A), None, A),
        (A.mean(), None, A.mean()),
        ({"logits": A.mean(), "loss": B}, None, A.mean()),
        ({"loss": A.mean()}, "loss", A.mean()),
        ([A, B], 0, A),
        ([A, B], 1, B),
        ((A, B), -1, B),
        ((A, B), -2, A),
        ({"verb": A, "noun": B}, "noun", B),
        ({1: A, 0: B}, 1, A),
        (OrderedDict(noun=B, verb=A), "verb", A),
        (Heads(A, B), "noun", B),
        (Heads(A, B), 0, A),
        (Answer(A, B), "noun", B),
        (ImageClassifierOutput(logits=A, hidden_states=(B,)), "logits", A),
        (ImageClassifierOutput(logits=A, hidden_states=(B,)), 0, A),
        ({"head": {"scores": B}}, lambda answer: answer["head"]["scores"], B),
        (A, lambda answer: answer, A),
    ],
)
def test_the_part_that_counts(answer: Any, output: Any, expected: Tensor) -> None:
    found = wrap_model(Says(answer), output)(X)
    assert found is expected or (expected.dim() == 0 and torch.equal(found, expected))


@pytest.mark.parametrize(
    ("answer", "output", "text"),
    [
        (
            {"verb": A, "noun": B},
            None,
            "output None: the model answers a dict with 'verb' (2, 5), 'noun' (2, 3), where there are "
            "2 tensors and none of them is called 'logits': say which part counts, by a key, an index "
            "or a function",
        ),
        ([A, [B, A]], None, "a list of (2, 5), a list of 2, where there are 3 tensors"),
        ([3, "walk"], None, "a list of a int, a str, where there is no tensor"),
        (None, None, "output None: the model answers None, where there is no tensor"),
        ({}, None, "the model answers an empty dict"),
        (
            {"loss": A, "logits": None},
            None,
            "output None: the model answers a dict with 'loss' (2, 5), 'logits' None, where 'logits' is "
            "None: say which part counts",
        ),
        (Logits(A), None, "with 'states' (2, 5), 'logits' None, where 'logits' is None: say which"),
        (
            ImageClassifierOutput(loss=A),
            None,
            "an ImageClassifierOutput with 'loss' (2, 5), where 'logits' is None: say which part",
        ),
        (
            {"loss": A.mean(), "names": ["walk"]},
            None,
            "with 'loss' (), 'names' a list of 1, where the only tensor is a single number, such as a "
            "loss: say which part counts, by a key, an index or a function",
        ),
        ([A.mean()], None, "a list of (), where the only tensor is a single number"),
        ([], 0, "output 0: the model answers an empty list: it is empty"),
        (
            [A, B],
            2,
            "output 2: the model answers a list of (2, 5), (2, 3): give an index from 0 to 1",
        ),
        (
            (A, B),
            -3,
            "output -3: the model answers a tuple of (2, 5), (2, 3): give an index from 0",
        ),
        (
            {"verb": A, "noun": B},
            "nuon",
            "output 'nuon': the model answers a dict with 'verb' (2, 5), 'noun' (2, 3), without such "
            "a key. Did you mean 'noun'?",
        ),
        ({"verb": A}, "logits", "without such a key. Known: verb."),
        (
            {"verb": A},
            0,
            "output 0: the model answers a dict with 'verb' (2, 5), which has no order",
        ),
        (
            Answer(A, B),
            1,
            "the model answers an Answer with 'verb' (2, 5), 'noun' (2, 3), which has",
        ),
        ([A, B], "verb", "a list of (2, 5), (2, 3), which has no names: give an index"),
        (A, "logits", "a tensor (2, 5), which has no names: nothing is to be chosen"),
        (A, 0, "output 0: the model answers a tensor (2, 5), which has no order: nothing is to be"),
        (
            ImageClassifierOutput(logits=A, hidden_states=(A, B)),
            "hidden_states",
            "output 'hidden_states': that part of the model's answer is a tuple of (2, 5), (2, 3), no "
            "tensor",
        ),
        (Answer(A), "noun", "that part of the model's answer is None, no tensor"),
        ([A, {}], 1, "that part of the model's answer is an empty dict, no tensor"),
        ([A] * 9, None, f"a list of {', '.join(['(2, 5)'] * 8)}, ..., where there are 9 tensors"),
    ],
)
def test_no_such_part(answer: Any, output: Any, text: str) -> None:
    model = wrap_model(Says(answer), output)  # known at the first call only
    with pytest.raises(ValueError, match=re.escape(text)):
        model(X)


def test_a_function_that_returns_no_tensor() -> None:
    def first(answer: Any) -> Any:
        return answer[:1]

    text = re.escape(
        "output first: returned a list of (2, 5) for a list of (2, 5), (2, 3), no tensor"
    )
    with pytest.raises(ValueError, match=text):
        wrap_model(Says([A, B]), first)(X)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, X),
        ("tensor", X),
        ("tensor:NTCHW", X.transpose(1, 2)),
        ("tensor:NCTHW", X),
        ("list", [X]),
        ("tuple", (X,)),
        ("list:NTHWC", [X.permute(0, 2, 3, 4, 1)]),
        ("clip", X),
        ("clip:NTCHW", X.transpose(1, 2)),
        ("clip:TNCHW", X.permute(2, 0, 1, 3, 4)),
        (lambda x: x * 2, X * 2),
        (lambda x: [x[:, :, ::4], x], [X[:, :, ::4], X]),
        (lambda x: (x,), (X,)),
        (lambda x: {"clip": x + 1}, X + 1),
    ],
)
def test_what_the_model_is_called_with(form: Any, expected: Any) -> None:
    model = Told()
    assert torch.equal(wrap_model(model, inputs=form)(X), A)
    given, mask, gain = heard(model)
    assert type(given) is type(expected)
    pairs = (
        zip(given, expected, strict=True)
        if isinstance(given, list | tuple)
        else [(given, expected)]
    )
    assert all(torch.equal(one, other) for one, other in pairs)
    assert (mask, gain) == (None, 1.0)


@pytest.mark.parametrize(
    "form", [None, "list", "tuple", "clip", lambda x: x, lambda x: {"clip": x}]
)
def test_further_arguments(form: Any) -> None:
    model, mask = Told(), clip(2, 7)
    wrap_model(model, inputs=form)(X, mask)
    given, got, _ = heard(model)
    assert torch.equal(given[0] if form in ("list", "tuple") else given, X)
    assert got is mask
    wrap_model(model, inputs=form)(X, "some words", gain=3.0)
    assert heard(model)[1:] == ("some words", 3.0)


def test_arguments_beside_a_keyword_fill_the_others_in_their_order() -> None:
    model = Late()
    for form in ("clip", lambda x: {"clip": x}):
        wrap_model(model, inputs=form)(X, "tokens", "mask")
        tokens, given, mask = heard(model)
        assert given is X
        assert (tokens, mask) == ("tokens", "mask")
    text = re.escape("the model takes 2 arguments beside clip, got 3 (additional_forward_args)")
    with pytest.raises(TypeError, match=text):
        wrap_model(model, inputs="clip")(X, 1, 2, 3)


class Loose(nn.Module):
    """Its arguments have no names that anybody could know."""

    heard: Any

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        self.heard = args, kwargs
        return A


def test_arguments_of_a_model_that_takes_all() -> None:
    model = Loose()
    wrap_model(model, inputs="pixels")(X, 1, mask=2)
    args, kwargs = heard(model)
    assert args == (1,)
    assert kwargs == {"mask": 2, "pixels": X}


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"output": 1.5}, TypeError, "output must be a key, an index, a function .* got 1.5"),
        ({"output": True}, TypeError, "output must be a key, an index, .* got True"),
        ({"output": ["logits"]}, TypeError, r"output must be a key, .* got \['logits'\]"),
        ({"output": ""}, ValueError, "output '': a key cannot be empty"),
        ({"inputs": 3}, TypeError, "inputs must be 'tensor', 'list', .* or None, got 3"),
        ({"inputs": ["clip"]}, TypeError, r"inputs must be .* got \['clip'\]"),
        (
            {"inputs": ""},
            ValueError,
            "inputs '': must begin with tensor, list, tuple or an argument's",
        ),
        ({"inputs": ":NTCHW"}, ValueError, "inputs ':NTCHW': must begin with tensor"),
        ({"inputs": "a clip"}, ValueError, "inputs 'a clip': must begin with tensor"),
        ({"inputs": "lambda"}, ValueError, "inputs 'lambda': must begin with tensor"),
        (
            {"inputs": "clipp:NTCHW"},
            ValueError,
            "inputs 'clipp:NTCHW': Told takes no argument 'clipp'. Did you mean 'clip'?",
        ),
        (
            {"inputs": "clip:NTCH"},
            ValueError,
            "inputs 'clip:NTCH': the axes must be the letters NCTHW in the order that the model takes,"
            " such as NTCHW, got 'NTCH'",
        ),
        ({"inputs": "clip:"}, ValueError, "inputs 'clip:': the axes must be .* got ''"),
        ({"inputs": "list:nctHW"}, ValueError, "the axes must be .* got 'nctHW'"),
        ({"inputs": "list:2:"}, ValueError, "inputs 'list:2:': the axes must be .* got ''"),
        ({"inputs": "list:0"}, ValueError, "inputs 'list:0': there must be at least one clip, got"),
        ({"inputs": "list:-1"}, ValueError, "inputs 'list:-1': the axes must be .* got '-1'"),
        (
            {"inputs": "clip:2"},
            ValueError,
            "inputs 'clip:2': a keyword takes one clip, got a count",
        ),
    ],
)
def test_what_is_known_at_once(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wrap_model(Told(), **options)


def test_a_model_that_cannot_be_wrapped() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got function: what a"):
        wrap_model(heard)  # type: ignore[arg-type]
    once = wrap_model(Told(), "logits", "clip")
    text = "model must not be wrapped already, got one with Told, output='logits', inputs='clip'"
    with pytest.raises(ValueError, match=text):
        wrap_model(once)
    assert wrap_model(once.unwrapped, 0).unwrapped is once.unwrapped


def test_calls_that_cannot_work() -> None:
    with pytest.raises(TypeError, match="must be called with at least one clip, got no argument"):
        wrap_model(Told())()
    text = re.escape("inputs 'clip:NTCHW': clips must be (N, C, T, H, W), got shape (2, 5)")
    with pytest.raises(ValueError, match=text):
        wrap_model(Told(), inputs="clip:NTCHW")(A)

    def words(clip: Tensor) -> str:
        return "clip"

    with pytest.raises(
        ValueError, match="inputs words: returned a str; it must be a tensor, a list"
    ):
        wrap_model(Told(), inputs=words)(X)
