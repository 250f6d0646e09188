"""The page that the command writes: what it holds, where it goes, and when there is none."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from captum_video import DiscriminativeRelevance, VideoGradCam, normalized_range
from captum_video.cli import _output, _page
from captum_video.io import prepare, read_clip, split_joints
from captum_video.visualization import Report
from tests.cli.workplace import SMALL, explain, model_of, summary
from tests.io.skeletons import IDS, walk, write_skeleton

NET = ("--model", "tinynets:net", *SMALL)
INFORMED = ("--model", "tinynets:informed")
CAM = ("--method", "video-grad-cam", "--layer", "body.0")


def content(path: str = "page.html") -> dict[str, Any]:
    """The numbers and words in a page."""
    text = Path(path).read_text(encoding="utf-8")
    start = text.index('id="content">') + len('id="content">')
    found: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return found


def seen(mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """What the model is fed of the clip."""
    clip = read_clip("walk.mp4")
    return prepare(clip, frames=4, size=(16, 16), mean=(mean,) * 3, std=(std,) * 3)


def test_every_class_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    also = ("--also", "right", "--also", "look:left", "--also", "right", "--also", "motion")
    assert explain("walk.mp4", *INFORMED, "--target", "still", "--report", "page.html", *also) == 0
    assert "wrote page.html: open it in a browser" in capsys.readouterr().out
    page = content()
    names = [target["name"] for target in page["targets"]]
    predicted = next(p for p in summary()["predictions"] if p["group"] == "motion")["ranking"][0]
    wanted = ["still", "right", "left (look)"]
    if predicted["name"] not in wanted[:2]:
        wanted.append("left (motion)")
    assert names == wanted  # each once

    model, clip = model_of("informed"), seen(mean=0.4, std=0.2)
    method = DiscriminativeRelevance(model, input_range=normalized_range(0.4, 0.2))
    for target, index in zip(page["targets"], (2, 1, 4), strict=False):
        parts = method.decompose(clip, target=index)
        assert [told["name"] for told in target["maps"]] == ["total", "spatial", "temporal"]
        for told in target["maps"]:
            relevance = getattr(parts, told["name"])[0].sum(0).double()
            sums = relevance.clamp(min=0).sum((1, 2)), relevance.clamp(max=0).sum((1, 2))
            assert np.allclose(told["positive"], sums[0], rtol=1e-4, atol=1e-7)
            assert np.allclose(told["negative"], sums[1], rtol=1e-4, atol=1e-7)
    share = summary()["temporal_share"]
    assert f"emporal share {share:.2f}" in page["targets"][0]["note"]
    tables = {table["title"]: table for table in page["tables"]}
    assert sorted(tables) == ["Prediction: look", "Prediction: motion"]
    assert tables["Prediction: motion"]["columns"] == ["class", "probability, %", "score"]
    row = tables["Prediction: motion"]["rows"][0]
    assert row == [
        predicted["name"], round(100 * predicted["probability"], 2), predicted["score"],
    ]  # fmt: skip
    assert page["labels"] == [str(number) for number in summary()["frames"]]
    assert dict(page["parameters"])["model"] == "informed"
    assert dict(page["parameters"])["relevance starts with"] == "one"
    assert page["fps"] == summary()["overlay_fps"]


def test_a_layer_and_its_options_are_named() -> None:
    more = ("--temporal-pooling", "frame", "--target", "1", "--report", "page.html")
    assert explain("walk.mp4", *NET, *CAM, *more) == 0
    page = content()
    facts = dict(page["parameters"])
    assert (facts["layer"], facts["gradients averaged over"]) == ("body.0", "slices")
    assert facts["time slices placed by"] == "receptive field"
    (target,) = page["targets"]
    cam = VideoGradCam(model_of("net"), "body.0", temporal_pooling="frame")
    found = cam.attribute(seen(), target=1)[0, 0].double()
    assert target["maps"][0]["name"] == "Grad-CAM"
    total = np.add(target["maps"][0]["positive"], target["maps"][0]["negative"])
    assert np.allclose(total, found.sum((1, 2)), rtol=1e-4, atol=1e-7)


def test_attention_is_a_curve() -> None:
    attended = ("--model", "tinynets:Attended", "--method", "frame-attention", *SMALL)
    assert explain("walk.mp4", *attended, "--layer", "attention", "--report", "page.html") == 0
    (target,) = content()["targets"]
    assert target["maps"] == []
    assert target["curves"] == [
        {"name": "attention", "values": pytest.approx(summary()["attention"])}
    ]


def test_a_regression_s_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--method", "regression-grad-cam", "--layer", "body.0", "--target", "0")
    also = ("--also", "3", "--also", "all", "--report", "page.html")
    assert explain("walk.mp4", *NET, *options, *also) == 0
    page = content()
    names = [target["name"] for target in page["targets"]]
    assert names == ["output 0", "output 3", "all outputs"]
    (table,) = page["tables"]
    assert table["title"] == "Outputs"
    values = dict(table["rows"])
    assert values["output 2"] == pytest.approx(summary()["outputs"]["values"][2])
    assert explain("walk.mp4", *NET, *options, *also, "--also", "7", "--overwrite") == 2
    assert "--also 7" in capsys.readouterr().err


def test_decoded_layers_play_in_step() -> None:
    bodies = [{IDS[0]: body / 8} for body in walk(12)]
    write_skeleton(Path("solo.skeleton"), bodies)
    options = ("--method", "feature-map-decoder", "--layer", "layer1", "--report", "page.html")
    assert explain("solo.skeleton", "--model", "tinyskeletons:informed", *options) == 0
    page = content()
    assert [panel["name"] for panel in page["panels"]] == ["layer1"]
    assert len(page["panels"][0]["frames"]) == len(page["frames"]) == 12
    curves = {curve["name"]: curve["values"] for curve in page["targets"][0]["curves"]}
    sequence = load_file("explanations/solo/decoded.safetensors")["input"].double()
    places = split_joints(sequence).numpy()
    by_hand = [0.0] + [
        sum(
            float(np.sqrt(((places[a, j, :, t] - places[a, j, :, t - 1]) ** 2).sum()))
            for a in range(places.shape[0])
            for j in range(places.shape[1])
        )
        for t in range(1, 12)
    ]
    assert np.allclose(curves["movement, input"], by_hand)
    assert not np.allclose(curves["movement, layer1"], by_hand)


def test_relevance_of_joints_for_two_classes() -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body / 8} for body in walk(12)])
    options = ("--method", "deep-taylor", "--target", "bow", "--also", "0", "--colour-blind")
    assert (
        explain(
            "solo.skeleton", "--model", "tinyskeletons:informed", *options, "--report", "page.html"
        )
        == 0
    )
    page = content()
    words = Path("page.html").read_text(encoding="utf-8")
    assert "handed back to the joints" in words
    assert "pixels, layer by layer" not in words
    first, second = page["targets"]
    assert first["name"] == "bow"
    assert first["curves"][0]["values"] != second["curves"][0]["values"]
    relevance = load_file("explanations/solo/relevance.safetensors")["relevance"].double()
    assert np.allclose(first["curves"][0]["values"], relevance.sum(0))
    assert [panel["name"] for panel in page["panels"]] == [
        "relevance for bow", f"relevance for {second['name']}",
    ]  # fmt: skip
    assert page["palettes"][0]["name"].startswith("orange")


def test_each_of_several_clips_has_a_page() -> None:
    os.link("walk.mp4", "run.mp4")
    assert explain("walk.mp4", "run.mp4", *NET, *CAM, "--report", "pages/p.html") == 0
    assert sorted(os.listdir("pages")) == ["p-run.html", "p-walk.html"]
    assert dict(content("pages/p-run.html")["parameters"])["clip"] == "run.mp4"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--report page.txt", "--report page.txt: must end in .html"),
        ("--also 1", "--also 1: is for the page: give --report FILE.html"),
        ("--report explanations/walk/p.html", "walk is the folder of an explanation"),
        ("--report walk.mp4/p.html", "walk.mp4 is a file, not a folder"),
        ("--report folder.html", "--report folder.html: is a folder"),
        ("--report p.html --also 9", "--also 9: the model's classes are 0 to 4"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    options: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder.html").mkdir()
    assert explain("walk.mp4", *NET, *CAM, *options.split()) in (1, 2)
    assert text in capsys.readouterr().err
    assert not list(Path("explanations").rglob("*"))
    assert not Path("p.html").exists()


def test_a_folder_that_is_not_writable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_page.os, "access", lambda path, mode: Path(path).name != "kept")
    Path("kept").mkdir()
    assert explain("walk.mp4", *NET, *CAM, "--report", "kept/new/p.html") == 2
    assert "kept is not writable" in capsys.readouterr().err


def test_untargeted_methods_take_no_further_classes(capsys: pytest.CaptureFixture[str]) -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body / 8} for body in walk(12)])
    options = ("--method", "feature-map-decoder", "--report", "p.html", "--also", "bow")
    assert explain("solo.skeleton", "--model", "tinyskeletons:informed", *options) == 2
    assert "--also is not for feature-map-decoder" in capsys.readouterr().err


def test_an_older_page_is_kept_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.html").write_text("mine")
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html") == 1
    assert "page.html exists: give --overwrite, or another --report" in capsys.readouterr().err
    assert Path("page.html").read_text() == "mine"
    assert not list(Path("explanations").rglob("*"))
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html", "--overwrite") == 0
    assert content()["targets"]


def test_a_clip_too_long_for_one_page_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html", "--output", "first") == 0
    size = Path("page.html").stat().st_size
    monkeypatch.setattr(_page, "Report", functools.partial(Report, max_bytes=size - 3000))
    assert explain("walk.mp4", *NET, *CAM, "--report", "other.html") == 1
    error = capsys.readouterr().err
    assert "walk.mp4: --report: the page would take" in error
    assert " for 4 frames" in error
    assert re.search(
        r"more than the \d+ bytes that a page may take: give --frames [123], or", error
    )
    assert not list(Path("explanations").rglob("*"))
    assert not Path("other.html").exists()


def test_a_page_appears_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __enter__(self) -> Path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __exit__(self, *_: object) -> None:
            raise AssertionError("never entered")

    Path("page.html").write_text("older")
    monkeypatch.setattr(_output, "written_whole", Full)
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html", "--overwrite") == 1
    assert Path("page.html").read_text() == "older"


def test_colours_that_all_can_tell_apart() -> None:
    pictures = []
    for more in ((), ("--colour-blind", "--overwrite")):
        assert explain("walk.mp4", *NET, *CAM, *more) == 0
        pictures.append(Path("explanations/walk/strip.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert torch.is_tensor(load_file("explanations/walk/relevance.safetensors")["grad_cam"])
