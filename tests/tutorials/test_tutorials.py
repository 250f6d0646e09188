"""The tutorials run, show what they say, and are stored clean."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

FOLDER = Path(__file__).parents[2] / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
COUNT = 10
CELL_TIMEOUT = 180  # seconds, on a machine that does other things too
#: what goes before a notebook's first cell: in a reader's notebook a warning is noise
STRICT = """
import warnings

warnings.simplefilter("error")
# the kernel's own machinery is not what is tested
warnings.filterwarnings("ignore", module="ipykernel|zmq|tornado|jupyter_client|traitlets|IPython")
"""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; the kernel sees no settings of this machine's user."""
    for variable, name in (
        ("TMPDIR", "temporary"),
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("JUPYTER_DATA_DIR", "data"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
    ):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in tests/conftest.py
    working = tmp_path / "working"
    working.mkdir()
    return working


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def executed(notebook: NotebookNode, folder: Path) -> Any:
    """The notebook with its outputs; an error of a cell is raised."""
    notebook.cells.insert(0, new_code_cell(STRICT))
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def code(notebook: Any) -> Iterator[str]:
    """The code cells without IPython's magics."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.MULTILINE)


def outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def test_all_are_there_and_numbered() -> None:
    numbers = [path.name[:3] for path in NOTEBOOKS]
    assert numbers == [f"{number:02}-" for number in range(1, COUNT + 1)]
    assert all(re.fullmatch(r"\d\d(-[a-z0-9]+)+", path.stem) for path in NOTEBOOKS)


@each
def test_stored_clean(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        assert cell.source.strip(), f"cell {cell.id} is empty"
        assert not set(cell.metadata) - {"tags"}, f"cell {cell.id} has metadata"
        assert not cell.get("outputs"), f"cell {cell.id} is stored with its outputs"
        assert cell.get("execution_count") is None, f"cell {cell.id} is stored with a count"


@each
def test_names_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.~)\]}])/(?:home|work|tmp|root|Users|mnt|opt)/\S*", text)
    assert not re.findall(r"\b[A-Z]:\\\\\S*", text)


@each
def test_reads_as_a_page(path: Path) -> None:
    """A title first and once; sections are not skipped; links lead somewhere; something to do."""
    prose = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    headings = [line for cell in prose for line in cell.splitlines() if re.match(r"#+ ", line)]
    levels = [len(line.split()[0]) for line in headings]
    assert prose[0].startswith("# ")
    assert levels.count(1) == 1
    assert max(levels) <= 3
    assert any(re.search(r"exercise|question", line, re.IGNORECASE) for line in headings)
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", "\n".join(prose))
    for link in links:
        assert link.startswith("https://") or (path.parent / link).resolve().exists(), link
    assert any(link.startswith("../docs/") for link in links)


@each
def test_says_what_must_hold(path: Path) -> None:
    """A notebook that runs but shows nonsense has to fail: it asserts what the prose says of it."""
    trees = [ast.parse(cell) for cell in code(read(path))]
    asserts = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert len(asserts) >= 4
    assert not [node for node in asserts if isinstance(node.test, ast.Constant)]


@each
def test_runs(path: Path, own_folders: Path) -> None:
    before = sorted(FOLDER.iterdir())
    notebook = executed(read(path), own_folders)
    shown = list(outputs(notebook))
    assert not [output.text for output in shown if output.get("name") == "stderr"]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert [output for output in shown if output.get("name") == "stdout"], "no fact is printed"
    # files go to a temporary folder: whoever runs this in the checkout finds it as it was
    assert not list(own_folders.iterdir())
    assert sorted(FOLDER.iterdir()) == before


def test_an_error_or_a_warning_in_a_cell_fails(own_folders: Path) -> None:
    for source in ("assert 1 > 2", "import warnings\nwarnings.warn('so so')"):
        notebook = nbformat.v4.new_notebook(cells=[new_code_cell(source)])
        with pytest.raises(CellExecutionError, match=r"AssertionError|so so"):
            executed(notebook, own_folders)
