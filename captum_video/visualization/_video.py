"""Clips with their relevance as video files, and as players inside a notebook."""

from __future__ import annotations

import base64
import html
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video._core.files import written_whole
from captum_video.io import frames_last, resize
from captum_video.io._write import Encoding, can_write, video_file
from captum_video.visualization._colour import clip_map, robust_maximum
from captum_video.visualization._overlay import blended, check_options, check_same_size
from captum_video.visualization._panels import captioned, check_captions, side_by_side

Values = Tensor | np.ndarray
Layout = Literal["overlay", "side_by_side"]

_OPTIONS = ("alpha", "outlier_perc", "scale", "cmap", "grey")
_BLOCK = 1 << 21  # pixels of a panel drawn at a time
# what a page can play, the best first
_INLINE = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}


def save_video(
    path: str | os.PathLike[str],
    frames: Values,
    maps: Values | Mapping[str, Values] | None = None,
    *,
    fps: float,
    layout: Layout = "overlay",
    captions: Sequence[str] | None = None,
    crf: int = 18,
    enlarge: int = 0,
    **overlay_options: Any,
) -> Path:
    """Writes a clip with its relevance as a video file, whole or not at all.

    The suffix picks the format: ``.mp4``, ``.mov``, ``.mkv``, ``.webm`` or ``.gif``
    (:func:`captum_video.io.write_video`). What can be wrong with the arguments is found before
    anything is drawn.

    Args:
        path: the file to write.
        frames: uint8, (T, C, H, W) or (T, H, W, C) with one or three channels.
        maps: what to show of these frames: one map (T, H, W), (C, T, H, W) or (1, C, T, H, W), or
            several by name; ``None`` for the plain frames.
        fps: frames per second.
        layout: ``"overlay"`` shows one map over the frames; ``"side_by_side"`` the frames and then
            each map over them, next to each other with their names above.
        captions: a line below each frame (T of them), such as its time; ``None`` for none.
        crf: quality of H.264 and VP9, 0 (best) to 51.
        enlarge: a clip whose longer side has fewer pixels is enlarged by a whole factor so that it
            has at least that many; 0 leaves its size.
        **overlay_options: ``alpha``, ``outlier_perc``, ``scale``, ``cmap``, ``grey`` of
            :func:`overlay`. Without a ``scale`` all maps share one, the robust maximum of all.

    Returns:
        The file.

    Raises:
        ClipError: if this FFmpeg lacks the encoder or refuses the frames.
        ValueError: for an unknown suffix, maps that do not fit the frames or are not finite,
            several maps in one overlay, or a number out of range.
        TypeError: for an option that :func:`overlay` does not have.
        OSError: if the disk refuses; an older file at ``path`` stays as it was then.

    Warns:
        UserWarning: if a map is zero everywhere; the plain frames are shown in its place.
    """
    scene = _scene(frames, maps, layout, captions, enlarge, overlay_options)
    with video_file(path, fps, crf=crf) as write:
        write(scene.drawn())
    return Path(path)


