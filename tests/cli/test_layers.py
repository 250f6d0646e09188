"""``captum-video layers``: which layers there are and what they cover."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captum_video.cli import main
from captum_video.cli._coverage import as_json, phrase
from captum_video.layers import Coverage
from tests.cli.workplace import SMALL


def layers(*arguments: str) -> int:
    return main(["layers", *arguments])


def rows(text: str) -> dict[str, str]:
    """The table's lines by layer, without their marks."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    names = [line[1:] if line[0] in ("*", "a") else line for line in lines]
    return {line[0]: " ".join(line) for line in names}


def test_a_table_of_what_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--frames", "16", "--size", "16")
    assert layers("--model", "tinynets:net", *options) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "tinynets:net on a blank clip, (1, 3, 16, 16, 16) (N, C, T, H, W)" in out
    table = rows(out)
    every = "16 3 frames each, every 1 (0-1, 0-2 ... 14-15) yes"
    assert table["body.0"] == f"body.0 Conv3d 1x4x16x16x16 {every}"
    assert table["body.3"] == (
        "body.3 Conv3d 1x6x8x8x8 8 8 frames each, every 2 (0-4, 0-6 ... 11-15) yes"
    )
    assert "body" not in table  # the container says what its last layer says
    assert "head" not in table
    assert "6 of 8 layers; --all lists the other 2 too" in out
    assert "recommends" not in out
    assert not os.path.exists("explanations")


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("--model", "tinynets:net", "--all", *SMALL) == 0
    out = capsys.readouterr().out
    table = rows(out)
    assert table["body"].startswith("body Sequential 1x6x2x2x2 2 ")
    assert table["head"] == "head Linear 1x5 1 all 4 frames no: no space"
    assert list(table)[-1] == "head"  # in the order in which they run
    assert "--all" not in out


def test_what_the_model_recommends_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("walk.mp4", "--model", "tinynets:attended_informed") == 0
    out = capsys.readouterr().out
    assert "attended on walk.mp4, (1, 3, 6, 16, 16)" in out
    (star,) = [line for line in out.splitlines() if line.startswith("*  cnn")]
    assert star.split()[2:] == ["Sequential", "6x6x8x8", "6", "one", "frame", "each", "yes"]
    (mark,) = [line for line in out.splitlines() if line.startswith("a  attention")]
    assert mark.split()[2:] == "Attention 1x5 1 all 6 frames no: no space".split()
    assert "*  what the model recommends for Grad-CAM" in out
    assert "a  the model's attention over frames" in out
    assert "and beyond" not in out
    assert "spare" not in out  # never called
    assert layers("walk.mp4", "--model", "tinynets:attended_informed", "--all") == 0
    out = capsys.readouterr().out
    assert rows(out)["lstm"].endswith("6 one frame each and beyond no: no space")
    assert "and beyond: attention, recurrence or a gate also brings in other frames" in out


def test_what_stands_against_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("--model", "tinynets:flattened", *SMALL) == 0
    table = rows(capsys.readouterr().out)
    assert table["late"].endswith("1 all 4 frames yes, one map for all frames")
    assert "pool" not in table
    assert layers("--model", "tinynets:flattened", "--all", *SMALL) == 0
    table = rows(capsys.readouterr().out)
    assert table["pool"].endswith("1 all 4 frames yes, but the same everywhere")
    assert layers("--model", "tinynets:odd", "--all", *SMALL) == 0
    table = rows(capsys.readouterr().out)
    assert table["twice"].endswith("? ? no: called 2 times")
    assert table["tokens"].endswith(" with --reshape")
    assert table["head"].endswith("no: no space")


def test_a_block_stands_for_what_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("--model", "tinynets:blocks", *SMALL) == 0
    # conv1 halves the picture before the block does, conv2 sees it as the block gives it
    table = rows(capsys.readouterr().out)
    assert [name for name in table if name.startswith("block")] == ["block.conv1", "block"]


MIXED = """
from torch import nn

class Attention(nn.Conv3d):
    def forward(self, x):
        return x * super().forward(x).sigmoid()

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(*(kind(3, 3, 1) for kind in (nn.Conv3d, Attention, nn.Conv3d)))

    def forward(self, x):
        return self.parts(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = Block(), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3, 4)))
"""


def test_attention_in_a_block_is_no_row_of_transformer_blocks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mixed.py").write_text(MIXED)
    assert layers("--model", "mixed:Net", *SMALL) == 0
    assert [name for name in rows(capsys.readouterr().out) if name.startswith("stem")] == ["stem"]


