"""Relevance of skeletons on the command line: joint by joint, frame by frame."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from captum_video import DeepTaylor
from captum_video.cli._skeleton import joint_weights, strongest
from captum_video.io import KINECT_JOINTS, read_clip
from captum_video.relevance.rules import AlphaBeta
from captum_video.visualization import robust_maximum, skeleton_frames
from tests.cli.workplace import explain, found, model_of, summary
from tests.io.skeletons import IDS, walk, write_skeleton
from tests.visualization.pages import content_of, pixels


def test_relevance_of_joints(capsys: pytest.CaptureFixture[str]) -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body / 8} for body in walk(6)])
    options = ("--method", "deep-taylor", "--target", "bow", "--seed-with", "one", "--fps", "5")
    assert explain("solo.skeleton", "--model", "tinyskeletons:informed", *options) == 0
    assert sorted(os.listdir("explanations/solo")) == [
        "joints.png", "relevance.safetensors", "skeletons.mp4", "strip.png", "summary.json",
    ]  # fmt: skip
    arrays = load_file("explanations/solo/relevance.safetensors")
    sequence = torch.zeros(150, 12)
    for frame in range(12):
        body = walk(6)[min(frame, 5)] / 8
        sequence[:75, frame] = torch.from_numpy(body.reshape(-1)).float()
    assert torch.allclose(arrays["input"], sequence, atol=1e-6)
    model = model_of("informed", "tinyskeletons")
    mean = torch.tensor(found("mean", "tinyskeletons")())
    inputs = ((sequence - mean[:, None]) / 2).unsqueeze(0)
    method = DeepTaylor(model, seed="one", rules={"first": AlphaBeta(1, 0)})
    expected = method.attribute(inputs, target=2)[0]
    assert torch.allclose(arrays["relevance"], expected, atol=1e-6)
    with safe_open("explanations/solo/relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert (facts["target"], facts["target_name"], facts["seed"]) == ("2", "bow", "one")
    assert "layers" not in facts

    told = summary("solo")
    assert (told["target"]["name"], told["seed"], told["layers"]) == ("bow", "one", [])
    positive = expected.double().reshape(2, 25, 3, 12).sum(2).clamp(min=0).numpy()
    total = positive.sum()
    best = told["strongest_joints"][0]
    actor, joint = np.unravel_index(positive.sum(2).argmax(), (2, 25))
    assert (best["actor"], best["joint"]) == (actor + 1, KINECT_JOINTS[joint])
    assert best["share"] == pytest.approx(positive.sum(2).max() / total, rel=1e-4)
    last = told["strongest_frames"][0]
    assert last["frame"] == told["frames"][int(positive.sum((0, 1)).argmax())]
    assert last["share"] == pytest.approx(positive.sum((0, 1)).max() / total, rel=1e-4)
    out = capsys.readouterr().out
    assert "explained: bow (action), score " in out
    assert f"({100 * best['share']:.0f} %)" in out
    assert "joints with most positive relevance: " in out
    assert f"frames with most positive relevance: {last['frame']} (" in out
    assert "wrote explanations/solo: skeletons.mp4, strip.png, joints.png, relevance.saf" in out
    video = read_clip("explanations/solo/skeletons.mp4")
    assert (len(video), video.fps) == (12, pytest.approx(5))
    red = video.frames[:, 0].float() - video.frames[:, 2].float() > 40
    assert red.any()  # dots on the joints


def test_classes_of_a_page_share_one_scale() -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body / 8} for body in walk(12)])
    options = ("--method", "deep-taylor", "--target", "bow", "--also", "wave")
    arguments = ("solo.skeleton", "--model", "tinyskeletons:informed", *options)
    assert explain(*arguments, "--report", "page.html") == 0
    arrays = load_file("explanations/solo/relevance.safetensors")
    mean = torch.tensor(found("mean", "tinyskeletons")())
    inputs = ((arrays["input"] - mean[:, None]) / 2).unsqueeze(0)
    method = DeepTaylor(model_of("informed", "tinyskeletons"), rules={"first": AlphaBeta(1, 0)})
    weights = [joint_weights(method.attribute(inputs, target=target)[0]) for target in (2, 0)]
    own = [robust_maximum(values.numpy()) for values in weights]
    assert max(own) > 1.2 * min(own)  # or else the test would tell nothing
    scale = robust_maximum(*(values.numpy() for values in weights))
    weak = own.index(min(own))
    panels = content_of(Path("page.html").read_text(encoding="utf-8"))["panels"]
    shown = pixels(panels[weak]["frames"]).astype(int)
    drawn, alone = (
        skeleton_frames({"input": arrays["input"]}, weights=weights[weak], saturation=saturation)
        for saturation in (scale, None)
    )
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 0.2 * np.abs(shown - alone).mean()


def test_relevance_and_decoded_layers_replace_each_other() -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body} for body in walk(3)])
    run = ("solo.skeleton", "--model", "tinyskeletons:net", "--overwrite", "--method")
    assert explain(*run, "deep-taylor") == 0
    assert explain(*run, "feature-map-decoder", "--layer", "layer1") == 0
    assert sorted(os.listdir("explanations/solo")) == [
        "decoded.safetensors", "responses.png", "skeletons.mp4", "strip.png", "summary.json",
    ]  # fmt: skip


def test_joints_sum_their_axes_and_only_the_positive_counts() -> None:
    relevance = torch.zeros(75, 3)
    relevance[0:3, 1] = torch.tensor([3.0, -1, 1])
    relevance[30:33, 2] = torch.tensor([1.0, 0, 0])
    relevance[33, 0] = -9
    weights = joint_weights(relevance)
    assert weights.shape == (25, 3)
    assert (weights[0, 1], weights[10, 2], weights[11, 0], weights.sum()) == (3, 1, -9, -5)
    assert strongest(relevance) == ([(0, 0.75), (10, 0.25)], [(1, 0.75), (2, 0.25)])
    assert strongest(relevance, 1) == ([(0, 0.75)], [(1, 0.75)])
    assert strongest(relevance.clamp(max=0)) == ([], [])
