"""Skeletons, options and models that do not go together; the layers of a model of skeletons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captum_video.cli import main
from tests.cli.workplace import explain
from tests.io.skeletons import IDS, body_lines, pose, skeleton_lines, walk, write_skeleton

DECODER = ("--method", "feature-map-decoder")
NET = ("--model", "tinyskeletons:net")
INFORMED = ("--model", "tinyskeletons:informed")
NOWHERE = ("--model", "nomodule:none")  # not even the model is built
OURS = "--method feature-map-decoder reads skeletons (.skeleton files of NTU RGB+D)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--target", "wave", *DECODER), "--target is not for feature-map-decoder: what it shows"),
        (("--seed-with", "one", *DECODER), "--seed-with is for discriminative-relevance"),
        *(
            ((*option, *DECODER), f"{option[0]} is for videos, not for skeletons")
            for option in (
                ("--size", "8"),
                ("--fit", "crop"),
                ("--start", "0"),
                ("--end", "2"),
                ("--stride", "2"),
                ("--mean", "0"),
                ("--std", "1"),
                ("--grey",),
                ("--allow-truncated",),
            )
        ),
        (("walk.mp4", *DECODER), f"walk.mp4: {OURS}; videos are read by discriminative-relevance"),
        (("--method", "video-grad-cam"), "dance.skeleton: --method video-grad-cam reads videos"),
        ((), "(video files or folders of images); skeletons are read by deep-taylor, feature-map"),
        (
            ("walk.mp4", "--method", "deep-taylor"),
            "dance.skeleton and walk.mp4: skeletons and videos cannot be explained at once",
        ),
        (("--layer", "a", "--method", "deep-taylor"), "--layer is for video-grad-cam"),
    ],
)
def test_what_is_refused_before_the_model_is_built(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("dance.skeleton", *arguments, *NOWHERE) == 2
    err = capsys.readouterr().err
    assert err.startswith("captum-video: error: ")
    assert text in err
    assert err.count("\n") == 1


def test_options_of_skeletons_are_not_for_videos(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *NOWHERE, "--actors", "1") == 2
    assert "--actors is for skeletons, not for videos" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        explain("dance.skeleton", *NOWHERE, *DECODER, "--actors", "0")
    assert "--actors: must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (*NET, "--layer", "layer5"),
            "--layer 'layer5': the model has no such layer. Did you mean 'layer4'",
        ),
        ((*NET, "--layer", "layer1,,layer2"), "--layer layer1,,layer2: there is an empty name"),
        (
            ("--model", "tinynets:informed"),
            "--model tinynets:informed: informed takes videos (video files or folders of images), "
            "not skeletons such as dance.skeleton",
        ),
    ],
)
def test_models_and_layers_that_do_not_fit(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("dance.skeleton", *DECODER, *arguments) == 2
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert not Path("explanations").exists()


def test_models_and_methods_of_videos(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", *INFORMED) == 2
    text = "dancers takes skeletons (.skeleton files of NTU RGB+D), not videos such as walk.mp4"
    assert text in capsys.readouterr().err
    assert explain("walk.mp4", *INFORMED, "--size", "8") == 2
    assert text in capsys.readouterr().err
    several = ("--method", "video-grad-cam", "--layer", "body.0", "--layer", "body.3")
    assert explain("walk.mp4", "--model", "tinynets:net", *several) == 2
    assert "--layer: video-grad-cam takes one layer, got body.0, body.3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (*NET, "--actors", "1"),
            "the model failed on an input of shape (1, 75, 12) (N, D, T): RuntimeError: ",
        ),
        ((*INFORMED, "--actors", "1"), "model.info.mean has 150 numbers for 75 dimensions. Check"),
        (
            (*NET, "--frames", "10", "--layer", "layer4"),
            "the sequence has 10 frames, but an activation of layer 'layer4' sees 11: give more "
            "--frames, or an earlier --layer",
        ),
        (
            (*NET, "--frames", "2"),
            "the sequence has 2 frames, but an activation of the first layer sees 3: give --frames 3",
        ),
        (
            (*NET, "--layer", "layer2.conv"),
            "layer 'layer2.conv' cannot be decoded, since its output is no layer of the residual "
            "stack: a convolution whose input is made by 'relu' is neither",
        ),
        (
            (*NET, "--layer", "head"),
            "Layers of the stack: layer1, layer2, layer3, layer4.",
        ),
        (
            ("--model", "tinyskeletons:plain"),
            "the model has no layers that can be decoded: it is not like a Res-TCN",
        ),
        (
            ("--model", "tinyskeletons:plain", "--layer", "2"),
            "layer '2' cannot be decoded",
        ),
        (
            ("--model", "tinyskeletons:numbers"),
            "must answer a tensor (N, classes), got (1, 4, 10): give a factory that wraps it\n",
        ),
    ],
)
def test_models_that_cannot_take_the_skeletons(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_skeleton(Path("dance.skeleton"), [{IDS[0]: body} for body in walk(12)])
    assert explain("dance.skeleton", *DECODER, *arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("captum-video: error: dance.skeleton: ")
    assert text in err
    assert err.count("\n") == 1
    assert not Path("explanations").exists()


def test_files_that_cannot_be_read_do_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = write_skeleton(Path("GOOD.SKELETON"), [{IDS[0]: body} for body in walk(4)])
    write_skeleton(Path("empty.skeleton"), [{}, {}])
    lines = skeleton_lines([{IDS[0]: pose(0)}])
    Path("cut.skeleton").write_text("\n".join(lines[:9]) + "\n")
    lines[5] = lines[5].replace("2", "two", 1)
    Path("words.skeleton").write_text("\n".join(lines) + "\n")
    crowd = [*lines[:1], "1", *body_lines(IDS[0], pose(0)[:24])]
    Path("crowd.skeleton").write_text("\n".join(crowd) + "\n")
    bad = ("missing", "empty", "cut", "words", "crowd")
    clips = (*(f"{name}.skeleton" for name in bad), str(good))
    assert explain(*clips, *NET, *DECODER, "--layer", "layer1") == 1
    out, err = capsys.readouterr()
    assert "wrote explanations/GOOD: " in out
    assert [path.name for path in Path("explanations").iterdir()] == ["GOOD"]
    assert "captum-video: error: missing.skeleton: there is no such file\n" in err
    assert "captum-video: error: empty.skeleton: found no body in any of 2 frames" in err
    assert "captum-video: error: cut.skeleton" in err
    assert "captum-video: error: words.skeleton, line 6: found " in err
    assert "captum-video: error: crowd.skeleton, line 4: found " in err
    assert "5 of 6 clips could not be explained" in err
    assert err.count("\n") == 6


def test_the_layers_of_a_model_of_skeletons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", *INFORMED]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dancers on a blank clip, (1, 150, 12) (N, D, T)"
    table = [line.split() for line in lines[3:7]]
    assert lines[2].endswith("decoder")
    assert [row[0] for row in table[:3]] == ["layer1", "layer2", "layer3"]
    assert table[3][:3] == ["*", "layer4", "Unit"]
    assert all(row[-1] == "yes" for row in table)
    assert "1x6x6" in lines[5]
    assert "7 frames each, every 2" in lines[5]
    assert "4 of 14 layers" in lines[-1]

    write_skeleton(Path("dance.skeleton"), [{IDS[0]: body} for body in walk(5)])
    assert main(["layers", "dance.skeleton", *NET, "--json", "--all"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["input"] == [1, 150, 5]
    listed = {layer["name"]: layer["decodable"] for layer in told["layers"]}
    assert [name for name, decodable in listed.items() if decodable] == [
        "layer1", "layer2", "layer3", "layer4",
    ]  # fmt: skip
    assert not any(layer["grad_cam"] for layer in told["layers"])
    assert listed["head"] is False


def test_layers_refuses_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "walk.mp4", *INFORMED]) == 2
    assert "dancers takes skeletons" in capsys.readouterr().err
    assert main(["layers", *INFORMED, "--size", "8"]) == 2
    assert "--size is for videos, not for skeletons" in capsys.readouterr().err
    assert main(["layers", *NET, "--actors", "2"]) == 2
    assert "--actors is for skeletons, not for videos" in capsys.readouterr().err
    write_skeleton(Path("dance.skeleton"), [{IDS[0]: body} for body in walk(5)])
    assert main(["layers", "dance.skeleton", "--model", "tinynets:informed"]) == 2
    assert "informed takes videos" in capsys.readouterr().err
    assert main(["layers", "dance.skeleton", *NET, "--actors", "1"]) == 1
    assert "Check --frames and --actors" in capsys.readouterr().err
