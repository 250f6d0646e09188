"""Fusion strategies: which units of each layer are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.nn._frozen import thaw
from captum_video.nn.gates import FusionGates, gated_modules, separate_gates

#: by whether a layer has a spatial and a spatiotemporal path
KINDS = {(True, False): "s", (False, True): "st", (True, True): "s+st", (False, False): "none"}


@dataclass(frozen=True, eq=False)
class Strategy(Mapping[str, tuple[bool, ...]]):
    """Which units are kept in each layer: a mapping from layers' names to truth values.

    It equals every mapping with the same truth values; as with dicts, order does not count.

    Attributes:
        kept: by layer, in the order in which the model registers them, a truth value for each unit.
        units: by layer, the units' names.
        log_probability: the natural logarithm of its probability under the posterior that it is from.
    """

    kept: Mapping[str, tuple[bool, ...]]
    units: Mapping[str, tuple[str, ...]]
    log_probability: float

    def __getitem__(self, layer: str) -> tuple[bool, ...]:
        """The truth values of a layer."""
        return self.kept[layer]

    def __iter__(self) -> Iterator[str]:
        """The layers' names."""
        return iter(self.kept)

    def __len__(self) -> int:
        """The number of layers."""
        return len(self.kept)

    def __eq__(self, other: object) -> bool:
        return dict(self.kept) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.kept.items()))

    def __str__(self) -> str:
        return " | ".join(f"{layer} {kind}" for layer, kind in self.kinds().items())

    def kinds(self) -> dict[str, str]:
        """What each layer is under the strategy, as ``captum_video.nn.inflate`` takes it.

        Of a network that :func:`captum_video.nn.split_temporal_kernels` gave gates, ``"s"`` means the
        kernel averaged over its taps in time, which still mixes neighbouring frames. It is not the
        1x1x1 that ``inflate`` makes of ``"s"``.

        Returns:
            By layer ``"s"``, ``"st"``, ``"s+st"`` or ``"none"``.
        """
        kinds = {}
        for layer, kept in self.items():
            pairs = zip(self.units[layer], kept, strict=True)
            paths = {path for unit, keep in pairs if keep for path in unit.split("+")}
            kinds[layer] = KINDS["S" in paths, "ST" in paths]
        return kinds

    def at_depth(self, count: int) -> tuple[str, ...]:
        """The kinds at the same relative depth of a network with another number of layers.

        Paper 3 carries strategies over to other backbones "roughly" (its supplement, section 3); this
        takes the layer whose middle is nearest. Depth is the place in the order in which the network
        registers its layers, which need not be that of the calls. A layer where nothing is kept counts
        as ``"s"``, since a backbone without dense connections cannot do without a layer.

        Args:
            count: layers of the other network.

        Returns:
            A kind for each of its layers, as ``captum_video.nn.inflate`` takes them.

        Raises:
            ValueError: a count below 1.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        own = ["s" if kind == "none" else kind for kind in self.kinds().values()]
        return tuple(own[(2 * index + 1) * len(own) // (2 * count)] for index in range(count))


def sample_strategies(model: nn.Module, count: int, *, seed: int = 0) -> list[Strategy]:
    """Draws strategies from the posterior of a network's gates.

    Args:
        model: a network with gates.
        count: number of strategies.
        seed: of the draws; the global random state is left alone.

    Returns:
        The strategies, with their probabilities, in the order of the draws.

    Raises:
        ValueError: a model without gates, or a count below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"the number of strategies must be a whole number from 1, got {count!r}")
    gates = gates_of(model)
    drawn = {}
    generator = torch.Generator().manual_seed(seed)
    for name, one in gates.items():
        drop = one.drop_probability().detach().cpu()
        drawn[name] = torch.rand(count, len(drop), generator=generator) >= drop
    return [_strategy(gates, {name: rows[i] for name, rows in drawn.items()}) for i in range(count)]


def most_probable_strategy(model: nn.Module) -> Strategy:
    """The strategy with the highest probability under the posterior of a network's gates.

    Args:
        model: a network with gates.

    Returns:
        The strategy that keeps what is kept with a probability of one half or more.

    Raises:
        ValueError: a model without gates.
    """
    gates = gates_of(model)
    return _strategy(gates, {name: one.drop_logit.detach() <= 0 for name, one in gates.items()})


def current_strategy(model: nn.Module) -> Strategy:
    """The strategy that a network's gates hold for evaluation mode.

    Args:
        model: a network with gates.

    Returns:
        The strategy.

    Raises:
        ValueError: a model without gates.
    """
    gates = gates_of(model)
    return _strategy(gates, {name: one.strategy for name, one in gates.items()})


