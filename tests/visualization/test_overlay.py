import numpy as np
import pytest
import torch

from captum_video.visualization import SIGNED, overlay, side_by_side


def frames(total: int = 2, height: int = 3, width: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (total, 3, height, width), generator=generator).to(torch.uint8)


def test_by_hand() -> None:
    pictures = torch.full((1, 3, 1, 4), 100, dtype=torch.uint8)
    relevance = torch.tensor([4.0, 0.0, -4.0, 2.0]).view(1, 1, 4)
    result = overlay(pictures, relevance, alpha=0.5, scale=4.0)
    # full strength: half the frame, half the colour at 0.8 of the way to the map's end
    red, blue = (np.array(SIGNED(0.5 + s * 0.4)[:3]) for s in (1, -1))
    half = np.array(SIGNED(0.5 + 0.5 * (0.45 + 0.35 * 0.5))[:3])
    assert np.allclose(result[0, 0, 0], 50 + 127.5 * red, atol=1)
    assert result[0, 0, 1].tolist() == [100, 100, 100]
    assert np.allclose(result[0, 0, 2], 50 + 127.5 * blue, atol=1)
    cover = 0.5 * 0.5**0.7
    assert np.allclose(result[0, 0, 3], (1 - cover) * 100 + cover * 255 * half, atol=1)
    assert result.dtype == np.uint8


def test_frames_show_through_in_grey_or_colour() -> None:
    pictures = frames()
    relevance = torch.zeros(2, 3, 4)
    relevance[0, 0, 0] = 1
    colour = overlay(pictures, relevance, grey=0)
    expected = pictures.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(colour[1], expected[1])
    grey = overlay(pictures, relevance)[1].astype(int)
    assert np.ptp(grey, axis=-1).max() == 0
    assert np.allclose(grey[..., 0], expected[1] @ [0.299, 0.587, 0.114], atol=1)


def test_one_symmetric_scale_for_the_whole_clip() -> None:
    pictures = torch.full((2, 3, 1, 1), 128, dtype=torch.uint8)
    strong = overlay(pictures, torch.tensor([8.0, -1.0]).view(2, 1, 1), outlier_perc=0)
    weak = overlay(pictures, torch.tensor([1.0, -8.0]).view(2, 1, 1), outlier_perc=0)
    away = [np.abs(side.astype(int) - 128).sum((1, 2, 3)) for side in (strong, weak)]
    assert away[0][0] > 4 * away[0][1]
    assert away[1][1] > 4 * away[1][0]


def test_flipping_the_sign_flips_the_colours() -> None:
    relevance = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    pictures = torch.full((2, 3, 3, 4), 90, dtype=torch.uint8)
    plus, minus = overlay(pictures, relevance), overlay(pictures, -relevance)
    redder = (plus[..., 0].astype(int) - plus[..., 2]) > 0
    bluer = (minus[..., 2].astype(int) - minus[..., 0]) > 0
    assert np.array_equal(redder, (relevance > 0).numpy())
    assert np.array_equal(bluer, (relevance > 0).numpy())


def test_no_relevance_shows_the_plain_frames_and_warns() -> None:
    pictures = frames()
    with pytest.warns(UserWarning, match="zero everywhere: the overlay shows the plain frames"):
        result = overlay(pictures, torch.zeros(3, 2, 3, 4))
    assert np.array_equal(result, pictures.permute(0, 2, 3, 1).numpy())


def test_inputs_stay_as_they_are() -> None:
    pictures, relevance = frames(), torch.randn(2, 3, 4)
    before = pictures.clone(), relevance.clone()
    overlay(pictures, relevance)
    assert torch.equal(pictures, before[0])
    assert torch.equal(relevance, before[1])
    channels_last = frames(2, 5, 6).permute(0, 2, 3, 1).contiguous().numpy()
    with pytest.warns(UserWarning, match="zero everywhere"):
        assert not np.shares_memory(overlay(channels_last, torch.zeros(2, 5, 6)), channels_last)


def test_refuses() -> None:
    relevance = torch.ones(2, 3, 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) but the frames have \(2, 3, 4\): resize"):
        overlay(frames(), torch.ones(2, 3, 5))
    with pytest.raises(ValueError, match=r"alpha must lie in 0\.\.1, got 2"):
        overlay(frames(), relevance, alpha=2)
    with pytest.raises(ValueError, match="scale must be a number >= 0, got -1"):
        overlay(frames(), relevance, scale=-1)
    with pytest.raises(ValueError, match="scale is 0 but the relevance is not"):
        overlay(frames(), relevance, scale=0)
    with pytest.raises(ValueError, match="frames must be uint8"):
        overlay(frames().float(), relevance)


def test_side_by_side_places_the_videos() -> None:
    left, right = frames(2, 30, 40), frames(2, 30, 40).flip(0)
    sheet = side_by_side({"left": left, "right": right}, captions=["a", "b"], gap=6)
    total, height, width, _ = sheet.shape
    assert (total, width) == (2, 40 + 6 + 40)
    top = next(y for y in range(height) if np.array_equal(sheet[0, y, :40], left[0, :, 0].T))
    body = sheet[:, top : top + 30]
    assert np.array_equal(body[:, :, :40], left.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(body[:, :, 46:], right.permute(0, 2, 3, 1).numpy())
    assert (body[:, :, 40:46] == 255).all()
    head, foot = sheet[:, :top], sheet[:, top + 30 :]
    assert (head < 128).any()
    assert np.array_equal(head[0], head[1])
    assert not np.array_equal(foot[0], foot[1])


def test_long_names_shrink_to_fit() -> None:
    video = frames(1, 30, 60)
    sheet = side_by_side({"a name that is far too long for it": video, "b": video})
    edge = sheet[0, : sheet.shape[1] - 30, 60:64]
    assert (edge == 255).all()


def test_side_by_side_refuses() -> None:
    with pytest.raises(ValueError, match="panels must be of the same"):
        side_by_side({"a": frames(), "b": frames(3)})
    with pytest.raises(ValueError, match="got none"):
        side_by_side({})
    with pytest.raises(ValueError, match=r"captions must be one per frame \(2\), got 1"):
        side_by_side({"a": frames()}, captions=["x"])


def test_a_dollar_sign_is_no_formula() -> None:
    video = frames(2, 30, 200)
    sheet = side_by_side({r"$\nope$": video}, captions=[r"$5", r"$\frac$"])
    assert (sheet[:, :16] < 128).any()
    assert not np.array_equal(sheet[0, -18:], sheet[1, -18:])


def test_captions_are_no_string() -> None:
    with pytest.raises(TypeError, match=r"captions must be a list of lines, .* got 'ab'"):
        side_by_side({"a": frames()}, captions="ab")
