"""Nets that answer more than their scores, and the plain modules that users write around them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

Heads = namedtuple("Heads", "other scores")


@dataclass
class Answer:
    other: Tensor
    scores: Tensor


class Form(NamedTuple):
    """A form of answers.

    Attributes:
        make: from scores and another tensor to an answer.
        output: what ``wrap_model`` is told.
        take: what a user writes instead.
    """

    make: Callable[[Tensor, Tensor], Any]
    output: Any
    take: Callable[[Any], Tensor]


FORMS = {
    "list": Form(lambda s, o: [o, s], 1, lambda a: a[1]),
    "tuple": Form(lambda s, o: (o, s), -1, lambda a: a[1]),
    "one": Form(lambda s, o: [s], None, lambda a: a[0]),
    "dict": Form(lambda s, o: {"o": o, "s": s}, "s", lambda a: a["s"]),
    "named": Form(lambda s, o: Heads(o, s), "scores", lambda a: a.scores),
    "dataclass": Form(lambda s, o: Answer(o, s), "scores", lambda a: a.scores),
    "function": Form(lambda s, o: {"x": [o, s]}, lambda a: a["x"][1], lambda a: a["x"][1]),
    "ModelOutput": Form(
        lambda s, o: ImageClassifierOutput(logits=s, hidden_states=(o,)),
        None,
        lambda a: a.logits,
    ),
}


def answering(net: nn.Module, form: Form) -> nn.Module:
    """The net itself, made to answer in a form.

    Args:
        net: a net with scores ``(N, classes)``.
        form: the form.

    Returns:
        The same object.
    """
    kind = type(net)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        scores = kind.forward(self, *args, **kwargs)
        return form.make(scores, scores.flip(1))

    net.__class__ = type(f"Answering{kind.__name__}", (kind,), {"forward": forward})
    return net


class ByHand(nn.Module):
    """What a user would write around a net; layers are called ``net.NAME`` here."""

    def __init__(self, net: nn.Module, form: Form) -> None:
        super().__init__()
        self.net = net
        self.form = form
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.form.take(self.net(*args, **kwargs))
