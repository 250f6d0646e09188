"""Learns the gates of a trained network, and nothing else of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Module
from tqdm.auto import tqdm

from captum_video.attr._fit_batches import Loss, cross_entropy, mean_loss, unpacked
from captum_video.attr._gate_search import GateSearch, Unit
from captum_video.layers import resolve_layer
from captum_video.nn.gates import FusionGates, forced_gates, gated_modules
from captum_video.nn.strategies import gates_of, most_probable_strategy
from captum_video.nn.temporal_split import split_temporal_kernels

#: a unit whose norm is below this share of its layer's has no weights to speak of
NO_WEIGHTS = 1e-6
#: the probability that a unit is dropped whose gate is not learnt
NEVER = 1e-9
#: the change of a probability in the last sweep above which a warning comes
SETTLED = 0.1


@dataclass(frozen=True)
class FitHistory:
    """What fitting gates has shown.

    Attributes:
        worth: by layer, what each unit is worth: by how much, in nats for each clip, the mean loss rises
            where it is dropped, the others being drawn from the posterior; NaN where it was not learnt.
        changes: for each sweep, the largest change of a probability.
        open_loss: the mean loss over all clips with every gate open.
        strategy_loss: that of the most probable strategy.
        clips: the number of clips in the data.
        samples: the number that the prior was weighed against.
        price: what a unit had to be worth, in nats.
        without_weights: the layers and units that have no weights, whose probability of one half
            says nothing.
        unreached: the layers that were never called, whose probabilities are those of the prior.
    """

    worth: Mapping[str, tuple[float, ...]]
    changes: tuple[float, ...]
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
    learn: Sequence[str] | None = None,
    price: float = 3.0,
    samples: float | None = None,
    sweeps: int = 5,
    draws: int = 1,
    drop_probability: float = 0.01,
    seed: int = 0,
    show_progress: bool = False,
) -> FitHistory:
    r"""Learns the drop probabilities of a network's gates; all its weights stay as they are.

    Seeks the independent gates that are nearest to the posterior, by coordinate ascent on

    .. math:: -N\, \mathbb{E}_{\epsilon}\bigl[\ell(f(x; \epsilon), y)\bigr]
              - \sum_{l,u} \bigl[(1 - p_{l,u})\, c - H(p_{l,u})\bigr]

    the evidence lower bound of paper 3 (equations S9 and S12) with the prior length scale of each unit
    set such that :math:`\frac{k_{l,u}^2}{2} \|w_{l,u}\|^2 = c`. The paper leaves the length scale open;
    with one for all, layers with large kernels would be closed first. Its relaxed gates are not needed
    here, where only gates are learnt, see :class:`GateSearch`.

    Args:
        model: a network with gates, whose probabilities are changed; nothing else is.
        data: batches of inputs (a tensor, or a tuple of them) and targets, such as a ``DataLoader``;
            it is read once for each unit and sweep. Moved to the model's device.
        loss: a function of outputs and targets, with the mean loss or a loss for each clip,
            in nats where the posterior is to be one; None for the cross-entropy of
            ``(N, classes)``.
        learn: the units whose gates are learnt, in every layer; the others are kept. None for all.
        price: :math:`c`, in nats. An unused unit ends at :math:`p = \operatorname{sigmoid}(c)`, 0.95 for
            the default, which is what strong evidence means to Kass and Raftery (1995).
        samples: :math:`N`; None for the number of clips in the data. Fewer let the price weigh more,
            as under a likelihood to the power ``samples / clips``.
        sweeps: how often every gate is visited; from the third on, averages are taken.
        draws: of the other gates, for each batch and visit.
        drop_probability: at the start, near the network as it is; with more, the first sweep measures
            what units are worth to a network that lacks others.
        seed: of all that is drawn, by gates or data; the global random state is left alone.
        show_progress: whether to show a bar.

    Returns:
        What was seen on the way.

    Raises:
        TypeError: batches of another kind.
        ValueError: no clips, non-finite inputs, a loss that is not finite or of another shape, or
            other arguments out of their range.

    Warns:
        UserWarning: for units without weights, layers that are never called, and probabilities that
            still changed by more than 0.1 in the last sweep.
    """
    _check_arguments(price, samples, sweeps, draws)
    if iter(data) is data:
        raise TypeError(
            f"data must be read again and again, got {type(data).__name__}, which can be read once: "
            "give a list of it"
        )
    gates = gates_of(model)
    device = next(iter(gates.values())).drop_logit.device
    measured = loss or cross_entropy
    scales = equal_prices(model, price)
    with _undisturbed(model, gates, device, seed) as called:
        units = _begin(gates, scales, learn, drop_probability)
        everything = {name: [True] * len(one.units) for name, one in gates.items()}
        open_loss, clips = _evaluated(model, gates, everything, data, measured, device)
        keep = {n: one.keep_probability().detach().double().cpu() for n, one in gates.items()}
        weight = clips if samples is None else samples
        search = GateSearch(
            model, gates, data, measured, device, keep, price, weight, draws, seed
        )  # fmt: skip
        changes = []
        with tqdm(range(sweeps), desc="gates", disable=not show_progress, leave=False) as bar:
            for sweep in bar:
                changes.append(search.sweep(units, 1.0 if sweep < 2 else 1 / sweep))
        strategy = most_probable_strategy(model)
        strategy_loss, _ = _evaluated(model, gates, strategy, data, measured, device)
    without = tuple(
        (name, unit)
        for name, one in gates.items()
        for unit, scale in zip(one.units, scales[name], strict=True)
        if scale == 0
    )
    unreached = tuple(name for name, one in gates.items() if one not in called)
    _warn(without, unreached, changes[-1])
    worth = {name: tuple(row.tolist()) for name, row in search.worth.items()}
    return FitHistory(
        worth, tuple(changes), open_loss, strategy_loss, clips, weight, price, without, unreached
    )


def _check_arguments(price: float, samples: float | None, sweeps: object, draws: object) -> None:
    """Refuses numbers out of their range."""
    for name, value in (("sweeps", sweeps), ("draws", draws)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    if not (math.isfinite(price) and price > 0):
        raise ValueError(f"price must be positive and finite, got {price}")
    if samples is not None and not (math.isfinite(samples) and samples >= 1):
        raise ValueError(f"samples must be at least 1, or None for all clips, got {samples}")


@contextmanager
def _undisturbed(
    model: Module, gates: Mapping[str, FusionGates], device: torch.device, seed: int
) -> Iterator[set[Module]]:
    """Evaluation mode and a random state of its own; gives which gates are called."""
    modes = [(module, module.training) for module in model.modules()]
    before = [(one, one.drop_logit.detach().clone()) for one in gates.values()]
    called: set[Module] = set()
    hooks = [
        one.register_forward_pre_hook(lambda module, _: called.add(module))
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
            yield called
        except BaseException:
            for one, logit in before:
                with torch.no_grad():
                    one.drop_logit.copy_(logit)
            raise
        finally:
            for hook in hooks:
                hook.remove()
            for module, mode in modes:
                module.training = mode


def _begin(
    gates: Mapping[str, FusionGates],
    scales: Mapping[str, Sequence[float]],
    learn: Sequence[str] | None,
    drop_probability: float,
) -> list[Unit]:
    """Sets the probabilities that the fit begins with; gives the units that it learns."""
    known = list(dict.fromkeys(unit for one in gates.values() for unit in one.units))
    wanted = known if learn is None else list(learn)
    if not wanted or not set(wanted) <= set(known):
        raise ValueError(f"learn must be some of {known}, got {learn}")
    units = []
    for name, one in gates.items():
        values = []
        for number, (unit, scale) in enumerate(zip(one.units, scales[name], strict=True)):
            if unit in wanted and scale > 0:
                units.append((name, number))
            values.append(NEVER if unit not in wanted else drop_probability if scale > 0 else 0.5)
        one.set_drop_probability(values)
    return units


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


def _warn(without: Sequence[tuple[str, str]], unreached: Sequence[str], change: float) -> None:
    """Says which probabilities say nothing."""
    if without:
        shown = ", ".join(f"{unit} of {name}" for name, unit in without)
        warnings.warn(
            f"there are units without weights, whose probability of one half says nothing: {shown}",
            stacklevel=4,
        )
    if unreached:
        warnings.warn(
            "the model never calls these layers, whose probabilities are those of the prior: "
            f"{', '.join(unreached)} (is a layer used without calling it?)",
            stacklevel=4,
        )
    if change > SETTLED:
        warnings.warn(
            f"a probability still changed by {change:.2f} in the last sweep: give more sweeps or draws",
            stacklevel=4,
        )
