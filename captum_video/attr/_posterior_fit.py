"""Learns the gates of a trained network, and nothing else of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from tqdm import tqdm

from captum_video.attr._fit_batches import Loss, cross_entropy, cycled, mean_loss, unpacked
from captum_video.attr._gate_descent import Descent
from captum_video.layers import resolve_layer
from captum_video.nn.gates import FusionGates, forced_gates, fusion_regularizer, gated_modules
from captum_video.nn.strategies import gates_of, most_probable_strategy
from captum_video.nn.temporal_split import split_temporal_kernels

#: a unit whose norm is below this share of its layer's has no weights to speak of
NO_WEIGHTS = 1e-6
#: the probability that a unit is dropped whose gate is not learnt
NEVER = 1e-9


@dataclass(frozen=True)
class FitHistory:
    """What fitting gates has shown.

    Attributes:
        losses: the mean loss of each step, with relaxed gates.
        open_loss: the mean loss over all clips with every gate open.
        strategy_loss: that of the most probable strategy.
        clips: the number of clips in the data.
        samples: the number that the prior was weighed against.
        price: what a unit had to be worth, in nats.
        without_weights: the layers and units that have no weights, whose probability of one half
            says nothing.
        unreached: the layers that the outputs do not depend on, whose probabilities are the prior's.
    """

    losses: tuple[float, ...] = field(repr=False)
    open_loss: float
    strategy_loss: float
    clips: int
    samples: float
    price: float
    without_weights: tuple[tuple[str, str], ...]
    unreached: tuple[str, ...]


def gated_copy(
    model: Module, layers: Module | str | Sequence[Module | str] | None = None, **options: Any
) -> Module:
    """A copy of a trained network with gates for its temporal kernels.

    Args:
        model: the network.
        layers: which of its layers get gates, as modules or dotted names; None for all that can.
        options: of :func:`captum_video.nn.temporal_split.split_temporal_kernels`.

    Returns:
        The copy.

    Raises:
        TypeError: ``model`` or one of ``layers`` is of another type.
        ValueError: the model has no layer of a name, or no gates can be given to it.
    """
    if layers is None:
        return split_temporal_kernels(model, **options)
    several = [layers] if isinstance(layers, Module | str) else list(layers)
    modules = [resolve_layer(model, layer, "layers") for layer in several]
    return split_temporal_kernels(model, modules, **options)


def equal_prices(model: Module, price: float) -> dict[str, tuple[float, ...]]:
    r"""The prior length scales under which every unit has the same price.

    .. math:: k_{l,u} = \sqrt{2 c} \, / \, \|w_{l,u}\|, \qquad
              \text{so that } \frac{k_{l,u}^2}{2} \|w_{l,u}\|^2 = c

    Args:
        model: a network with gates.
        price: :math:`c`, in nats.

    Returns:
        By layer :math:`k` for each unit; 0 for a unit without weights.
    """
    scales = {}
    for name, module in gated_modules(model).items():
        assert module.gates is not None
        squares = [
            sum(float(w.detach().double().square().sum()) for w in module.weights_of(unit))
            for unit in module.gates.units
        ]
        least = NO_WEIGHTS**2 * sum(squares)
        scales[name] = tuple(math.sqrt(2 * price / s) if s > least else 0.0 for s in squares)
    return scales


def fit_gates(
    model: Module,
    data: Iterable[Any],
    *,
    loss: Loss | None = None,
    steps: int = 150,
    lr: float = 0.2,
    price: float = 3.0,
    samples: float | None = None,
    learn: Sequence[str] | None = None,
    temperature: float = 0.2,
    drop_probability: float = 0.1,
    seed: int = 0,
    show_progress: bool = False,
) -> FitHistory:
    r"""Learns the drop probabilities of a network's gates; all its weights stay as they are.

    Each step takes a batch, draws relaxed gates for each clip (equation S13) and lowers

    .. math:: \frac{1}{n} \sum_i \ell\bigl(f(x_i; \epsilon_i), y_i\bigr)
              + \frac{1}{N} \sum_{l,u} \bigl[(1 - p_{l,u})\, c - H(p_{l,u})\bigr]

    which is :func:`captum_video.nn.fusion_regularizer` with the prior length scale of each unit set
    such that :math:`\frac{k_{l,u}^2}{2} \|w_{l,u}\|^2 = c`. The paper leaves the length scale open;
    with one for all, layers with large kernels would be closed first. Where dropping a unit raises
    the mean loss by :math:`\Delta`, the posterior settles at

    .. math:: \operatorname{logit}(1 - p) = N \Delta - c

    so that a unit is kept that is worth more than :math:`c` nats to all clips together. One that the
    network does not use settles at :math:`p = \operatorname{sigmoid}(c)`, 0.95 for the default of 3
    nats, which is what strong evidence means on the scale of Kass and Raftery (1995). A unit without
    weights has no price; its gate is not learnt and stays at one half.

    That holds at the end of many steps. The gradient of the loss is noisy, as every clip is run under
    other gates: where a unit is worth little, its gate moves slowly from where it began, the more so
    the smaller the batches, and a probability near ``1 - drop_probability`` may be that of the
    beginning. Compare seeds, larger batches, more steps and a ``drop_probability`` of one half.

    Args:
        model: a network with gates, whose probabilities are changed; nothing else is.
        data: batches of inputs (a tensor, or a tuple of them) and targets, such as a ``DataLoader``;
            it is read again and again. Moved to the model's device.
        loss: a function of outputs and targets, with the mean loss or a loss for each clip,
            in nats where the posterior is to be one; None for the cross-entropy of
            ``(N, classes)``.
        steps: number of steps, each with one batch.
        lr: the learning rate of Adam, how far a logit moves in a step; it falls to zero along half
            a cosine.
        price: :math:`c`, in nats.
        samples: :math:`N`; None for the number of clips in the data. Fewer let the price weigh more,
            as under a likelihood to the power ``samples / clips``.
        learn: the units whose gates are learnt, in every layer; the others are kept. None for all.
        temperature: of the gates.
        drop_probability: at the start.
        seed: of all that is drawn, by gates or data; the global random state is left alone.
        show_progress: whether to show a bar.

    Returns:
        What was seen on the way.

    Raises:
        TypeError: batches of another kind.
        ValueError: no clips, non-finite inputs, a loss that is not finite or of another shape, or
            other arguments out of their range.
    """
    _check_arguments(steps, lr, price, temperature, samples)
    if iter(data) is data:
        raise TypeError(
            f"data must be read again and again, got {type(data).__name__}, which can be read once: "
            "give a list of it"
        )
    gates = gates_of(model)
    device = next(iter(gates.values())).drop_logit.device
    measured = loss or cross_entropy
    scales = equal_prices(model, price)
    with _learning(model, gates, temperature, device, seed):
        learnt = _begin(gates, scales, learn, drop_probability)
        everything = {name: [True] * len(one.units) for name, one in gates.items()}
        open_loss, clips = _evaluated(model, gates, everything, data, measured, device)
        weight = clips if samples is None else samples
        prior = partial(fusion_regularizer, model, weight, length_scale=scales)
        descent = Descent(gates, learnt, lr, steps)
        losses = []
        batches = cycled(data, device)
        with tqdm(range(steps), desc="gates", disable=not show_progress, leave=False) as bar:
            for step in bar:
                inputs, target = next(batches)
                mean = mean_loss(measured, model(*inputs), target, len(inputs[0]), f"step {step}")
                descent.step(mean, prior())
                losses.append(float(mean.detach()))
        strategy = most_probable_strategy(model)
        strategy_loss, _ = _evaluated(model, gates, strategy, data, measured, device)
    without = tuple(
        (name, unit)
        for name, one in gates.items()
        for unit, scale in zip(one.units, scales[name], strict=True)
        if scale == 0
    )
    _warn(without, descent.unreached)
    return FitHistory(
        tuple(losses), open_loss, strategy_loss, clips, weight, price, without, descent.unreached
    )


def _check_arguments(
    steps: object, lr: float, price: float, temperature: float, samples: float | None
) -> None:
    """Refuses numbers out of their range."""
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps must be a whole number from 1, got {steps!r}")
    for name, value in (("lr", lr), ("price", price), ("temperature", temperature)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if samples is not None and not (math.isfinite(samples) and samples >= 1):
        raise ValueError(f"samples must be at least 1, or None for all clips, got {samples}")


@contextmanager
def _learning(
    model: Module,
    gates: Mapping[str, FusionGates],
    temperature: float,
    device: torch.device,
    seed: int,
) -> Iterator[None]:
    """Evaluation mode but for the gates, and a random state of its own; an error leaves no trace."""
    modes = [(module, module.training) for module in model.modules()]
    before = [
        (one, one.temperature, one.drop_logit.requires_grad, one.drop_logit.detach().clone())
        for one in gates.values()
    ]
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.random.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            model.eval()
            for one in gates.values():
                one.train()
                one.temperature = temperature
                one.drop_logit.requires_grad_(True)
            yield
        except BaseException:
            for one, _, _, logit in before:
                with torch.no_grad():
                    one.drop_logit.copy_(logit)
            raise
        finally:
            for module, mode in modes:
                module.training = mode
            for one, was, wanted, _ in before:
                one.temperature = was
                one.drop_logit.requires_grad_(wanted)


def _begin(
    gates: Mapping[str, FusionGates],
    scales: Mapping[str, Sequence[float]],
    learn: Sequence[str] | None,
    drop_probability: float,
) -> Tensor:
    """Sets the probabilities that the fit begins with; True for those that it learns."""
    known = list(dict.fromkeys(unit for one in gates.values() for unit in one.units))
    wanted = known if learn is None else list(learn)
    if not wanted or not set(wanted) <= set(known):
        raise ValueError(f"learn must be some of {known}, got {learn}")
    learnt = []
    for name, one in gates.items():
        values = []
        for unit, scale in zip(one.units, scales[name], strict=True):
            learnt.append(unit in wanted and scale > 0)
            values.append(NEVER if unit not in wanted else drop_probability if scale > 0 else 0.5)
        one.set_drop_probability(values)
    return torch.tensor(learnt, device=one.drop_logit.device)


@torch.no_grad()
def _evaluated(
    model: Module,
    gates: Mapping[str, FusionGates],
    strategy: Mapping[str, Sequence[bool]],
    data: Iterable[Any],
    loss: Loss,
    device: torch.device,
) -> tuple[float, int]:
    """The mean loss of a strategy over all clips, and their number."""
    total, count = 0.0, 0
    values = {one: torch.tensor([list(strategy[name])]) for name, one in gates.items()}
    for number, batch in enumerate(data):
        inputs, target = unpacked(batch, number, device)
        with forced_gates(values):
            outputs = model(*inputs)
        clips = len(inputs[0])
        where = f"batch {number} under a fixed strategy"
        total += clips * float(mean_loss(loss, outputs, target, clips, where))
        count += clips
    if not count:
        raise ValueError("data must hold at least one batch, got none")
    return total / count, count


def _warn(without: Sequence[tuple[str, str]], unreached: Sequence[str]) -> None:
    """Says which probabilities say nothing."""
    if without:
        shown = ", ".join(f"{unit} of {name}" for name, unit in without)
        warnings.warn(
            f"there are units without weights, whose probability of one half says nothing: {shown}",
            stacklevel=4,
        )
    if unreached:
        warnings.warn(
            "the loss does not depend on these layers, whose probabilities are those of the prior: "
            f"{', '.join(unreached)} (is a layer used without calling it?)",
            stacklevel=4,
        )