def show_video(
    frames: Values,
    maps: Values | Mapping[str, Values] | None = None,
    *,
    fps: float = 8.0,
    layout: Layout = "overlay",
    captions: Sequence[str] | None = None,
    crf: int = 18,
    enlarge: int = 224,
    width: int | None = None,
    loop: bool = True,
    **overlay_options: Any,
) -> InlineVideo:
    """A clip with its relevance that plays inside a notebook.

    It needs no FFmpeg program: PyAV brings the library. The video is part of the notebook's output
    (H.264; where this FFmpeg cannot write that, VP9 or a GIF), so the page needs no other file.

    Args:
        frames: as for :func:`save_video`.
        maps: as for :func:`save_video`.
        fps: frames per second.
        layout: as for :func:`save_video`.
        captions: as for :func:`save_video`.
        crf: quality of H.264 and VP9, 0 (best) to 51.
        enlarge: as for :func:`save_video`.
        width: of the player on the page, in pixels; ``None`` for that of the video. It never gets
            wider than the page.
        loop: whether it begins anew at its end.
        **overlay_options: as for :func:`save_video`.

    Returns:
        What Jupyter shows as a player: leave it as the last expression of a cell.

    Raises:
        ClipError: if this FFmpeg cannot write any video that a page can play.
        ValueError: as :func:`save_video`, or for a width that is not positive.
        TypeError: as :func:`save_video`.

    Warns:
        UserWarning: if a map is zero everywhere; the plain frames are shown in its place.
    """
    if width is not None and width < 1:
        raise ValueError(f"width must be a positive number of pixels, got {width}")
    scene = _scene(frames, maps, layout, captions, enlarge, overlay_options)
    suffix = next(filter(can_write, _INLINE), ".mp4")
    encoding = Encoding.of(Path(f"video{suffix}"), fps, crf=crf, loop=loop)
    pictures = scene.drawn()
    first = next(pictures)
    file = io.BytesIO()
    encoding.write(file, chain([first], pictures))
    across = first.shape[1] if suffix == ".gif" else first.shape[1] + first.shape[1] % 2
    total = len(scene.pictures)
    return InlineVideo(
        file.getvalue(), suffix, total, float(fps), width or across, loop, scene.names
    )


