"""The player inside a notebook: its HTML, its bytes, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from captum_video.io import _write, frames_last
from captum_video.visualization import InlineVideo, overlay, show_video
from tests.browser import browser_page
from tests.io.videos import smooth
from tests.visualization.test_video import PATCHES, random_map

VIDEO_OF_PATCHES = np.zeros((4, 32, 48, 3), dtype=np.uint8)
for _number, _colour in enumerate(PATCHES.values()):
    VIDEO_OF_PATCHES[:, :, 16 * _number : 16 * _number + 16] = _colour

# draws the picture that is shown and reads the middle of each of three patches back
_READ = """element => {
    const canvas = document.createElement('canvas'), width = element.videoWidth || element.naturalWidth
    canvas.width = width
    canvas.height = element.videoHeight || element.naturalHeight
    const context = canvas.getContext('2d')
    context.drawImage(element, 0, 0)
    return [1, 3, 5].map(place => Array.from(
        context.getImageData(place * width / 6, canvas.height / 2, 1, 1).data.slice(0, 3)))
}"""
_SEEK = """(element, time) => new Promise(done => {
    element.addEventListener('seeked', () => done(element.currentTime), {once: true})
    element.currentTime = time
})"""
# Chromium's own conversion from YUV on x86 knows no factor above 2: it takes 12 from pure blue
_OFF = np.array([4, 4, 13])
_READY = "element => element.readyState >= 2 || new Promise(d => element.onloadeddata = () => d(1))"


class Tags(HTMLParser):
    """The elements of a piece of HTML, and any text outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def element(video: InlineVideo) -> tuple[str, dict[str, str | None]]:
    tags = Tags(video._repr_html_())
    assert not "".join(tags.texts).strip()
    (only,) = tags.found
    return only


def decoded(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        frames = container.decode(video=0)
        return np.stack([frame.to_ndarray(format="rgb24").astype(int) for frame in frames])


def without(monkeypatch: pytest.MonkeyPatch, *encoders: str) -> None:
    """An FFmpeg that lacks these."""
    there = _write._has_encoder
    monkeypatch.setattr(
        _write, "_has_encoder", lambda name: not name.startswith(encoders) and there(name)
    )


def test_the_html_is_one_player_with_the_video_in_it() -> None:
    frames, relevance = smooth(5, 64, 80), random_map(5, 64, 80)
    video = show_video(frames, relevance, enlarge=0)
    tag, attributes = element(video)
    assert tag == "video"
    assert {"controls", "loop", "muted", "playsinline"} <= set(attributes)
    assert attributes["width"] == "80"
    kind, _, data = (attributes["src"] or "").partition(";base64,")
    assert kind == "data:video/mp4"
    back = decoded(base64.b64decode(data, validate=True))
    assert np.abs(back - overlay(frames, relevance)).mean() < 2.5
    assert "loop" not in element(show_video(frames, loop=False))[1]
    assert element(show_video(frames, width=500))[1]["width"] == "500"
    odd = element(show_video(smooth(2, 33, 47), enlarge=0))[1]
    assert odd["width"] == "48"  # H.264 is even


def test_a_terminal_shows_words() -> None:
    video = show_video(smooth(5, 32, 40), {"motion": random_map(5, 32, 40)}, fps=12.5)
    assert re.fullmatch(
        r"InlineVideo\(motion: 5 frames at 12\.5 per second; \.mp4, \d+ kB; .*\)", repr(video)
    )
    assert repr(show_video(smooth(1, 32, 40))).startswith("InlineVideo(frames: 1 frame at 8 per")


def test_names_are_escaped() -> None:
    name = "\"><script>alert('&')</script>"
    maps = {name: random_map(2, 32, 40), "b": random_map(2, 32, 40)}
    video = show_video(smooth(2, 32, 40), maps, layout="side_by_side")
    tag, attributes = element(video)
    assert tag == "video"
    assert (attributes["aria-label"] or "").startswith(f"frames, {name}, b: 2 frames")


def test_saving_keeps_the_bytes(tmp_path: Path) -> None:
    video = show_video(smooth(3, 32, 40))
    assert video.save(tmp_path / "sub" / "c.mp4").read_bytes() == video.data
    with pytest.raises(
        ValueError, match=r"is a \.mp4 file, got 'c\.gif': use that suffix, or save"
    ):
        video.save(tmp_path / "c.gif")
    assert not (tmp_path / "c.gif").exists()


@pytest.mark.parametrize(
    ("lacking", "tag", "kind"),
    [
        (("libx264", "libopenh264"), "video", "data:video/webm;"),
        (("libx264", "libopenh264", "libvpx"), "img", "data:image/gif;"),
    ],
)
def test_without_h264(
    monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...], tag: str, kind: str
) -> None:
    without(monkeypatch, *lacking)
    frames = smooth(4, 33, 47)
    video = show_video(frames, random_map(4, 33, 47), enlarge=0)
    found, attributes = element(video)
    assert found == tag
    assert (attributes["src"] or "").startswith(kind)
    assert attributes["width"] == ("47" if tag == "img" else "48")
    back = decoded(video.data)[:, :33, :47]
    assert np.abs(back - overlay(frames, random_map(4, 33, 47))).mean() < 3.5


