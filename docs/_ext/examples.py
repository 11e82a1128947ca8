"""The files in ``examples/`` as a table: ``{examples}`` lists each with its first words, linked to the file."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).parent.parent.parent / "examples"
_LINK = re.compile(r"\[([^\]]*)\]\((?!http)[^)]*\)")  # to a place that is another one from here


def written() -> str:
    """Return the table as Markdown, for a page in ``docs/``: notebooks first."""
    files = sorted(FOLDER.glob("*.ipynb")) + sorted(FOLDER.glob("*.py"))
    rows = [f"| [`{path.name}`](../examples/{path.name}) | {' '.join(_first_words(path))} |" for path in files]
    return "\n".join(["| file | what it shows |", "|---|---|", *rows]) + "\n"


def _first_words(path: Path) -> Iterator[str]:
    """Yield the lines of the first paragraph of a script's docstring or a notebook's first text, headings left out."""
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
    else:
        cells = json.loads(path.read_text())["cells"]
        text = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    lines = text.strip().splitlines()
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        if lines[0].startswith("#"):
            yield f"**{lines[0].lstrip('# ').rstrip('.')}.**"
        lines.pop(0)
    for line in lines:
        if not line.strip():
            return
        yield _LINK.sub(r"\1", line.strip().replace("|", r"\|"))


class Examples(SphinxDirective):
    """Puts the table in a page."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        return self.parse_text_to_nodes(written())


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_directive("examples", Examples)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
