"""What the picture of a fusion posterior shows, read from readouts and strategies and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

UNITS = ("S", "ST", "S+ST")
#: what a layer keeps, by path
_KINDS = {"s": (True, False), "st": (False, True), "s+st": (True, True), "none": (False, False)}
_SAME = 1e-6  # by how much S+ST may differ from the product of S and ST to be called that


class Panel(NamedTuple):
    """What one panel shows.

    Attributes:
        name: what stands above it; may be empty.
        layers: the layers' names.
        values: ``(runs, layers, units)``.
        product: whether S+ST is S times ST everywhere.
        kept: for each layer whether S and whether ST is kept; None if that is not known.
        prior: ``(layers, units)``, where they would lie if the data said nothing, the mean over the
            runs that know; NaN where none does.
    """

    name: str
    layers: tuple[str, ...]
    values: np.ndarray
    product: bool
    kept: list[tuple[bool, bool]] | None
    prior: np.ndarray


def read_panels(
    readouts: Any, strategy: Any, units: Sequence[str] | None
) -> tuple[list[Panel], tuple[str, ...]]:
    """What is to be shown.

    Args:
        readouts: as :func:`captum_video.visualization.fusion_probabilities` takes them.
        strategy: likewise.
        units: likewise.

    Returns:
        The panels, and the units.

    Raises:
        ValueError: as there.
    """
    groups = _groups(readouts)
    units = _units(groups, units)
    kept = _strategies(strategy, groups)
    panels = [
        Panel(
            str(name),
            tuple(runs[0]),
            _values(runs, name, units),
            _product(runs),
            kept.get(name),
            _prior(runs, name, units),
        )
        for name, runs in groups.items()
    ]
    return panels, units


def _is_readout(given: Any) -> bool:
    """Whether this maps layers to units to something that is no mapping or sequence."""
    return (
        isinstance(given, Mapping)
        and bool(given)
        and all(isinstance(row, Mapping) and row for row in given.values())
        and not any(
            isinstance(value, Mapping | list | tuple)
            for row in given.values()
            for value in row.values()
        )
    )


def _groups(given: Any) -> dict[Any, list[Any]]:
    """The readouts of each panel."""
    several = isinstance(given, Mapping) and not _is_readout(given)
    groups = {}
    for name, found in dict(given).items() if several else [("", given)]:
        what = f"readouts[{name!r}]" if several else "readouts"
        runs = [found] if _is_readout(found) else found
        if not isinstance(runs, list | tuple) or not runs:
            shown = "nothing" if isinstance(found, list | tuple | Mapping) else type(found).__name__
            raise ValueError(
                f"{what} must be a mapping from layers to units to probabilities, or a sequence of "
                f"them, got {shown}"
            )
        for number, run in enumerate(runs):
            if not _is_readout(run):
                raise ValueError(
                    f"{what}[{number}] must be a mapping from layers to units to probabilities, got "
                    f"{type(run).__name__}"
                )
            if tuple(run) != tuple(runs[0]):
                raise ValueError(
                    f"{what} must be runs of one model, with the same layers in the same order; "
                    f"[0] and [{number}] differ: {_difference(runs[0], run)}"
                )
        groups[name] = list(runs)
    if not groups:
        raise ValueError("readouts must hold at least one readout, got none")
    return groups


def _difference(first: Any, second: Any) -> str:
    """Which layers only one of two readouts has."""
    pairs = ((first, second, "first"), (second, first, "second"))
    found = [
        f"only the {name} has {', '.join(map(repr, names))}"
        for own, other, name in pairs
        if (names := [layer for layer in own if layer not in other])
    ]
    return ", ".join(found) or f"orders {', '.join(first)} and {', '.join(second)}"


def _units(groups: Mapping[Any, list[Any]], given: Sequence[str] | None) -> tuple[str, ...]:
    """The units to show, which all layers have."""
    rows = [(layer, row) for runs in groups.values() for run in runs for layer, row in run.items()]
    if given is None:
        given = [unit for unit in UNITS if unit in rows[0][1]]
    if isinstance(given, str) or not given or len(set(given)) < len(given):
        raise ValueError(f"units must be a sequence of different units, got {given!r}")
    for unit in given:
        if unit not in UNITS:
            raise ValueError(f"units must be of {', '.join(UNITS)}, got {unit!r}")
        for layer, row in rows:
            if unit not in row:
                raise ValueError(f"layer {layer!r} has no unit {unit!r}, only {', '.join(row)}")
    return tuple(given)


def _values(runs: Sequence[Any], name: Any, units: Sequence[str]) -> np.ndarray:
    """``(runs, layers, units)``, checked."""
    values = np.empty((len(runs), len(runs[0]), len(units)))
    for number, run in enumerate(runs):
        for depth, (layer, row) in enumerate(run.items()):
            for column, unit in enumerate(units):
                try:
                    value = float(row[unit])
                except (TypeError, ValueError):
                    value = math.nan
                if not 0 <= value <= 1:
                    where = f"readouts[{name!r}]" if name else "readouts"
                    raise ValueError(
                        f"{where} must hold probabilities from 0 to 1, got {row[unit]!r} for {unit} "
                        f"of {layer!r}"
                    )
                values[number, depth, column] = value
    return values


def _prior(runs: Sequence[Any], name: Any, units: Sequence[str]) -> np.ndarray:
    """``(layers, units)``, the mean over the runs that know it, checked."""
    columns = [UNITS.index(unit) for unit in units]
    known = []
    for run in runs:
        given = getattr(run, "prior", None)
        if given is None:
            continue
        values = np.asarray(given, dtype=float)
        within = np.isnan(values) | ((values >= 0) & (values <= 1))
        if values.shape != (len(run), len(UNITS)) or not within.all():
            where = f"readouts[{name!r}]" if name else "readouts"
            raise ValueError(
                f"the prior of {where} must be probabilities from 0 to 1, or NaN, of shape "
                f"{(len(run), len(UNITS))}, got shape {values.shape}: {values.tolist()}"
            )
        known.append(values[:, columns])
    if not known:
        return np.full((len(runs[0]), len(units)), math.nan)
    found = ~np.isnan(known)
    total, count = np.where(found, known, 0).sum(0), found.sum(0)
    return np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)


def _product(runs: Sequence[Any]) -> bool:
    """Whether S+ST is S times ST everywhere."""
    rows = [row for run in runs for row in run.values()]
    if not all(unit in row for row in rows for unit in UNITS):
        return False
    s, st, both = (np.array([float(row[unit]) for row in rows]) for unit in UNITS)
    return bool(np.allclose(s * st, both, rtol=0, atol=_SAME))


def _strategies(given: Any, groups: Mapping[Any, list[Any]]) -> dict[Any, list[tuple[bool, bool]]]:
    """By panel what its layers keep."""
    if given is None:
        return {}
    alone = hasattr(given, "kinds") or (
        isinstance(given, Mapping) and all(isinstance(value, str) for value in given.values())
    )
    if not alone and not isinstance(given, Mapping):
        raise ValueError(
            "strategy must be a Strategy or a mapping from layers to kinds, got "
            f"{type(given).__name__}"
        )
    by_panel = dict.fromkeys(groups, given) if alone else dict(given)
    kept = {}
    for name, one in by_panel.items():
        if name not in groups:
            raise ValueError(f"strategy is for a panel {name!r}; there are {list(groups)}")
        kinds = one.kinds() if hasattr(one, "kinds") else one
        layers = list(groups[name][0])
        if not isinstance(kinds, Mapping):
            raise ValueError(f"strategy must map layers to kinds, got {type(kinds).__name__}")
        if wrong := [layer for layer in (*layers, *kinds) if (layer in layers) != (layer in kinds)]:
            raise ValueError(
                f"strategy must be for the {len(layers)} layers that are shown; missing or unknown: "
                f"{', '.join(wrong)}"
            )
        for layer, kind in kinds.items():
            if kind not in _KINDS:
                raise ValueError(f"strategy must be of {list(_KINDS)}, got {kind!r} for {layer!r}")
        kept[name] = [_KINDS[kinds[layer]] for layer in layers]
    return kept
