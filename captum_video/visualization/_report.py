"""The report page: a clip and its explanations in one HTML file that plays them."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import Colormap
from torch import Tensor

from captum_video._core.files import written_whole
from captum_video.io import frame_indices, frames_last
from captum_video.visualization._captions import caption_of, given_caption
from captum_video.visualization._colour import clip_map, colour_map, robust_maximum
from captum_video.visualization._report_data import LEVELS, TooLarge, page, video
from captum_video.visualization._report_given import (
    check_known,
    check_words,
    each,
    named,
    numbers,
    texts,
    zero_maps,
)
from captum_video.visualization._report_parts import Table, Target, Video

_SUFFIXES = (".html", ".htm")
_HEIGHT = 760  # pixels of the page inside a notebook


class Report:
    """One self-contained page that plays a clip with its maps in step.

    The page needs no network and no server: frames and maps lie in the file. It has play and pause,
    a frame slider, arrow keys, opacity, sign, colours, a switch between explained classes, curves of
    relevance over time that can be clicked, tables, and downloads of the numbers. Maps are drawn as
    :func:`overlay` draws them, all maps of a class on one scale.

    A map is stored as ``round(levels * sqrt(|v| / max|v|))`` with its sign, 127 levels if the page
    stays below ``max_bytes``, else 63, 31 or 15; the page says which. Sums per frame are exact.

    Args:
        frames: uint8, (T, C, H, W) or (T, H, W, C): what the model saw.
        fps: frames per second at which the page plays.
        title: the page's heading.
        labels: what each frame is called (T of them), such as its number in the file; ``None`` for
            0, 1, 2, ...
        method: what made the maps, such as ``"discriminative-relevance"``. The command's names get a
            caption that says what the method claims and what it does not.
        parameters: names and values that the page lists: model, layer, seed, ...
        caption: that caption in your own words.
        cmap: the colours that the page starts with, as in :func:`overlay`; it offers the
            colour-blind safe ones too.
        outlier_perc: percentage of relevance that may saturate (:func:`robust_maximum`).
        max_bytes: how large the page may get.

    Raises:
        ValueError: for frames that are none, labels that are not one per frame, numbers out of
            range, or a colour map that is not known.

    Example:
        >>> import torch
        >>> from captum_video.visualization import Report
        >>> frames = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> report = Report(frames, title="A dark clip", method="deep-taylor")
        >>> page = report.add({"total": torch.randn(4, 8, 8)}, target="night").html()
        >>> page.startswith("<!doctype html>")
        True
    """

    def __init__(
        self,
        frames: Tensor | np.ndarray,
        *,
        fps: float = 8.0,
        title: str = "What the model looked at",
        labels: Sequence[str] | None = None,
        method: str = "",
        parameters: Mapping[str, object] | None = None,
        caption: str | None = None,
        cmap: str | Colormap | None = None,
        outlier_perc: float = 2.0,
        max_bytes: int = 10_000_000,
    ) -> None:
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps must be a positive number, got {fps}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, got {max_bytes}")
        robust_maximum(np.zeros(1), outlier_perc=outlier_perc)  # refuses a wrong percentage now
        colour_map(cmap)  # as a wrong name
        check_words(method=method, parameters=parameters, caption=caption)
        self.frames = frames_last(frames).copy()
        self.labels = texts("labels", labels, len(self.frames))
        self.title, self.method, self.fps = str(title), method, float(fps)
        listed = named("parameters", parameters or {}).items()
        self.parameters = {name: str(value) for name, value in listed}
        self.caption = caption
        self.cmap, self.outlier_perc, self.max_bytes = cmap, outlier_perc, max_bytes
        self._targets: list[Target] = []
        self._tables: list[Table] = []
        self._panels: dict[str, np.ndarray] = {}

    def add(
        self,
        maps: Mapping[str, Tensor | np.ndarray] | Tensor | np.ndarray,
        target: str | int = "",
        *,
        curves: Mapping[str, Tensor | np.ndarray | Sequence[float]] | None = None,
        note: str = "",
    ) -> Report:
        """Adds the explanation of one output; the page switches between several.

        Args:
            maps: maps by name, each (T, H, W), (C, T, H, W) or (1, C, T, H, W) for the same frames;
                one map alone is called ``relevance``.
            target: what was explained, such as the class's name.
            curves: further numbers per frame (T) by name, such as attention weights.
            note: a sentence about this explanation, such as its temporal share.

        Returns:
            The report itself.

        Raises:
            TypeError: if ``maps`` is neither a map nor maps by name.
            ValueError: if there is nothing to show, a shape does not fit the frames, a value is not
                finite, or a name or the target is there already.

        Warns:
            UserWarning: if a map is zero everywhere; the plain frames are shown in its place.
        """
        if not isinstance(maps, Mapping | Tensor | np.ndarray):
            raise TypeError(
                f"maps must be one map or a dict of maps by name, got {type(maps).__name__}: what "
                "decompose returns has _asdict()"
            )
        target = str(target)
        given = named("maps", maps) if isinstance(maps, Mapping) else {"relevance": maps}
        found = {name: clip_map(values, name) for name, values in given.items()}
        expected = self.frames.shape[:3]
        for name, values in found.items():
            if values.shape != expected:
                raise ValueError(
                    f"{name} has (T, H, W) = {values.shape} but the frames have {expected}: "
                    "resize one of them (captum_video.io.resize)"
                )
        lines = {
            name: numbers(name, values, len(self.frames))
            for name, values in named("curves", curves or {}).items()
        }
        if not found and not lines:
            raise ValueError("maps is empty and there are no curves: there is nothing to show")
        twice = sorted(set(found) & set(lines))
        if twice:
            raise ValueError(f"{twice[0]!r} names a map and a curve: call one of them otherwise")
        taken = sorted(set(found) & {"frames", *self._panels})
        if taken:
            raise ValueError(f"map {taken[0]!r} has the name of a panel: call it otherwise")
        if any(known.name == target for known in self._targets):
            raise ValueError(f"target {target!r} was added already")
        scale = robust_maximum(*found.values(), outlier_perc=self.outlier_perc) if found else 0.0
        for text in zero_maps(target or "the clip", found):
            warnings.warn(text, stacklevel=2)
        self._targets.append(Target(target, note, scale, found, lines))
        return self

    def table(
        self,
        title: str,
        rows: Sequence[Mapping[str, object]],
        *,
        targets: Sequence[str | int | None] | None = None,
    ) -> Report:
        """Adds a table, such as the model's predictions.

        Args:
            title: its caption.
            rows: at least one, all with the columns of the first.
            targets: for each row the ``target`` of :meth:`add` that it stands for, which may be
                added later, or ``None``; the page marks the rows of the output it explains.

        Returns:
            The report itself.

        Raises:
            TypeError: if ``targets`` is a single string.
            ValueError: if there is no row, the columns differ, or targets are not one per row.
        """
        listed = [dict(row) for row in rows]
        if not listed or not listed[0]:
            raise ValueError(f"rows of table {title!r} must hold at least one row with a column")
        for number, row in enumerate(listed):
            if list(row) != list(listed[0]):
                raise ValueError(
                    f"row {number} of table {title!r} has the columns {list(row)}, the first one has "
                    f"{list(listed[0])}"
                )
        meant = each("targets", "row", targets, len(listed), [None] * len(listed))
        names = [None if name is None else str(name) for name in meant]
        self._tables.append(Table(title, listed, names))
        return self

    def panel(self, name: str, frames: Tensor | np.ndarray) -> Report:
        """Adds another video that plays in step, such as drawn skeletons.

        Args:
            name: what it is called.
            frames: uint8, as many as the clip has, of any height and width.

        Returns:
            The report itself.

        Raises:
            ValueError: for another number of frames, or a name that is there already.
        """
        pictures = frames_last(frames).copy()
        if len(pictures) != len(self.frames):
            raise ValueError(
                f"panel {name!r} has {len(pictures)} frames but the clip has {len(self.frames)}"
            )
        shown = {"frames", *self._panels}.union(*(target.maps for target in self._targets))
        if name in shown:
            raise ValueError(f"panel {name!r} is there already")
        self._panels[name] = pictures
        return self

    def html(self) -> str:
        """The page.

        Returns:
            A whole HTML document.

        Raises:
            ValueError: if nothing was added, a row of a table stands for a target that was not, or
                the page would be larger than ``max_bytes``; the message says how many frames would
                fit.
        """
        if not self._targets and not self._panels:
            raise ValueError("nothing was added to the report: call add(maps, target=...) first")
        check_known(self._tables, [target.name for target in self._targets])
        everything = range(len(self.frames))
        videos = self._videos(everything)
        for levels in LEVELS:
            try:
                return self._page(everything, videos, levels)
            except TooLarge as error:
                size = error.size
        raise ValueError(self._too_large(size))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, whole or not at all.

        Args:
            path: the file, ``.html``.

        Returns:
            The file.

        Raises:
            ValueError: for another suffix, or as :meth:`html`.
            OSError: if the disk refuses; an older file at ``path`` stays as it was then.
        """
        target = Path(path)
        if target.suffix.lower() not in _SUFFIXES:
            raise ValueError(f"path must end in .html, got {target.name!r}")
        text = self.html()
        with written_whole(target) as part:
            part.write_text(text, encoding="utf-8")
        return target

    def _videos(self, shown: Sequence[int]) -> list[Video]:
        """The clip and the panels at some frames."""
        everything = {"frames": self.frames, **self._panels}
        return [video(name, frames[list(shown)]) for name, frames in everything.items()]

    def _page(self, shown: Sequence[int], videos: Sequence[Video], levels: int) -> str:
        """The page of some frames."""
        whole = len(shown) == len(self.frames)
        targets = self._targets if whole else [target.at(shown) for target in self._targets]
        told = self.caption
        return page(
            videos[0],
            targets,
            title=self.title,
            labels=[self.labels[number] for number in shown],
            fps=self.fps,
            method=self.method,
            parameters=self.parameters,
            caption=(
                caption_of(self.method, targets, self.cmap) if told is None else given_caption(told)
            ),
            tables=self._tables,
            panels=videos[1:],
            cmap=self.cmap,
            levels=levels,
            max_bytes=self.max_bytes,
        )

    def _too_large(self, size: int) -> str:
        """What to do about it: a number of frames that was tried and does fit."""
        total = fitting = len(self.frames)
        told = (
            f"the page would take {_megabytes(size)} for {total} frames, more than max_bytes = "
            f"{_megabytes(self.max_bytes)}. "
        )
        while fitting := min(fitting - 1, int(fitting * self.max_bytes / size)):
            shown = frame_indices(total, count=fitting)
            try:
                self._page(shown, self._videos(shown), LEVELS[-1])
            except TooLarge as error:
                size = error.size
            else:
                return (
                    f"{told}Show fewer frames, such as the {fitting} of "
                    f"captum_video.io.frame_indices({total}, count={fitting}), or fewer targets, "
                    "or raise max_bytes"
                )
        return f"{told}Not even one frame would fit: resize the frames, or raise max_bytes"

    def _repr_html_(self) -> str:
        """The page inside a notebook."""
        return (
            f'<iframe srcdoc="{html.escape(self.html())}" title="{html.escape(self.title)}" '
            f'sandbox="allow-scripts allow-downloads" style="width: 100%; height: {_HEIGHT}px; '
            'border: 0"></iframe>'
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
