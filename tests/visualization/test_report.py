import base64
import re
import warnings
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from captum_video.io import center_crop, frame_indices, read_clip, resize, sample_clips
from captum_video.visualization import Report, signed_colours
from captum_video.visualization._report_data import pictures, quantised
from tests.visualization.pages import content_of, decoded, frames, noise, pixels

NASTY = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"double\" and 'single'",
    "a & b &lt; &amp;",
    "$$ $$title $title ${title} $content",
    "line\u2028and\u2029paragraph",
    "\U0001f3c0 ball \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "tab\tnew\nline\\u003c\\",
    "<!-- <script>",
    "{{x}} `${1}` %s",
]


class _Elements(HTMLParser):
    """What a browser would build: elements with attributes, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_the_document_brings_all_along() -> None:
    page = Report(frames(), title="A clip").add(noise(), "left").html()
    built = _Elements(page)
    assert built.open == []
    names = [tag for tag, _ in built.found]
    assert page.startswith("<!doctype html>\n")
    for once in ("html", "head", "body", "main", "title", "h1", "style"):
        assert names.count(once) == 1
    assert built.texts["title"] == built.texts["h1"] == ["A clip"]
    identifiers = [attrs["id"] for _, attrs in built.found if "id" in attrs]
    assert len(identifiers) == len(set(identifiers)) > 20
    outside = [
        attrs for _, attrs in built.found if attrs.keys() & {"src", "srcset"} or attrs.get("href")
    ]
    assert outside == [{"rel": "icon", "href": "data:,"}]
    style, script = "".join(built.texts["style"]), "".join(built.texts["script"])
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML|eval\(", script)
    assert "${" in script  # no placeholder of the template was taken for one
    policy = next(a["content"] for t, a in built.found if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_every_label_and_word_of_a_control_belongs_to_one() -> None:
    built = _Elements(Report(frames()).add(noise()).html())
    identifiers = {attrs.get("id") for _, attrs in built.found}
    pointing = [attrs["for"] for _, attrs in built.found if "for" in attrs]
    assert pointing
    assert set(pointing) <= identifiers


def test_numbers_are_kept_as_stated() -> None:
    values = noise(3, 5, 7)
    maps = {"total": values, "small": 1e-3 * values.flip(0)}
    kept = content_of(Report(frames(3, 5, 7)).add(maps, "left").html())
    assert kept["levels"] == 127
    assert kept["size"] == [7, 5]
    (target,) = kept["targets"]
    for entry, (name, given) in zip(target["maps"], maps.items(), strict=True):
        assert entry["name"] == name
        assert entry["peak"] == float(given.abs().max())
        # half a step of the root: |v - w| = |x - y| (x + y) peak with |x - y| <= 1 / 254
        exact, back = given.double().numpy(), decoded(kept, entry)
        roots = np.sqrt(np.abs(exact) / entry["peak"])
        bound = entry["peak"] * (2 * roots + 0.5 / 127) * 0.5 / 127
        assert (np.abs(exact - back) <= bound * (1 + 1e-9)).all()
        assert (np.sign(back) * np.sign(exact) >= 0).all()
        for sign, side in (("positive", exact.clip(min=0)), ("negative", exact.clip(max=0))):
            assert np.allclose(entry[sign], side.sum((1, 2)), rtol=1e-13, atol=0)
    assert target["scale"] > 0


def test_a_map_in_whole_numbers_by_hand() -> None:
    steps, peak = quantised(np.array([4.0, -4.0, 1.0, -0.25, 0.0, 4 * (0.5 / 31) ** 2 * 0.99]), 31)
    assert peak == 4
    assert steps.tolist() == [31, -31, 16, -8, 0, 0]  # 31 / 2 and 31 / 4, rounded
    assert steps.dtype == np.int8
    zero, nothing = quantised(np.zeros((2, 2)), 127)
    assert nothing == 0
    assert not zero.any()
    assert quantised(np.array([5e-324, -1e308]), 127)[0].tolist() == [0, -127]


@pytest.mark.parametrize("cmap", [None, "colour-blind", "coolwarm", "PiYG"])
def test_palettes_are_the_colours_of_pictures(cmap: str | None) -> None:
    kept = content_of(Report(frames(), cmap=cmap).add(noise()).html())["palettes"]
    offered = {None: "red and blue", "colour-blind": "orange and purple (colour-blind safe)"}
    assert kept[0]["name"] == offered.get(cmap, cmap)
    assert {palette["name"] for palette in kept} == {*offered.values(), kept[0]["name"]}
    middles = (np.arange(256) + 0.5) / 128 - 1
    for palette in kept:
        known = {name: colours for colours, name in offered.items()}
        colours = signed_colours(middles, 1.0, known.get(palette["name"], palette["name"]))
        found = np.frombuffer(base64.b64decode(palette["colours"]), np.uint8).reshape(256, 3)
        assert np.abs(found - 255 * colours).max() <= 0.5


def test_frames_stay_as_they_are_while_that_is_small() -> None:
    given = frames(3, 20, 31)
    kept = content_of(Report(given).add(noise(3, 20, 31)).html())
    assert all(uri.startswith("data:image/png;base64,") for uri in kept["frames"])
    assert np.array_equal(pixels(kept["frames"]), given)


def test_large_frames_are_jpeg_and_close() -> None:
    y, x = np.mgrid[:500, :600]
    smooth = np.stack([127 + 60 * np.sin(x / 40), 127 + 60 * np.cos(y / 30), 0.2 * (x + y)], -1)
    grain = np.random.default_rng(0).normal(scale=3, size=(6, 500, 600, 3))
    large = (smooth + grain).clip(0, 255).astype(np.uint8)
    uris = pictures(large)
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)
    away = np.abs(pixels(uris).astype(int) - large)
    assert away.mean() < 2.5
    assert away.max() < 25


def nasty_report(text: str) -> Report:
    report = Report(
        frames(2),
        title=text,
        labels=[text, text],
        method=text,
        parameters={text: text},
        caption=text,
    )
    report.add({text: noise(2)}, text, note=text, curves={text + "c": [1.0, 2.0]})
    return report.panel(text + "p", frames(2)).table(text, [{text: text, "n": 3}], targets=[text])


@pytest.mark.parametrize("text", NASTY)
def test_words_stay_words(text: str) -> None:
    page = nasty_report(text).html()
    plain = _Elements(nasty_report("plain").html())
    built = _Elements(page)
    paragraphs = sum(bool(part) for part in text.split("\n"))
    extra: list[tuple[str, dict[str, str | None]]] = [("p", {})] * (paragraphs - 1)
    assert sorted(map(str, built.found)) == sorted(map(str, plain.found + extra))
    assert "".join(built.texts["title"]) == "".join(built.texts["h1"]) == text
    kept = content_of(page)
    assert kept["title"] == kept["method"] == text
    assert kept["parameters"] == [[text, text]]
    assert kept["labels"] == [text, text]
    (target,) = kept["targets"]
    assert target["name"] == target["note"] == target["maps"][0]["name"] == text
    assert target["curves"] == [{"name": text + "c", "values": [1.0, 2.0]}]
    assert kept["panels"][0]["name"] == text + "p"
    (table,) = kept["tables"]
    assert table == {"title": text, "columns": [text, "n"], "rows": [[text, 3]], "targets": [text]}


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    broken = b"clip\xff.mp4".decode("utf-8", "surrogateescape")  # as the file system gives it
    path = Report(frames(), title=broken).add(noise(), broken).save(tmp_path / "page.html")
    assert content_of(path.read_text(encoding="utf-8"))["title"] == "clip?.mp4"


def test_cells() -> None:
    cells: list[Any] = [
        1, True, 0.25, np.float32(0.5), np.int64(7), torch.tensor(1.5), None, float("nan"),
        float("-inf"), 2**60, "word", 1 + 2j,
    ]  # fmt: skip
    page = Report(frames()).add(noise()).table("t", [{"a": cell} for cell in cells]).html()
    rows = content_of(page)["tables"][0]["rows"]
    assert [cell for (cell,) in rows] == [
        1, "True", 0.25, 0.5, 7, 1.5, None, "nan", "-inf", str(2**60), "word", "(1+2j)"
    ]  # fmt: skip


def test_a_file_holds_the_page(tmp_path: Path) -> None:
    report = Report(frames(), title="\u00e9\U0001f3c0").add(noise())
    path = report.save(tmp_path / "new" / "page.HTM")
    assert path.read_bytes() == report.html().encode()
    assert [file.name for file in path.parent.iterdir()] == ["page.HTM"]


def test_a_broken_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Report(frames()).add(noise()).save(str(tmp_path / "page.html"))
    old = path.read_bytes()

    def full(self: Path, text: str, **_: object) -> int:
        with open(self, "w") as file:
            file.write(text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        Report(frames(), title="New").add(noise()).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    report = Report(frames()).add(noise())
    with pytest.raises(OSError, match="file"):
        report.save(tmp_path / "file" / "page.html")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OSError, match="a folder is where the file is to go"):
        report.save(tmp_path / "page.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "page.html"]


def test_a_notebook_gets_the_page_in_a_sandbox() -> None:
    report = nasty_report(NASTY[0] + NASTY[2])
    (tag, attrs), *rest = _Elements(report._repr_html_()).found
    assert not rest
    assert tag == "iframe"
    assert attrs["srcdoc"] == report.html()
    assert attrs["title"] == report.title
    assert attrs["sandbox"] == "allow-scripts allow-downloads"


def real_clip() -> torch.Tensor:
    clip = read_clip(sample_clips()["bikes"])
    return center_crop(resize(clip.frames[:64], 256), 224)


@pytest.mark.parametrize(("power", "levels"), [(3, 127), (1, 31)])
def test_a_clip_as_real_models_take_it_stays_below_ten_megabytes(power: int, levels: int) -> None:
    given = real_clip()
    generator = torch.Generator().manual_seed(0)
    report = Report(given)
    maps = {
        name: torch.randn(64, 224, 224, generator=generator) ** power
        for name in ("total", "spatial", "temporal")
    }
    page = report.add(maps).html()
    assert 5e6 < len(page.encode()) <= 10e6
    kept = content_of(page)
    assert kept["levels"] >= levels
    assert len(zlib.decompress(base64.b64decode(kept["targets"][0]["maps"][0]["values"]))) == (
        64 * 224 * 224
    )


def test_fewer_levels_where_room_is_short() -> None:
    given, maps = frames(40, 32, 32), noise(40, 32, 32)
    sizes: dict[int, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for levels in (127, 63, 31, 15):
            report = Report(given, max_bytes=sizes[min(sizes)] - 1 if sizes else 10**7).add(maps)
            page = report.html()
            sizes[levels] = len(page.encode())
            kept = content_of(page)
            assert kept["levels"] == levels
            back = decoded(kept, kept["targets"][0]["maps"][0])
            assert np.abs(back - maps.double().numpy()).max() <= float(maps.abs().max()) / levels
    with pytest.raises(ValueError, match="the page would take"):
        Report(given, max_bytes=sizes[15] - 1).add(maps).html()


def test_too_long_a_clip_says_how_many_frames_fit() -> None:
    total, limit = 40, 110_000
    given, maps, curve = frames(total, 32, 32), noise(total, 32, 32), torch.arange(total)
    labels = [f"at {number}" for number in range(total)]

    def report(shown: list[int]) -> Report:
        some = Report(given[shown], labels=[labels[i] for i in shown], max_bytes=limit)
        return some.add({"m": maps[shown]}, curves={"c": curve[shown]}).panel("p", given[shown])

    with pytest.raises(ValueError, match="the page would take") as told:
        report(list(range(total))).html()
    found = re.search(
        r"take 0\.\d MB for 40 frames, more than max_bytes = 0\.1 MB\. Show fewer frames, such as "
        r"the (\d+) of captum_video\.io\.frame_indices\(40, count=(\d+)\), or fewer targets, or "
        r"raise max_bytes$",
        str(told.value),
    )
    assert found
    assert found[1] == found[2]
    count = int(found[1])
    assert 3 < count < total
    assert len(report(frame_indices(total, count=count)).html().encode()) <= limit
    with pytest.raises(ValueError, match="the page would take"):
        report(frame_indices(total, count=int(1.3 * count))).html()


def test_a_limit_that_no_page_keeps() -> None:
    with pytest.raises(
        ValueError,
        match=r"would take \d+ bytes for 4 frames, more than max_bytes = 900 bytes\. Not even one "
        r"frame would fit: resize the frames, or raise max_bytes$",
    ):
        Report(frames(), max_bytes=900).add(noise()).html()
