"""How weights are moved: which of them, by which optimiser, at which rate, and until when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from captum_video._core.errors import close_matches
from captum_video.nn import Conv3T, FusionGates
from models.training.recipes import Recipe

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant", "step", "plateau")
STOPPING = ("patience", "decline")

_POSITIVE_WHOLE = (
    *("steps", "batch_size", "eval_every", "eval_clips", "patience", "plateau", "score_clips"),
)
_POSITIVE = ("lr", "temporal_lr", "gate_lr", "clip_norm")
_NOT_NEGATIVE = ("weight_decay", "tolerance", "epoch", "decay_every")
_SHARES = ("momentum", "warmup")


def check_recipe(recipe: Recipe) -> None:
    """Refuses a recipe that no training can follow.

    Args:
        recipe: the recipe; layer names are checked against a model by :func:`freeze` and
            :func:`make_optimizer`. ``clip_norm`` may be infinite, for gradients as they are.

    Raises:
        ValueError: an unknown optimizer, schedule or stopping rule, or a number out of its range.
        TypeError: ``freeze`` is a string.
    """
    for key, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("stopping", STOPPING)):
        name = getattr(recipe, key)
        if name not in known:
            raise ValueError(f"There is no {key} {name!r}. {close_matches(str(name), known)}")
    for key in _POSITIVE_WHOLE:
        value = getattr(recipe, key)
        if not (isinstance(value, int) and value > 0):
            raise ValueError(f"{key} must be a positive whole number, got {value}.")
    for key in _POSITIVE:
        value = getattr(recipe, key)
        if not (value > 0 and (math.isfinite(value) or key == "clip_norm")):
            raise ValueError(f"{key} must be positive, got {value}.")
    for key in _NOT_NEGATIVE:
        if not 0 <= (value := getattr(recipe, key)) < math.inf:
            raise ValueError(f"{key} must be at least 0 and finite, got {value}.")
    for key in _SHARES:
        if not 0 <= (value := getattr(recipe, key)) < 1:
            raise ValueError(f"{key} must be at least 0 and below 1, got {value}.")
    if not 0 < recipe.decay < 1:
        raise ValueError(f"decay must be between 0 and 1, got {recipe.decay}.")
    if recipe.schedule == "step" and not recipe.decay_every:
        raise ValueError("schedule 'step' needs decay_every, the steps from one decay to the next.")
    for name, factor in recipe.layer_lr.items():
        if not 0 < factor < math.inf:
            raise ValueError(f"layer_lr must be positive, got {factor} for {name!r}.")
    if isinstance(recipe.freeze, str):
        raise TypeError(f"freeze must be a sequence of names, got {recipe.freeze!r}.")


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Takes the gradients from the parameters of the layers that ``recipe.freeze`` names.

    Args:
        model: the model.
        recipe: its ``freeze`` has dotted names of modules or shell patterns of them, such as
            ``"conv*"``, in which ``*`` stands for dots too.

    Raises:
        ValueError: there is no such layer, or nothing would be left to train; no parameter is
            changed then.
    """
    frozen = _parameters_below(_frozen(model, recipe))
    if frozen and all(id(p) in frozen or not p.requires_grad for p in model.parameters()):
        raise ValueError(f"freeze {', '.join(map(repr, recipe.freeze))} leaves nothing to train.")
    for parameter in model.parameters():
        if id(parameter) in frozen:
            parameter.requires_grad_(False)


