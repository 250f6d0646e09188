"""The page that the command writes: what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from captum_video import DiscriminativeRelevance, VideoGradCam, normalized_range
from captum_video.io import prepare, read_clip, split_joints
from tests.cli.workplace import SMALL, explain, model_of, summary
from tests.io.skeletons import IDS, walk, write_skeleton

NET = ("--model", "tinynets:net", *SMALL)
INFORMED = ("--model", "tinynets:informed")
_READ = "spatial relevance read at"
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


def marked(table: dict[str, Any]) -> dict[str, str | None]:
    """By the first column, which target a row stands for."""
    return dict(zip([row[0] for row in table["rows"]], table["targets"], strict=True))


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
    marked = {
        row[0]: t
        for row, t in zip(
            tables["Prediction: motion"]["rows"],
            tables["Prediction: motion"]["targets"],
            strict=True,
        )
    }
    assert (marked["still"], marked["right"]) == ("still", "right")
    look = tables["Prediction: look"]
    assert dict(zip([row[0] for row in look["rows"]], look["targets"], strict=True)) == {
        "digit 0": None,
        "left": "left (look)",
    }
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
    marked = dict(zip(values, table["targets"], strict=True))
    assert {name: t for name, t in marked.items() if t} == {
        "output 0": "output 0",
        "output 3": "output 3",
    }
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


def test_classes_of_one_name_are_told_apart() -> None:
    Path("names.txt").write_text("crane\ndog\ncrane\nfox\ncrane\n")
    options = (*NET, *CAM, "--classes", "names.txt", "--target", "0", "--also", "2")
    assert explain("walk.mp4", *options, "--report", "page.html") == 0
    page = content()
    assert [target["name"] for target in page["targets"]] == ["crane (0)", "crane (2)"]
    for target in page["targets"]:
        map_ = VideoGradCam(model_of("net"), "body.0").attribute(
            seen(), target=int(target["name"][-2])
        )
        total = np.add(target["maps"][0]["positive"], target["maps"][0]["negative"])
        assert np.allclose(total, map_[0, 0].double().sum((1, 2)), rtol=1e-4, atol=1e-7)
        score = float(model_of("net")(seen()).detach()[0, int(target["name"][-2])])
        assert target["note"] == f"Score {score:.4g}."


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ("--frozen-frame first", _READ, "the first copy in its frozen clip"),
        ("--frozen-frame mean", _READ, "the mean of all copies in its frozen clip"),
        ("", "rules", "alpha 1, beta 0; z-beta over the range of pixels in the first layer"),
        ("--method selective-relevance", "kept", "changes of more than 1 times the standard deviation"),
        ("--mean 0.5", "input", "16x16 pixels, less mean 0.5, divided by standard deviation 1"),
    ],
)  # fmt: skip
def test_what_the_method_was_told_is_told(options: str, name: str, value: str) -> None:
    assert explain("walk.mp4", *NET, *options.split(), "--report", "page.html") == 0
    assert dict(content()["parameters"])[name] == value


def test_the_loss_is_told() -> None:
    np.save("truth.npy", np.zeros((1, 5), dtype=np.float32))
    options = ("--method", "regression-grad-cam", "--layer", "body.0", "--truth", "truth.npy")
    loss = ("--loss", "torch.nn.functional:mse_loss")
    assert explain("walk.mp4", *NET, *options, *loss, "--report", "page.html") == 0
    facts = dict(content()["parameters"])
    value = float(model_of("net")(seen()).detach().square().mean())
    assert facts["loss"].endswith(f" = {value:.4g}")
    assert facts["objective"] == "negative-loss"


def test_what_the_temporal_share_means() -> None:
    assert explain("walk.mp4", *NET, "--report", "page.html") == 0
    note = content()["targets"][0]["note"]
    assert note.endswith("(0: all owed to appearance, 1: all to motion).")


def test_an_unlikely_class_that_was_explained_is_in_the_table() -> None:
    names = [f"class {k}" for k in range(14)]
    Path("names.txt").write_text("\n".join(names))
    Path("wide.py").write_text(
        "import torch\nfrom tinynets import Net\n\n"
        "def net():\n    model = Net()\n    torch.manual_seed(0)\n"
        "    model.head = torch.nn.Linear(48, 14)\n    return model\n"
    )
    options = ("--model", "wide:net", *SMALL, *CAM, "--classes", "names.txt")
    assert explain("walk.mp4", *options) == 0
    last = model_of("net", "wide")(seen())[0].argsort(descending=True).tolist()
    more = ("--also", names[last[13]], "--report", "page.html", "--overwrite")
    assert explain("walk.mp4", *options, *more) == 0
    rows = [row[0] for row in content()["tables"][0]["rows"]]
    assert rows == [names[k] for k in [*last[:10], last[13]]]
