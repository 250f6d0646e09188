from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data._digit_images import digit_images
from models.data.video_mnist import MNIST_VARIABLE, VideoMNIST, render


def write_mnist(root: Path, labels: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """A small MNIST in the raw format: big-endian headers, then bytes."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pictures = {}
    for number, (part, digits) in enumerate(labels.items()):
        rng = np.random.default_rng(number)
        images = np.zeros((len(digits), 28, 28), dtype=np.uint8)
        images[:, 4:24, 4:24] = rng.integers(0, 256, (len(digits), 20, 20))
        header = struct.pack(">IIII", 0x0803, len(digits), 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x0801, len(digits))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(digits))
        pictures[part] = images
    return pictures


@pytest.fixture
def mnist(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    labels = {"train": [*range(10), *range(9, -1, -1)], "t10k": [*range(5, 10), *range(5)]}
    return tmp_path, write_mnist(tmp_path, labels)


def test_mnist_is_read_from_disk(mnist: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, pictures = mnist
    train, validation = (digit_images(str(root), split) for split in ("train", "validation"))
    np.testing.assert_array_equal((train.images * 255).round()[:, 0], pictures["train"])
    np.testing.assert_array_equal((validation.images * 255).round()[:, 0], pictures["t10k"])
    assert train.images.max() <= 1
    assert [rows.tolist() for rows in train.by_class] == [[d, 19 - d] for d in range(10)]
    assert [rows.tolist() for rows in validation.by_class] == [[(d + 5) % 10] for d in range(10)]


def test_a_clip_shows_the_digit_of_its_label(mnist: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, pictures = mnist
    data = VideoMNIST(12, split="validation", decoupled=True, digits=root)
    for index in range(len(data)):
        sample = data[index]
        # one image per digit in this split, so that the clip is known
        image = torch.from_numpy(pictures["t10k"][(sample.digit + 5) % 10] / 255).float()
        drawn = [render(image[None], 20 / 28, sample.pose.numpy(), side) for side in (12, 14)]
        errors = [float((one - sample.clip).abs().max()) for one in drawn]
        assert min(errors) < 1e-4 < max(errors)


def test_the_box_of_an_mnist_digit_has_the_stated_side() -> None:
    image = torch.zeros(1, 28, 28)
    image[:, 4:24, 4:24] = 1  # fills the box
    clip = render(image, 20 / 28, np.array([[0, 0, 1, 0]]), 14)
    # half a source pixel of soft edge, 0.35 of a pixel, to each side
    assert float(clip.sum()) == pytest.approx(14**2, rel=1e-3)
    assert torch.all(clip[0, 0, 8:20, 8:20] == 1)
    assert clip[0, 0, :6].sum() == clip[0, 0, :, 22:].sum() == 0


def test_the_environment_names_the_folder(
    mnist: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = mnist
    monkeypatch.delenv(MNIST_VARIABLE, raising=False)
    assert VideoMNIST(1).digits == "sklearn"
    monkeypatch.setenv(MNIST_VARIABLE, str(root))
    data = VideoMNIST(3)
    assert data.digits == str(root)
    assert torch.equal(data[1].clip, VideoMNIST(3, digits=root)[1].clip)
    assert VideoMNIST(1, digits="sklearn").digits == "sklearn"


def test_a_folder_without_mnist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got '.*none'.*lacks the unpacked idx files"):
        VideoMNIST(1, digits=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"Nothing is downloaded"):
        VideoMNIST(1, digits=tmp_path)


def test_an_mnist_that_lacks_digits(tmp_path: Path) -> None:
    write_mnist(tmp_path, {"train": [0, 1, 2, 3, 5, 6, 8, 9], "t10k": list(range(10))})
    with pytest.raises(ValueError, match=r"has no image of 4, 7 \(train\)\."):
        VideoMNIST(1, digits=tmp_path)
    assert len(VideoMNIST(1, split="validation", digits=tmp_path)) == 1