def set_strategy(model: nn.Module, strategy: Mapping[str, tuple[bool, ...]]) -> None:
    """Makes a strategy the one that a network follows in evaluation mode.

    Args:
        model: a network with gates.
        strategy: truth values by layer.

    Raises:
        TypeError: a strategy that is no mapping.
        ValueError: a model without gates, or a strategy for other layers or units; nothing is
            changed then.
    """
    gates = gates_of(model)
    check_strategy(gates, strategy)
    for name, one in gates.items():
        one.set_strategy(strategy[name])


def check_strategy(
    gates: Mapping[str, FusionGates], strategy: Mapping[str, tuple[bool, ...]]
) -> None:
    """Refuses a strategy for other layers or units, or of other values than true and false.

    Args:
        gates: by layer.
        strategy: truth values by layer.

    Raises:
        TypeError: no mapping.
        ValueError: naming the layer.
    """
    if not isinstance(strategy, Mapping):
        raise TypeError(
            "strategy must be a Strategy or a mapping from layers to truth values, got "
            f"{type(strategy).__name__}"
        )
    if set(strategy) != set(gates):
        other = sorted(set(strategy) ^ set(gates))
        raise ValueError(
            f"strategy must be for the model's {len(gates)} layers ({', '.join(gates)}); missing or "
            f"unknown: {', '.join(other)}"
        )
    for name, one in gates.items():
        if len(strategy[name]) != len(one.units):
            raise ValueError(
                f"strategy must have a truth value for each unit of {name!r} "
                f"({', '.join(one.units)}), got {len(strategy[name])}"
            )
        if any(value not in (0, 1) for value in strategy[name]):
            raise ValueError(
                f"strategy for {name!r} must be of zeros and ones, got {tuple(strategy[name])}"
            )


def fixed_network(module: nn.Module) -> nn.Module:
    """Replaces modules with gates by ordinary ones, under the strategy that they hold.

    What :func:`captum_video.nn.split_temporal_kernels` froze is trainable again where it was before.

    Args:
        module: a network, which is changed.

    Returns:
        The network, or what replaces it.

    Raises:
        ValueError: a module with hooks, which would be lost; nothing is changed then.
    """
    done: dict[nn.Module, nn.Module] = {}
    for name, gated in gated_modules(module).items():
        assert gated.gates is not None
        try:
            done[gated] = gated.fixed(gated.gates.strategy.tolist())
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
    thaw(module)
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child in done:
                parent._modules[name] = done[child]
    return done.get(module, module)


def gates_of(model: nn.Module) -> dict[str, FusionGates]:
    """The gates by layer.

    Args:
        model: a network with gates.

    Returns:
        The gates, in the order in which the layers were registered.

    Raises:
        ValueError: a model without gates, or layers that share them.
    """
    modules = separate_gates(
        model,
        "build it with captum_video.nn.FusionUnit, or FusionPosterior.fit(model, data) finds gates "
        "for the temporal kernels of a trained 3D network",
    )
    return {name: module.gates for name, module in modules.items() if module.gates is not None}


def _strategy(gates: Mapping[str, FusionGates], kept: Mapping[str, Tensor]) -> Strategy:
    """A strategy with its probability."""
    total = 0.0
    for name, one in gates.items():
        logit = one.drop_logit.detach().double().cpu()
        total += float(
            torch.where(kept[name].cpu(), F.logsigmoid(-logit), F.logsigmoid(logit)).sum()
        )
    values = {name: tuple(bool(v) for v in row.tolist()) for name, row in kept.items()}
    return Strategy(values, {name: one.units for name, one in gates.items()}, total)


def checked_strategies(
    gates: Mapping[str, FusionGates], strategies: Sequence[Mapping[str, tuple[bool, ...]]]
) -> list[Mapping[str, tuple[bool, ...]]]:
    """Strategies for a model's gates, at least one.

    Args:
        gates: the gates by layer.
        strategies: truth values by layer.

    Returns:
        The strategies.

    Raises:
        TypeError: one strategy instead of a sequence of them.
        ValueError: no strategies, or strategies for other layers.
    """
    if isinstance(strategies, Mapping):
        raise TypeError("strategies must be a sequence of strategies, got one: put it in a list")
    chosen = list(strategies)
    if not chosen:
        raise ValueError("strategies must be at least one, got none")
    for strategy in chosen:
        check_strategy(gates, strategy)
    return chosen
