"""What the command computes of skeletons: the library's own decoded layers, and what it says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from captum_video import FeatureMapDecoder
from captum_video.attr.feature_map_decoder import DecodableLayer
from captum_video.cli import _output
from captum_video.cli._decoder_method import _default
from captum_video.cli._skeleton import Skeletons, joints
from captum_video.io import KINECT_JOINTS, SkeletonClip, read_clip
from tests.cli.test_outputs import full_disk
from tests.cli.workplace import explain, found, model_of, summary
from tests.io.skeletons import IDS, walk, write_skeleton

DECODER = ("--method", "feature-map-decoder")
FILES = ["decoded.safetensors", "responses.png", "skeletons.mp4", "strip.png", "summary.json"]


def dancers(frames: int = 9) -> tuple[dict[int, np.ndarray], list[dict[int, np.ndarray]]]:
    """Two bodies that move, the second more, and a chair; frame 2 is empty."""
    random = np.random.default_rng(0)
    pose = random.normal(size=(25, 3))
    steps = random.normal(size=(2, frames, 25, 3)).cumsum(1).round(3) * 0.0625
    # numbers that the file's seven digits hold
    moving = {IDS[k]: ((pose + k).round(2) + (k + 1) * steps[k]).round(4) for k in (0, 1)}
    chair = np.full((25, 3), 3.0)
    listed = [
        {} if t == 2 else {IDS[0]: moving[IDS[0]][t], IDS[2]: chair, IDS[1]: moving[IDS[1]][t]}
        for t in range(frames)
    ]
    return moving, listed


def as_sequence(moving: dict[int, np.ndarray], order: tuple[int, ...], frames: list[int]) -> Tensor:
    """The sequence (D, T) of some bodies, in plain loops."""
    rows = [
        [moving[IDS[body]][frame][joint][axis] for frame in frames]
        for body in order
        for joint in range(25)
        for axis in range(3)
    ]
    return torch.tensor(rows, dtype=torch.float32)


def shares(sequence: np.ndarray) -> np.ndarray:
    """Each joint's share of the motion about its mean position, in plain loops."""
    amount = np.zeros(50)
    for joint in range(50):
        track = sequence[3 * joint : 3 * joint + 3].astype(float)
        amount[joint] = np.sqrt(np.mean(np.sum((track.T - track.mean(1)) ** 2, axis=1)))
    return amount / amount.sum()


def arrays(name: str = "dance") -> dict[str, Tensor]:
    return load_file(Path("explanations", name, "decoded.safetensors"))


