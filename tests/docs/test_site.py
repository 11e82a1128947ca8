"""What the site makes of the package by itself; needs the extra ``docs``."""

import inspect
import sys
from collections.abc import Iterator

import click
import pytest

import flowseg
from flowseg import cli
from tests.docs.blocks import ROOT

pytest.importorskip("sphinx", reason="the extra docs is not installed")


@pytest.fixture(autouse=True)
def extensions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    yield
    for name in ("commands", "examples", "formulas", "short_types", "pictures"):
        sys.modules.pop(name, None)


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    from commands import written

    page = (ROOT / "docs/reference/cli.md").read_text()
    for name, command in cli.main.commands.items():
        assert f"```{{command}} {name}\n" in page
        text = written(name)
        below = command.commands.values() if isinstance(command, click.Group) else [command]
        for one in below:
            for option in one.params:
                if isinstance(option, click.Option):
                    assert all(f"`{each}`" in text for each in option.opts), option.opts
    assert written("models list", 3).startswith("(flowseg-models-list)=\n### flowseg models list\n")


def test_help_stays_what_it_is_in_markdown() -> None:
    from commands import written

    text = written("segment")
    assert r"OUT/\<name\>\_labels.tif" in text
    assert "```bash\nflowseg segment plate1/ -o results --model cyto3 --diameter 30\n" in text
    assert "  # writes submission.csv\n" in text
    assert "labels    <name>_labels.tif       label image, 16 or 32 bits\n" in text
    assert "| `-o`, `--out` `DIRECTORY` | Folder of results. | required |" in text
    assert "given several times, an ensemble. | `nuclei` |" in text
    assert r"`[row\|column]` | Of rle. | `row` |" in text


def test_every_example_is_listed() -> None:
    from examples import written

    text = written()
    files = [path.name for kind in ("*.py", "*.ipynb") for path in (ROOT / "examples").glob(kind)]
    assert all(f"(../examples/{name})" in text for name in files)
    assert "From a Kaggle table to a submission" in text


def test_types_are_short() -> None:
    import numpy as np
    import numpy.typing as npt
    from short_types import shortened
    from sphinx.util.typing import stringify_annotation

    given, result = (stringify_annotation(each, "smart") for each in (npt.ArrayLike, npt.NDArray[np.float32]))
    assert shortened(f"({given}) -> {result}") == "(ArrayLike) -> ndarray[~numpy.float32]"


def test_formulas_are_drawn_without_a_script() -> None:
    from formulas import drawn

    svg = drawn(r"\dfrac{1}{9} T_n")
    assert svg.startswith('<svg class="formula"')
    assert "aria-label" in svg
    assert svg.count("M") > 4


def test_the_page_of_the_api_has_every_public_name() -> None:
    page = (ROOT / "docs/reference/api.md").read_text()
    modules = {name for name in flowseg.__all__ if inspect.ismodule(getattr(flowseg, name))}
    for name in set(flowseg.__all__) - {"__version__", "FlowsegError"}:
        directive = "automodule" if name in modules else "autofunction"
        assert f".. {directive}:: flowseg.{name}\n" in page, name
    assert ".. automodule:: flowseg.errors\n" in page
