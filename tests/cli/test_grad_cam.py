"""``--method video-grad-cam``: the library's own maps, and what is told of the layer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from captum_video import VideoGradCam
from captum_video.io import prepare, read_clip
from tests.cli.workplace import SMALL, explain, model_of, summary

GRAD_CAM = ("--model", "tinynets:net", "--method", "video-grad-cam", *SMALL)
ATTENDED = ("--model", "tinynets:attended_informed", "--method", "video-grad-cam")


def arrays() -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file("explanations/walk/relevance.safetensors")
    return loaded


def inputs(frames: int = 4, mean: float = 0, std: float = 1) -> torch.Tensor:
    return prepare(read_clip("walk.mp4"), frames=frames, size=16, mean=mean, std=std)


@pytest.mark.parametrize("pooling", [None, "frame"])
@pytest.mark.parametrize("alignment", [None, "uniform"])
def test_the_map_is_that_of_the_class(
    pooling: Any, alignment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--layer", "body.3", "--target", "1"]
    options += ["--temporal-pooling", pooling] if pooling else []
    options += ["--temporal-alignment", alignment] if alignment else []
    assert explain("walk.mp4", *GRAD_CAM, *options) == 0
    method = VideoGradCam(model_of("net"), "body.3", temporal_pooling=pooling or "clip")
    expected = method.attribute(inputs(), 1, temporal_alignment=alignment or "receptive_field")
    assert arrays()["grad_cam"].shape == (1, 4, 16, 16)
    assert torch.allclose(arrays()["grad_cam"], expected[0], rtol=1e-4, atol=1e-9)
    told = summary()
    assert told["target"]["index"] == 1
    assert (told["layer"], told["temporal_pooling"]) == ("body.3", pooling or "clip")
    assert told["temporal_alignment"] == (alignment or "receptive-field")
    assert (told["seed"], told["temporal_share"], told["frozen_frames"]) == (None, None, None)
    out = capsys.readouterr().out
    assert "temporal share" not in out
    assert ("averaged for each slice" in out, "spread evenly" in out) == (
        pooling is not None,
        alignment is not None,
    )


def test_the_layer_s_slices_are_told_by_the_file_s_frames(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # the model sees frames 1, 3, 5, 7; conv (3), pool (2, 2), conv (3 at twice the distance)
    assert explain("walk.mp4", *GRAD_CAM, "--layer", "body.3") == 0
    coverage = summary()["coverage"]
    assert coverage["slices"] == [
        {"first": 1, "last": 7, "centre": 2.0},  # centred between frames 0 and 1 of the four
        {"first": 1, "last": 7, "centre": 6.0},
    ]
    assert coverage["traced"]
    assert not coverage["mixed"]
    with safe_open("explanations/walk/relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert json.loads(facts["coverage"]) == coverage
    assert (facts["layer"], facts["temporal_pooling"]) == ("body.3", "clip")
    assert "seed" not in facts
    assert (
        "layer: body.3, 2 time slices: all 4 frames each, centred every 2"
        in capsys.readouterr().out
    )
    assert explain("walk.mp4", *GRAD_CAM, "--layer", "body.0", "--overwrite") == 0
    told = [(entry["first"], entry["last"]) for entry in summary()["coverage"]["slices"]]
    assert told == [(1, 3), (1, 5), (3, 7), (5, 7)]
    out = capsys.readouterr().out
    assert "4 time slices: 3 frames each, every 1 (1-3, 1-5, 3-7, 5-7)" in out


def test_the_strongest_frames_are_those_of_the_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *GRAD_CAM, "--layer", "body.0", "--target", "1") == 0
    sums = arrays()["grad_cam"].clamp(min=0).sum((0, 2, 3))
    assert sums.max() > 0
    (best, *_), told = summary()["strongest_frames"], summary()["strongest_frames_of"]
    assert told == "grad_cam"
    assert best["frame"] == [1, 3, 5, 7][int(sums.argmax())]
    assert best["share"] == pytest.approx(float(sums.max() / sums.sum()), rel=1e-4)
    assert f"frames with most positive Grad-CAM: {best['frame']} (" in capsys.readouterr().out


def test_the_model_s_own_layer_is_the_default() -> None:
    assert explain("walk.mp4", *ATTENDED) == 0
    assert summary()["layer"] == "cnn"
    model, clip = model_of("attended_informed"), inputs(6, 0.4, 0.2)
    target = summary()["target"]["index"]
    assert target == int(model(clip).argmax())
    expected = VideoGradCam(model, "cnn").attribute(clip, target)
    assert torch.allclose(arrays()["grad_cam"], expected[0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("given", ["--layer", "model.info.layer"])
def test_a_layer_that_does_not_exist(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = () if given == "model.info.layer" else ("--layer", "cnm.0")
    name = "tinynets:misinformed" if given == "model.info.layer" else "tinynets:attended_informed"
    model = ("--model", name, "--method", "video-grad-cam")
    assert explain("missing.mp4", *model, *option) == 2  # no clip is opened
    err = capsys.readouterr().err
    assert f"{given} 'cnm" in err
    assert "the model has no such layer. Did you mean 'cnn" in err
    assert "captum-video layers" in err


def test_a_model_without_a_layer_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("missing.mp4", *GRAD_CAM) == 2
    err = capsys.readouterr().err
    assert "--method video-grad-cam needs --layer NAME" in err
    assert "captum-video layers --model tinynets:net lists those it has" in err


@pytest.mark.parametrize("spec", ["tinynets:channels_first", "captum_video.layers:mvit_tokens"])
def test_reshape(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = explain("walk.mp4", *ATTENDED, "--reshape", spec)
    if spec == "tinynets:channels_first":
        assert status == 0
        clip, target = inputs(6, 0.4, 0.2), summary()["target"]["index"]
        expected = VideoGradCam(model_of("attended_informed"), "cnn").attribute(clip, target)
        assert torch.allclose(arrays()["grad_cam"], expected[0], rtol=1e-3, atol=1e-7)
    else:  # this layer is no MViT block
        assert status == 1
        err = capsys.readouterr().err
        assert "walk.mp4: --reshape mvit_tokens: needs the output of an MViT block" in err
        assert "Traceback" not in err


def test_frames_per_clip_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *ATTENDED, "--frames-per-clip", "6") == 0
    assert explain("walk.mp4", *ATTENDED, "--frames-per-clip", "3", "--overwrite") == 1
    err = capsys.readouterr().err
    assert "walk.mp4: --frames-per-clip 3 contradicts the 6 time slices" in err
    assert "frames_per_clip" not in err


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("lstm", "have not the 2 spatial axes"),
        ("attention.energy", "have not the 2 spatial axes"),
        ("spare", "is not called in the model's forward pass"),
    ],
)
def test_layers_that_give_no_map(layer: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *ATTENDED, "--layer", layer) == 1
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert "upsample" not in err
    assert not Path("explanations").exists()


def test_one_time_step_for_all_frames_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "tinynets:flattened", "--method", "video-grad-cam", *SMALL)
    assert explain("walk.mp4", *options, "--layer", "late") == 0
    out, err = capsys.readouterr()
    assert err.startswith("captum-video: warning: walk.mp4: layer 'late' has one time step for 4")
    assert "the deepest layer before it that still has several is 'early', with 4" in err
    assert len(summary()["coverage"]["slices"]) == 1
    assert "layer: late, 1 time slice: all 4 frames, so all have the same map\n" in out
    assert "most positive" not in out  # no frame is stronger than another
    assert summary()["strongest_frames"] == []


def test_the_pictures_are_of_the_map() -> None:
    assert explain("walk.mp4", *GRAD_CAM, "--layer", "body.0", "--target", "1") == 0
    assert read_clip("explanations/walk/overlay.mp4").frames.shape[3] < 3 * 224  # two panels
    strip = read_clip("explanations/walk/strip.png").frames[0].float()
    assert ((strip[0] - strip[2]) > 100).any()  # red
