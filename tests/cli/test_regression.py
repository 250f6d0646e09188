"""``--method regression-grad-cam``: objectives, losses, truths and outputs by index and name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from captum_video import RegressionGradCam
from captum_video.io import prepare, read_clip, write_video
from tests.cli.workplace import SMALL, explain, found, model_of, moving, summary

METHOD = ("--method", "regression-grad-cam")
MOVED = ("--model", "tinyposes:moved_informed", *METHOD)
PLAIN = ("--model", "tinyposes:moved", *METHOD, "--layer", "body.2", *SMALL)
TRUTH = torch.tensor([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]])


def arrays(name: str = "walk") -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(f"explanations/{name}/relevance.safetensors")
    return loaded


def inputs(path: str = "walk.mp4", informed: bool = True) -> torch.Tensor:
    mean, std = (0.4, 0.2) if informed else (0, 1)
    return prepare(read_clip(path), frames=4, size=16, mean=mean, std=std)


def squared(outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return (outputs - truth).square().flatten(1).sum(1)


def close(name: str, expected: torch.Tensor) -> bool:
    found = arrays(name)["grad_cam"]
    return torch.allclose(found, expected[0], rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("given", "target"), [("1,2", (1, 2)), ("frame -1: y", (0, 1)), ("all", None), (None, None)]
)
def test_an_output_is_the_default_objective(
    given: str | None, target: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("walk.mp4", *MOVED, *(("--target", given) if given else ())) == 0
    model = model_of("moved_informed", "tinyposes")
    method = RegressionGradCam(model, "body.2", objective="output")
    assert close("walk", method.attribute(inputs(), target))
    outputs = model(inputs())[0].detach()
    score = float(outputs.sum() if target is None else outputs[target])
    told = summary()
    assert told["objective"] == "output"
    assert told["loss"] is None
    assert told["target"]["index"] == (list(target) if target else None)
    assert told["target"]["score"] == pytest.approx(score, rel=1e-4)
    assert told["outputs"]["values"] == [pytest.approx(row, rel=1e-4) for row in outputs.tolist()]
    assert told["outputs"]["names"][1] == "frame -1: y"
    assert told["predictions"] == []
    assert torch.allclose(arrays()["outputs"], outputs, atol=1e-6)
    with safe_open("explanations/walk/relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert (facts["objective"], facts["layer"]) == ("output", "body.2")
    assert facts.get("target") == (",".join(map(str, target)) if target else None)
    out = capsys.readouterr().out
    named = "the sum of all outputs" if target is None else told["target"]["name"]
    assert f"explained: {named} = {score:.4g}, by regression-grad-cam" in out
    best = int(outputs.flatten().abs().argmax())
    assert f"outputs: {told['outputs']['names'][best]} = {outputs.flatten()[best]:.4g}, " in out
    assert "(the largest of 6)" in out
    assert "%" not in out.split("outputs:")[1].split("\n")[0]  # no softmax


def test_the_negative_output(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--objective", "negative-output", "--target", "0,0")
    assert explain("walk.mp4", *PLAIN, *options) == 0
    method = RegressionGradCam(
        model_of("moved", "tinyposes"), "body.2", objective="negative_output"
    )
    assert close("walk", method.attribute(inputs(informed=False), (0, 0)))
    told = summary()["target"]
    assert told["name"] == "output 0,0"
    line = f"explained: what lowers output 0,0 = {told['score']:.4g}, by regression-grad-cam"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    "form", ["t.csv", "row.csv", "t.npy", "batch.npy", "one.safetensors", "named.safetensors"]
)
@pytest.mark.parametrize("loss", ["squared", "Squared"])
def test_a_loss_and_its_truth(form: str, loss: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = TRUTH.flatten().unsqueeze(0) if form == "row.csv" else TRUTH
    if form.endswith(".csv"):
        lines = (",".join(f"{v:.3f}" for v in row) for row in rows.tolist())
        Path(form).write_text("\n".join(lines) + "\n\n")
    elif form.endswith(".npy"):
        np.save(form, (TRUTH.unsqueeze(0) if form == "batch.npy" else TRUTH).numpy())
    elif form == "one.safetensors":
        save_file({"poses": TRUTH.double()}, form)
    else:
        save_file({"truth": TRUTH, "depth": torch.zeros(3)}, form)
    assert explain("walk.mp4", *MOVED, "--loss", f"tinyposes:{loss}", "--truth", form) == 0
    model = model_of("moved_informed", "tinyposes")
    method = RegressionGradCam(model, "body.2", loss=squared)
    assert close("walk", method.attribute(inputs(), truth=TRUTH.unsqueeze(0)))
    value = float(squared(model(inputs()), TRUTH).detach())
    told = summary()
    assert told["objective"] == "negative-loss"
    assert told["loss"] == {"name": f"tinyposes:{loss}", "value": pytest.approx(value, rel=1e-4)}
    out = capsys.readouterr().out
    assert f"explained: what lowers the loss {value:.4g} (tinyposes:{loss}), by" in out


def test_a_loss_through_one_output(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("t.npy", TRUTH.numpy())
    options = ("--loss", "tinyposes:squared", "--truth", "t.npy", "--target", "frame +1: x")
    assert explain("walk.mp4", *MOVED, *options) == 0
    method = RegressionGradCam(model_of("moved_informed", "tinyposes"), "body.2", loss=squared)
    assert close("walk", method.attribute(inputs(), (1, 0), truth=TRUTH.unsqueeze(0)))
    assert "(tinyposes:squared) through frame +1: x, by" in capsys.readouterr().out


def test_each_clip_has_its_own_row_of_truth() -> None:
    write_video("back.mp4", moving().flip(0), 10)
    both = torch.stack([TRUTH, -TRUTH])
    np.save("t.npy", both.numpy())
    options = ("--loss", "tinyposes:squared", "--truth", "t.npy")
    assert explain("walk.mp4", "back.mp4", *MOVED, *options) == 0
    method = RegressionGradCam(model_of("moved_informed", "tinyposes"), "body.2", loss=squared)
    for name, truth in zip(("walk", "back"), both, strict=True):
        clip = inputs(f"{name}.mp4")
        assert close(name, method.attribute(clip, truth=truth.unsqueeze(0)))


@pytest.mark.parametrize("factory", ["moved", "both"])
def test_a_loss_without_truth(factory: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = ("--model", f"tinyposes:{factory}", *METHOD, "--layer", "body.2", *SMALL)
    assert explain("walk.mp4", *model, "--loss", "tinyposes:brightness", "--self-supervised") == 0
    net = model_of(factory, "tinyposes")
    loss = found("brightness", "tinyposes")
    method = RegressionGradCam(net, "body.2", loss=loss, self_supervised=True)
    clip = inputs(informed=False)
    assert close("walk", method.attribute(clip))
    assert summary()["loss"]["value"] == pytest.approx(
        float(loss(net(clip), clip).detach()), rel=1e-4
    )
    assert (summary()["outputs"] is None) == (factory == "both")
    assert (summary()["target"]["score"] is None) == (factory == "both")
    assert ("outputs: " in capsys.readouterr().out) == (factory == "moved")


def test_very_many_numbers_are_in_the_arrays_alone() -> None:
    model = ("--model", "tinyposes:dense", *METHOD, "--layer", "body.0", *SMALL)
    assert explain("walk.mp4", *model, "--target", "1,3,15,0") == 0
    told = summary()
    assert told["outputs"] == {"shape": [4, 4, 16, 16], "names": None, "values": None}
    assert (told["target"]["index"], told["target"]["name"]) == ([1, 3, 15, 0], "output 1,3,15,0")
    assert arrays()["outputs"].shape == (4, 4, 16, 16)
    assert told["target"]["score"] == pytest.approx(float(arrays()["outputs"][1, 3, 15, 0]))


def test_one_number_per_clip() -> None:
    model = ("--model", "tinyposes:one_number", *METHOD, "--layer", "body.2", *SMALL)
    for target in ("0", "all"):
        assert explain("walk.mp4", *model, "--target", target, "--overwrite") == 0
        method = RegressionGradCam(
            model_of("one_number", "tinyposes"), "body.2", objective="output"
        )
        assert close("walk", method.attribute(inputs(informed=False)))
    np.save("t.npy", np.float32(0.5))
    options = ("--loss", "tinyposes:squared", "--truth", "t.npy", "--overwrite")
    assert explain("walk.mp4", *model, *options) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--target", "frame -1: w"), "there is no such output. Did you mean 'frame -1: "),
        (("--target", "predicted"), "a regression predicts no class"),
        (("--target", "-1"), "--target -1: there is no such output"),
        (("--objective", "negative-loss"), "--objective negative-loss needs --loss"),
        (("--loss", "tinyposes:squared"), "--loss needs either --truth FILE"),
        (
            ("--loss", "tinyposes:squared", "--truth", "t.npy", "--self-supervised"),
            "--self-supervised to compare them with the clip; both are given",
        ),
        (("--truth", "t.npy"), "--truth is not used by --objective output: give --loss"),
        (("--self-supervised",), "--self-supervised is not used by --objective output: give"),
        (
            ("--loss", "tinyposes:squared", "--objective", "output"),
            "--loss is not used by --objective output\n",
        ),
        (("--loss", "tinyposes:sqared", "--truth", "t.npy"), "tinyposes has no 'sqared'. Did you"),
        (("--loss", "squared", "--truth", "t.npy"), "--loss squared: must be MODULE:CALLABLE"),
        (("--loss", "tinynets:constant", "--truth", "t.npy"), "is a int, no function"),
        (
            ("--loss", "tinyposes:Demanding", "--truth", "t.npy"),
            "Demanding() raised TypeError",
        ),
    ],
)
def test_wrong_usage(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("t.npy", TRUTH.numpy())
    assert explain("missing.mp4", *MOVED, *options) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert "Traceback" not in err
    assert out == ""


def test_truths_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.csv").write_text("x,y,z\n1,2,3\n")
    Path("ragged.csv").write_text("1,2,3\n1,2\n")
    Path("empty.csv").write_text("\n")
    Path("t.txt").write_text("1")
    np.save("objects.npy", np.array([{}], dtype=object))
    np.save("words.npy", np.array(["a"]))
    np.save("nan.npy", np.full((2, 3), np.nan))
    Path("torn.safetensors").write_bytes(b"torn")
    Path("torn.npy").write_bytes(b"\x93NUMPY\x01")
    np.savez("several.npz", a=TRUTH.numpy())
    Path("several.npz").rename("several.npy")
    Path("latin.csv").write_bytes(b"\xe9,1\n")
    Path("long.csv").write_text("1" * 200_000)
    save_file({"a": TRUTH, "b": TRUTH + 1}, "two.safetensors")
    for name, text in (
        ("missing.npy", "there is no such file"),
        ("t.txt", "must be one of .safetensors, .npy, .csv"),
        ("words.csv", "row 1 of its numbers: could not convert string to float: 'x'"),
        ("ragged.csv", "row 2 has 2 numbers, the first has 3"),
        ("empty.csv", "holds no numbers"),
        ("objects.npy", "it cannot be read: Object arrays cannot be loaded"),
        ("words.npy", "it holds <U1, no numbers"),
        ("nan.npy", "holds NaN or infinity"),
        ("torn.safetensors", "it cannot be read"),
        ("torn.npy", "it cannot be read"),
        ("several.npy", "it cannot be read"),
        ("latin.csv", "it cannot be read: 'utf-8' codec"),
        ("long.csv", "it cannot be read: field larger than field limit"),
        (".", "there is no such file"),
        ("two.safetensors", "it must hold one tensor, or one named 'truth'; its tensors: 'a', 'b'"),
    ):
        options = ("--loss", "tinyposes:squared", "--truth", name)
        assert explain("missing.mp4", *MOVED, *options) == 2
        err = capsys.readouterr().err
        assert f"--truth {name}: " in err
        assert text in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 2), "holds numbers of shape (3, 2), but the model answers a clip by shape (2, 3)"),
        ((5,), "holds numbers of shape (5,), but"),
        ((1,), "holds numbers of shape (1,), but"),
        ((2, 2, 3), "holds numbers of shape (2, 2, 3), but"),
    ],
)
def test_truths_of_another_shape(
    shape: tuple[int, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("t.npy", np.zeros(shape))
    options = ("--loss", "tinyposes:squared", "--truth", "t.npy")
    assert explain("walk.mp4", *MOVED, *options) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "give that shape, or of 6 numbers in a row" in err


def test_truths_for_another_number_of_clips(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("t.npy", np.zeros((2, 3)))
    clips = ("a.mp4", "b.mp4", "c.mp4")
    assert explain(*clips, *MOVED, "--loss", "tinyposes:squared", "--truth", "t.npy") == 2
    assert "--truth t.npy: has 2 rows for 3 clips" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("1", "the model's outputs have shape (2, 3): give an index from 0,0 to 1,2"),
        ("2,0", "the model's outputs have shape (2, 3): give an index from 0,0 to 1,2"),
        ("x", "the model's outputs have no names: give an index"),
    ],
)
def test_outputs_that_there_are_not(
    target: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("walk.mp4", *PLAIN, "--target", target) == 2
    assert text in capsys.readouterr().err


def test_class_names_must_fit(capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.txt").write_text("a\nb\n")
    assert explain("walk.mp4", *PLAIN, "--classes", "names.txt") == 2
    assert "2 class names but the model has 6 outputs of shape (2, 3)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("factory", "options", "text"),
    [
        (
            "moved",
            ("--loss", "tinyposes:failing", "--truth", "t.npy"),
            "RuntimeError: no such loss",
        ),
        (
            "moved",
            ("--loss", "tinyposes:per_output", "--truth", "t.npy"),
            "loss must return one value per example",
        ),
        ("both", (), "the model answers a dict; --objective output needs one tensor"),
        ("unbatched", (), "must answer one row for each of 1 clips, got shape (2, 3)"),
        ("lost", (), "answers NaN or infinity"),
    ],
)
def test_what_cannot_be_explained(
    factory: str, options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("t.npy", TRUTH.numpy())
    model = ("--model", f"tinyposes:{factory}", *METHOD, "--layer", "body.2", *SMALL)
    assert explain("walk.mp4", *model, *options) == 1
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


def test_a_structured_answer_has_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    model = ("--model", "tinyposes:both", *METHOD, "--layer", "body.2", *SMALL)
    loss = ("--loss", "tinyposes:brightness", "--self-supervised")
    assert explain("walk.mp4", *model, *loss, "--target", "0") == 2
    assert "--target 0: the model's answer is not one tensor" in capsys.readouterr().err


def test_a_classifier_s_method_points_to_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--method", "video-grad-cam", "--layer", "body.2", *SMALL)
    assert explain("walk.mp4", "--model", "tinyposes:moved", *options) == 1
    err = capsys.readouterr().err
    assert "must answer a tensor (N, classes), got (1, 2, 3)" in err
    assert "--method regression-grad-cam" in err
