"""What the report page holds: frames, maps and words, made into one HTML document."""

from __future__ import annotations

import base64
import html
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

import numpy as np
from matplotlib.colors import Colormap
from PIL import Image

from captum_video.visualization._colour import colour_map

LEVELS = (127, 63, 31)  # steps of a map's magnitude, as many as the page has room for
_LOSSLESS = 1_500_000  # bytes: frames that take no more stay as they are
_QUALITY = 90
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


@dataclass(frozen=True)
class Target:
    """One explained output.

    Attributes:
        name: what to call it.
        note: a sentence about it.
        scale: the magnitude at which its maps' colours saturate.
        maps: (T, H, W) by name.
        curves: further numbers per frame, by name.
    """

    name: str
    note: str
    scale: float
    maps: dict[str, np.ndarray]
    curves: dict[str, list[float]]


def page(
    frames: np.ndarray,
    targets: Sequence[Target],
    *,
    title: str,
    labels: Sequence[str],
    fps: float,
    method: str,
    parameters: Mapping[str, str],
    caption: str,
    tables: Sequence[tuple[str, list[dict[str, object]]]],
    panels: Mapping[str, np.ndarray],
    cmap: str | Colormap | None,
    levels: int,
    max_bytes: int,
) -> str:
    """Makes the document.

    Args:
        frames: uint8 (T, H, W, 3).
        targets: the explained outputs.
        title: the heading.
        labels: one for each frame.
        fps: frames per second.
        method: what made the maps.
        parameters: what else to list.
        caption: what the method claims and what it does not.
        tables: titles and rows.
        panels: further videos by name.
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
        "size": [int(frames.shape[2]), int(frames.shape[1])],
        "frames": pictures(frames),
        "panels": [
            {"name": name, "size": [video.shape[2], video.shape[1]], "frames": pictures(video)}
            for name, video in panels.items()
        ],
        "labels": list(labels),
        "levels": levels,
        "palettes": palettes(cmap),
        "targets": [_target(target, levels) for target in targets],
        "tables": [
            {"title": name, "columns": list(rows[0]), "rows": [_cells(row) for row in rows]}
            for name, rows in tables
        ],
    }
    assets = files("captum_video.visualization") / "page"
    scripts = [(assets / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    document = Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        caption="".join(f"<p>{html.escape(part)}</p>" for part in caption.split("\n") if part),
        # "<" would end the element where a title holds "</script>"
        content=json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        script="\n".join(scripts),
    )
    size = len(document.encode("utf-8"))
    if size > max_bytes:
        raise TooLarge(size)
    return document


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


def palettes(cmap: str | Colormap | None) -> list[dict[str, str]]:
    """The colours that the page offers, from the lowest to the highest value.

    Args:
        cmap: those that it starts with; ``None`` for red and blue.

    Returns:
        Names and colours, red, green and blue bytes in base64.
    """
    wanted: dict[str, str | Colormap | None] = {
        "red and blue": None,
        "orange and purple (colour-blind safe)": "colour-blind",
    }
    first = colour_map(cmap)
    if all(colour_map(known) is not first for known in wanted.values()):
        wanted = {first.name: first, **wanted}
    steps = (np.arange(_STEPS) + 0.5) / _STEPS
    return sorted(
        (
            {
                "name": name,
                "colours": _base64(np.rint(255 * colour_map(c)(steps)[:, :3]).astype(np.uint8)),
            }
            for name, c in wanted.items()
        ),
        key=lambda palette: colour_map(wanted[palette["name"]]) is not first,
    )


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
                "values": base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii"),
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
    """Numbers stay numbers, so that the page can align them; what is not finite becomes a word."""
    return [
        value
        if value is None
        or isinstance(value, int)
        or (isinstance(value, float) and np.isfinite(value))
        else str(value)
        for value in row.values()
    ]


def _encoded(image: Image.Image, form: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
