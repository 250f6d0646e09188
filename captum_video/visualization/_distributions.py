"""Temporal parameters of whole models: how they are distributed, and how they grow with depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from captum_video.visualization._plots import (
    INK,
    LINE,
    QUIET,
    centre_plane,
    quiet_frame,
    symmetric_ticks,
    unit_name,
)

_BAR = "#3f6fb5"
_LINES = ("#1f5fb4", "#b8560b", "#1b7f79", "#7a5195", "#222222", "#d0211c")
_MARKS = ("o", "s", "^", "D", "v", "P")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#e3ecf7", "#7fb2e5", "#1f5fb4", "#08203f"])
_LEAST = (0.02, 1.0, 0.05)  # how far axes reach at least: scale, degrees, pixels
_WIDTH, _HEIGHT, _GAP = 2.35, 1.75, 0.62  # inches
_STEEP = 0.5  # the share in one bin above which others cannot be seen without a logarithm


_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")


class _Values(NamedTuple):
    """One model's parameters, each ``(steps * channels of all layers,)``, finite; and how many not."""

    scale: np.ndarray
    rotation: np.ndarray
    x: np.ndarray
    y: np.ndarray
    channels: int
    void: int


class _Kind(NamedTuple):
    units: str
    describes: str
    y_axis: str