@dataclass(frozen=True, eq=False, repr=False)
class InlineVideo:
    """A video that Jupyter shows as a player.

    Attributes:
        data: the file's bytes.
        suffix: ``.mp4``, ``.webm`` or ``.gif``.
        frames: how many there are.
        fps: frames per second.
        width: of the player, in pixels.
        loop: whether it begins anew at its end.
        names: what is shown, from left to right.
    """

    data: bytes
    suffix: str
    frames: int
    fps: float
    width: int
    loop: bool = True
    names: tuple[str, ...] = ("frames",)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the video as it is, whole or not at all.

        Args:
            path: a file of the same suffix.

        Returns:
            The file.

        Raises:
            ValueError: for another suffix.
        """
        target = Path(path)
        if target.suffix.lower() != self.suffix:
            raise ValueError(
                f"this video is a {self.suffix} file, got {target.name!r}: use that suffix, or "
                "save_video for another format"
            )
        with written_whole(target) as part:
            part.write_bytes(self.data)
        return target

    def __repr__(self) -> str:
        """What a terminal shows."""
        return (
            f"InlineVideo({self._label()}; {self.suffix}, {len(self.data) / 1000:.0f} kB; "
            "a notebook plays it, .save(path) writes it)"
        )

    def _label(self) -> str:
        count = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        return f"{', '.join(self.names)}: {count} at {self.fps:g} per second"

    def _repr_html_(self) -> str:
        kind = _INLINE[self.suffix]
        source = f"data:{kind};base64,{base64.b64encode(self.data).decode('ascii')}"
        label = html.escape(self._label(), quote=True)
        look = f'width="{self.width}" style="max-width: 100%; height: auto"'
        if kind.startswith("image/"):
            return f'<img {look} alt="{label}" src="{source}">'
        plays = f"controls{' loop' if self.loop else ''} muted playsinline"
        return f'<video {plays} {look} aria-label="{label}" src="{source}"></video>'


@dataclass(frozen=True)
class _Scene:
    """What is to be drawn, checked."""

    pictures: np.ndarray
    maps: dict[str, np.ndarray]
    layout: Layout
    captions: Sequence[str] | None
    enlarge: int
    options: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """What is shown, from left to right."""
        plain = self.layout == "side_by_side" or not self.maps
        return (*(["frames"] if plain else []), *self.maps)

    def drawn(self) -> Iterator[np.ndarray]:
        """The frames of the video, each uint8 (H, W, 3), drawn a few at a time."""
        options = dict(self.options)
        perc, scale = options.pop("outlier_perc", 2.0), options.pop("scale", None)
        if scale is None and self.maps:
            scale = robust_maximum(*self.maps.values(), outlier_perc=perc)
        height, width = self.pictures.shape[1:3]
        factor = max(1, -(-self.enlarge // max(height, width)))
        size = (height * factor, width * factor)
        empty = {name for name, values in self.maps.items() if not values.any()}
        count = max(1, _BLOCK // (size[0] * size[1]))
        for start in range(0, len(self.pictures), count):
            yield from self._part(slice(start, start + count), size, empty, scale, options)

    def _part(
        self,
        part: slice,
        size: tuple[int, int],
        empty: set[str],
        scale: float | None,
        options: dict[str, Any],
    ) -> np.ndarray:
        """Some frames of the video, uint8 (T, H, W, 3)."""
        pictures = self.pictures[part]
        if size != pictures.shape[1:3]:
            first = torch.from_numpy(pictures).permute(0, 3, 1, 2)
            pictures = frames_last(resize(first, size, fit="squeeze"))
        panels = {"frames": pictures}
        for name, values in self.maps.items():
            if name in empty or scale is None:
                panels[name] = pictures
                continue
            chosen = torch.from_numpy(values[part])[:, None]
            large = resize(chosen, size, fit="squeeze")[:, 0].numpy()
            panels[name] = blended(pictures, large, scale, **options)
        captions = None if self.captions is None else self.captions[part]
        if self.layout == "side_by_side":
            return side_by_side(panels, captions=captions)
        shown = list(panels.values())[-1]
        return shown if captions is None else captioned(shown, captions, size[1])


def _scene(
    frames: Values,
    maps: Values | Mapping[str, Values] | None,
    layout: Layout,
    captions: Sequence[str] | None,
    enlarge: int,
    options: dict[str, Any],
) -> _Scene:
    if layout not in ("overlay", "side_by_side"):
        raise ValueError(f"layout must be 'overlay' or 'side_by_side', got {layout!r}")
    if isinstance(enlarge, bool) or not isinstance(enlarge, Integral) or enlarge < 0:
        raise ValueError(f"enlarge must be a number of pixels or 0, got {enlarge!r}")
    for option in options:
        if option not in _OPTIONS:
            near = close_matches(option, [*_OPTIONS, "captions", "enlarge", "layout"])
            raise TypeError(f"there is no option {option!r}. {near}")
    check_options(**options)
    pictures = frames_last(frames)
    check_captions(captions, len(pictures))
    given = _named(maps)
    if layout == "overlay" and len(given) > 1:
        some = next(iter(given))
        raise ValueError(
            f"layout='overlay' shows one map, got {len(given)} ({', '.join(given)}): use "
            f"layout='side_by_side', or give one of them, maps[{some!r}]"
        )
    if "frames" in given:
        raise ValueError("a map must not be named 'frames': that is what the frames are called")
    values = {}
    for name, relevance in given.items():
        told = f"maps[{name!r}]" if isinstance(maps, Mapping) else "maps"
        values[name] = clip_map(relevance, told)
        check_same_size(values[name], pictures, told)
    for name in [name for name, numbers in values.items() if not numbers.any()]:
        # 3: whoever called save_video or show_video
        warnings.warn(
            f"{name} is zero everywhere: the plain frames are shown in its place", stacklevel=3
        )
    if options.get("scale") == 0 and any(numbers.any() for numbers in values.values()):
        raise ValueError("scale is 0 but the maps are not: leave it out or give a positive one")
    return _Scene(pictures, values, layout, captions, enlarge, options)


def _named(maps: Values | Mapping[str, Values] | None) -> dict[str, Values]:
    if maps is None:
        return {}
    if isinstance(maps, (Tensor, np.ndarray)):
        return {"relevance": maps}
    if not isinstance(maps, Mapping):
        raise TypeError(f"maps must be a map or a dict of maps by name, got {type(maps).__name__}")
    if not maps:
        raise ValueError("maps is an empty dict: give at least one map, or None for plain frames")
    return {str(name): values for name, values in maps.items()}
