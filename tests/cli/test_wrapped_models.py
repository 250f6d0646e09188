"""``--answer`` and ``--feed``: models that answer or take something else than one tensor."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from captum_video.cli import main
from tests.cli.workplace import SMALL, explain, model_of, summary

CAM = ("--method", "video-grad-cam", "--layer")
TAYLOR = ("--method", "deep-taylor")


@pytest.fixture(autouse=True)
def answers(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(Path(__file__).with_name("tinyanswers.py"), workplace)
    monkeypatch.delitem(sys.modules, "tinyanswers", raising=False)


def maps(model: str, *options: str, output: str = "explanations") -> dict[str, Any]:
    """What the command finds and says of one model, but for what it calls it."""
    chosen = ("--model", f"tinyanswers:{model}", "--output", output)
    assert explain("walk.mp4", *chosen, *options) == 0
    told = json.loads(Path(output, "walk", "summary.json").read_text())
    kept = {key: told[key] for key in ("predictions", "target", "method")}
    return {**load_file(Path(output, "walk", "relevance.safetensors")), "told": kept}


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    assert one["told"] == other["told"]
    for name in one.keys() - {"told"}:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("Scored", ()),  # the part called logits, without being told
        ("Scored", ("--answer", "logits")),
        ("Heads", ("--answer", "verb")),
        ("Heads", ("--answer", "tinyanswers:verbs")),
        ("Listed", ("--answer", "1")),
        ("Listed", ("--answer", "-1")),
        ("Single", ("--feed", "list")),
        ("Single", ("--feed", "tuple")),
        ("Single", ("--feed", "list:1")),
        ("Single", ("--feed", "list:1:NCTHW")),
        ("Plain", ("--feed", "tensor")),
        ("Plain", ("--feed", "x")),
        ("Scored", ("--feed", "x")),
    ],
)
@pytest.mark.parametrize("method", [(), TAYLOR, (*CAM, "body.3")], ids=["default", "taylor", "cam"])
def test_explained_as_a_plain_model(
    model: str, options: tuple[str, ...], method: tuple[str, ...]
) -> None:
    expected = maps("Plain", *method, *SMALL, output="plain")
    assert_alike(maps(model, *options, *method, *SMALL), expected)


@pytest.mark.parametrize(
    "method", [(), TAYLOR, (*CAM, "slow.body.3")], ids=["default", "taylor", "cam"]
)
def test_pathways(method: tuple[str, ...]) -> None:
    expected = maps("PlainPathways", *method, *SMALL, output="plain")
    found = maps("Pathways", "--feed", "tinyanswers:pathways", *method, *SMALL)
    assert_alike(found, expected)
    assert found["told"]["target"]["score"] != 0


def test_a_model_from_transformers(capsys: pytest.CaptureFixture[str]) -> None:
    layer = "videomae.encoder.layer.0"
    expected = maps("PlainVideoMAE", *CAM, f"net.{layer}", output="plain")
    found = maps("videomae", "--feed", "pixel_values:NTCHW", *CAM, layer)
    assert_alike(found, expected)
    assert found["grad_cam"].abs().max() > 0
    assert found["told"]["target"]["name"] in ("walk", "run", "sit")  # from model.info
    assert summary()["layer"] == layer
    capsys.readouterr()
    model = ("--model", "tinyanswers:videomae", "--feed", "pixel_values:NTCHW")
    assert main(["layers", *model]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[4:] if "yes" in line]
    blocks = [f"videomae.encoder.layer.{i}" for i in range(2)]  # for all that is in them
    assert names == ["videomae.embeddings", *blocks, "videomae.encoder", "videomae"]
    assert main(["layers", *model, "--all"]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.split()[:1] == [layer]]
    assert row.split()[1:4] == ["VideoMAELayer", "1x8x16", "2"]
    assert row.endswith("yes")


def test_weights_are_the_inner_model_s() -> None:
    trained = model_of("Heads", "tinyanswers")
    torch.nn.init.normal_(trained.head.weight)
    save_file(trained.state_dict(), "heads.safetensors")
    weights = ("--checkpoint", "heads.safetensors", *TAYLOR, *SMALL)
    expected = maps("Plain", *weights, output="plain")
    assert_alike(maps("Heads", "--answer", "verb", *weights), expected)


def test_a_regression_s_answer() -> None:
    method = ("--method", "regression-grad-cam", "--layer", "body.3", *SMALL)
    expected = maps("Plain", *method, "--target", "2", output="plain")
    assert_alike(maps("Heads", *method, "--target", "2", "--answer", "verb"), expected)
    np.save("truth.npy", np.zeros(5, dtype=np.float32))
    loss = (*method, "--loss", "torch.nn.functional:mse_loss", "--truth", "truth.npy")
    expected = maps("Plain", *loss, "--overwrite", output="plain")
    assert_alike(maps("Heads", *loss, "--answer", "verb", "--overwrite"), expected)
    Path("mine.py").write_text(
        "def loss(outputs, truth):\n    return ((outputs['verb'] - truth) ** 2).mean()\n"
    )
    mine = (*method, "--loss", "mine:loss", "--truth", "truth.npy", "--overwrite")
    found = maps("Heads", *mine, "--feed", "x")  # the loss gets the whole answer still
    assert torch.equal(found["grad_cam"], expected["grad_cam"])


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        (
            "Heads",
            (),
            "error: the model answers a dict with 'noun' (1, 3), 'verb' (1, 5), where there are 2 "
            "tensors and none of them is called 'logits': say which part counts, by a key, an index or "
            "a function (--answer)\n",
        ),
        (
            "Heads",
            ("--feed", "x"),
            "say which part counts, by a key, an index or a function (--answer)",
        ),
        (
            "Heads",
            ("--answer", "verbs"),
            "error: --answer verbs: the model answers a dict with 'noun' (1, 3), 'verb' (1, 5), "
            "without such a key. Did you mean 'verb'?\n",
        ),
        (
            "Listed",
            ("--answer", "2"),
            "error: --answer 2: the model answers a list of (1, 3), (1, 5): ",
        ),
        (
            "Listed",
            ("--answer", "verb"),
            "--answer verb: the model answers a list of (1, 3), (1, 5), whi",
        ),
        (
            "Plain",
            ("--answer", "logits"),
            "a tensor (1, 5), which has no names: nothing is to be chosen",
        ),
        ("Heads", ("--answer", ""), "--answer : a key cannot be empty"),
        (
            "Heads",
            ("--answer", "tinyanswers:names"),
            "--answer names: returned a list of a str, a str for a dict with",
        ),
        (
            "Heads",
            ("--answer", "tinyanswers:verb"),
            "tinyanswers has no 'verb'. Did you mean 'verbs'",
        ),
        (
            "Heads",
            ("--answer", "tinyanswers:constant"),
            "--answer tinyanswers:constant: is a int, no fu",
        ),
        (
            "Heads",
            ("--answer", ":x"),
            "must be KEY, INDEX or MODULE:FUNCTION, such as pathways:slow",
        ),
        (
            "Plain",
            ("--feed", "pixels"),
            "--feed pixels: Plain takes no argument 'pixels'. Known: x.",
        ),
        (
            "Plain",
            ("--feed", "x:NTCH"),
            "--feed x:NTCH: the axes must be the letters NCTHW in the order",
        ),
        ("Single", ("--feed", "list:2"), "--feed list:2: wants 2 clips, got 1"),
        ("Plain", ("--feed", "x:2"), "--feed x:2: a keyword takes one clip, got a count of 2"),
        ("Plain", ("--feed", "x:"), "--feed x:: the axes must be the letters NCTHW"),
        (
            "Plain",
            ("--feed", ""),
            "--feed : must begin with tensor, list, tuple or an argument's name",
        ),
        ("Plain", ("--feed", "nowhere:feed"), "--feed nowhere:feed: there is no module 'nowhere'"),
        (
            "Plain",
            ("--feed", "tinyanswers:constant"),
            "--feed tinyanswers:constant: is a int, no functi",
        ),
        (
            "Plain",
            ("--feed", "tinyanswers:word"),
            "--feed word: returned a str; it must be a tensor, a list",
        ),
    ],
)
def test_what_cannot_work(
    model: str, options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("walk.mp4", "--model", f"tinyanswers:{model}", *options, *SMALL) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


def test_layers_of_such_models(capsys: pytest.CaptureFixture[str]) -> None:
    def rows(*options: str) -> list[str]:
        assert main(["layers", *options, *SMALL]) == 0
        return capsys.readouterr().out.splitlines()[2:]

    expected = rows("--model", "tinyanswers:Plain")
    assert any("body.3" in row for row in expected)
    assert rows("--model", "tinyanswers:Heads") == expected  # nobody asks which part counts
    assert rows("--model", "tinyanswers:Heads", "--answer", "verb", "--feed", "x") == expected
    assert rows("--model", "tinyanswers:Single", "--feed", "list") == expected
    model = ("--model", "tinyanswers:Heads", "--answer", "verbs")
    assert main(["layers", *model, *SMALL]) == 2
    err = capsys.readouterr().err
    assert err.startswith("captum-video: error: --answer verbs: the model answers a dict with")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("explain", "layers"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        out = capsys.readouterr().out
        assert "--answer KEY" in out
        assert "--feed FORM" in out
