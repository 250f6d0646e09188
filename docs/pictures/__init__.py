"""The pictures of the method pages, drawn by the library itself each time the pages are built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from captum_video._core.files import written_whole
from models import registry

WEIGHTS = Path(registry.__file__).parent / "weights"


class Picture(NamedTuple):
    """A picture and what it is made from.

    Attributes:
        name: of the file, without its suffix.
        draw: makes the figure.
        weights: names of the bundled nets that it shows.
        width: in pixels, at most.
    """

    name: str
    draw: Callable[[], Figure]
    weights: tuple[str, ...]
    width: int

    def sources(self) -> list[Path]:
        """The files whose change is to draw the picture again."""
        weights = [WEIGHTS / f"{name}.safetensors" for name in self.weights]
        return [Path(inspect.getfile(self.draw)), *weights]

    def is_current(self, folder: Path) -> bool:
        """Whether the picture lies in a folder and is younger than all of its sources."""
        target = folder / f"{self.name}.png"
        if not target.is_file():
            return False
        return all(path.stat().st_mtime <= target.stat().st_mtime for path in self.sources())


PICTURES: dict[str, Picture] = {}


def picture(
    name: str, *weights: str, width: int = 1400
) -> Callable[[Callable[[], Figure]], Callable[[], Figure]]:
    """Marks a function without arguments as the one that draws a picture.

    Args:
        name: of the file, without its suffix.
        *weights: names of the bundled nets that it shows.
        width: in pixels, at most.

    Returns:
        A decorator that leaves the function as it is.
    """

    def keep(draw: Callable[[], Figure]) -> Callable[[], Figure]:
        PICTURES[name] = Picture(name, draw, weights, width)
        return draw

    return keep


def save(figure: Figure, target: Path, width: int) -> None:
    """Saves a figure as a PNG.

    Args:
        figure: what to save.
        target: the file.
        width: in pixels, at most.
    """
    with written_whole(target) as part:
        figure.savefig(part, dpi=150)
        shrink(part, part, width)


def shrink(picture: Path, target: Path, width: int) -> None:
    """Saves a picture again, small.

    Args:
        picture: the file to read.
        target: the file to write, which may be the same.
        width: in pixels, at most.
    """
    image = Image.open(picture).convert("RGB")
    if image.width > width:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(target, optimize=True)


def draw_all(folder: Path, names: Sequence[str] | None = None) -> list[str]:
    """Draws the pictures that a folder lacks, or that are older than what they are made from.

    Args:
        folder: where they belong; it is made if it does not exist.
        names: which of them; ``None`` for all.

    Returns:
        The names of those that were drawn.
    """
    from pictures import clips, networks, skeletons  # noqa: F401  (they fill PICTURES)

    wanted = [PICTURES[name] for name in (PICTURES if names is None else names)]
    drawn = [item for item in wanted if not item.is_current(folder)]
    for item in drawn:
        save(item.draw(), folder / f"{item.name}.png", item.width)
    return [item.name for item in drawn]
