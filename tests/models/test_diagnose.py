from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from captum_video import FeatureMapDecoder
from captum_video._core.skeletons import KINECT_JOINTS
from models import build, diagnose
from models._diagnosis_evidence import Evidence
from models._diagnosis_net import chosen_layers, layers_of, untrained
from models.data.actions import ACTIONS, Actions

READING, WRITING = ACTIONS.index("reading"), ACTIONS.index("writing")
SHORT = "--count 96 --device cpu --quiet --layers 1 5".split()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of nets that have learnt nothing but the scale of their activations."""
    folder = tmp_path_factory.mktemp("weights")
    clips = torch.stack([Actions(16, 5)[index].clip for index in range(16)])
    paths = {}
    for name in ("res_tcn_small", "ms_res_tcn_small"):
        paths[name] = str(folder / f"{name}.safetensors")
        net: Any = build(name)
        save_file(untrained(net, clips).state_dict(), paths[name])
    return paths


@pytest.fixture
def _answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes nets take all writing for reading, and know all else."""
    gather = diagnose.gather

    def answered(*arguments: Any, **options: Any) -> Evidence:
        found = gather(*arguments, **options)
        labels = found.labels
        return replace(found, predicted=torch.where(labels == WRITING, READING, labels))

    monkeypatch.setattr(diagnose, "gather", answered)