def test_explains_skeletons(capsys: pytest.CaptureFixture[str]) -> None:
    moving, listed = dancers()
    write_skeleton(Path("dance.skeleton"), listed)
    assert explain("dance.skeleton", "--model", "tinyskeletons:informed", *DECODER) == 0
    assert sorted(os.listdir("explanations/dance")) == FILES

    # the second body moves more, and comes first; frame 2 is dropped, the last one held
    numbers = [0, 1, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8]
    sequence = as_sequence(moving, (1, 0), numbers)
    saved = arrays()
    assert torch.allclose(saved["input"], sequence, atol=1e-6)
    assert saved["frame_numbers"].tolist() == numbers

    model = model_of("informed", "tinyskeletons")
    mean = torch.tensor(found("mean", "tinyskeletons")())
    inputs = ((sequence - mean[:, None]) / 2).unsqueeze(0)
    layers = ["layer1", "layer3", "layer4"]
    for layer in layers:
        decoder = FeatureMapDecoder(model, layer, mean=mean, std=2.0)
        assert torch.allclose(saved[f"decoded.{layer}"], decoder.attribute(inputs)[0], atol=1e-5)
        assert torch.allclose(saved[f"responses.{layer}"], decoder.responses(inputs)[0], atol=1e-5)
    with safe_open("explanations/dance/decoded.safetensors", "pt") as file:
        facts = file.metadata()
    assert (facts["clip"], facts["model"]) == ("dance.skeleton", "dancers")
    assert json.loads(facts["layers"]) == layers
    assert json.loads(facts["receptive_fields"]) == [3, 7, 11]
    assert json.loads(facts["joints"]) == list(KINECT_JOINTS)
    assert (facts["actors"], facts["std"]) == ("2", "[2.0]")
    assert "target" not in facts

    told = summary("dance")
    assert told["frames"] == numbers
    assert (told["clip_frames"], told["actors"], told["dimensions"]) == (9, 2, 150)
    assert [body["id"] for body in told["bodies"]] == [str(IDS[k]) for k in (0, 2, 1)]
    assert [body["frames"] for body in told["bodies"]] == [8, 8, 8]
    assert [body["actor"] for body in told["bodies"]] == [2, None, 1]
    assert [body["motion"] > 0 for body in told["bodies"]] == [True, False, True]
    ranking = told["predictions"][0]["ranking"]
    chances = model(inputs)[0].softmax(0)
    assert ranking[0]["index"] == int(chances.argmax())
    assert ranking[0]["probability"] == pytest.approx(float(chances.max().detach()), abs=1e-4)
    assert told["target"] is None

    before = shares(sequence.numpy())
    out = capsys.readouterr().out
    for layer, field, entry in zip(layers, (3, 7, 11), told["layers"], strict=True):
        assert (entry["layer"], entry["receptive_field"]) == (layer, field)
        assert [entry["filters"], entry["steps"]] == list(saved[f"responses.{layer}"].shape)
        held = FeatureMapDecoder(model, layer, ends="held").attribute(inputs)
        after = shares(held[0].numpy())
        assert len(entry["joints"]) == 50
        gains = [joint["log2"] for joint in entry["joints"]]
        assert gains == sorted(gains, reverse=True)
        for joint in entry["joints"]:
            place = 25 * (joint["actor"] - 1) + KINECT_JOINTS.index(joint["joint"])
            assert joint["input_share"] == pytest.approx(before[place], rel=1e-4)
            assert joint["share"] == pytest.approx(after[place], rel=1e-3)
            assert joint["log2"] == pytest.approx(np.log2(after[place] / before[place]), abs=2e-3)
        best, worst = entry["joints"][0], entry["joints"][-1]
        words = best["joint"].split("_")
        name = " ".join([*(w for w in words if w in ("left", "right")),
                         *(w for w in words if w not in ("left", "right"))])  # fmt: skip
        start = f"{layer} (sees {field} frames) amplifies {name} of actor {best['actor']}"
        assert f"{start} x{2 ** best['log2']:.2g} (" in out
        assert f"x{2 ** worst['log2']:.2g} ({100 * worst['input_share']:.1f} % to" in out
    assert (
        "clip: 9 frames with 3 bodies; the model saw 12 of 2 actors, from frame 0 to 8, "
        "4 repeated as the clip is short"
    ) in out
    assert f"predicted (action): {ranking[0]['name']}" in out
    assert "explained: layer1, layer3 and layer4, decoded for no class in particular, by" in out
    assert f"wrote explanations/dance: {', '.join([FILES[2], FILES[3], FILES[1], FILES[0]])}" in out

    video = read_clip("explanations/dance/skeletons.mp4")
    assert (len(video), video.fps, told["skeletons_fps"]) == (12, pytest.approx(30), 30)
    height, width = video.frames.shape[2:]
    assert width > 3 * height  # input and three layers
    inked = (video.frames.float().amax(1) - video.frames.float().amin(1)) > 60
    changes = (video.frames[0].float() - video.frames[6].float()).abs().amax(0) > 60
    for k in range(4):  # each panel shows a body, and it moves
        panel = slice(k * width // 4, (k + 1) * width // 4)
        assert inked[:, :, panel].any(2).any(1).all()
        assert changes[:, panel].sum() > 50


def test_layers_and_frames_as_asked() -> None:
    moving, listed = dancers(8)
    write_skeleton(Path("dance.skeleton"), listed)
    asked = ("--layer", "layer4, layer2", "--layer", "layer4", "--frames", "6", "--fps", "4")
    assert explain("dance.skeleton", "--model", "tinyskeletons:net", *DECODER, *asked) == 1
    asked = (*asked[:5], "12", *asked[6:])
    assert explain("dance.skeleton", "--model", "tinyskeletons:net", *DECODER, *asked) == 0
    told = summary("dance")
    assert [layer["layer"] for layer in told["layers"]] == ["layer4", "layer2"]
    assert told["frames"] == [0, 1, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7]
    assert (told["skeletons_fps"], told["assumed"], told["model"]) == (4, [], "tinyskeletons:net")
    sequence = as_sequence(moving, (1, 0), told["frames"])
    decoder = FeatureMapDecoder(model_of("net", "tinyskeletons"), "layer2")
    expected = decoder.attribute(sequence.unsqueeze(0))[0]
    assert torch.allclose(arrays()["decoded.layer2"], expected, atol=1e-5)


def test_layers_that_see_too_much_are_left_out_and_a_missing_actor_is_zero(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body} for body in walk(10)])
    assert explain("solo.skeleton", "--model", "tinyskeletons:net", *DECODER) == 0
    out, err = capsys.readouterr()
    assert (
        "warning: solo.skeleton: not decoded, as their activations see more frames than the 10"
        in err
    )
    assert "that there are: layer4; give more --frames" in err
    told = summary("solo")
    assert [layer["layer"] for layer in told["layers"]] == ["layer1", "layer2", "layer3"]
    assert told["frames"] == list(range(10))
    assert {joint["actor"] for joint in told["layers"][0]["joints"]} == {1}
    assert not arrays("solo")["input"][75:].any()
    assert arrays("solo")["decoded.layer1"][75:].any()
    assert " of actor" not in out
    assert "the model saw 10 of 1 actor, from frame 0 to 9\n" in out