def temporal_distributions(
    models: Mapping[str, Mapping[str, Any]],
    *,
    cumulative: bool = False,
    bins: int = 41,
    outlier_perc: float = 0.5,
    log: bool | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws how the temporal parameters of models are distributed (paper 1, Figures 2 and 3).

    One row for each model: its scales, its rotations, and its translations jointly, of all channels
    and steps of all layers. All models share axes, bins and colours, so that they compare; the axes
    are symmetric about the identity. Shares instead of counts make models of different size compare.

    Args:
        models: readouts by the model's name, each a mapping from layers to what
            :meth:`captum_video.TemporalParameters.read` gives for them.
        cumulative: whether to show, instead of each step, what the steps up to it make together.
        bins: the number of bins along an axis; odd, so that the identity is in the middle of one.
        outlier_perc: the percentage of values that may lie beyond the axes; the outermost bins
            hold them, and their share is said. 0 shows all.
        log: whether shares are shown by their logarithms; None does so if half of a model's values
            fall into one bin.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(models, 3)``.

    Raises:
        ValueError: for no model, a model without layers, channels or finite values, readouts that
            differ in units, or numbers out of range.
    """
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 3 or bins % 2 == 0:
        raise ValueError(f"bins must be an odd number from 3 up, got {bins!r}")
    if not 0 <= outlier_perc < 100:
        raise ValueError(f"outlier_perc must lie in [0, 100), got {outlier_perc}")
    if not isinstance(models, Mapping) or not models:
        raise ValueError("models must hold at least one model's readouts by name, got none")
    kind = _kind({name: _layers(readouts, name) for name, readouts in models.items()})
    values = {name: _values(readouts, name, cumulative) for name, readouts in models.items()}
    limits = _limits(list(values.values()), outlier_perc)
    edges = [np.linspace(-limit, limit, bins + 1) for limit in limits]
    shares = [_shares(own, edges) for own in values.values()]
    if log is None:
        log = max(float(part.max()) for own in shares for part in own[:2]) > _STEEP
    figure, axes, bar = _layout(len(values))
    least = min(1 / len(own.scale) for own in values.values())
    tops = [max(float(own[k].max()) for own in shares) for k in range(3)]
    norm = LogNorm(least, max(tops[2], 2 * least)) if log else Normalize(0, tops[2])
    for row, (name, own), share in zip(axes, values.items(), shares, strict=True):
        for k, identity in enumerate((1.0, 0.0)):
            _draw_bars(row[k], share[k], identity + edges[k], identity)
            row[k].set_yscale("log" if log else "linear")
            row[k].yaxis.set_major_formatter(_PERCENT)
            row[k].set_ylim(*((0.5 * least, 1.6) if log else (0, 1.1 * max(tops[:2]))))
        mesh = row[2].pcolormesh(
            edges[2], edges[2], np.ma.masked_equal(share[2].T, 0), cmap=_SHADES, norm=norm
        )
        _draw_cross(row[2], limits[2], kind)
        row[0].set_ylabel("share of values", fontsize=8, color=QUIET)
        row[0].set_title(_heading(name, own, limits), fontsize=9.5, color=INK, loc="left", pad=6)
    words = f"{'cumulated ' if cumulative else ''}%s of the {kind.describes}"
    labels = words % "scale", words % "rotation" + ", ° clockwise", _plane(kind, cumulative)
    for one, label in zip(axes[-1], labels, strict=True):
        one.set_xlabel(label, fontsize=8, color=QUIET)
    _draw_bar(figure, bar, mesh)
    return figure, axes


def parameters_by_depth(
    readouts: Mapping[str, Any] | Mapping[str, Mapping[str, Any]],
    *,
    cumulative: bool = False,
) -> tuple[Figure, np.ndarray]:
    """Draws how far temporal parameters are from the identity, layer by layer.

    For each layer the mean of ``|scale - 1|``, ``|rotation|`` and the length of the translation over
    all channels and steps, as a line, and their quartiles as a band. Paper 1 (section 4.2) says that
    higher layers have larger values.

    Args:
        readouts: a mapping from layers, in the model's order, to what
            :meth:`captum_video.TemporalParameters.read` gives for them; or several such mappings by
            the model's name.
        cumulative: whether to take, instead of each step, what the steps up to it make together.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(3,)``: scale, rotation,
        translation.

    Raises:
        ValueError: as for :func:`temporal_distributions`.
    """
    if not isinstance(readouts, Mapping) or not readouts:
        raise ValueError("readouts must hold at least one layer's readout, got none")
    several = all(isinstance(value, Mapping) for value in readouts.values())
    models = dict(readouts) if several else {"": readouts}
    kind = _kind({name: _layers(own, name) for name, own in models.items()})
    tall = max(len(own) for own in models.values())
    names = list(readouts) if not several and tall <= 24 else None
    figure, axes = _depth_layout(max(map(len, names)) if names else 0)
    for number, (model, own) in enumerate(models.items()):
        sizes = [_deviations(_values({n: r}, model, cumulative)) for n, r in own.items()]
        colour, mark = _LINES[number % len(_LINES)], _MARKS[number % len(_MARKS)]
        depth = np.arange(1, len(own) + 1)
        for k, one in enumerate(axes):
            low, high = np.array([np.percentile(size[k], [25, 75]) for size in sizes]).T
            means = [float(size[k].mean()) for size in sizes]
            one.fill_between(depth, low, high, color=colour, alpha=0.18, linewidth=0)
            one.plot(depth, means, color=colour, marker=mark, markersize=5, label=model or "mean")
    unit = unit_name(kind.units)
    heads = "|scale - 1|", "|rotation|, degrees", f"length of translation, {unit}"
    for one, head in zip(axes, heads, strict=True):
        _finish_depth(one, head, tall, names)
    figure.text(
        0.01, 0.015, f"{kind.describes}{', cumulated' if cumulative else ''}: mean (line) and quartiles "
        "(band) over channels and steps", fontsize=8, color=QUIET,
    )  # fmt: skip
    if several:
        handles = axes[0].get_lines()
        figure.legend(handles=handles, fontsize=8.5, frameon=False, labelcolor=INK, ncols=6,
                      loc="upper left", bbox_to_anchor=(0.06, 1.0))  # fmt: skip
    return figure, axes


def _layers(readouts: Any, model: str) -> list[Any]:
    """A model's readouts, layer by layer."""
    what = f"model {model!r}" if model else "readouts"
    if not isinstance(readouts, Mapping) or not readouts:
        raise ValueError(f"{what} must be a mapping from layers to readouts, got none")
    for name, readout in readouts.items():
        if not hasattr(readout, "step"):
            raise ValueError(f"{what}: layer {name!r} is no readout but a {type(readout).__name__}")
        if not readout.step.scale.numel():
            raise ValueError(f"{what}: layer {name!r} has no channels to show")
    return list(readouts.values())


def _kind(layers: Mapping[str, Sequence[Any]]) -> _Kind:
    """What all readouts measure."""
    kinds = {_Kind(r.units, r.describes, r.y_axis) for own in layers.values() for r in own}
    if len(kinds) > 1:
        found = sorted(tuple(kind) for kind in kinds)
        raise ValueError(
            f"readouts must agree in (units, describes, y_axis) to share axes, got {found}"
        )
    return kinds.pop()


def _values(readouts: Mapping[str, Any], model: str, cumulative: bool) -> _Values:
    """All that a model's layers hold."""
    names = ("scale", "rotation", "translation_x", "translation_y")
    parts = [r.cumulative if cumulative else r.step for r in readouts.values()]
    columns = np.stack(
        [
            np.concatenate([getattr(p, n).detach().cpu().double().flatten().numpy() for p in parts])
            for n in names
        ]
    )
    known = np.isfinite(columns).all(0)
    if not known.any():
        raise ValueError(f"model {model!r} has no finite parameter in layers {list(readouts)}")
    channels = sum(part.scale.shape[1] for part in parts)
    scale, rotation, x, y = columns[:, known]
    return _Values(scale, rotation, x, y, channels, int((~known).sum()))


def _deviations(values: _Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.abs(values.scale - 1), np.abs(values.rotation), np.hypot(values.x, values.y)


def _limits(models: list[_Values], outlier_perc: float) -> tuple[float, float, float]:
    """How far from the identity the axes reach, the same for all models."""

    def reach(least: float, *parts: np.ndarray) -> float:
        found = max(float(np.percentile(np.abs(part), 100 - outlier_perc)) for part in parts)
        return max(least, 1.02 * found)

    return (
        reach(_LEAST[0], *(own.scale - 1 for own in models)),
        reach(_LEAST[1], *(own.rotation for own in models)),
        reach(_LEAST[2], *(part for own in models for part in (own.x, own.y))),
    )


def _shares(own: _Values, edges: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The share of values in each bin; the outermost ones hold what lies beyond."""
    scale, rotation, x, y = (
        np.clip(part, edge[0], edge[-1])
        for part, edge in zip(
            (own.scale - 1, own.rotation, own.x, own.y), (*edges, edges[2]), strict=True
        )
    )
    joint = np.histogram2d(x, y, bins=(edges[2], edges[2]))[0]
    flat = [np.histogram(scale, edges[0])[0], np.histogram(rotation, edges[1])[0]]
    return [part / len(scale) for part in (*flat, joint)]


def _heading(name: str, own: _Values, limits: Sequence[float]) -> str:
    """The model, what was counted, and what cannot be seen."""
    pairs = zip((own.scale - 1, own.rotation, own.x, own.y), (*limits, limits[2]), strict=True)
    beyond = np.any([np.abs(part) > limit for part, limit in pairs], axis=0).mean()
    words = f"{name}: {own.channels:,} channels, {len(own.scale):,} steps"
    words += f", {100 * beyond:.1f} % beyond the axes" if beyond else ""
    return words + (f", {own.void:,} without a motion left out" if own.void else "")


def _layout(rows: int) -> tuple[Figure, np.ndarray, Axes]:
    """Empty axes, placed by inches."""
    left, right, top, bottom, between = 0.75, 0.95, 0.42, 0.55, 0.62
    width = left + 2 * (_WIDTH + _GAP) + _HEIGHT + right
    height = top + rows * _HEIGHT + (rows - 1) * between + bottom
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = np.empty((rows, 3), dtype=object)
    for row in range(rows):
        up = height - top - _HEIGHT - row * (_HEIGHT + between)
        for k, wide in enumerate((_WIDTH, _WIDTH, _HEIGHT)):
            place = (left + k * (_WIDTH + _GAP), up, wide, _HEIGHT)
            axes[row, k] = figure.add_axes(
                (place[0] / width, place[1] / height, place[2] / width, place[3] / height)
            )
            quiet_frame(axes[row, k])
    bar = figure.add_axes(
        ((width - right + 0.12) / width, bottom / height, 0.1 / width, _HEIGHT / height)
    )
    return figure, axes, bar


def _draw_bars(axes: Axes, shares: np.ndarray, edges: np.ndarray, identity: float) -> None:
    axes.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=_BAR, linewidth=0)
    axes.axvline(identity, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xticks(symmetric_ticks(identity, float(edges[-1]) - identity))


def _draw_cross(axes: Axes, limit: float, kind: _Kind) -> None:
    """The identity, and directions as on the screen."""
    for line in (axes.axhline, axes.axvline):
        line(0, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)), zorder=3)
    centre_plane(axes, limit, kind.y_axis)


def _plane(kind: _Kind, cumulative: bool) -> str:
    unit = unit_name(kind.units)
    return f"{'cumulated ' if cumulative else ''}translation,\n{unit}, right and {kind.y_axis}"


def _draw_bar(figure: Figure, axes: Axes, mesh: Any) -> None:
    bar = figure.colorbar(mesh, cax=axes)
    bar.outline.set(linewidth=0.5, edgecolor=LINE)
    bar.ax.yaxis.set_major_formatter(_PERCENT)
    bar.ax.tick_params(labelsize=7.5, length=2, colors=QUIET)
    bar.ax.set_title("share", fontsize=8, color=QUIET, loc="left", pad=5)


def _depth_layout(longest: int) -> tuple[Figure, np.ndarray]:
    """Three empty axes with room below for names of that many letters."""
    width, top, bottom = 10.2, 0.6, 0.8 if not longest else 0.55 + 0.062 * longest
    height = top + 1.9 + bottom
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    places = [(0.065 + 0.32 * k, bottom / height, 0.265, 1.9 / height) for k in range(3)]
    return figure, np.array([figure.add_axes(place) for place in places])


def _finish_depth(axes: Axes, head: str, depth: int, names: list[str] | None) -> None:
    axes.set_title(head, fontsize=9, color=INK, pad=6)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.6, depth + 0.4)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    quiet_frame(axes)
    if names is not None:
        size = 7.5 if depth <= 10 else 6.5
        axes.set_xticks(range(1, depth + 1), names, rotation=60, ha="right", fontsize=size)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("layer, from the input", fontsize=8, color=QUIET)
