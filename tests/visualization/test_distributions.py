"""Temporal parameters of whole models as figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from captum_video.attr import TemporalParameters
from captum_video.nn import Conv3T
from captum_video.visualization import parameters_by_depth, temporal_distributions
from tests.visualization.readouts import assert_legible, drawn, motion, readout


def heights(axes: Axes) -> np.ndarray:
    return np.array([bar.get_height() for bar in axes.patches])  # type: ignore[attr-defined]


def edges(axes: Axes) -> np.ndarray:
    bars: Any = axes.patches
    return np.array([bar.get_x() for bar in bars] + [bars[-1].get_x() + bars[-1].get_width()])


def model(spread: float, layers: int = 3, seed: int = 0) -> dict[str, Any]:
    return {f"conv{k}": drawn(2, 20, spread, seed + k) for k in range(layers)}


def gathered(readouts: dict[str, Any], name: str, part: str = "step") -> np.ndarray:
    values = [getattr(getattr(own, part), name).flatten() for own in readouts.values()]
    return np.asarray(torch.cat(values).numpy())


def test_bins_hold_the_shares_of_all_layers() -> None:
    """By hand: two layers, eight values, three bins."""
    one = readout(
        motion([[1.0, 1.3], [0.7, 1.0]], [[9, 0], [0, 0]], [[0, 1], [0, 0]], [[0] * 2] * 2)
    )
    two = readout(motion([[1.0] * 4], [[-9, -9, 9, 0]], [[1, 1, 0, 0]], [[1, -1, 0, 0]]))
    figure, axes = temporal_distributions(
        {"net": {"a": one, "b": two}}, bins=3, outlier_perc=0, log=False
    )
    assert isinstance(figure, Figure)
    assert axes.shape == (1, 3)
    assert heights(axes[0, 0]).tolist() == [1 / 8, 6 / 8, 1 / 8]
    assert edges(axes[0, 0]) == pytest.approx(1 + 0.3 * 1.02 * np.array([-1, -1 / 3, 1 / 3, 1]))
    assert heights(axes[0, 1]).tolist() == [2 / 8, 4 / 8, 2 / 8]
    joint = axes[0, 2].collections[0].get_array()
    assert joint.tolist() == [[None, None, 1 / 8], [None, 5 / 8, 1 / 8], [None, None, 1 / 8]]
    title = axes[0, 0].get_title(loc="left")
    assert title == "net: 6 channels, 8 steps"


def test_translation_goes_as_on_the_screen() -> None:
    """The mesh's rows are y, its columns x; larger y is lower."""
    own = readout(motion([[1.0]], [[0.0]], [[1.0]], [[0.4]]))
    _, axes = temporal_distributions({"net": {"a": own}}, bins=11, outlier_perc=0)
    mesh = axes[0, 2].collections[0]
    ((row, column),) = np.argwhere(~np.ma.getmaskarray(mesh.get_array()))
    corners = mesh.get_coordinates()
    low, high = corners[row, column], corners[row + 1, column + 1]
    assert low[0] <= 1.0 <= high[0]
    assert low[1] <= 0.4 <= high[1]
    assert axes[0, 2].get_ylim()[0] > 0 > axes[0, 2].get_ylim()[1]
    assert axes[0, 2].get_xlabel() == "translation,\nfeature pixels, right and down"
    up = readout(own.step, units="paper", y_axis="up")
    _, axes = temporal_distributions({"net": {"a": up}})
    assert axes[0, 2].get_ylim()[0] < 0 < axes[0, 2].get_ylim()[1]


def test_models_share_axes_bins_and_colours() -> None:
    models = {"large": model(1.0), "small": model(0.2, layers=5)}
    _, axes = temporal_distributions(models, outlier_perc=0, log=False)
    for k in range(3):
        assert axes[0, k].get_xlim() == axes[1, k].get_xlim()
        assert axes[0, k].get_ylim() == axes[1, k].get_ylim()
    assert np.array_equal(edges(axes[0, 0]), edges(axes[1, 0]))
    norms = [row[2].collections[0].norm for row in axes]
    assert (norms[0].vmin, norms[0].vmax) == (norms[1].vmin, norms[1].vmax)
    expected = 1.02 * np.abs(gathered(models["large"], "scale") - 1).max()
    assert axes[1, 0].get_xlim() == pytest.approx((1 - expected, 1 + expected))
    assert sum(axes[0, 0].get_xlim()) == pytest.approx(2)
    assert sum(axes[0, 1].get_xlim()) == pytest.approx(0)
    for row, readouts in zip(axes, models.values(), strict=True):
        assert heights(row[0]).sum() == pytest.approx(1)
        scale = gathered(readouts, "scale")
        counted = np.histogram(scale, edges(row[0]))[0] / len(scale)
        assert np.allclose(heights(row[0]), counted)