@pytest.mark.usefixtures("_answering")
def test_a_weak_class_leaves_a_proposal_a_report_and_pictures(
    weights: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    small = weights["res_tcn_small"]
    arguments = ["res_tcn_small", "--weights", small, "--output", str(folder), "--joints", "3"]
    other = ["--compare", "ms_res_tcn_small", "--compare-weights", weights["ms_res_tcn_small"]]
    assert diagnose.main([*arguments, *SHORT, *other]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "amplification.png", "comparison.csv", "confusion.png", "decoded_best.png",
        "decoded_weakest.png", "diagnosis.json", "report.md", "signatures.png", "views.png",
    ]  # fmt: skip
    content = json.loads((folder / "diagnosis.json").read_text(), parse_constant=pytest.fail)
    labels = [Actions(96, diagnose.CLIPS_SEED, "validation").labels(i)[0] for i in range(96)]
    writing = labels.count(WRITING)
    assert writing >= 5
    confusion = torch.tensor(content["confusion"])
    assert confusion[WRITING, READING] == writing == 96 - int(confusion.diagonal().sum())
    assert confusion.sum(1).tolist() == [labels.count(i) for i in range(16)]
    weak = [entry for entry in content["classes"] if entry["weak"]]
    assert [entry["name"] for entry in weak] == ["writing"]
    assert weak[0]["answered_instead"] == [{"name": "reading", "clips": writing}]
    assert [layer["layer"] for layer in weak[0]["by_layer"]] == content["layers"]
    assert content["layers"] == ["layer1", "layer5"]
    gain = weak[0]["by_layer"][1]["amplification"]
    assert weak[0]["by_layer"][1]["most_lost"][0] == KINECT_JOINTS[gain.index(min(gain))]
    assert weak[0]["by_layer"][1]["most_amplified"][0] == KINECT_JOINTS[gain.index(max(gain))]
    # nothing outside the labels tells the net where to look
    evidence = content["joint_evidence"]
    assert len(evidence) == 25
    assert evidence == sorted(evidence, key=lambda row: -row["evidence"])
    assert content["target_joints"] == [row["joint"] for row in evidence[:3] if row["evidence"]]
    report = (folder / "report.md").read_text()
    assert content["reason"] in report
    assert content["reason"] in capsys.readouterr().out
    assert "| writing |" in report
    assert "| weak | reading" in report
    chance = f"the best joint reaches {content['chance_separability']:.3f} in one of 20 shuffles of"
    assert chance in report
    for path in folder.glob("*.png"):
        assert f"({path.name})" in report
        assert path.read_bytes()[:4] == b"\x89PNG"
    with (folder / "comparison.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert rows["writing"]["weak"] == "yes"
    assert rows["writing"]["accuracy"] == "0.0000"
    assert rows["all classes"]["clips"] == "96"
    assert len(rows) == 19
    assert float(rows["all classes"]["accuracy"]) == pytest.approx(1 - writing / 96, abs=1e-4)
    assert diagnose.main([*arguments, *SHORT]) == 2
    assert "exists already and holds files" in capsys.readouterr().err
    assert (folder / "comparison.csv").exists()


def test_a_net_that_guesses_gets_no_target(weights: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    name = "ms_res_tcn_small"
    arguments = [name, "--weights", weights[name], "--output", str(folder), "--layers", "2"]
    assert diagnose.main([*arguments, "--count", "32", *SHORT[2:5], "--overwrite"]) == 0
    content = json.loads((folder / "diagnosis.json").read_text())
    assert content["target_joints"] == []
    assert content["layers"] == ["layer2.main"]
    assert "not clearly above guessing" in content["reason"]
    assert not (folder / "comparison.csv").exists()
    # what an untrained net and its untrained twin make of views differs by their filters alone
    assert [view["layer"] for view in content["views"]] == ["input", "layer2.main"]
    assert content["views"][0]["ratio"] > 0.2


def test_layers_are_named() -> None:
    plain: Any = build("res_tcn_small")
    streams: Any = build("ms_res_tcn_small")
    assert layers_of(plain) == [f"layer{number}" for number in range(1, 8)]
    assert layers_of(streams)[:3] == ["layer1_main", "layer2.main", "layer3.main"]
    for net in (plain.eval(), streams.eval()):
        known = {layer.name for layer in FeatureMapDecoder.layers(net, torch.randn(1, 150, 96))}
        assert set(layers_of(net)) <= known
    assert chosen_layers(plain, ["7", "layer2", "2"]) == ["layer2", "layer7"]
    chosen = chosen_layers(streams, ["3", "layer1_attention", "layer3.attention"])
    assert chosen == ["layer1_attention", "layer3.main", "layer3.attention"]
    with pytest.raises(ValueError, match=r"--layers has '8'; layers go from 1 to 7"):
        chosen_layers(plain, ["8"])
    with pytest.raises(ValueError, match=r"Did you mean 'layer2'"):
        chosen_layers(plain, ["layers2"])


def test_the_untrained_twin_keeps_plan_mean_and_target() -> None:
    net: Any = build("ms_res_tcn_small", target_joints="head")
    net.set_mean(torch.randn(150))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    clips = 3 * torch.randn(8, 150, 32)
    twin = untrained(net, clips)
    assert all(before[name].equal(value) for name, value in net.state_dict().items())
    assert not twin.training
    assert net.training
    state = twin.state_dict()
    assert state["mean"].equal(before["mean"])
    assert state["target"].equal(before["target"])
    weights = [name for name in before if name.endswith("conv.weight") or "layer1" in name]
    assert not any(state[n].equal(before[n]) for n in weights if n.endswith("weight"))
    first = twin.get_submodule("layer1_main")(clips - twin.mean)
    mean = state["layer2.main.norm.running_mean"]
    assert torch.allclose(mean, first.mean((0, 2)), atol=1e-4)
    assert (
        untrained(net, clips).state_dict()["layer1_main.weight"].equal(state["layer1_main.weight"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["res_tcn_smal"], "There is no model 'res_tcn_smal'. Did you mean"),
        (["lenet5_3d"], "lenet5_3d is a LeNet5, no Res-TCN: the diagnosis decodes the layers of"),
        (["res_tcn"], "There are no weights for 'res_tcn'"),
        (["res_tcn_small", "--count", "31"], "--count must be from 32 to 10000, got 31."),
        (["res_tcn_small", "--count", "10001"], "--count must be from 32 to 10000, got 10001."),
        (["res_tcn_small", "--joints", "0"], "--joints must be from 1 to 25, got 0."),
        (["res_tcn_small", "--joints", "26"], "--joints must be from 1 to 25, got 26."),
        (["res_tcn_small", "--seed", "-1"], "--seed must be from 0 to 999999, got -1."),
        (["res_tcn_small", "--seed", "1000000"], "--seed must be from 0 to 999999, got 1000000."),
        (["res_tcn_small", "--compare-weights", "x"], "--compare-weights needs --compare"),
        (["res_tcn_small", "--device", "gpu"], "--device gpu:"),
        (
            ["res_tcn_small", "--weights", "none.safetensors"],
            "--weights none.safetensors: there is no",
        ),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert diagnose.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_weights_that_do_not_fit_are_refused(
    weights: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse: Callable[..., int] = diagnose.main
    folder = ["--output", str(tmp_path / "out"), *SHORT]
    other = weights["ms_res_tcn_small"]
    assert refuse(["res_tcn_small", "--weights", other, *folder]) == 2
    assert "does not fit the model" in capsys.readouterr().err
    assert refuse(["res_tcn_small", "--weights", weights["res_tcn_small"], *folder,
                   "--compare", "c3d_small"]) == 2  # fmt: skip
    assert "c3d_small is a C3D, no Res-TCN" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
