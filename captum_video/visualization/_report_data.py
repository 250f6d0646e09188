"""What the report page holds: frames, maps and words, made into one HTML document."""

from __future__ import annotations

import base64
import html
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from numbers import Integral, Real
from string import Template

import numpy as np
import torch
from matplotlib.colors import Colormap
from PIL import Image

from captum_video.visualization._captions import colour_words
from captum_video.visualization._colour import colour_map
from captum_video.visualization._report_parts import Table, Target, Video

LEVELS = (127, 63, 31, 15)  # steps of a map's magnitude, as many as the page has room for
_LOSSLESS = 1_500_000  # bytes: frames that take no more stay as they are
_QUALITY = 90
_EXACT = 2**53  # larger whole numbers are rounded by browsers
_STEPS = 256  # colours from the lowest to the highest value
_SCRIPTS = ("data.js", "drawing.js", "curve.js", "downloads.js", "player.js")


class TooLarge(Exception):
    """The page takes more room than it may.

    Attributes:
        size: in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


def page(
    clip: Video,
    targets: Sequence[Target],
    *,
    title: str,
    labels: Sequence[str],
    fps: float,
    method: str,
    parameters: Mapping[str, str],
    caption: str,
    tables: Sequence[Table],
    panels: Sequence[Video],
    cmap: str | Colormap | None,
    levels: int,
    max_bytes: int,
) -> str:
    """Makes the document.

    Args:
        clip: what the maps belong to.
        targets: the explained outputs.
        title: the heading.
        labels: one for each frame.
        fps: frames per second.
        method: what made the maps.
        parameters: what else to list.
        caption: what the method claims and what it does not, as HTML.
        tables: of numbers and words.
        panels: further videos.
        cmap: the colours to start with.
        levels: steps of a map's magnitude.
        max_bytes: how large the document may be.

    Returns:
        The document.

    Raises:
        TooLarge: if it is larger.
    """
    content = {
        "title": title,
        "method": method,
        "parameters": list(parameters.items()),
        "fps": fps,
        "size": clip.size,
        "frames": clip.frames,
        "panels": [asdict(panel) for panel in panels],
        "labels": list(labels),
        "levels": levels,
        "palettes": palettes(cmap),
        "targets": [_target(target, levels) for target in targets],
        "tables": [
            {
                "title": table.title,
                "columns": list(map(str, table.rows[0])),
                "rows": [_cells(row) for row in table.rows],
                "targets": table.targets,
            }
            for table in tables
        ],
    }
    assets = files("captum_video.visualization") / "page"
    scripts = [(assets / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    document = Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        caption=caption,
        # "<" would end the element where a title holds "</script>"
        content=json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        script="\n".join(scripts),
    )
    data = document.encode("utf-8", "replace")  # a file's name may hold what is no character
    if len(data) > max_bytes:
        raise TooLarge(len(data))
    return data.decode("utf-8")


def video(name: str, frames: np.ndarray) -> Video:
    """Frames as a page holds them.

    Args:
        name: what to call them.
        frames: uint8 (T, H, W, 3).

    Returns:
        The video.
    """
    return Video(name, (int(frames.shape[2]), int(frames.shape[1])), pictures(frames))


def pictures(frames: np.ndarray) -> list[str]:
    """Frames as data URIs: PNG while that is small, else JPEG without chroma subsampling.

    Args:
        frames: uint8 (T, H, W, 3).

    Returns:
        One URI for each frame.
    """
    images = [Image.fromarray(frame) for frame in frames]
    lossless = []
    for image in images:
        lossless.append(_encoded(image, "PNG", optimize=False, compress_level=6))
        if sum(map(len, lossless)) > _LOSSLESS:
            return [
                _uri("jpeg", _encoded(i, "JPEG", quality=_QUALITY, subsampling=0)) for i in images
            ]
    return [_uri("png", data) for data in lossless]


def quantised(values: np.ndarray, levels: int) -> tuple[np.ndarray, float]:
    """A map in whole numbers, finer near zero: ``sign(v) round(levels sqrt(|v| / peak))``.

    Args:
        values: any shape.
        levels: the number that the largest magnitude gets.

    Returns:
        int8 of the same shape, and the largest magnitude ``peak``; a value is about
        ``sign(q) peak (q / levels)^2``.
    """
    peak = float(np.abs(values).max())
    if peak == 0:
        return np.zeros(values.shape, dtype=np.int8), 0.0
    steps = np.rint(levels * np.sqrt(np.abs(values) / peak))
    return (np.sign(values) * steps).astype(np.int8), peak


def palettes(cmap: str | Colormap | None) -> list[dict[str, object]]:
    """The colours that the page offers, from the lowest to the highest value.

    Args:
        cmap: those that it starts with; ``None`` for red and blue.

    Returns:
        Names, colours (red, green and blue bytes in base64), and what both ends are called.
    """
    first = colour_map(cmap)
    offered = [("red and blue", colour_map(None))]
    offered += [("orange and purple (colour-blind safe)", colour_map("colour-blind"))]
    if all(known is not first for _, known in offered):
        offered.append((first.name, first))
    offered.sort(key=lambda named: named[1] is not first)
    steps = (np.arange(_STEPS) + 0.5) / _STEPS
    return [
        {
            "name": name,
            "colours": _base64(np.rint(255 * known(steps)[:, :3]).astype(np.uint8)),
            "words": colour_words(known),
        }
        for name, known in offered
    ]


def _target(target: Target, levels: int) -> dict[str, object]:
    maps = []
    for name, values in target.maps.items():
        numbers, peak = quantised(values, levels)
        maps.append(
            {
                "name": name,
                "peak": peak,
                "positive": values.clip(min=0).sum((1, 2)).tolist(),
                "negative": values.clip(max=0).sum((1, 2)).tolist(),
                "values": base64.b64encode(_deflated(numbers.tobytes())).decode("ascii"),
            }
        )
    curves = [{"name": name, "values": values} for name, values in target.curves.items()]
    return {
        "name": target.name,
        "note": target.note,
        "scale": target.scale,
        "maps": maps,
        "curves": curves,
    }


def _cells(row: Mapping[str, object]) -> list[str | float | int | None]:
    """Numbers stay numbers, so that the page can align them; what else there is becomes words."""
    return [None if value is None else _cell(value) for value in row.values()]


def _cell(value: object) -> str | float | int:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, Integral):
        return int(value) if abs(int(value)) < _EXACT else str(value)
    return float(value) if isinstance(value, Real) and np.isfinite(float(value)) else str(value)


def _deflated(data: bytes) -> bytes:
    """Compressed by what suits it: repetitions, or in noise, which has none, how often bytes are."""
    plain = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY)
    return min(zlib.compress(data, 9), plain.compress(data) + plain.flush(), key=len)


def _encoded(image: Image.Image, form: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