def test_cumulated_values() -> None:
    readouts = model(1.0)
    _, axes = temporal_distributions({"net": readouts}, cumulative=True, outlier_perc=0)
    rotation = gathered(readouts, "rotation", "cumulative")
    counted = np.histogram(rotation, edges(axes[0, 1]))[0] / len(rotation)
    assert np.allclose(heights(axes[0, 1]), counted)
    assert axes[0, 1].get_xlabel() == "cumulated rotation of the motion, ° clockwise"


def test_what_lies_beyond_is_in_the_outermost_bins_and_said() -> None:
    scale = torch.linspace(0.9, 1.1, 199).double().tolist()
    zeros = [[0.0] * 200]
    own = readout(motion([[*scale, 9.0]], zeros, zeros, zeros))
    _, axes = temporal_distributions({"net": {"a": own}}, outlier_perc=1.0)
    assert axes[0, 0].get_xlim()[1] < 1.2
    assert heights(axes[0, 0]).sum() == pytest.approx(1)
    assert heights(axes[0, 0])[-1] == pytest.approx(heights(axes[0, 0])[0] + 1 / 200)
    title = axes[0, 0].get_title(loc="left")
    assert title == "net: 200 channels, 200 steps, 0.5 % beyond the axes"


def test_logarithms_where_one_bin_holds_most() -> None:
    _, axes = temporal_distributions({"net": model(1.0)})
    assert axes[0, 0].get_yscale() == "linear"
    still = readout(motion([[1.0] * 9 + [1.4]], [[0] * 9 + [8]], [[0] * 10], [[0] * 10]))
    _, axes = temporal_distributions({"wide": model(1.0), "narrow": {"a": still}})
    assert {one.get_yscale() for one in axes[:, :2].flat} == {"log"}
    assert isinstance(axes[0, 2].collections[0].norm, LogNorm)
    _, axes = temporal_distributions({"narrow": {"a": still}}, log=False)
    assert axes[0, 0].get_yscale() == "linear"


def test_steps_without_motion_are_left_out_and_counted() -> None:
    nan = float("nan")
    shift = [[0.0, 0.5, nan]]
    own = readout(motion([[1.0, 1.2, nan]], [[0.0, 1.0, nan]], shift, shift))
    _, axes = temporal_distributions({"net": {"a": own}}, outlier_perc=0)
    assert axes[0, 0].get_title(loc="left").endswith("2 steps, 1 without a motion left out")
    assert heights(axes[0, 0]).sum() == pytest.approx(1)
    _, axes = parameters_by_depth({"a": own})
    assert axes[0].lines[0].get_ydata()[0] == pytest.approx(0.1)


def test_depth_shows_mean_and_quartiles() -> None:
    one = readout(motion([[1.0, 0.9, 1.2, 1.5]], [[-1, 2, -3, 4]], [[3] * 4], [[-4] * 4]))
    two = readout(motion([[2.0, 2.0]], [[0, 10]], [[0, 0]], [[1, 2]]))
    figure, axes = parameters_by_depth({"low": one, "high": two})
    assert axes.shape == (3,)
    means = [axis.lines[0].get_ydata() for axis in axes]
    assert means[0] == pytest.approx([0.2, 1.0])
    assert means[1] == pytest.approx([2.5, 5.0])
    assert means[2] == pytest.approx([5.0, 1.5])
    low, high = axes[1].collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (1.75, 7.5)
    labels = [label.get_text() for label in axes[0].get_xticklabels()]
    assert labels == ["low", "high"]
    assert axes[2].get_title() == "length of translation, feature pixels"
    assert not figure.legends


