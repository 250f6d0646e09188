r"""Finds the residual stack of a Res-TCN in its forward pass (paper 5, equations 1-4, 8, 9, 11, 12).

The stack starts with a convolution of the input, :math:`X_1 = W_1 * X_0`, and every further layer
adds a gated convolution to the last: :math:`X_l = X_{l-1} + W_l * \sigma(X_{l-1})`, with a
convolution :math:`\tilde W_l` of length 1 on :math:`X_{l-1}` where the width changes. Names and
kinds of modules do not matter, only what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from captum_video.layers.recording import Node, Recording

#: what may stand between X_{l-1} and the convolution of its gate: normalisation and activations
_ELEMENTWISE = frozenset(
    "batch_norm instance_norm group_norm layer_norm relu relu6 leaky_relu prelu elu celu selu gelu "
    "silu mish hardtanh hardswish softplus tanh sigmoid clamp clamp_min dropout feature_dropout "
    "dropout1d alpha_dropout contiguous clone".split()
)
#: what changes no value but by rounding
_SAME = frozenset(("contiguous", "clone", "detach", "float", "double", "half", "bfloat16"))
_ARITHMETIC = {
    **{name: name for name in ("add", "sub", "mul", "div")},
    **{"radd": "add", "rsub": "sub", "rmul": "mul", "truediv": "div", "true_divide": "div"},
}
#: whose results the decoder needs
KEPT = frozenset(("add", "conv1d"))


class NoResidualStack(ValueError):
    """A layer that no residual stack leads to."""


@dataclass(frozen=True)
class Convolution:
    """A convolution over time as it was called.

    Attributes:
        weight: ``(filters, channels, length)``.
        stride: frames from one step to the next.
        dilation: frames from one tap to the next.
        start: the frame that the first tap sees at step 0; negative before the sequence.
    """

    weight: Tensor
    stride: int
    dilation: int
    start: int

    @property
    def reach(self) -> int:
        """Frames from the first tap to the last."""
        return self.dilation * (self.weight.shape[2] - 1)

    @property
    def middle(self) -> int:
        """The frame that the middle tap (the earlier of two) sees at step 0."""
        return self.start + self.dilation * ((self.weight.shape[2] - 1) // 2)


@dataclass(frozen=True)
class Widening:
    r"""A layer whose shortcut is a convolution.

    Attributes:
        residual: :math:`W_m`.
        shortcut: :math:`\tilde W_m`, of length 1.
        value: :math:`X_m`, ``(N, channels, T_m)``.
        length: steps of the layer before.
    """

    residual: Convolution
    shortcut: Convolution
    value: Tensor
    length: int


@dataclass(frozen=True)
class Preparation:
    """Arithmetic with a constant between the input and the first convolution.

    Attributes:
        name: ``"add"``, ``"sub"``, ``"mul"`` or ``"div"``.
        constant: a number, or a tensor that broadcasts to ``(N, D, T)``.
        reversed: whether the constant stands first, in ``c - x``.
    """

    name: str
    constant: Any
    reversed: bool = False


@dataclass(frozen=True)
class StackLayer:
    r"""A layer of the stack.

    Attributes:
        number: :math:`l`, from 1.
        value: :math:`X_l`, ``(N, N_l, T_l)``.
        first: :math:`W_1`.
        prepared: what happened to the input before the first convolution, in order.
        length: frames of the input.
        gate: :math:`W_l` of this layer; None in the first.
        widenings: the layers so far whose shortcut is a convolution, in order.
        field: frames that one activation can see.
        step: frames from one activation to the next.
        node: where in the forward pass it was made.
    """

    number: int
    value: Tensor
    first: Convolution
    prepared: tuple[Preparation, ...]
    length: int
    gate: Convolution | None
    widenings: tuple[Widening, ...]
    field: int
    step: int
    node: Node


class ResidualStack:
    """Recognises the layers of residual stacks among what a forward pass computed.

    Args:
        recording: of the forward pass, whose results of :data:`KEPT` were copied.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._found: dict[Node, StackLayer | str] = {}

    def layer(self, node: Node | None) -> StackLayer:
        """The layer of a stack that a call made.

        Args:
            node: the call; None for a tensor that does not descend from the input.

        Returns:
            The layer.

        Raises:
            NoResidualStack: if it made none, saying why.
        """
        if node is None:
            raise NoResidualStack("it does not descend from the input by torch functions")
        while node.name in _SAME and len(node.sources) == 1:
            node = node.sources[0]
        if node not in self._found:
            try:
                self._found[node] = self._recognised(node)
            except NoResidualStack as error:
                self._found[node] = str(error)
        found = self._found[node]
        if isinstance(found, str):
            raise NoResidualStack(found)
        return found

    def _recognised(self, node: Node) -> StackLayer:
        if node.name == "conv1d":
            return self._first(node)
        if node.name != "add" or len(node.sources) != 2:
            raise NoResidualStack(
                f"it is made by {node.name!r}, not by a convolution of the input or a residual sum"
            )
        if any(source.shape != node.shape for source in node.sources):
            shapes = " and ".join(str(source.shape) for source in node.sources)
            raise NoResidualStack(f"it is a sum of shapes {shapes}, which differ")
        if node.kwargs.get("alpha", 1) != 1:
            raise NoResidualStack(f"its residual sum has alpha={node.kwargs['alpha']}")
        reasons = []
        for stream, branch in (node.sources, node.sources[::-1]):
            try:
                return self._sum(node, stream, branch)
            except NoResidualStack as error:
                reasons.append(str(error))
        raise NoResidualStack(" and ".join(dict.fromkeys(reasons)))

    def _first(self, node: Node) -> StackLayer:
        """X_1, a convolution of the input."""
        source, conv = _convolution(node)
        prepared = self._preparation(source)
        assert node.value is not None
        return StackLayer(
            number=1,
            value=node.value,
            first=conv,
            prepared=prepared,
            length=self._recording.input.shape[-1],
            gate=None,
            widenings=(),
            field=conv.reach + 1,
            step=conv.stride,
            node=node,
        )

    def _preparation(self, node: Node) -> tuple[Preparation, ...]:
        """What was done to the input, up to a node, if that was arithmetic with constants."""
        steps: list[Preparation] = []
        while node is not self._recording.input:
            if node.name in _SAME and len(node.sources) == 1:
                node = node.sources[0]
                continue
            if node.name not in _ARITHMETIC or len(node.sources) != 1 or node.kwargs:
                raise NoResidualStack(
                    f"a convolution whose input is made by {node.name!r} is neither the first "
                    "(which takes the input itself, or by arithmetic with constants) nor a shortcut"
                )
            first, second = node.args
            constant_first = 0 not in node.places
            name = _ARITHMETIC[node.name]
            if node.shape != self._recording.input.shape:
                raise NoResidualStack(
                    f"the input is of shape {self._recording.input.shape} and becomes {node.shape} "
                    "before the first convolution"
                )
            if constant_first and name == "div":
                raise NoResidualStack("the input is a divisor before the first convolution")
            constant = first if constant_first else second
            steps.append(Preparation(name, constant, constant_first or node.name == "rsub"))
            node = node.sources[0]
        return tuple(reversed(steps))

    def _sum(self, node: Node, stream: Node, branch: Node) -> StackLayer:
        """X_l, if one operand carries the stream on and the other is its gate, or a pipe."""
        assert node.value is not None
        try:
            before, shortcut = self.layer(stream), None
        except NoResidualStack:
            if stream.name != "conv1d":
                raise
            source, shortcut = _convolution(stream)
            if shortcut.weight.shape[2] != 1 or shortcut.start:
                raise
            before = self.layer(source)
        conv = self._gate(before, branch)
        if conv is None:
            seen = self._pipe(before, branch) if shortcut is None else 0
            if seen:
                seen = max(before.field, seen)
                widenings = before.widenings
                if widenings and widenings[-1].value is before.value:
                    # equation 10 takes x_m as it leaves layer m
                    widenings = (*widenings[:-1], replace(widenings[-1], value=node.value))
                return replace(before, value=node.value, widenings=widenings, field=seen, node=node)
            raise NoResidualStack(
                f"what is added to layer {before.number} is no single convolution of its "
                "normalised and activated output"
            )
        widenings = before.widenings
        if shortcut is not None:
            if shortcut.stride != conv.stride:
                raise NoResidualStack("a shortcut and its convolution have different strides")
            length = before.value.shape[2]
            widenings += (Widening(conv, shortcut, node.value, length),)
        return replace(
            before,
            number=before.number + 1,
            value=node.value,
            gate=conv,
            widenings=widenings,
            field=before.field + conv.reach * before.step,
            step=before.step * conv.stride,
            node=node,
        )

    def _gate(self, before: StackLayer, branch: Node) -> Convolution | None:
        """The one convolution between a layer and its residual branch; None if it is not so."""
        while branch.name in _SAME and len(branch.sources) == 1:
            branch = branch.sources[0]
        if branch.name != "conv1d":
            return None
        source, conv = _convolution(branch)
        while source is not before.node:
            if source.name not in _ELEMENTWISE or len(source.sources) != 1:
                return None
            source = source.sources[0]
        return conv

    def _pipe(self, before: StackLayer, branch: Node) -> int:
        """Frames that an activated convolution of another stream (equations 15, 16) sees; else 0."""
        while branch.name in _ELEMENTWISE and len(branch.sources) == 1:
            branch = branch.sources[0]
        if branch.name != "conv1d":
            return 0
        source, conv = _convolution(branch)
        try:
            other = self.layer(source)
        except NoResidualStack:
            return 0
        return 0 if other.first is before.first else other.field + conv.reach * other.step


