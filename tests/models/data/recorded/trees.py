"""Small data sets in the exact layouts of the official ones, with videos encoded on the spot.

In all of them a class is told by its colour and by where its bright square goes, and the bottom
quarter of a frame is a grey that tells its number; :func:`frame_numbers` reads it.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tests.io.videos import encode

#: some of the official names; the files of HandstandPushups spell it otherwise
UCF101_CLASSES = (
    "ApplyEyeMakeup",
    "HandstandPushups",
    "ApplyLipstick",
    "Archery",
    "BabyCrawling",
    "BalanceBeam",
)
HMDB51_CLASSES = ("brush_hair", "cartwheel", "catch", "ride_bike", "wave")
JESTER_CLASSES = (
    "Swiping Left",
    "Thumb Up",
    "Doing other things",
    "Drumming Fingers",
    "No gesture",
)
FOLDS = (1, 2, 3)
_DARKEST, _STEP = 16, 8  # grey of frame 0, and from a frame to the next: enough for 30 frames
_SPELLED = {"HandstandPushups": "HandStandPushups"}


def picture(label: int, classes: int, clip: int, frames: int, size: tuple[int, int]) -> Tensor:
    """One clip, (T, 3, H, W) uint8: colour and direction are the class's, the start is the clip's."""
    height, width = size
    colour = colorsys.hsv_to_rgb(label / classes, 1, 0.6)
    video = (255 * torch.tensor(colour)).to(torch.uint8).reshape(1, 3, 1, 1)
    video = video.repeat(frames, 1, height, width)
    strip = height - height // 4
    side = max(2, strip // 4)
    angle = 2 * math.pi * label / classes
    for t, frame in enumerate(video):
        top = round(strip / 2 + 3 * clip + 2 * t * math.sin(angle)) % (strip - side + 1)
        left = round(width / 2 + 5 * clip + 2 * t * math.cos(angle)) % (width - side + 1)
        frame[:, top : top + side, left : left + side] = 240
        frame[:, strip:] = _DARKEST + _STEP * t
    return video


def frame_numbers(clip: Tensor) -> list[int]:
    """The numbers of the frames in a clip as read, (3, T, H, W) in [0, 1], of any size."""
    row = clip.shape[2] - max(1, clip.shape[2] // 10)
    greys = 255 * clip[:, :, row, 2:-2].mean((0, 2))
    return [round((grey - _DARKEST) / _STEP) for grey in greys.tolist()]


def write_avi(path: Path, frames: Tensor) -> Path:
    """A video as UCF101 and HMDB51 have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, frames, "mpeg4", options={"b": "4M", "qmin": "1", "qmax": "2"})


def write_jpegs(folder: Path, frames: Tensor) -> Path:
    """A video as Jester has them: 00001.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {"qmin": "1", "qmax": "2"}
    encode(folder / "%05d.jpg", frames, "mjpeg", pix_fmt="yuvj420p", options=options)
    return folder


def write_list(path: Path, lines: Iterable[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def ucf101_name(label: str, group: int, clip: int = 1) -> str:
    """A video as the lists name it."""
    return f"{label}/v_{_SPELLED.get(label, label)}_g{group:02}_c{clip:02}.avi"


def ucf101_tree(
    root: Path,
    *,
    classes: int = 3,
    train: int = 2,
    test: int = 2,
    per_group: int = 1,
    frames: int = 6,
    size: tuple[int, int] = (24, 32),
    folder: str = "UCF-101",
) -> Path:
    """UCF101: three folds; of ``train + test`` groups a class, fold f tests the f-th ``test``.

    Half of the test groups, rounded down, is validation. Videos go below ``root / folder``.
    """
    names = UCF101_CLASSES[:classes]
    groups = list(range(1, train + test + 1))
    for label, name in enumerate(names):
        for index, group in enumerate(groups):
            for clip in range(1, per_group + 1):
                video = picture(label, classes, per_group * index + clip, frames, size)
                write_avi(root / folder / ucf101_name(name, group, clip), video)
    lists = root / "ucfTrainTestlist"
    numbered = [f"{number} {name}" for number, name in enumerate(names, 1)]
    write_list(lists / "classInd.txt", numbered, "\r\n")
    for fold in FOLDS:
        held = _rotated(groups, (fold - 1) * test)[:test]
        rows = [
            (ucf101_name(name, group, clip), number, group in held)
            for number, name in enumerate(names, 1)
            for group in groups
            for clip in range(1, per_group + 1)
        ]
        trained = [f"{video} {number}" for video, number, is_test in rows if not is_test]
        write_list(lists / f"trainlist{fold:02}.txt", trained, "\r\n")
        tested = [video for video, _, is_test in rows if is_test]
        write_list(lists / f"testlist{fold:02}.txt", tested, "\r\n")
    return root


def hmdb51_name(label: str, source: int, clip: int = 0) -> str:
    """A video's name, with the characters that real ones have."""
    return f"Film_#{source}_(Part_1)_&_more!_{label}_u_cm_np1_fr_med_{clip}.avi"


def hmdb51_tree(
    root: Path,
    *,
    classes: int = 3,
    train: int = 2,
    test: int = 2,
    unused: int = 1,
    per_source: int = 1,
    frames: int = 6,
    size: tuple[int, int] = (24, 32),
    folder: str = "hmdb51_org",
) -> Path:
    """HMDB51: three folds; of a class's source films, fold f tests the f-th ``test`` of them.

    ``train``, ``test`` and ``unused`` count films. Half of the test films, rounded down, is
    validation. Videos go below ``root / folder``.
    """
    sources = list(range(1, train + test + unused + 1))
    lists = root / "testTrainMulti_7030_splits"
    for label, name in enumerate(HMDB51_CLASSES[:classes]):
        for source in sources:
            for clip in range(per_source):
                video = picture(label, classes, per_source * source + clip, frames, size)
                write_avi(root / folder / name / hmdb51_name(name, source, clip), video)
        for fold in FOLDS:
            turned = _rotated(sources, (fold - 1) * test)
            use = dict.fromkeys(turned, 0)
            use |= dict.fromkeys(turned[:test], 2)
            use |= dict.fromkeys(turned[test : test + train], 1)
            lines = [
                f"{hmdb51_name(name, source, clip)} {use[source]} "
                for source in sources
                for clip in range(per_source)
            ]
            write_list(lists / f"{name}_test_split{fold}.txt", lines)
    return root


def jester_tree(
    root: Path,
    *,
    classes: int = 3,
    train: int = 2,
    validation: int = 2,
    test: int = 1,
    frames: int = 6,
    size: tuple[int, int] = (24, 32),
    folder: str = "20bn-jester-v1",
) -> Path:
    """Jester: ``train`` and ``validation`` labelled clips a class, and ``test`` clips without label.

    The lists go through the classes in turn, as the official ones are not sorted by class. Half of
    the validation clips, rounded down, is the validation split and half the test split.
    """
    names = JESTER_CLASSES[:classes]
    write_list(root / "jester-v1-labels.csv", names)
    number = 100 + 7 * classes * (train + validation + test)
    for listed, count in (("train", train), ("validation", validation), ("test", test)):
        lines = []
        for clip in range(count):
            for label, name in enumerate(names):
                number -= 7
                video = picture(label, classes, clip + len(listed), frames, size)
                write_jpegs(root / folder / str(number), video)
                lines.append(str(number) if listed == "test" else f"{number};{name}")
        write_list(root / f"jester-v1-{listed}.csv", lines)
    return root


def _rotated(items: Sequence[int], by: int) -> list[int]:
    by %= len(items)
    return [*items[by:], *items[:by]]