def test_depth_of_several_models() -> None:
    figure, axes = parameters_by_depth({"a": model(1.0), "b": model(0.3, 5)}, cumulative=True)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [len(line.get_xdata()) for line in axes[0].lines] == [3, 5]
    sizes = np.abs(model(0.3, 5)["conv4"].cumulative.rotation.numpy())
    assert axes[1].lines[1].get_ydata()[-1] == pytest.approx(sizes.mean())
    assert len({line.get_marker() for line in axes[0].lines}) == 2
    assert axes[0].get_xlabel() == "layer, from the input"


def test_it_draws_what_temporal_parameters_read() -> None:
    net = torch.nn.Sequential(Conv3T(1, 4, 3), Conv3T(4, 8, (2, 3, 3))).eval()
    readouts = TemporalParameters(net).read()
    _, axes = temporal_distributions({"at the start": readouts})
    assert axes[0, 0].get_title(loc="left") == "at the start: 12 channels, 16 steps"
    assert heights(axes[0, 0]).max() == 1
    _, axes = parameters_by_depth(readouts)
    assert axes[0].lines[0].get_ydata().tolist() == [0, 0]


@pytest.mark.parametrize("number", [1, 3])
def test_distributions_can_be_read(number: int, tmp_path: Path) -> None:
    models = {f"3T-GoogLeNet, {k}": model(10.0**-k, 4) for k in range(number)}
    for log in (False, True):
        figure, _ = temporal_distributions(models, log=log, cumulative=True)
        figure.savefig(tmp_path / "distributions.png")
        assert_legible(figure)


@pytest.mark.parametrize("layers", [1, 20, 57])
def test_depth_can_be_read(layers: int, tmp_path: Path) -> None:
    own = {f"inception{k}.branch2.{k}": drawn(2, 5, 1.0, k) for k in range(layers)}
    for readouts in (own, {"one": own, "two": own}):
        figure, _ = parameters_by_depth(readouts)
        figure.savefig(tmp_path / "depth.png")
        assert_legible(figure, slanted=readouts is own and layers < 25)


EMPTY = readout(motion(*[torch.zeros(2, 0)] * 4))
VOID = readout(motion(*[[[float("nan")]]] * 4))


@pytest.mark.parametrize(
    ("models", "options", "text"),
    [
        ({}, {}, "models must hold at least one model's readouts by name, got none"),
        ({"net": {}}, {}, "model 'net' must be a mapping from layers to readouts, got none"),
        ({"net": drawn(1, 2, 1.0)}, {}, "model 'net' must be a mapping from layers to readouts"),
        ({"net": {"a": 3}}, {}, "model 'net': layer 'a' is no readout but a int"),
        ({"net": {"a": EMPTY}}, {}, "model 'net': layer 'a' has no channels to show"),
        ({"net": {"a": VOID}}, {}, r"model 'net' has no finite parameter in layers \['a'\]"),
        ({"net": model(1.0)}, {"bins": 10}, "bins must be an odd number from 3 up, got 10"),
        ({"net": model(1.0)}, {"bins": True}, "bins must be an odd number from 3 up, got True"),
        ({"net": model(1.0)}, {"outlier_perc": 100}, r"outlier_perc must lie in \[0, 100\), got"),
    ],
)
def test_refuses(models: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        temporal_distributions(models, **options)


@pytest.mark.parametrize(
    ("readouts", "text"),
    [
        ({}, "readouts must hold at least one layer's readout, got none"),
        ({"a": EMPTY}, "readouts: layer 'a' has no channels to show"),
        ({"a": 1.0}, "readouts: layer 'a' is no readout but a float"),
        ({"a": VOID}, r"no finite parameter in layers \['a'\]"),
        ({"net": {"a": EMPTY}}, "model 'net': layer 'a' has no channels to show"),
    ],
)
def test_depth_refuses(readouts: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parameters_by_depth(readouts)


def test_refuses_different_kinds() -> None:
    own = drawn(1, 2, 1.0)
    other = readout(own.step, own.cumulative, describes="kernel")
    text = r"readouts must agree in \(units, describes, y_axis\) .*'kernel'.*'motion'"
    with pytest.raises(ValueError, match=text):
        temporal_distributions({"one": {"a": own}, "two": {"a": other}})
    with pytest.raises(ValueError, match=text):
        parameters_by_depth({"a": own, "b": other})
