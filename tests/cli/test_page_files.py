"""Where the command's page goes, and when there is none."""

from __future__ import annotations

import errno
import functools
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from captum_video.cli import _output, _page
from captum_video.visualization import Report
from tests.cli.test_page import CAM, NET, content
from tests.cli.workplace import explain, summary
from tests.io.skeletons import IDS, walk, write_skeleton


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--report page.txt", "--report page.txt: must end in .html"),
        ("--also 1", "--also 1: is for the page: give --report FILE.html"),
        ("--report explanations/walk/p.html", "walk is the folder of an explanation"),
        ("--report explanations/walk/sub/p.html", "walk is the folder of an explanation"),
        ("--report walk.mp4/p.html", "walk.mp4 is a file, not a folder"),
        ("--report folder.html", "--report folder.html: is a folder"),
        ("--report p.html --also 9", "--also 9: the model's classes are 0 to 4"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    options: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder.html").mkdir()
    assert explain("walk.mp4", *NET, *CAM, *options.split()) in (1, 2)
    assert text in capsys.readouterr().err
    assert not list(Path("explanations").rglob("*"))
    assert not Path("p.html").exists()


def test_a_folder_that_is_not_writable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_page.os, "access", lambda path, mode: Path(path).name != "kept")
    Path("kept").mkdir()
    assert explain("walk.mp4", *NET, *CAM, "--report", "kept/new/p.html") == 2
    assert "kept is not writable" in capsys.readouterr().err


def test_untargeted_methods_take_no_further_classes(capsys: pytest.CaptureFixture[str]) -> None:
    write_skeleton(Path("solo.skeleton"), [{IDS[0]: body / 8} for body in walk(12)])
    options = ("--method", "feature-map-decoder", "--report", "p.html", "--also", "bow")
    assert explain("solo.skeleton", "--model", "tinyskeletons:informed", *options) == 2
    assert "--also is not for feature-map-decoder" in capsys.readouterr().err


def test_an_older_page_is_kept_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.html").write_text("mine")
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html") == 1
    assert "page.html exists: give --overwrite, or another --report" in capsys.readouterr().err
    assert Path("page.html").read_text() == "mine"
    assert not list(Path("explanations").rglob("*"))
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html", "--overwrite") == 0
    assert content()["targets"]


def test_a_clip_too_long_for_one_page_keeps_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("walk.mp4", *NET, *CAM, "--report", "page.html", "--output", "first") == 0
    size = Path("page.html").stat().st_size
    monkeypatch.setattr(_page, "Report", functools.partial(Report, max_bytes=size - 3000))
    assert explain("walk.mp4", *NET, *CAM, "--report", "other.html") == 1
    error = capsys.readouterr().err
    assert "walk.mp4: --report: the page would take" in error
    assert "; all but the page is in explanations/walk" in error
    assert " for 4 frames" in error
    assert re.search(
        r"more than the \d+ bytes that a page may take: give --frames [123], or", error
    )
    assert summary()["model"] == "tinynets:net"  # what was computed is kept
    assert not Path("other.html").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_the_page_and_the_folder_appear_together(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __enter__(self) -> Path:
            raise failure

        def __exit__(self, *_: object) -> None:
            raise AssertionError("never entered")

    Path("page.html").write_text("older")
    monkeypatch.setattr(_output, "written_whole", Broken)
    options = (*NET, *CAM, "--report", "page.html", "--overwrite")
    assert explain("walk.mp4", *options) == (130 if failure is KeyboardInterrupt else 1)
    assert Path("page.html").read_text() == "older"
    assert not list(Path("explanations").rglob("*"))
    assert "wrote" not in capsys.readouterr().out


def test_pages_of_several_clips_must_not_be_folders(capsys: pytest.CaptureFixture[str]) -> None:
    os.link("walk.mp4", "run.mp4")
    Path("p-walk.html").mkdir()
    assert explain("walk.mp4", "run.mp4", *NET, *CAM, "--report", "p.html") == 2
    assert "--report p-walk.html: is a folder" in capsys.readouterr().err
    assert not Path("explanations").exists()


def test_colours_that_all_can_tell_apart() -> None:
    pictures = []
    for more in ((), ("--colour-blind", "--overwrite")):
        assert explain("walk.mp4", *NET, *CAM, *more) == 0
        pictures.append(Path("explanations/walk/strip.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert torch.is_tensor(load_file("explanations/walk/relevance.safetensors")["grad_cam"])


def test_each_of_several_clips_has_a_page() -> None:
    os.link("walk.mp4", "run.mp4")
    assert explain("walk.mp4", "run.mp4", *NET, *CAM, "--report", "pages/p.html") == 0
    assert sorted(os.listdir("pages")) == ["p-run.html", "p-walk.html"]
    assert dict(content("pages/p-run.html")["parameters"])["clip"] == "run.mp4"
