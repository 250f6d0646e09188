"""What the pictures of a clip hold: Captum's picture of each frame, on one scale or each its own."""

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import visualization as captum_visualization
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_video.visualization import (
    COLOUR_BLIND,
    SIGNED,
    clip_map,
    robust_maximum,
    visualize_video_attr,
    visualize_video_attr_multiple,
)
from captum_video.visualization._colour import one_signed

TOTAL, HEIGHT, WIDTH = 5, 9, 12
METHODS = ("heat_map", "blended_heat_map", "masked_image", "alpha_scaling")
SIGNS = ("positive", "absolute_value", "negative", "all")
PAIRS = [(m, s) for m in METHODS for s in SIGNS if s != "all" or "heat" in m]


def video() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (TOTAL, 3, HEIGHT, WIDTH), generator=generator)
    return (noise * torch.linspace(0.4, 1, TOTAL)[:, None, None, None]).to(torch.uint8)


def attr() -> torch.Tensor:
    """Larger from frame to frame, so that a frame's scale is not the clip's."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(3, TOTAL, HEIGHT, WIDTH, generator=generator, dtype=torch.float64) ** 3
    return values * torch.linspace(1, 3, TOTAL)[:, None, None].double()


def drawn(*arguments: Any, **options: Any) -> np.ndarray:
    options = {"use_pyplot": False, "curve": False, **options}
    return visualize_video_attr(*arguments, **options)[1]


def captum(frame: int, method: str, sign: str, cmap: Any, **options: Any) -> Axes:
    picture = video()[frame].permute(1, 2, 0).numpy()
    values = attr()[:, frame].permute(1, 2, 0).numpy()
    _, axes = captum_visualization.visualize_image_attr(
        values, picture, method, sign, cmap=cmap, use_pyplot=False, fig_size=(4, 3), **options
    )
    return axes


def same_images(ours: Axes, theirs: Axes) -> None:
    assert len(ours.images) == len(theirs.images) > 0
    for one, other in zip(ours.images, theirs.images, strict=True):
        mine, captums = one.get_array(), other.get_array()
        assert mine is not None
        assert captums is not None
        assert mine.shape == captums.shape
        assert np.allclose(mine, captums, rtol=1e-12, atol=1e-15)
        assert one.get_alpha() == other.get_alpha()
        if mine.ndim == 2:
            assert one.get_cmap() == other.get_cmap()
            assert one.get_clim() == pytest.approx(other.get_clim(), rel=1e-12)


def inner_pixels(axes: Axes) -> np.ndarray:
    """What lies within an axes, its frame left out."""
    figure = axes.get_figure()
    assert figure is not None
    canvas = FigureCanvasAgg(figure)  # type: ignore[arg-type]
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())
    box = axes.get_window_extent()
    rows = slice(int(picture.shape[0] - box.y1) + 4, int(picture.shape[0] - box.y0) - 4)
    return picture[rows, int(box.x0) + 4 : int(box.x1) - 4]


@pytest.mark.parametrize("cmap", [None, "PRGn", "colour-blind"])
@pytest.mark.parametrize(("method", "sign"), PAIRS)
def test_a_frame_is_what_captum_draws(method: str, sign: str, cmap: str | None) -> None:
    found = drawn(attr(), video(), method, sign, normalization="frame", cmap=cmap)
    whole = {None: SIGNED, "colour-blind": COLOUR_BLIND}.get(cmap, cmap)
    theirs = whole if sign == "all" else one_signed(cmap, sign)
    for frame in range(TOTAL):
        same_images(found[frame], captum(frame, method, sign, theirs))


@pytest.mark.parametrize(("method", "sign"), PAIRS)
def test_pixels_are_captum_s(method: str, sign: str) -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    options: dict[str, Any] = {"outlier_perc": 30, "alpha_overlay": 0.3}
    visualize_video_attr(
        attr(), video(), method, sign, (figure, [axes]), cmap="PRGn", normalization="frame",
        frames=[3], curve=False, **options,
    )  # fmt: skip
    theirs = captum(3, method, sign, "PRGn", **options)
    same_images(axes, theirs)
    pixels = inner_pixels(axes)
    assert pixels.size > 10_000
    assert np.array_equal(pixels, inner_pixels(theirs))
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 20


def test_both_refuse_two_signs_as_one() -> None:
    for method in ("masked_image", "alpha_scaling"):
        with pytest.raises(AssertionError):
            captum(0, method, "all", None)
        with pytest.raises(ValueError, match=f"'{method}' shows one sign: choose sign from 'posi"):
            drawn(attr(), video(), method, "all")


def test_plain_frames() -> None:
    found = drawn(attr(), video(), "original_image")
    for frame in range(TOTAL):
        same_images(found[frame], captum(frame, "original_image", "all", None))


@pytest.mark.parametrize("sign", SIGNS)
def test_one_scale_for_the_clip(sign: str) -> None:
    """As Captum scales one tall image in which the frames lie below each other."""
    found = drawn(attr(), video(), "heat_map", sign, cmap="PRGn", outlier_perc=20)
    tall = attr().sum(0).reshape(-1, WIDTH).numpy()
    _, axes = captum_visualization.visualize_image_attr(
        tall, None, "heat_map", sign, use_pyplot=False, outlier_perc=20
    )
    expected = np.asarray(axes.images[0].get_array()).reshape(TOTAL, HEIGHT, WIDTH)
    assert (np.abs(expected) == 1).sum() > 5  # some saturate
    for frame in range(TOTAL):
        assert np.allclose(np.asarray(found[frame].images[0].get_array()), expected[frame])
    few = drawn(
        attr(), video(), "heat_map", sign, outlier_perc=20, frames=[1, 0]
    )  # the scale is the whole clip's
    assert np.allclose(np.asarray(few[0].images[0].get_array()), expected[1])
    assert np.allclose(np.asarray(few[1].images[0].get_array()), expected[0])


def test_grey_frames_share_their_range() -> None:
    found = drawn(attr(), video())
    grey = video().double().mean(1).numpy()
    for frame in range(TOTAL):
        assert np.allclose(np.asarray(found[frame].images[0].get_array()), grey[frame])
        assert found[frame].images[0].get_clim() == pytest.approx((grey.min(), grey.max()))


@pytest.mark.parametrize("level", [0, 90, 255])
def test_even_frames_keep_their_grey(level: int) -> None:
    """Captum draws them black, since matplotlib finds no range of brightness in them."""
    even = torch.full_like(video(), level)
    flash = video()
    flash[2] = level
    for frames, normalization in ((even, "clip"), (even, "frame"), (flash, "frame")):
        found = drawn(attr(), frames, normalization=normalization, alpha_overlay=0.0)
        assert np.abs(inner_pixels(found[2])[..., :3].astype(int) - level).max() <= 1


def test_layouts_of_the_same_clip() -> None:
    expected = drawn(attr(), video(), "masked_image", "positive")
    forms: list[tuple[Any, Any]] = [
        (attr().sum(0), video()),
        (attr()[None].numpy(), video().permute(0, 2, 3, 1).numpy()),
        (attr().float().requires_grad_(), video()),
    ]
    for values, frames in forms:
        found = drawn(values, frames, "masked_image", "positive")
        for one, other in zip(found, expected, strict=True):
            difference = np.asarray(one.images[0].get_array()).astype(int) - np.asarray(
                other.images[0].get_array()
            )
            assert np.abs(difference).max() <= 1


def test_default_colours() -> None:
    maps = {
        "all": SIGNED,
        "positive": one_signed(None, "positive"),
        "negative": one_signed(None, "negative"),
        "absolute_value": colormaps["Blues"],
    }
    for sign, cmap in maps.items():
        image = drawn(attr(), None, "heat_map", sign)[0].images[0]
        assert image.get_cmap() == cmap
        assert image.get_clim() == ((-1, 1) if sign == "all" else (0, 1))


@pytest.mark.parametrize("kind", ["positive", "negative", "absolute_value", "all"])
def test_no_attribution_of_a_sign_shows_plain_frames(kind: str) -> None:
    frames = video()
    blank = torch.zeros(TOTAL, HEIGHT, WIDTH)
    with pytest.warns(UserWarning, match="zero everywhere: the plain frames are shown") as record:
        found = drawn(blank, frames, "blended_heat_map", kind)
    assert record[0].filename == __file__
    for axes, frame in zip(found, frames.permute(0, 2, 3, 1).numpy(), strict=True):
        (image,) = axes.images
        assert np.array_equal(np.asarray(image.get_array()), frame)
    with pytest.warns(UserWarning, match="zero everywhere: the heat map is empty"):
        found = drawn(blank, None, "heat_map", kind)
    assert not np.asarray(found[0].images[0].get_array()).any()


def test_plain_frames_need_no_attribution() -> None:
    """They are what was asked for: nothing is warned of."""
    found = drawn(torch.zeros(TOTAL, HEIGHT, WIDTH), video(), "original_image", curve=True)
    assert found[-1].get_ylim() == (-1, 1)
    assert not [line for line in found[-1].lines if line.get_gid() and line.get_xdata().size]


def test_what_is_missing_is_named() -> None:
    with pytest.warns(UserWarning, match="attr has no negative values: the plain frames"):
        found = drawn(attr().abs(), video(), "masked_image", "negative")
    assert np.array_equal(
        np.asarray(found[2].images[0].get_array()), video()[2].permute(1, 2, 0).numpy()
    )
    with pytest.warns(UserWarning, match="attr has no positive values") as record:
        visualize_video_attr_multiple(
            -attr().abs(), video(), ["heat_map", "heat_map", "masked_image"],
            ["all", "positive", "positive"], use_pyplot=False,
        )  # fmt: skip
    assert len(record) == 1
    assert record[0].filename == __file__


def test_a_frame_without_attribution_among_others() -> None:
    values = attr()
    values[:, 2] = 0
    for normalization in ("clip", "frame"):
        found = drawn(values, video(), normalization=normalization)
        assert len(found[2].images) == 2
        assert not np.asarray(found[2].images[1].get_array()).any()


def test_the_colour_bar_says_the_scale() -> None:
    scale = robust_maximum(clip_map(attr()))
    figure, found = visualize_video_attr(
        attr(), video(), show_colorbar=True, use_pyplot=False, curve=False
    )
    (bar,) = set(figure.axes) - set(found)
    texts = [label.get_text() for label in bar.get_yticklabels()]
    assert texts == [f"-{scale:.2g}", "0", f"+{scale:.2g}"]
    negative = robust_maximum(np.minimum(clip_map(attr()), 0))
    assert bar_texts("negative") == ["0", f"-{negative:.2g}"]
    assert bar_texts("absolute_value") == ["0", f"{scale:.2g}"]
    assert bar_texts("positive", normalization="frame") == ["0", "+max"]
    without, found = visualize_video_attr(
        attr(), video(), "masked_image", "positive", show_colorbar=True, use_pyplot=False
    )
    assert set(without.axes) == set(found)


def bar_texts(sign: str, **options: Any) -> list[str]:
    figure, found = visualize_video_attr(
        attr(), video(), sign=sign, show_colorbar=True, use_pyplot=False, **options
    )
    (bar,) = set(figure.axes) - set(found)
    return [label.get_text() for label in bar.get_yticklabels()]
