"""``--method frame-attention``: the frames' weights, and Grad-CAM on the frames."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from captum_video import FrameAttention, VideoGradCam
from captum_video.cli import _video_output
from captum_video.cli._request import Attention
from captum_video.io import prepare, read_clip
from tests.cli.workplace import explain, model_of, summary

INFORMED = ("--model", "tinynets:attended_informed", "--method", "frame-attention")
PLAIN = ("--model", "tinynets:attended", "--method", "frame-attention")
SIX = ("--frames", "6", "--size", "16")


def arrays() -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file("explanations/walk/relevance.safetensors")
    return loaded


def inputs(mean: float = 0, std: float = 1) -> torch.Tensor:
    return prepare(read_clip("walk.mp4"), frames=6, size=16, mean=mean, std=std)


def test_weights_and_grad_cam(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *INFORMED, "--target", "fall") == 0
    model, clip = model_of("attended_informed"), inputs(0.4, 0.2)
    weights = FrameAttention(model, "attention").attribute(clip)[0]
    assert torch.allclose(arrays()["attention"], weights, atol=1e-6)
    expected = VideoGradCam(model, "cnn").attribute(clip, 2)[0]
    assert torch.allclose(arrays()["grad_cam"], expected, rtol=1e-4, atol=1e-9)

    told = summary()
    assert told["attention"] == pytest.approx(weights.tolist(), abs=1e-6)
    assert told["attention_layer"] == "attention"
    assert told["layer"] == "cnn"
    assert told["target"]["name"] == "fall"
    order = weights.argsort(descending=True)[:3]
    numbers = told["frames"]
    assert [entry["frame"] for entry in told["top_frames"]] == [numbers[i] for i in order]
    assert told["top_frames"][0]["weight"] == pytest.approx(float(weights.max()), abs=1e-6)
    with safe_open("explanations/walk/relevance.safetensors", "pt") as file:
        assert file.metadata()["attention_layer"] == "attention"
    out = capsys.readouterr().out
    assert f"frames with most attention: {numbers[order[0]]} (" in out
    assert "an even share would be 17 %" in out
    assert "layer: cnn, 6 time slices: one frame each" in out


def test_equal_weights_are_ranked_by_time() -> None:
    weights = torch.tensor([0.1, 0.3, 0.1, 0.3, 0.2])
    found = Attention("attention", weights).top(4)
    assert [frame for frame, _ in found] == [1, 3, 4, 0]
    assert [weight for _, weight in found] == pytest.approx([0.3, 0.3, 0.2, 0.1])


def test_the_strip_begins_with_the_most_attended_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    draw = _video_output.relevance_strip

    def spy(*args: object, **kwargs: object) -> object:
        asked.update(kwargs, rows=args[1])
        return draw(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(_video_output, "relevance_strip", spy)
    assert explain("walk.mp4", *INFORMED) == 0
    weights = arrays()["attention"]
    assert asked["indices"] == weights.argsort(descending=True).tolist()
    assert asked["notes"] == [f"{100 * weight:.0f} %" for weight in weights.tolist()]
    assert list(asked["rows"]) == ["Grad-CAM"]  # type: ignore[call-overload]
    title = str(asked["title"])
    assert title.startswith("walk.mp4: stand (")
    assert title.endswith(" %), layer cnn, most attended frames first")


def test_without_a_layer_for_grad_cam_each_frame_s_map_is_its_weight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {}
    draw = _video_output.relevance_strip

    def spy(pictures: np.ndarray, rows: dict[str, np.ndarray], **kwargs: object) -> object:
        drawn.update(rows)
        return draw(pictures, rows, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(_video_output, "relevance_strip", spy)
    assert explain("walk.mp4", *PLAIN, *SIX, "--layer", "attention") == 0
    weights = arrays()["attention"]
    assert sorted(arrays()) == ["attention", "frame_numbers", "frames"]
    assert drawn["attention"].shape == (6, 16, 16)
    assert np.array_equal(drawn["attention"].min((1, 2)), drawn["attention"].max((1, 2)))
    assert drawn["attention"][:, 0, 0] == pytest.approx(weights.numpy())
    told = summary()
    assert told["target"] is None
    assert told["strongest_frames"] == []
    assert (told["layer"], told["coverage"], told["strongest_frames_of"]) == (None, None, None)
    out, err = capsys.readouterr()
    assert "explained: the attention over frames, which depends on no class" in out
    assert "Grad-CAM" not in out
    assert err == ""


def test_grad_cam_layer_brings_the_map() -> None:
    options = ("--layer", "attention", "--grad-cam-layer", "cnn.0", "--temporal-pooling", "frame")
    assert explain("walk.mp4", *PLAIN, *SIX, *options) == 0
    told = summary()
    assert (told["layer"], told["temporal_pooling"]) == ("cnn.0", "frame")
    model, clip = model_of("attended"), inputs()
    method = VideoGradCam(model, "cnn.0", temporal_pooling="frame")
    expected = method.attribute(clip, told["target"]["index"])[0]
    assert torch.allclose(arrays()["grad_cam"], expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "--method frame-attention needs --layer NAME"),
        (("--layer", "atention"), "--layer 'atention': the model has no such layer. Did you mean"),
        (("--layer", "attention", "--grad-cam-layer", "cmn"), "--grad-cam-layer 'cmn': the model"),
        (("--layer", "attention", "--target", "1"), "--target is for Grad-CAM, and there is no"),
        (
            ("--layer", "attention", "--temporal-pooling", "clip"),
            "--temporal-pooling is for Grad-CAM, and there is no layer for it",
        ),
    ],
)
def test_wrong_usage(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("missing.mp4", *PLAIN, *SIX, *options) == 2
    assert text in capsys.readouterr().err


def test_a_module_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *PLAIN, *SIX, "--layer", "lstm") == 1
    err = capsys.readouterr().err
    assert "walk.mp4: module 'lstm' gives no weights of shape (1, 6), one for each frame" in err
    assert "say where they are by --attention-weights" in err
    assert "frames_per_clip" not in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


@pytest.mark.parametrize("spec", ["last", "tinynets:from_logarithms"])
def test_weights_that_are_elsewhere(spec: str) -> None:
    model = ("--model", "tinynets:hiding", "--method", "frame-attention", "--layer", "attention")
    assert explain("walk.mp4", *model, *SIX, "--attention-weights", spec) == 0
    net = model_of("hiding")
    net(inputs())
    assert torch.allclose(arrays()["attention"], net.attention.last[0], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "status", "text"),
    [
        (None, 1, "must not be negative and sum to 1 over the frames"),
        ("lost", 1, "weights 'lost': module 'attention' has no such attribute"),
        ("tinynets:lost_weights", 2, "tinynets has no 'lost_weights'"),
        ("tinynets:constant", 2, "--attention-weights tinynets:constant: is a int, no function"),
    ],
)
def test_weights_that_are_nowhere(
    spec: str | None, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", "tinynets:hiding", "--method", "frame-attention", "--layer", "attention")
    option = ("--attention-weights", spec) if spec else ()
    assert explain("walk.mp4", *model, *SIX, *option) == status
    assert text in capsys.readouterr().err


def test_the_metadata_of_weights_alone() -> None:
    assert explain("walk.mp4", *PLAIN, *SIX, "--layer", "attention") == 0
    with safe_open("explanations/walk/relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["attention_layer"] == "attention"
    assert not {"target", "layer", "seed", "coverage"} & set(facts)
    assert json.loads(Path("explanations/walk/summary.json").read_text())["attention"]