def _convolution(node: Node) -> tuple[Node, Convolution]:
    """A convolution with the padding in front of it, and what is convolved."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False))
    given |= node.kwargs
    weight: Tensor = given["weight"]
    if given.get("groups", 1) != 1:
        raise NoResidualStack(
            f"a convolution in {given['groups']} groups has no filters of all channels"
        )
    if len(node.sources) != 1:
        raise NoResidualStack("a convolution's filters depend on the input")
    stride, dilation = _number(given.get("stride", 1)), _number(given.get("dilation", 1))
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        whole = dilation * (weight.shape[2] - 1)
        start = -(whole // 2) if padding == "same" else 0
    else:
        start = -_number(padding)
    source = node.sources[0]
    while source.name == "pad" and len(source.sources) == 1:
        start -= _padded(source)
        source = source.sources[0]
    return source, Convolution(weight.detach(), stride, dilation, start)


def _padded(node: Node) -> int:
    """Frames that ``torch.nn.functional.pad`` puts in front."""
    given = node.kwargs.get("pad", node.args[1] if len(node.args) > 1 else ())
    if len(given) > 2 and any(given[2:]):
        raise NoResidualStack(
            f"a convolution's input is padded by {tuple(given)}, not in time alone"
        )
    return int(given[0])


def _number(value: Any) -> int:
    """A convolution's setting, which may come as a tuple of one."""
    return int(value[0]) if isinstance(value, tuple | list) else int(value)
