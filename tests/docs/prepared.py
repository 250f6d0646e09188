"""What the pages on training find in their folder: small data, and a net that was trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from models import train
from tests.models.data.recorded.trees import picture, ucf101_tree, write_avi

#: a C3D that trains in a moment, as options of its builder
NARROW = (
    *("widths=((4,), (8,), (8,))", "hidden=(16,)", "frames=8", "size=(24, 24)"),
    *("final_pool=False", "norm_from=1", "dropout=0.0"),
)
QUICK = ("--workers", "0", "--quiet", "--device", "cpu", "--no-tensorboard")


def options(*given: str) -> list[str]:
    """Options of a model's builder as words of the command line."""
    return [word for option in given for word in ("--option", option)]


def videos(root: Path) -> Path:
    """Two classes of gestures in a folder for each split."""
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for label, name in enumerate(("clap", "wave")):
            for clip in range(count):
                frames = picture(label, 2, clip, 10, (24, 32))
                write_avi(root / split / name / f"{clip}.avi", frames)
    return root


def _trained(folder: Path) -> None:
    videos(folder / "videos")
    words = ["c3d", "--data", "folders", "--root", "videos", "--output", "out", *QUICK]
    assert train.main([*words, *options(*NARROW), "--epochs", "2", "--batch-size", "2"]) == 0


def _readable(folder: Path) -> None:
    ucf101_tree(folder / "UCF101")


#: by page, what fills the current folder before its code runs
PREPARED: Mapping[str, Callable[[Path], None]] = {
    "docs/how-to/train.md": _trained,
    "docs/how-to/read-data-sets.md": _readable,
}