def test_a_blank_clip_is_as_the_model_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("--model", "tinynets:grey", "--json") == 0
    assert json.loads(capsys.readouterr().out)["input"] == [1, 1, 4, 16, 16]
    assert layers("walk.mp4", "--model", "tinynets:grey", "--json", "--frames", "8") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["clip"], told["input"]) == ("walk.mp4", [1, 1, 8, 16, 16])


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("--model", "tinynets:attended_informed", "--json", "--all") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["model"] == "attended"
    assert told["clip"] is None
    assert told["input"] == [1, 3, 6, 16, 16]
    assert told["assumed"] == []
    found = {layer["name"]: layer for layer in told["layers"]}
    assert next(iter(found)) == "cnn.0"
    assert found["cnn"] == {
        "name": "cnn",
        "type": "Sequential",
        "shape": [6, 6, 8, 8],
        "calls": 1,
        "time_slices": 6,
        "coverage": {
            "slices": [{"first": t, "last": t, "centre": t} for t in range(6)],
            "traced": True,
            "mixed": False,
        },
        "grad_cam": True,
        "verdict": "yes",
        "recommended": True,
        "attention": False,
    }
    assert not found["lstm"]["grad_cam"]
    assert found["attention"]["attention"]
    assert layers("--model", "tinynets:net", "--json", *SMALL) == 0
    told = json.loads(capsys.readouterr().out)  # and nothing else is printed
    assert told["assumed"] == ["mean", "std"]
    assert "body" not in {layer["name"] for layer in told["layers"]}


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("missing.mp4", "--model", "tinynets:net"), 1, "missing.mp4: there is no such file"),
        (("--model", "tinynets:nett"), 2, "tinynets has no 'nett'. Did you mean 'net'"),
        (("--model", "tinynets:net", "--grey", *SMALL), 1, "Check --frames, --size and --grey"),
        (("walk.mp4", "--model", "tinynets:net", "--start", "-1"), 2, "--start must be a time"),
        (("--model", "tinynets:net", "--checkpoint", "no.pt"), 2, "there is no such file"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert layers(*arguments) == status
    out, err = capsys.readouterr()
    assert text in err
    assert err.startswith("captum-video: error: ")
    assert "Traceback" not in err
    assert out == ""


def test_tracebacks_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers("missing.mp4", "--model", "tinynets:net", "--traceback") == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_reader_may_have_left() -> None:
    command = f"{sys.executable} -m captum_video.cli layers --model tinynets:net --json"
    told = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} --frames 2 --size 8 | true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.returncode == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        layers("--help")
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--model", "--frames", "--size", "--all", "--json"))
    assert "--method" not in told


@pytest.mark.parametrize(
    ("coverage", "text"),
    [
        (Coverage(4, (0, 1, 2, 3), (0, 1, 2, 3)), "one frame each"),
        (Coverage(4, (-3,), (6,)), "all 4 frames"),
        (Coverage(4, (-3, 0), (3, 6)), "all 4 frames each, centred every 3"),
        (Coverage(4, (-3, 0, 0), (3, 6, 8)), "all 4 frames each"),
        (Coverage(8, (-1, 1, 3, 5), (1, 3, 5, 7)), "3 frames each, every 2 (0-1, 1-3, 3-5, 5-7)"),
        (Coverage(8, (0, 4), (1, 7)), "frames (0-1, 4-7)"),
        (Coverage(8, (0, 6), (5, 7), mixed=True), "frames (0-5, 6-7) and beyond"),
        (Coverage(8, (-1,), (9,), mixed=True), "all 8 frames"),
        (
            Coverage(4, (-2, 0, 2, 4), (-1, 1, 3, 5)),
            "2 frames each, every 2 (none, 0-1, 2-3, none)",
        ),
        (
            Coverage.uniform(2, 8),
            "4 frames each, every 4 (0-3, 4-7), spread evenly as it is not known",
        ),
    ],
)
def test_coverage_in_words(coverage: Coverage, text: str) -> None:
    assert phrase(coverage) == text


def test_coverage_by_the_file_s_frames() -> None:
    coverage = Coverage(4, (-1, 1, 3, 7), (1, 3, 5, 9))
    assert phrase(coverage, [10, 12, 14, 14]).endswith("(10-12, 12-14, 14, none)")
    assert as_json(coverage, [10, 12, 14, 14]) == {
        "slices": [
            {"first": 10, "last": 12, "centre": 10.0},
            {"first": 12, "last": 14, "centre": 14.0},
            {"first": 14, "last": 14, "centre": 14.0},
            {"first": None, "last": None, "centre": 14.0},
        ],
        "traced": True,
        "mixed": False,
    }
