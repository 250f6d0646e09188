"""Where the model, its weights and its class names come from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from captum_video.io import prepare, read_clip
from tests.cli.workplace import SMALL, explain, model_of, summary


@pytest.mark.parametrize("form", ["plain.pt", "nested.ckpt", "wrapped.pt", "flat.safetensors"])
def test_checkpoints(form: str) -> None:
    torch.manual_seed(5)
    trained = model_of("net")
    for parameter in trained.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = trained.state_dict()
    if form == "flat.safetensors":
        save_file(state, form)
    elif form == "nested.ckpt":
        torch.save({"epoch": 3, "state_dict": state}, form)
    else:
        prefix = "module." if form == "wrapped.pt" else ""
        torch.save({prefix + name: value for name, value in state.items()}, form)
    options = ("--checkpoint", form, "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", "--model", "tinynets:net", *options) == 0
    scores = trained(prepare(read_clip("walk.mp4"), frames=4, size=16))
    assert summary()["target"]["score"] == pytest.approx(scores.max().item(), rel=1e-4)


class Evil:
    """What a checkpoint must not be able to do."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def test_checkpoints_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    state = model_of("net").state_dict()
    torch.save({"head.weight": torch.zeros(7, 48), "tail": torch.zeros(1)}, "other.pt")
    torch.save(Evil(), "evil.pt")
    torch.save({"epoch": 3}, "epoch.pt")
    torch.save([1, 2], "list.pt")
    Path("text.pt").write_text("no weights")
    Path("text.safetensors").write_text("no weights")
    save_file(state, "fine.safetensors")
    for name, text in (
        ("other.pt", "5 missing: body.0.weight, body.0.bias, body.3.weight, body.3.bias, ...; "),
        ("other.pt", "1 not of the model: tail; 1 of another shape: head.weight is (7, 48)"),
        ("evil.pt", "holds more than tensors"),
        ("epoch.pt", "holds no state dict (its keys: 'epoch')"),
        ("list.pt", "holds a list, no state dict"),
        ("text.pt", "--checkpoint text.pt: it "),
        ("text.safetensors", "--checkpoint text.safetensors: it cannot be read"),
        ("missing.pt", "--checkpoint missing.pt: there is no such file"),
    ):
        assert explain("walk.mp4", "--model", "tinynets:net", "--checkpoint", name) == 2
        err = capsys.readouterr().err
        assert text in err
        assert "Traceback" not in err
    assert not Path("evil").exists()
    assert not Path("explanations").exists()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("tinynets", "--model tinynets: must be MODULE:FACTORY"),
        ("tinynet:net", "there is no module 'tinynet'; it must be installed or lie in the current"),
        ("brokenmodule:net", "importing brokenmodule failed: No module named 'no_such_dependency'"),
        ("tinynets:Nett", "tinynets has no 'Nett'. Did you mean 'Net'"),
        ("tinynets:broken", "broken() raised RuntimeError: no weights in the cupboard"),
        ("tinynets:number", "number() returned a int, no torch.nn.Module"),
        ("tinynets:constant", "constant is a int, no factory"),
    ],
)
def test_models_that_are_none(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", model) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert err.startswith("captum-video: error: ")
    assert "Traceback" not in err
    assert out == ""


def test_a_model_object_will_do_and_tracebacks_can_be_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:instance", *options, *SMALL) == 0
    assert explain("walk.mp4", "--model", "tinynets:broken", "--traceback") == 2
    assert "Traceback" in capsys.readouterr().err


def test_class_names_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "swim", *SMALL) == 2
    assert "the model's classes have no names: give an index from 0 to 4" in capsys.readouterr().err
    Path("names.txt").write_text("run\nswim\n3\nbike\nwalk\n", encoding="utf-8")
    options = ("--classes", "names.txt", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "swim", *options) == 0
    assert summary()["target"] == {**summary()["target"], "index": 1, "name": "swim"}
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "3", *options) == 2
    assert "the class of that name or of that index?" in capsys.readouterr().err
