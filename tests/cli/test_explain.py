"""What the command computes: the library's own maps, figures and target."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from captum_video import DeepTaylor, DiscriminativeRelevance, SelectiveRelevance, normalized_range
from captum_video.cli._target import predictions
from captum_video.io import display, prepare, read_clip, write_frames, write_video
from captum_video.metrics import temporal_share
from tests.cli.workplace import SMALL, explain, model_of, moving, summary


def test_explains_a_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", *SMALL) == 0
    folder = Path("explanations/walk")
    assert sorted(os.listdir("explanations")) == ["walk"]
    assert sorted(os.listdir(folder)) == [
        "overlay.mp4", "relevance.safetensors", "strip.png", "summary.json",
    ]  # fmt: skip

    modes = {item.name: item.stat().st_mode for item in folder.iterdir()}
    assert len(set(modes.values())) == 1, "who may read differs between the files"

    # the arrays are those of the library, computed here step by step
    model = model_of("net")
    inputs = prepare(read_clip("walk.mp4"), frames=[1, 3, 5, 7], size=16)
    method = DiscriminativeRelevance(model, input_range=normalized_range(0, 1))
    target = int(model(inputs).argmax())
    parts, frozen = method.decompose(inputs, target=target, return_frozen=True)
    arrays = load_file(folder / "relevance.safetensors")
    for name in ("total", "spatial", "temporal"):
        expected = getattr(parts, name)[0]
        assert torch.allclose(arrays[name], expected, rtol=1e-4, atol=1e-6 * expected.abs().max())
    assert torch.equal(arrays["temporal"], arrays["total"] - arrays["spatial"])
    assert torch.allclose(arrays["frozen_scores"], frozen.scores[0], atol=1e-5)
    assert torch.equal(arrays["frozen_predictions"], frozen.predictions[0])
    assert np.array_equal(arrays["frames"].numpy(), display(inputs))
    assert arrays["frame_numbers"].tolist() == [1, 3, 5, 7]
    with safe_open(folder / "relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["method"] == "discriminative-relevance"
    assert facts["seed"] == "one"
    assert facts["target"] == str(target)
    assert (facts["input_low"], facts["input_high"]) == ("[0.0]", "[1.0]")

    # and the summary and the text say the same
    share = temporal_share(
        DiscriminativeRelevance(model, input_range=normalized_range(0, 1), seed="score").decompose(
            inputs, target=target
        )
    )
    told = summary()
    assert told["temporal_share"] == pytest.approx(share.item(), rel=1e-4)
    assert told["frames"] == [1, 3, 5, 7]
    assert told["times"] == [0.1, 0.3, 0.5, 0.7]
    assert told["target"]["index"] == target
    assert told["target"]["score"] == pytest.approx(float(model(inputs)[0, target].detach()))
    positive = parts.temporal.sum(1).clamp(min=0).sum((0, 2, 3))
    best = told["strongest_frames"][0]
    assert best["frame"] == [1, 3, 5, 7][int(positive.argmax())]
    assert best["share"] == pytest.approx(float(positive.max() / positive.sum()), rel=1e-3)
    ranking = told["predictions"][0]["ranking"]
    chances = model(inputs).softmax(1)[0]
    assert [entry["index"] for entry in ranking] == chances.argsort(descending=True).tolist()
    assert ranking[0]["probability"] == pytest.approx(chances.max().item(), abs=1e-5)

    out, err = capsys.readouterr()
    assert f"temporal share: {told['temporal_share']:.3f}" in out
    assert f"explained: class {target}, score" in out
    assert "assuming mean 0, standard deviation 1 of values in 0..1 (give --mean, --std" in out
    assert "of 4 frozen frames are still" in out
    assert "wrote explanations/walk: overlay.mp4, strip.png" in out
    assert err == ""


def test_the_share_is_the_same_whatever_the_maps_start_with() -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--seed-with", "score", *SMALL) == 0
    scored = summary()
    assert explain("walk.mp4", "--model", "tinynets:net", "--overwrite", *SMALL) == 0
    assert (scored["seed"], summary()["seed"]) == ("score", "one")
    assert summary()["temporal_share"] == pytest.approx(scored["temporal_share"], rel=1e-4)


def test_a_model_that_speaks_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--frozen-frame", "mean", "--internal-batch-size", "3", "--target", "look")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    out = capsys.readouterr().out
    assert "assuming" not in out
    assert "predicted (motion): " in out
    assert "predicted (look): " in out

    model = model_of("informed")
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=0.4, std=0.2)
    method = DiscriminativeRelevance(model, input_range=normalized_range(0.4, 0.2))
    target = 3 + int(model(inputs)[0, 3:].argmax())
    parts = method.decompose(inputs, target=target, frozen_frame="mean")
    arrays = load_file("explanations/walk/relevance.safetensors")
    assert torch.allclose(arrays["spatial"], parts.spatial[0], atol=1e-6)
    frozen = torch.cat([inputs[:, :, t : t + 1].expand_as(inputs) for t in range(4)])
    wanted = 3 + model(frozen)[:, 3:].argmax(1)
    assert torch.equal(arrays["frozen_predictions"], wanted)
    told = summary()
    assert told["target"]["group"] == "look"
    assert told["target"]["index"] == target
    assert told["frozen_frames"]["share_predicting_target"] == float(
        (wanted == target).float().mean()
    )
    chances = model(inputs)[0, :3].softmax(0)
    assert told["predictions"][0]["ranking"][0]["probability"] == pytest.approx(
        chances.max().item(), abs=1e-5
    )


@pytest.mark.parametrize(
    ("target", "index"),
    [("2", 2), ("right", 1), ("digit 0", 3), ("look:left", 4), ("motion:left", 0)],
)
def test_targets_by_index_and_name(target: str, index: int) -> None:
    options = ("--method", "deep-taylor", "--target", target)
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    assert summary()["target"]["index"] == index


def test_predicted_is_the_first_group_s_answer() -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=0.4, std=0.2)
    told = summary()["target"]
    assert told["index"] == int(model_of("informed")(inputs)[0, :3].argmax())
    assert told["group"] == "motion"


@pytest.mark.parametrize("method", ["deep-taylor", "selective-relevance"])
def test_other_methods(method: str) -> None:
    options = ("--method", method, "--mean", "0.4,0.4,0.5", "--std", "0.2")
    assert explain("walk.mp4", "--model", "tinynets:net", *options, *SMALL) == 0
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=(0.4, 0.4, 0.5), std=0.2)
    model, bounds = model_of("net"), normalized_range((0.4, 0.4, 0.5), 0.2)
    taylor = DeepTaylor(model, input_range=bounds)
    expected: dict[str, Any] = {"relevance": taylor}
    if method == "selective-relevance":
        expected = {"total": taylor, "selective": SelectiveRelevance(taylor)}
    arrays = load_file("explanations/walk/relevance.safetensors")
    target = summary()["target"]["index"]
    for name, explainer in expected.items():
        assert torch.allclose(arrays[name], explainer.attribute(inputs, target)[0], atol=1e-6)
    assert summary()["temporal_share"] is None
    assert summary()["seed"] == "score"


def test_a_window_and_a_stride() -> None:
    options = ("--method", "deep-taylor", "--start", "0.2", "--end", "0.7", "--stride", "2")
    assert explain("walk.mp4", "--model", "tinynets:net", *options, *SMALL) == 0
    assert summary()["frames"] == [2, 4, 6, 6]
    assert summary()["times"] == [0.2, 0.4, 0.6, 0.6]


def test_a_grey_model_and_a_folder_of_images() -> None:
    write_frames("frames/walk.clip", moving())
    options = ("--method", "deep-taylor", "--fit", "squeeze")
    assert explain("frames/walk.clip", "--model", "tinynets:grey", *options) == 0
    arrays = load_file("explanations/walk.clip/relevance.safetensors")
    assert arrays["relevance"].shape == (1, 4, 16, 16)


def test_a_net_in_training_mode_is_evaluated() -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:dropping", *options, *SMALL) == 0
    first = summary()["predictions"]
    assert explain("walk.mp4", "--model", "tinynets:net", "--overwrite", *options, *SMALL) == 0
    assert summary()["predictions"] == first


def test_probabilities_are_told_from_scores() -> None:
    facts: Any = SimpleNamespace(classes=(), groups={})
    logits = torch.tensor([1.0, 3.0, 2.0])
    chances = logits.softmax(0)
    for answer in (logits, chances):
        (prediction,) = predictions(facts, answer)
        assert prediction.ranking == [1, 2, 0]
        assert prediction.probabilities == pytest.approx(chances[[1, 2, 0]].tolist())
    (single,) = predictions(facts, torch.tensor([0.3]))
    assert (single.probabilities, single.scores) == (None, [pytest.approx(0.3)])


def test_a_still_clip_owes_nothing_to_motion(capsys: pytest.CaptureFixture[str]) -> None:
    write_video("still.mp4", moving(1).expand(6, -1, -1, -1), 10)
    assert explain("still.mp4", "--model", "tinynets:net", *SMALL) == 0
    assert summary("still")["temporal_share"] == pytest.approx(0, abs=1e-5)
    assert summary("still")["frozen_frames"]["share_predicting_target"] == 1
    assert "4 of 4 frozen frames are still class" in capsys.readouterr().out