def test_a_gif_ends_if_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "lib")
    assert b"NETSCAPE2.0" in show_video(smooth(3, 32, 40)).data
    assert b"NETSCAPE2.0" not in show_video(smooth(3, 32, 40), loop=False).data


def test_it_needs_no_ipython() -> None:
    code = (
        "import sys\n"
        "sys.modules['IPython'] = None\n"  # from here on `import IPython` fails
        "import numpy as np\n"
        "from captum_video.visualization import show_video\n"
        "print(show_video(np.zeros((2, 8, 8, 3), np.uint8))._repr_html_()[:6])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "<video\n"


@pytest.mark.parametrize("lacking", [(), ("libx264", "libopenh264")])
def test_a_browser_plays_it(monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...]) -> None:
    if lacking:
        without(monkeypatch, *lacking)
    frames = VIDEO_OF_PATCHES.copy()
    frames[2] = 255 - frames[2]
    video = show_video(frames, fps=4, enlarge=0, width=300)
    with browser_page() as page:
        page.set_content(video._repr_html_())
        player = page.query_selector("video")
        assert player is not None
        player.evaluate(_READY)
        assert player.evaluate("v => v.readyState") >= 2
        assert player.evaluate("v => [v.videoWidth, v.videoHeight]") == [48, 32]
        assert player.evaluate("v => [v.clientWidth, v.clientHeight]") == [300, 200]
        assert player.evaluate("v => v.duration") == pytest.approx(1.0, abs=0.01)
        for number in (0, 2, 3):
            player.evaluate(_SEEK, (number + 0.5) / 4)
            seen = np.array(player.evaluate(_READ))
            assert (np.abs(seen - frames[number, 16, 8::16].astype(int)) <= _OFF).all(), number
        player.evaluate("v => v.play()")
        page.wait_for_function("!document.querySelector('video').paused")


def test_a_browser_shows_the_overlay() -> None:
    frames = torch.full((3, 3, 64, 96), 100, dtype=torch.uint8)
    relevance = torch.zeros(3, 64, 96)
    relevance[:, :, :32], relevance[:, :, 64:] = 1, -1
    video = show_video(frames, {"both": relevance}, scale=1, enlarge=0)
    exact = overlay(frames, relevance, scale=1)[0, 32, 16::32].astype(int)
    with browser_page() as page:
        page.set_content(video._repr_html_())
        player: Any = page.query_selector("video")
        player.evaluate(_READY)
        seen = np.array(player.evaluate(_READ))
    assert (np.abs(seen - exact) <= _OFF).all()
    assert seen[0, 0] > seen[0, 2] + 50  # red for
    assert seen[2, 2] > seen[2, 0] + 50  # blue against


def test_a_browser_shows_a_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "lib")
    video = show_video(VIDEO_OF_PATCHES, enlarge=0)
    with browser_page() as page:
        page.set_content(video._repr_html_())
        page.wait_for_function("document.images[0].complete")
        picture: Any = page.query_selector("img")
        seen = np.array(picture.evaluate(_READ))
    assert np.array_equal(seen, frames_last(VIDEO_OF_PATCHES)[0, 16, 8::16])
