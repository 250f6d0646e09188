"""What the pages say of training: commands that can begin, options that exist, papers' figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import models
from models.train import parser
from models.training.command import prepare
from models.training.optimiser import freeze, make_optimizer
from models.training.recipe_files import list_recipes, load_recipe
from tests.docs.pages import DOCS, ROOT, blocks, commands, name_of, pages
from tests.docs.prepared import NARROW, QUICK, options, videos
from tests.io.skeletons import walk, write_skeleton
from tests.models.data.recorded.kitti_tree import write_still
from tests.models.data.recorded.trees import hmdb51_tree, jester_tree, ucf101_tree

SHELL = ("shell", "console", "")
RECIPES = DOCS / "recipes.md"
#: options of other programs that the page names
OTHERS = {"--nproc-per-node", "--logdir"}


def lines(page: Path) -> Iterator[list[str]]:
    """What follows ``models.train`` on a page's command lines."""
    for block in blocks(page.read_text()):
        if block.language in SHELL:
            for words in commands(block):
                if "models.train" in words:
                    yield words[words.index("models.train") + 1 :]


COMMANDS = [(page, words) for page in pages() for words in lines(page)]
REAL = [(page, words) for page, words in COMMANDS if "--root" in words]


def shown(value: object) -> str:
    return name_of(value) if isinstance(value, Path) else " ".join(map(str, value))  # type: ignore[call-overload]


def test_pages_train() -> None:
    assert len(COMMANDS) >= 12
    assert len(REAL) >= 10


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=shown)
def test_commands_are_understood(page: Path, words: list[str]) -> None:
    parser().parse_args(words)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of each kind under the names that the pages have, and weights to start from."""
    root = tmp_path_factory.mktemp("data")
    rows = [f"{split}/{name}/0.avi,{name},{split}" for split in ("train", "val") for name in "cw"]
    names = {",c,": ",clap,", "/c/": "/clap/", ",w,": ",wave,", "/w/": "/wave/"}
    table = "\n".join(["path,label,split", *rows])
    for short, name in names.items():
        table = table.replace(short, name)
    (videos(root / "videos") / "clips.csv").write_text(table)
    ucf101_tree(root / "UCF101")
    hmdb51_tree(root / "HMDB51")
    jester_tree(root / "Jester")
    skeletons = root / "nturgb+d_skeletons"
    skeletons.mkdir()
    for subject in (1, 3):
        path = skeletons / f"S001C001P00{subject}R001A001.skeleton"
        write_skeleton(path, [{7: pose} for pose in walk(2)])
    (root / "dataset").mkdir()
    for sequence in range(11):
        write_still(root / "dataset", sequence, 6)
    with torch.random.fork_rng(devices=[]):
        narrow = models.build("c3d", classes=5, **builder_options())
    torch.save(narrow.state_dict(), root / "c3d.pth")
    (root / "mine.toml").write_text(own_recipe())
    return root


def builder_options() -> dict[str, object]:
    given = dict(option.split("=", 1) for option in NARROW)
    return {key: eval(value) for key, value in given.items()}


def own_recipe() -> str:
    (block,) = (b for b in blocks(RECIPES.read_text()) if b.language == "toml")
    return block.code


def smaller(words: list[str]) -> list[str]:
    """The words for a model that is built in a moment, from weights that are there."""
    joined = " ".join(words)
    if "c3d" in joined or "mine.toml" in joined:
        return options(*NARROW)
    return options("pretrained=False") if "resnet18" in joined else []


@pytest.mark.parametrize(("page", "words"), REAL, ids=shown)
def test_commands_on_real_data_can_begin(
    page: Path, words: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    fresh = [word for word in words if word != "--resume"]
    run = ["--run-folder", str(tmp_path)]
    given = parser().parse_args([*fresh, *smaller(words), *run, *QUICK])
    given.device = torch.device("cpu")
    begun = prepare(given, lambda text: None)
    assert begun.recipe.epoch >= 1
    freeze(begun.model, begun.recipe)
    assert make_optimizer(begun.model, begun.recipe).param_groups


@pytest.mark.parametrize("page", [DOCS / "how-to/train.md", RECIPES], ids=name_of)
def test_options_in_prose_exist(page: Path) -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    named = set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]*)", page.read_text()))
    assert named
    assert named <= known | OTHERS, sorted(named - known - OTHERS)


def rows() -> list[dict[str, str]]:
    """The tables' rows, by the names of their columns."""
    found: list[dict[str, str]] = []
    for table in re.findall(r"(?:^\|.*\|\n)+", RECIPES.read_text(), re.MULTILINE):
        head, _, *body = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        )
        found += [dict(zip(head, row, strict=True)) for row in body]
    return found


def test_recipes_are_listed_once() -> None:
    named = Counter(row["recipe"].strip("`") for row in rows())
    assert sorted(named) == list_recipes()
    assert set(named.values()) == {1}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["recipe"].strip("`"))
def test_figures_are_those_of_the_recipe(row: dict[str, str]) -> None:
    recipe = load_recipe(row["recipe"].strip("`"))
    assert int(row["batch"]) == recipe.training["batch_size"]
    if "epochs" in row:
        assert int(row["epochs"]) == recipe.training["epochs"]
    for column in ("training", "validation"):
        if column in row:
            assert float(row[column]) == recipe.reported[f"{column}_accuracy"]
    if "starts from" in row:
        pretrained = recipe.options.get("pretrained", False)
        expected = "`--checkpoint`" if recipe.start else "ImageNet" if pretrained else "nothing"
        assert row["starts from"] == expected
    numbers = sorted(float(n) for n in re.findall(r"\d\.\d+", row.get("reported", "")))
    if "reported" in row:
        assert numbers == sorted(recipe.reported.values())


def test_no_figure_of_the_papers_is_claimed_as_measured() -> None:
    text = " ".join(RECIPES.read_text().split())
    assert "The figures below are the papers', and were not reproduced here" in text
    for page in (ROOT / "README.md", DOCS / "how-to/train.md"):
        for row in rows():
            if row.get("validation"):
                assert row["validation"] not in page.read_text()
