"""The notebooks run as they are, on the data that they come with, and hold what their cells show."""

import ast
import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
TRAIN = ("2_", "3_")  # half a minute each, and more on a busy machine
RENDER = runpy.run_path(str(EXAMPLES / "render.py"))

Notebook = dict[str, Any]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Notebook:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def code_cells(notebook: Notebook) -> list[Notebook]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook: Notebook) -> list[Notebook]:
    return [output for cell in code_cells(notebook) for output in cell["outputs"]]


def texts(notebook: Notebook) -> str:
    """Return all that outputs say, pictures left out."""
    said = []
    for output in outputs(notebook):
        data = {"text": output.get("text", []), **output.get("data", {})}
        said += ["".join(text) for kind, text in data.items() if not kind.startswith("image/")]
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", "\n".join(said))


def shows_something(source: str) -> bool:
    """Tell whether a cell ends with a value, prints, or shows a plot."""
    last = ast.parse(source).body[-1]
    return isinstance(last, ast.Expr) or "print(" in source


def files_of_the_repository() -> dict[str, int]:
    """Return when each file was written, caches left out."""
    written = {}
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name not in ("__pycache__", "out")]
        written |= {f"{folder}/{name}": os.stat(f"{folder}/{name}").st_mtime_ns for name in names}
    return written


def test_there_are_notebooks() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * path.name.startswith(TRAIN), id=path.stem) for path in NOTEBOOKS],
)
def test_it_runs_without_a_warning_and_shows_what_it_holds(path: Path) -> None:
    before = files_of_the_repository()
    made, kept = RENDER["rendered"](path), read(path)
    assert files_of_the_repository() == before
    assert not [output for output in outputs(made) if output.get("name") == "stderr"]
    for new, old in zip(code_cells(made), code_cells(kept), strict=True):
        kinds = [{kind for output in cell["outputs"] for kind in output.get("data", {})} for cell in (new, old)]
        assert kinds[0] == kinds[1], f"render it anew; the cell is\n{''.join(new['source'])}"
        assert bool(new["outputs"]) == bool(old["outputs"])


@each_notebook
def test_it_holds_what_its_cells_show(path: Path) -> None:
    notebook = read(path)
    assert path.stat().st_size < 1e6
    assert [cell["execution_count"] for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        assert bool(cell["outputs"]) >= shows_something(source), f"no output of\n{source}"
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) >= 1
    for output in outputs(notebook):
        assert output["output_type"] in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr"


@each_notebook
def test_it_says_nothing_of_the_machine_that_made_it(path: Path) -> None:
    said = texts(read(path))
    for word in (str(Path.home()), str(ROOT), "/home/", "/root/", "/tmp/", "/Users/", "\\Users\\", "Traceback"):
        assert word not in said
    assert not re.search(r"(?<![\w<.:/])/(?:[\w.-]+/)+[\w.-]+", said), "an absolute path"


@each_notebook
def test_it_is_a_notebook_that_begins_with_a_title_and_has_links_that_lead_somewhere(path: Path) -> None:
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)
    assert "".join(notebook["cells"][0]["source"]).startswith("# ")
    prose = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose):
        assert (EXAMPLES / target).exists(), target


def tiny(path: Path, *sources: str) -> Path:
    cells = [{"cell_type": "code", "source": [source], "metadata": {}, "outputs": []} for source in sources]
    path.write_text(json.dumps({"cells": cells}))
    return path


@pytest.mark.parametrize(
    ("source", "told"),
    [("1 / 0", "ZeroDivisionError"), ("import warnings; warnings.warn('mind this')", "mind this")],
)
def test_an_error_or_a_warning_ends_the_rendering(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        RENDER["rendered"](tiny(tmp_path / "tiny.ipynb", "1", source))


TRAINING = """
import numpy as np, flowseg
from flowseg import late, notebook
late.PATIENCE = 0
square = np.pad(np.ones((12, 12), int), 2)
labels = np.kron(np.arange(1, 10).reshape(3, 3), square)
done = flowseg.train([((labels > 0) * 200, labels)] * 3, "run", pretrained=None, inputs="grey", widths=(4, 6),
    diameter_mean=12.0, crops=24, batch_size=4, size=32, reports=2, device="cpu", precision="fp32", val_part=0.34)
"""


def test_streams_displays_and_a_training_are_kept_in_order(tmp_path: Path) -> None:
    cell = "print('a'); display(1); print('b', end=''); print('c')\n2"
    made = RENDER["rendered"](tiny(tmp_path / "tiny.ipynb", cell, TRAINING, "done"))
    first, training, card = (cell["outputs"] for cell in code_cells(made))
    assert [output["output_type"] for output in first] == ["stream", "display_data", "stream", "execute_result"]
    assert first[2]["text"] == ["bc\n"]
    assert [output["output_type"] for output in training] == ["display_data"]
    shown = "".join(training[0]["data"]["text/html"])
    assert shown.count("<tr") == 3  # the names of columns, and two reports
    assert "<progress" not in shown
    assert "best AP" in "".join(card[0]["data"]["text/html"])