def training_mode(model: nn.Module, recipe: Recipe) -> None:
    """Sets the training mode, in which frozen layers stay as in evaluation.

    So their batch norms keep and use the statistics that they have, and dropout passes all.

    Args:
        model: the model.
        recipe: its ``freeze`` names layers, as for :func:`freeze`.

    Raises:
        ValueError: there is no such layer.
    """
    frozen = _frozen(model, recipe)
    model.train()
    for module in frozen:
        module.eval()


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser of the parameters that have gradients.

    The parameters of 3T transforms, those of gates and those of layers that ``recipe.layer_lr`` names
    are in groups of their own. ``lr_factor`` is a group's share of the learning rate, by which the
    rate is to be multiplied in each step; ``what`` is its name for the card. Weight decay would pull a
    transform's scale from the identity towards zero, and a gate's probability to one half, so that
    they have none. Where several names or patterns of ``layer_lr`` match, that with the most letters
    holds, and of as many, a name before a pattern; its factor multiplies ``temporal_lr`` and
    ``gate_lr``.

    Args:
        model: the model, with frozen parameters already so.
        recipe: says which optimiser, the rates, momentum and weight decay. ``"adam"`` adds the decay
            to the gradient, as in ``torch.optim.Adam``.

    Returns:
        The optimiser.

    Raises:
        ValueError: a layer's name is unknown or has nothing to train, or the recipe is not valid.
    """
    check_recipe(recipe)
    groups = _groups(model, recipe)
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr, weight_decay=decay)


def learning_rate(recipe: Recipe, step: int, scale: float = 1.0) -> float:
    """A step's learning rate, before a group's factor.

    It rises linearly over ``recipe.warmup``, at least one step, to ``recipe.lr``. From there it falls
    as half a cosine to zero, or stays; under ``"step"`` it is multiplied by ``decay`` every
    ``decay_every`` steps, counted from the first.

    Args:
        recipe: the schedule and its numbers.
        step: the steps done before it.
        scale: what plateaus have multiplied the rate by so far.

    Returns:
        The rate.
    """
    rise = max(1, round(recipe.steps * recipe.warmup))
    if recipe.schedule == "step":
        scale *= recipe.decay ** (step // recipe.decay_every)
    if step < rise:
        return recipe.lr * (step + 1) / rise * scale
    if recipe.schedule != "cosine":
        return recipe.lr * scale
    angle = math.pi * (step - rise) / max(1, recipe.steps - rise)
    return recipe.lr * 0.5 * (1 + math.cos(angle)) * scale


@dataclass
class Plateau:
    """When a validation loss no longer falls; two plain numbers, for a checkpoint.

    Attributes:
        best: the lowest loss so far.
        stale: losses since that were not lower, or since the last decay.
    """

    best: float = math.inf
    stale: int = 0

    def reached(self, loss: float, patience: int) -> bool:
        """Takes in the next validation's loss.

        Args:
            loss: the loss; one that is not a number is not lower.
            patience: losses in a row, none lower than the best before, after which the rate decays.

        Returns:
            Whether the learning rate is to be multiplied by the recipe's ``decay`` now.
        """
        if loss < self.best:
            self.best, self.stale = loss, 0
            return False
        self.stale += 1
        if self.stale < patience:
            return False
        self.stale = 0
        return True


def declined(previous: tuple[float, float] | None, current: tuple[float, float]) -> bool:
    """Whether training is to stop by paper 1's rule (appendix C.2).

    Args:
        previous: merit (accuracy) and loss of the validation before; None if there was none.
        current: those of the last validation.

    Returns:
        Whether the merit fell and the loss rose.
    """
    return previous is not None and current[0] < previous[0] and current[1] > previous[1]


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The optimiser's groups: weights, temporal parameters and gates, each without and by layer."""
    transforms, gates = set(), set()
    for module in model.modules():
        if isinstance(module, Conv3T):
            transforms |= {
                module.scale, module.rotation, module.translation_x, module.translation_y,
            }  # fmt: skip
        elif isinstance(module, FusionGates):
            gates.add(module.drop_logit)
    trained = [p for p in model.parameters() if p.requires_grad]
    layer_of = _layers(model, recipe)
    groups: list[dict[str, Any]] = []
    for what, members, factor in (
        ("weights", set(trained) - transforms - gates, 1.0),
        ("temporal parameters", transforms, recipe.temporal_lr),
        ("gates", gates, recipe.gate_lr),
    ):
        for layer in (None, *recipe.layer_lr):
            ordered = [p for p in trained if p in members and layer_of.get(id(p)) == layer]
            if not ordered:
                continue
            group: dict[str, Any] = {"params": ordered, "lr_factor": factor, "what": what}
            if layer is not None:
                group["lr_factor"] = factor * recipe.layer_lr[layer]
                group["what"] = layer if what == "weights" else f"{what} of {layer}"
            if what != "weights":
                group["weight_decay"] = 0.0
            groups.append(group)
    return groups


def _layers(model: nn.Module, recipe: Recipe) -> dict[int, str]:
    """For each trained parameter in a layer with a rate of its own, by ``id``, that layer."""
    layer_of: dict[int, str] = {}
    for name in sorted(recipe.layer_lr, key=_rank):
        for parameter in _parameters_below(_matching(model, name, "layer_lr")):
            layer_of[parameter] = name
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    for name in recipe.layer_lr:
        if not any(layer == name for p, layer in layer_of.items() if p in trained):
            raise ValueError(
                f"layer_lr has nothing to train in {name!r}: it has no parameters, or they are frozen "
                "or under a longer name."
            )
    return layer_of


def _rank(name: str) -> tuple[int, bool]:
    """Orders names and patterns by their letters; of as many, a name is later than a pattern."""
    letters = re.sub(r"\[.*?\]|[*?]", "", name)
    return len(letters), letters == name


def _frozen(model: nn.Module, recipe: Recipe) -> list[nn.Module]:
    return [module for name in recipe.freeze for module in _matching(model, name, "freeze")]


def _matching(model: nn.Module, name: str, argument: str) -> list[nn.Module]:
    """The modules of that name, or that fit the pattern."""
    named = dict(model.named_modules(remove_duplicate=False))
    found = [module for known, module in named.items() if fnmatchcase(known, name)]
    if not name or not found:
        known = [name for name in named if name]
        raise ValueError(f"{argument} has no layer {name!r}. {close_matches(name, known)}")
    return found


def _parameters_below(modules: Iterable[nn.Module]) -> set[int]:
    return {id(parameter) for module in modules for parameter in module.parameters()}