def test_older_explanations_are_kept_and_failures_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body} for body in walk(4)])
    run = ("solo.skeleton", "--model", "tinyskeletons:net", *DECODER, "--layer", "layer1")
    with monkeypatch.context() as patched:
        patched.setattr(_output, "save", full_disk)  # after the pictures
        assert explain(*run) == 1
    assert "solo.skeleton: [Errno 28] No space left" in capsys.readouterr().err
    assert os.listdir("explanations") == []
    assert explain(*run) == 0
    before = Path("explanations/solo/summary.json").stat().st_mtime_ns
    assert explain(*run) == 1
    assert "explanations/solo exists: give --overwrite" in capsys.readouterr().err
    assert Path("explanations/solo/summary.json").stat().st_mtime_ns == before
    assert explain(*run, "--overwrite") == 0
    assert sorted(os.listdir("explanations/solo")) == FILES


def test_the_default_is_the_first_the_middle_and_the_last_of_each_stream() -> None:
    def of(stream: int, count: int) -> list[DecodableLayer]:
        return [DecodableLayer(f"{stream}.{n}", n, stream, n) for n in range(1, count + 1)]

    assert _default(of(0, 10), 99) == ["0.1", "0.6", "0.10"]
    assert _default(of(0, 2), 99) == ["0.1", "0.2"]
    assert _default(of(0, 7) + of(1, 7), 99) == ["0.1", "0.4", "0.7", "1.1", "1.4", "1.7"]
    with pytest.warns(UserWarning, match="than the 3 that there are: 0.4, 0.5; give more"):
        assert _default(of(0, 5), 3) == ["0.1", "0.2", "0.3"]


def test_joints_that_do_not_move_are_left_out() -> None:
    still: Any = torch.zeros(75, 4)
    still[3 * 7] = torch.tensor([0.0, 1, 0, 1])
    still[3 * 11 + 1] = torch.tensor([0.0, 3, 0, 3])
    clip = SkeletonClip(Path("x"), still, still, still, (1,))
    source = Skeletons(clip, still, [0, 1, 2, 3], [0])
    decoded = still.clone()
    decoded[3 * 7] *= 9
    decoded[0] = torch.tensor([0.0, 7, 0, 7])  # it stands still in the input
    first, second = joints(source, decoded)
    assert (first.place, source.joint(first.place)) == (7, "left hand")
    assert (first.before, first.share, first.amplification) == pytest.approx(
        (0.25, 0.75, np.log2(3))
    )
    assert (second.place, source.joint(second.place)) == (11, "right hand")
    assert (second.before, second.share) == pytest.approx((0.75, 0.25))
    assert joints(source, torch.ones(75, 4)) == []
    assert source.joint(21) == "left hand tip"
    assert Skeletons(clip, still, [0], [0, 1]).joint(25 + 3) == "head of actor 2"
    assert source.joint(25 + 3) == "head of absent actor 2"
