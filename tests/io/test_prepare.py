from pathlib import Path

import numpy as np
import pytest
import torch

from captum_video.io import Clip, center_crop, display, normalize, prepare, resize


def ramp(frames: int, height: int, width: int) -> torch.Tensor:
    """Pixel value = 10 * row + column, plus the frame's number times 100 in the red channel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = (10 * rows + columns).float()
    pixels = plane.expand(frames, 3, height, width).clone()
    pixels[:, 0] += 100 * torch.arange(frames).view(-1, 1, 1)
    return pixels


def test_center_crop_by_hand() -> None:
    cropped = center_crop(ramp(1, 5, 6), (2, 3))
    # rows 1 and 2 of 5, columns 1 to 3 of 6: the odd rest is left at the bottom and on the right
    assert cropped[0, 1].tolist() == [[11, 12, 13], [21, 22, 23]]
    with pytest.raises(ValueError, match="cannot crop 6x6 from frames of 5x6"):
        center_crop(ramp(1, 5, 6), 6)


def test_resize_averages_by_hand() -> None:
    # halving with antialiasing: weights 1, 3, 3, 1 (a triangle of twice the width), cut at borders
    line = torch.tensor([0.0, 8.0, 16.0, 24.0]).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    halved = resize(line.contiguous(), 2)
    left = (3 * 0 + 3 * 8 + 1 * 16) / 7
    right = (1 * 8 + 3 * 16 + 3 * 24) / 7
    assert halved[0, 0, 0].tolist() == pytest.approx([left, right])


@pytest.mark.parametrize(
    ("old", "size", "fit", "new"),
    [
        ((40, 80), 20, "cover", (20, 40)),
        ((80, 40), 20, "cover", (40, 20)),
        ((40, 80), (20, 60), "cover", (30, 60)),
        ((40, 80), (40, 20), "cover", (40, 80)),
        ((40, 80), (20, 60), "squeeze", (20, 60)),
        ((7, 9), 14, "cover", (14, 18)),
    ],
)
def test_resize_covers_or_squeezes(
    old: tuple[int, int], size: int | tuple[int, int], fit: str, new: tuple[int, int]
) -> None:
    assert resize(torch.zeros(1, 3, *old), size, fit=fit).shape[2:] == new  # type: ignore[arg-type]


def test_resize_keeps_the_dtype() -> None:
    frames = torch.full((1, 3, 8, 8), 201, dtype=torch.uint8)
    small = resize(frames, 3)
    assert small.dtype == torch.uint8
    assert (small == 201).all()
    assert resize(frames, 8) is frames


def test_normalize_by_hand() -> None:
    frames = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)
    result = normalize(frames, (0.1, 0.2, 0.3), (0.1, 0.3, 0.4))
    assert result.flatten().tolist() == pytest.approx([4, 1, 0.5])
    with pytest.raises(ValueError, match="divide by 255 first"):
        normalize(frames.to(torch.uint8))
    with pytest.raises(ValueError, match=r"mean must be one number or one per channel \(3\)"):
        normalize(frames, (0.1, 0.2))
    with pytest.raises(ValueError, match="not zero if std"):
        normalize(frames, 0, (1, 0, 1))


def clip(frames: int = 6, height: int = 12, width: int = 20) -> Clip:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (frames, 3, height, width), generator=generator)
    return Clip(pixels.to(torch.uint8), 25.0, Path("clip.mp4"))


def test_prepare_is_its_steps() -> None:
    source = clip()
    mean, std = (0.4, 0.3, 0.2), (0.2, 0.25, 0.5)
    inputs = prepare(source, frames=3, size=(6, 8), mean=mean, std=std)
    values = source.frames[[1, 3, 5]].float() / 255
    values = center_crop(resize(values, (6, 8)), (6, 8)).clamp(0, 1)
    expected = normalize(values, mean, std).transpose(0, 1)[None]
    assert inputs.shape == (1, 3, 3, 6, 8)
    assert inputs.is_contiguous()
    assert torch.equal(inputs, expected)


def test_prepare_shows_the_middle_or_all() -> None:
    pixels = torch.zeros(1, 3, 10, 30, dtype=torch.uint8)
    pixels[..., 10:20] = 255  # a white middle third
    cropped = prepare(pixels, frames=[0], size=10)
    squeezed = prepare(pixels, frames=[0], size=10, fit="squeeze")
    assert (cropped == 1).all()
    assert squeezed.mean() == pytest.approx(1 / 3, abs=0.01)


def test_prepare_in_grey_by_hand() -> None:
    pixels = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    inputs = prepare(pixels, frames=2, size=4, grey=True)
    assert inputs.shape == (1, 1, 2, 4, 4)
    assert inputs.flatten().tolist() == pytest.approx([0.299] * 32)


def test_prepare_pads_a_short_clip() -> None:
    source = clip(frames=2, height=4, width=4)
    inputs = prepare(source, frames=5, size=4)
    pictures = display(inputs)
    for position, frame in enumerate([0, 0, 1, 1, 1]):
        assert np.array_equal(pictures[position], source.frames[frame].permute(1, 2, 0).numpy())


def test_display_inverts_prepare() -> None:
    source = clip(height=8, width=8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    inputs = prepare(source, frames=range(6), size=8, mean=mean, std=std)
    pictures = display(inputs, mean, std)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures, source.frames.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(display(inputs[0], mean, std), pictures)


def test_prepare_refuses() -> None:
    with pytest.raises(ValueError, match=r"frames must be numbers from 0 to 5, got \[6\]"):
        prepare(clip(), frames=[6])
    with pytest.raises(ValueError, match="fit must be 'crop' or 'squeeze', got 'stretch'"):
        prepare(clip(), fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be positive, got 0"):
        prepare(clip(), size=0)
    with pytest.raises(ValueError, match=r"must be one clip.*\(2, 3, 4, 5, 5\)"):
        display(torch.zeros(2, 3, 4, 5, 5))
