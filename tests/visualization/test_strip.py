from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from captum_video.visualization import relevance_strip, robust_maximum, signed_colours
from tests.visualization.readouts import assert_legible


def frames(total: int = 6, height: int = 8, width: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (total, 3, height, width), generator=generator).to(torch.uint8)


def maps() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    total = torch.randn(3, 6, 8, 10, generator=generator)
    spatial = torch.randn(3, 6, 8, 10, generator=generator) / 3
    return {"total": total, "spatial": spatial, "temporal": total - spatial}


def picture(axes: object) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())  # type: ignore[attr-defined]


def test_rows_and_columns_hold_what_they_say() -> None:
    rows, pictures = maps(), frames()
    figure, axes = relevance_strip(pictures, rows, indices=[0, 5, 3])
    assert isinstance(figure, Figure)
    assert axes.shape == (4, 3)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["frames", "total", "spatial", "temporal"]
    assert [axis.get_title() for axis in axes[0]] == ["0", "5", "3"]
    summed = {name: values.sum(0).double().numpy() for name, values in rows.items()}
    scale = robust_maximum(*summed.values())
    for column, index in enumerate([0, 5, 3]):
        expected = pictures[index].permute(1, 2, 0).numpy()
        assert np.array_equal(picture(axes[0, column]), expected)
        for row, values in enumerate(summed.values(), start=1):
            colours = signed_colours(values[index], scale)
            assert np.array_equal(picture(axes[row, column]), colours)


def test_the_curve_sums_each_map_per_frame() -> None:
    rows = maps()
    figure, axes = relevance_strip(frames(), rows)
    lines = [line for axis in figure.axes for line in axis.lines if np.size(line.get_xdata()) == 6]
    assert [line.get_label() for line in lines] == list(rows)
    for line, values in zip(lines, rows.values(), strict=True):
        assert np.allclose(line.get_ydata(), values.double().sum((0, 2, 3)).numpy())
    without, _ = relevance_strip(frames(), rows, curve=False)
    assert not any(len(axis.lines) for axis in without.axes[: axes.size])
    assert without.get_figheight() < figure.get_figheight()


def test_the_curve_may_show_weights_instead() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.1, 0.2])
    notes = [f"{100 * weight:.0f} %" for weight in weights.tolist()]
    figure, axes = relevance_strip(
        frames(),
        {"Grad-CAM": maps()["total"]},
        indices=[2, 5],
        notes=notes,
        weights=("attention", weights),
        quantity="Grad-CAM",
    )
    assert [axis.get_title() for axis in axes[0]] == ["2: 30 %", "5: 20 %"]
    (line,) = [
        line for axis in figure.axes for line in axis.lines if np.size(line.get_xdata()) == 6
    ]
    assert line.get_label() == "attention"
    assert np.array_equal(line.get_ydata(), weights.double().numpy())
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert "Grad-CAM,\none scale" in titles
    assert not any("relevance" in title for title in titles)
    assert line.axes is not None
    legend = line.axes.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == ""  # no sums


def test_labels_title_and_scale() -> None:
    labels = [f"{t / 10:.1f} s" for t in range(6)]
    figure, axes = relevance_strip(
        frames(), maps(), indices=[1, 4], labels=labels, title="pull-ups", scale=2.0
    )
    assert [axis.get_title() for axis in axes[0]] == ["0.1 s", "0.4 s"]
    assert figure.get_suptitle() == "pull-ups"
    texts = [label.get_text() for axis in figure.axes for label in axis.get_yticklabels()]
    assert {"+2", "-2", "0"} <= set(texts)
    assert any("one scale" in axis.get_title(loc="left") for axis in figure.axes)


def test_up_to_eight_frames_are_shown() -> None:
    _, axes = relevance_strip(frames(), {"total": maps()["total"]})
    assert axes.shape == (2, 6)
    many = torch.zeros(20, 3, 4, 4, dtype=torch.uint8)
    _, axes = relevance_strip(many, {"total": torch.ones(20, 4, 4)})
    assert [axis.get_title() for axis in axes[0]] == ["1", "3", "6", "8", "11", "13", "16", "18"]


@pytest.mark.parametrize("shape", [(1, 20, 8), (2, 8, 40), (16, 8, 8)])
def test_everything_lies_within_the_picture(shape: tuple[int, int, int], tmp_path: Path) -> None:
    total, height, width = shape
    figure, _ = relevance_strip(
        frames(total, height, width), {"relevance": torch.rand(shape)}, title="a long title " * 9
    )
    figure.savefig(tmp_path / "strip.png")
    outer = figure.bbox
    title = figure.texts[0].get_window_extent()
    assert 0 <= title.x0 < title.x1 <= outer.x1
    for axis in figure.axes:
        inner = axis.get_tightbbox()
        assert inner is not None
        assert inner.x0 >= -1
        assert inner.y0 >= -1
        assert inner.x1 <= outer.x1 + 1
        assert inner.y1 <= outer.y1 + 1


def test_long_names_stay_beside_their_rows() -> None:
    names = ("temporal relevance of the class that was predicted", "gradient" * 6, "short")
    figure, axes = relevance_strip(frames(), dict(zip(names, maps().values(), strict=True)))
    assert_legible(figure)
    words = [axes[row, 0].get_ylabel() for row in range(1, 4)]
    assert [word.replace("\n", " ") for word in words] == list(names)
    assert [axes[row, 0].yaxis.label.get_fontsize() for row in (0, 3)] == [9, 9]


def test_no_relevance_warns_and_is_white() -> None:
    with pytest.warns(UserWarning, match="zero everywhere: the maps are white"):
        figure, axes = relevance_strip(frames(), {"total": torch.zeros(6, 8, 10)})
    figure.canvas.draw()
    assert np.allclose(picture(axes[1, 0]), 1, atol=0.01)


def test_pyplot_knows_nothing_of_it() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before, backend = pyplot.get_fignums(), matplotlib.get_backend()
    parameters = dict(matplotlib.rcParams)
    relevance_strip(frames(), maps())
    assert pyplot.get_fignums() == before
    assert matplotlib.get_backend() == backend
    assert dict(matplotlib.rcParams) == parameters


def test_refuses() -> None:
    with pytest.raises(ValueError, match="rows is empty"):
        relevance_strip(frames(), {})
    with pytest.raises(ValueError, match=r"total has \(T, H, W\) = \(5, 8, 10\) but the frames"):
        relevance_strip(frames(), {"total": torch.ones(5, 8, 10)})
    with pytest.raises(ValueError, match=r"frame numbers from 0 to 5, got \[6\]"):
        relevance_strip(frames(), maps(), indices=[6])
    with pytest.raises(ValueError, match=r"labels must be one per frame \(6\), got 1"):
        relevance_strip(frames(), maps(), labels=["a"])
    with pytest.raises(ValueError, match=r"notes must be one per frame \(6\), got 1"):
        relevance_strip(frames(), maps(), notes=["a"])
    for weights in (torch.ones(5), torch.full((6,), float("nan"))):
        with pytest.raises(
            ValueError, match=r"weights 'a' must be one finite number per frame \(6\)"
        ):
            relevance_strip(frames(), maps(), weights=("a", weights))
