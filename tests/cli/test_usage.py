"""Options: what is refused before any clip is read, and help."""

import subprocess
import sys
from pathlib import Path

import pytest

from captum_video.cli._methods import METHODS
from tests.cli.workplace import explain


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--method", "deep-tailor"), "no such method. Did you mean 'deep-taylor'?"),
        (("--target", "rihgt"), "--target rihgt: there is no such class. Did you mean 'right'"),
        (("--target", "left"), "2 classes have that name: say motion:left or look:left"),
        (("--target", "look:right"), "look has no class 'right'"),
        (("--target", "5"), "--target 5: the model's classes are 0 to 4"),
        (("--target", "-1"), "--target -1: there is no such class"),
        (
            ("--frozen-frame", "mean", "--method", "deep-taylor"),
            "is for discriminative-relevance, not for deep-taylor",
        ),
        (("--device", "abacus"), "--device abacus: "),
        (("--fps", "0"), "--fps must be a positive number, got 0"),
        (("--start", "-1"), "--start must be a time in seconds >= 0, got -1"),
        (("--start", "2", "--end", "1"), "--end 1.0 must be later than --start 2.0"),
        (("--output", "walk.mp4"), "--output walk.mp4: is a file, not a folder"),
        (("--classes", "missing.txt"), "--classes missing.txt: it cannot be read"),
        (("--classes", "two.txt"), "2 class names but the model has 5 outputs"),
        (("--classes", "empty.txt"), "--classes empty.txt: the file is empty"),
        (("--std", "0"), "--std must be above zero, got 0.0"),
    ],
)
def test_wrong_usage(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("two.txt").write_text("a\nb\n")
    Path("empty.txt").write_text("\n")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


RELEVANCE = ("discriminative-relevance", "deep-taylor", "selective-relevance")
LAYERED = ("video-grad-cam", "frame-attention", "regression-grad-cam")
FOREIGN = [
    (("--layer", "body.0"), RELEVANCE),
    (("--grad-cam-layer", "body.0"), (*RELEVANCE, "video-grad-cam", "regression-grad-cam")),
    (("--attention-weights", "last"), (*RELEVANCE, "video-grad-cam", "regression-grad-cam")),
    (("--temporal-pooling", "clip"), RELEVANCE),
    (("--temporal-alignment", "uniform"), RELEVANCE),
    (("--frames-per-clip", "4"), RELEVANCE),
    (("--reshape", "mvit_tokens"), RELEVANCE),
    (("--objective", "output"), (*RELEVANCE, "video-grad-cam", "frame-attention")),
    (("--loss", "tinynets:squared"), (*RELEVANCE, "video-grad-cam", "frame-attention")),
    (("--truth", "t.npy"), (*RELEVANCE, "video-grad-cam", "frame-attention")),
    (("--self-supervised",), (*RELEVANCE, "video-grad-cam", "frame-attention")),
    (("--seed-with", "one"), LAYERED),
    (("--frozen-frame", "same"), (*LAYERED, "deep-taylor", "selective-relevance")),
]


@pytest.mark.parametrize(
    ("method", "option"), [(method, option) for option, those in FOREIGN for method in those]
)
def test_options_of_other_methods(
    method: str, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", "nomodule:none")  # not even the model is built
    assert explain("missing.mp4", *model, "--method", method, *option) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"captum-video: error: {option[0]} is for ")
    assert err.endswith(f", not for {method}\n")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ("--reshape", "tokens"),
            "--reshape tokens: must be channels_last or mvit_tokens, or MODULE",
        ),
        (("--reshape", "captum_video.layers:TokenGrid"), "is a class; name an instance"),
        (("--reshape", "tinynets:constant"), "--reshape tinynets:constant: is no function"),
        (("--reshape", "tinynets:grids.small"), "tinynets has no 'grids'"),
        (("--reshape", "nowhere:grid"), "--reshape nowhere:grid: there is no module 'nowhere'"),
    ],
)
def test_wrong_reshapes(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", "tinynets:net", "--method", "video-grad-cam", "--layer", "body.0")
    assert explain("missing.mp4", *model, *options) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--frames", "0"), "argument --frames: must be a whole number of at least 1, got '0'"),
        (("--size", "1,2,3"), "argument --size: must be H,W such as 112,112"),
        (("--mean", "0.1,0.2"), "argument --mean: must be one number, or three"),
        (("--seed-with", "two"), "invalid choice: 'two'"),
        (("--temporal-pooling", "max"), "invalid choice: 'max'"),
        (("--temporal-alignment", "left"), "invalid choice: 'left'"),
        (("--frames-per-clip", "0"), "must be a whole number of at least 1, got '0'"),
        (("--objective", "loss"), "invalid choice: 'loss'"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        explain("walk.mp4", "--model", "tinynets:net", *options)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        explain("--help")
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in ("--model", "--checkpoint", "--method", "--target", "--output", "--overwrite"):
        assert option in told
    for method in METHODS:
        assert method in told


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "captum_video.cli", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("captum-video 0.")
