"""The numbers that the page hands out."""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from captum_video.visualization import Report
from tests.visualization.pages import content_of, decoded, frames, noise
from tests.visualization.report_browser import TOTAL, attention, maps, open_page, report

if TYPE_CHECKING:
    from playwright.sync_api import Page


def downloaded(tab: Page, button: str) -> tuple[str, bytes]:
    """The name and the bytes of the file that a button gives."""
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name=button, exact=True).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.mark.parametrize("target", ["left", "right"])
def test_maps(tab: Page, tmp_path: Path, target: str) -> None:
    open_page(tab, report(), tmp_path)
    tab.select_option("#target", label=target)
    content = content_of(tab.content())
    kept = next(one for one in content["targets"] if one["name"] == target)
    for entry in kept["maps"]:
        name, data = downloaded(tab, f"{entry['name']} (.npy)")
        assert name == f"{entry['name']}-{target}.npy"
        values = np.load(io.BytesIO(data))
        exact = maps(target)[entry["name"]]
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        assert values.shape == exact.shape
        assert np.allclose(values, decoded(content, entry), rtol=1e-6)
        roots = np.sqrt(np.abs(exact) / entry["peak"])
        bound = entry["peak"] * (2 * roots + 0.5 / 127) * 0.5 / 127
        assert (np.abs(values - exact) <= bound * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("factor", "kind"), [(1e-200, np.float64), (1e60, np.float64), (0, np.float32)]
)
def test_maps_out_of_reach_of_single_precision(
    tab: Page, tmp_path: Path, factor: float, kind: type
) -> None:
    values = factor * noise(3, 5, 4).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zeros
        open_page(tab, Report(frames(3, 5, 4)).add(values), tmp_path)
    name, data = downloaded(tab, "relevance (.npy)")
    assert name == "relevance.npy"
    found = np.load(io.BytesIO(data))
    assert found.dtype == kind
    assert np.allclose(found / (factor or 1), noise(3, 5, 4) * (factor > 0), atol=0.5)


def test_curves(tab: Page, tmp_path: Path) -> None:
    made = report(labels=[f'frame "{i}", clip' for i in range(TOTAL)])
    open_page(tab, made, tmp_path)
    tab.select_option("#sign", "negative")  # the file holds all of it whatever is shown
    name, data = downloaded(tab, "curves (.csv)")
    assert name == "curves.csv"
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(rows[0]) == ["target", "curve", "index", "frame", "sum", "positive", "negative"]
    assert len(rows) == TOTAL * 5
    for target in ("left", "right"):
        for map_name, values in maps(target).items():
            some = [row for row in rows if (row["target"], row["curve"]) == (target, map_name)]
            assert [int(row["index"]) for row in some] == list(range(TOTAL))
            assert [row["frame"] for row in some] == made.labels
            sides = {"positive": values.clip(min=0), "negative": values.clip(max=0), "sum": values}
            for column, side in sides.items():
                found = [float(row[column]) for row in some]
                size = np.abs(values).sum((1, 2))
                assert (np.abs(found - side.sum((1, 2))) <= 1e-13 * size).all()
    told = [row for row in rows if row["curve"] == "attention"]
    assert [float(row["sum"]) for row in told] == attention()
    assert {row["positive"] for row in told} == {""}


def test_words(tab: Page, tmp_path: Path) -> None:
    made = report(method="deep-taylor", parameters={"seed": 3}, caption="One.\nTwo & three.")
    open_page(tab, made, tmp_path)
    name, data = downloaded(tab, "all words and sums (.json)")
    assert name == "report.json"
    found = json.loads(data)
    kept = content_of(tab.content())
    for heavy in ("frames", "panels", "palettes"):
        del kept[heavy]
    for target in kept["targets"]:
        for entry in target["maps"]:
            del entry["values"]
    assert found.pop("caption") == ["One.", "Two & three."]
    assert found == kept
    values = maps("right")["temporal"]
    positive = found["targets"][1]["maps"][1]["positive"]
    assert np.allclose(positive, values.clip(min=0).sum((1, 2)), rtol=1e-13)


def test_names_of_files_are_names(tab: Page, tmp_path: Path) -> None:
    odd: dict[str, Any] = {"../a b/<c>:\u05d0\U0001f3c0": noise()}
    open_page(tab, Report(frames()).add(odd, '"x"/..\\y'), tmp_path)
    name, _ = downloaded(tab, f"{next(iter(odd))} (.npy)")
    assert name.endswith("_a_b_c_\u05d0_-_x_.._y.npy")
    assert not set(name) & set('/\\<>:"')
