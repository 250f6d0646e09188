"""How relevance is to be propagated: one validated set of choices, shared by a whole call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils.weak import WeakTensorKeyDictionary

from captum_video._core.checks import check_choice
from captum_video._core.errors import close_matches
from captum_video.relevance.ranges import InputRange
from captum_video.relevance.rules import AlphaBeta, Rule, WSquare, ZBeta

BiasMode = Literal["absorb", "ignore"]
AverageMode = Literal["proportional", "uniform"]
RuleKey = str | type[Module]


@dataclass(frozen=True)
class Settings:
    """The choices of one explanation method.

    Attributes:
        alpha: weight of the positive contributions, ``alpha - beta = 1``.
        beta: weight of the negative contributions, at least 0.
        bias: ``"absorb"`` lets biases take their share, ``"ignore"`` leaves it to the inputs.
        average: how averages divide relevance.
        input_range: one range, or a tuple with one range (or None) for each input.
        rules: rules by ``"first"``, module name or module type.
    """

    alpha: float = 1.0
    beta: float = 0.0
    bias: BiasMode = "absorb"
    average: AverageMode = "proportional"
    input_range: InputRange | tuple[InputRange | None, ...] | None = None
    rules: Mapping[RuleKey, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.beta >= 0 and abs(self.alpha - self.beta - 1) < 1e-9):
            raise ValueError(
                "alpha and beta must satisfy alpha - beta = 1 and beta >= 0, "
                f"got alpha={self.alpha} and beta={self.beta}"
            )
        check_choice("bias", self.bias, ("absorb", "ignore"))
        check_choice("average", self.average, ("proportional", "uniform"))
        for key, rule in self.rules.items():
            if not isinstance(rule, Rule):
                raise TypeError(f"rules[{key!r}] must be a Rule such as Epsilon(), got {rule!r}")
            if not (isinstance(key, str) or (isinstance(key, type) and issubclass(key, Module))):
                raise TypeError(
                    f"rules: keys are 'first', module names or module types, got {key!r}"
                )

    def check_names(self, model: object) -> None:
        """Refuses rules for modules that ``model`` does not have.

        Raises:
            ValueError: with close matches.
        """
        names = [n for n, _ in model.named_modules() if n] if isinstance(model, Module) else []
        for key in self.rules:
            if isinstance(key, str) and key != "first" and key not in names:
                raise ValueError(
                    f"rules: the model has no module {key!r}. {close_matches(key, names)}"
                )

    def range_of(self, number: int, count: int) -> InputRange | None:
        """The range of input ``number`` out of ``count``.

        Raises:
            ValueError: if there are not as many ranges as inputs.
        """
        ranges = self.input_range
        if ranges is None:
            return None
        if not isinstance(ranges, (tuple, list)):
            raise ValueError(f"input_range must be a pair (low, high), got {ranges!r}")
        if count == 1 and not (len(ranges) == 1 and isinstance(ranges[0], (tuple, list))):
            return ranges  # type: ignore[return-value]
        if len(ranges) != count or not all(
            r is None or isinstance(r, (tuple, list)) for r in ranges
        ):
            raise ValueError(
                f"input_range must be one (low, high) pair for each of the {count} inputs, "
                f"got {ranges!r}"
            )
        return ranges[number]  # type: ignore[return-value]


class Context:
    """What the operations of one call share: settings, split weights, and what was absorbed."""

    def __init__(self, settings: Settings, model: object = None) -> None:
        self.settings = settings
        self.module_names: dict[int, str] = {}
        if isinstance(model, Module):
            self.module_names = {id(module): name for name, module in model.named_modules()}
        self.absorbed = 0.0
        self.default_rule: Rule = AlphaBeta(settings.alpha, settings.beta)
        self.used: set[RuleKey] = set()
        self._parts: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._folds: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def rule_for(self, modules: list[tuple[str, Module]], raw: bool, ranged: bool) -> Rule:
        """The rule of a weighted operation.

        Args:
            modules: the modules around it with their names, innermost first.
            raw: whether it sees the input itself.
            ranged: whether the input's range is known.

        Returns:
            A rule given for a module's name; else, on the input, the ``"first"`` rule; else a rule
            given for a type; else alpha-beta. Inner modules come before outer ones.
        """
        rules = self.settings.rules
        keys: list[RuleKey] = [name for name, _ in modules if name in rules]
        if raw and not keys:
            if "first" not in rules:
                return ZBeta() if ranged else WSquare()
            keys = ["first"]
        for _, module in modules:
            keys += [k for k in rules if isinstance(k, type) and isinstance(module, k)]
        if not keys:
            return self.default_rule
        self.used.add(keys[0])
        return rules[keys[0]]

    def check_used(self) -> None:
        """Refuses rules that no weighted operation took.

        Raises:
            ValueError: naming them.
        """
        idle = [key for key in self.settings.rules if key not in self.used]
        if idle:
            shown = ", ".join(repr(k) if isinstance(k, str) else k.__name__ for k in idle)
            raise ValueError(
                f"rules: no weighted operation runs in {shown}, so the rule has no effect"
            )

    def absorb_rest(
        self, given: Iterable[Tensor | None], received: Iterable[Tensor | None]
    ) -> None:
        """Counts what an operation was given and its inputs did not receive."""
        for sign, tensors in ((1, given), (-1, received)):
            for tensor in tensors:
                if tensor is not None:
                    self.absorbed += sign * float(tensor.sum(dtype=torch.float64))

    def fold(self, norm: BatchNorm) -> BatchNorm:
        """One object for equal batch norms, so that weights folded with it are kept."""
        known = self._folds.setdefault(norm.variance, {})
        return known.setdefault(norm.identity(), norm)

    def part(
        self, weight: Tensor, fold: BatchNorm | None, shape: tuple[int, ...], sign: int
    ) -> Tensor:
        """The positive (``sign=1``) or negative part of a weight, kept for the whole call.

        Args:
            weight: the weight that the model used.
            fold: the batch norm that follows, or None.
            shape: how the batch norm's factor lies over the weight.
            sign: 1, -1, or 0 for the whole weight.

        Returns:
            The part, in single precision at least.
        """
        parts = self._parts.setdefault(weight, {})
        key = (weight._version, id(fold), sign)
        if key not in parts:
            whole = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
            if fold is not None:
                whole = whole * fold.scale.view(shape)
            part = whole if sign == 0 else whole.clamp(min=0) if sign > 0 else whole.clamp(max=0)
            parts[key] = (fold, part)  # holding the fold keeps its id from being given away
        return parts[key][1]


class BatchNorm:
    """A batch norm in evaluation mode as ``scale * x + shift`` per channel."""

    def __init__(
        self,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> None:
        self.variance = variance
        self._parameters = (mean, variance, weight, bias)
        self._eps = eps
        wide = torch.promote_types(variance.dtype, torch.float32)
        scale = (variance.detach().to(wide) + eps).rsqrt()
        self.scale = scale if weight is None else scale * weight.detach()
        shift = -mean.detach() * self.scale
        self.shift = shift if bias is None else shift + bias.detach()

    def identity(self) -> tuple[object, ...]:
        """What tells it from other batch norms: its tensors, their versions and eps."""
        tensors = [t for t in self._parameters if t is not None]
        return (self._eps, *[id(t) for t in self._parameters], *[t._version for t in tensors])
