"""Pictures of a diagnosis: confusion, amplified joints, signatures, views."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_video.metrics import Signatures, ViewDistance
from captum_video.visualization import SIGNED

_WEAK = "#b3261e"
_INK, _QUIET = "#222222", "#666666"


def confusion_figure(confusion: Tensor, classes: Sequence[str], weak: Collection[int]) -> Figure:
    """Shares of the answers to each class.

    Args:
        confusion: counts, classes by answers.
        classes: names.
        weak: indices of the weak classes, whose names are red.

    Returns:
        The figure.
    """
    shares = confusion.double() / confusion.sum(1, keepdim=True).clamp(min=1)
    count = len(classes)
    figure = _figure(2.4 + 0.36 * count, 2.1 + 0.33 * count)
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, values in enumerate(shares.tolist()):
        for column, value in enumerate(values):
            if value >= 0.005:
                ink = "white" if value > 0.55 else _INK
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center",
                          fontsize=7, color=ink)  # fmt: skip
    _names(axes, "y", classes, weak)
    _names(axes, "x", classes, weak)
    axes.set_xlabel("answer", color=_QUIET)
    axes.set_ylabel("class", color=_QUIET)
    axes.set_title("answers to each class, % of its clips; red: weak", fontsize=10, color=_INK)
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def amplification_figure(
    groups: Mapping[str, Tensor], layers: Sequence[str], joints: Sequence[str],
    target: Collection[str],
) -> Figure:  # fmt: skip
    """How much each joint is amplified by each layer.

    Args:
        groups: mean amplification in bits, ``(layers, joints)``, by name of the clips.
        layers: their names.
        joints: their names.
        target: proposed joints, whose names are red.

    Returns:
        A panel for each group.
    """
    figure = _figure(2.6 + len(groups) * (1.2 + 0.42 * len(layers)), 1.5 + 0.2 * len(joints))
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    values = {name: group.double().numpy() for name, group in groups.items()}
    finite = np.concatenate([np.abs(v[np.isfinite(v)]) for v in values.values()])
    scale = float(np.quantile(finite, 0.99)) if len(finite) else 1.0
    for axes, (name, group) in zip(panels, values.items(), strict=True):
        image = axes.imshow(group.T, vmin=-scale or -1, vmax=scale or 1, cmap=SIGNED, aspect="auto")
        axes.set_facecolor("#dddddd")
        axes.set_title(name, fontsize=9, color=_INK)
        _names(axes, "x", layers, ())
    _names(panels[0], "y", joints, [i for i, joint in enumerate(joints) if joint in target])
    bar = figure.colorbar(image, ax=panels, shrink=0.6)
    bar.set_label("share of all motion, decoded against input, bits", fontsize=8, color=_QUIET)
    figure.suptitle(
        "motion of joints in what each layer decodes to" + ("; red: proposed" if target else ""),
        fontsize=10, color=_INK,
    )  # fmt: skip
    return figure


def signature_figure(
    signatures: Sequence[Signatures], layers: Sequence[str], classes: Sequence[str],
    accuracy: Sequence[float], weak: Collection[int],
) -> Figure:  # fmt: skip
    """How characteristic the filter responses of each class are, and how active.

    Args:
        signatures: of each layer.
        layers: their names.
        classes: names of all classes.
        accuracy: of each class.
        weak: indices of the weak classes, whose names are red.

    Returns:
        Two panels of classes by layers, and the accuracy beside them.
    """
    figure = _figure(5.2 + 0.9 * len(layers), 1.6 + 0.26 * len(classes))
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1, 1, 0.45])
    panels = {
        "signature (AUROC)": (left, [s.auroc for s in signatures], (0.5, 1.0), "viridis"),
        "activity, mean class = 1": (middle, [s.activity for s in signatures], (0.0, 2.0), SIGNED),
    }
    for title, (axes, values, (low, high), colours) in panels.items():
        table = np.full((len(classes), len(layers)), np.nan)
        for column, (found, layer) in enumerate(zip(values, signatures, strict=True)):
            table[layer.classes.numpy(), column] = found.double().numpy()
        image = axes.imshow(table, vmin=low, vmax=high, cmap=colours, aspect="auto")
        axes.set_facecolor("#dddddd")
        axes.set_title(title, fontsize=9, color=_INK)
        _names(axes, "x", layers, ())
        figure.colorbar(image, ax=axes, shrink=0.7)
    colours = [_WEAK if i in weak else "#3f78a8" for i in range(len(classes))]
    right.barh(range(len(classes)), np.nan_to_num(np.array(accuracy)), color=colours)
    right.set(xlim=(0, 1), title="accuracy")
    right.title.set(fontsize=9, color=_INK)
    right.tick_params(labelsize=7.5)
    _names(left, "y", classes, weak)
    return figure


def views_figure(
    layers: Sequence[str], views: Sequence[ViewDistance], control: Sequence[ViewDistance]
) -> Figure:
    """How far apart views are, from the input to the last layer.

    Args:
        layers: names of the decoded layers.
        views: of the input, then of each layer.
        control: the same of an untrained net.

    Returns:
        The figure.
    """
    figure = _figure(4.8 + 0.6 * len(layers), 3.4)
    axes = figure.subplots()
    places = range(len(views))
    for label, marker, colour, values in (
        ("ratio", "o", _INK, [view.ratio for view in views]),
        ("ratio, untrained net", "v", "#999999", [view.ratio for view in control]),
        ("between views", "^", "#0072B2", [view.between_views for view in views]),
        ("between performances", "s", "#D55E00", [view.between_performances for view in views]),
    ):
        axes.plot(places, values, marker=marker, color=colour, label=label,
                  linewidth=2 if label == "ratio" else 1)  # fmt: skip
    axes.set_xticks(list(places), ["input", *layers], rotation=45, ha="right", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("1 - correlation, and ratio", fontsize=8, color=_QUIET)
    axes.set_title("three cameras' views of one performance, decoded", fontsize=10, color=_INK)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _names(axes: Axes, axis: str, names: Sequence[str], marked: Collection[int]) -> None:
    """Names along an axis, the marked ones in red."""
    if axis == "x":
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7.5)
        labels = axes.get_xticklabels()
    else:
        axes.set_yticks(range(len(names)), names, fontsize=7.5)
        labels = axes.get_yticklabels()
    axes.tick_params(length=0)
    for index, label in enumerate(labels):
        label.set_color(_WEAK if index in marked else _INK)
