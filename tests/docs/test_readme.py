"""The figures of the README are those that were measured, and its links lead somewhere."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks/readme.py"))


def test_the_speed_table_is_that_of_the_results(script: dict[str, Any]) -> None:
    text = (ROOT / "README.md").read_text()
    updated = script["updated"](text, (ROOT / "benchmarks/RESULTS.md").read_text())
    assert text == updated, "python benchmarks/readme.py brings it up to date"
    assert text.count("**") >= 2 * len(script["ROWS"])


def test_other_figures_would_be_seen(script: dict[str, Any]) -> None:
    results = (ROOT / "benchmarks/RESULTS.md").read_text()
    row = next(line for line in results.splitlines() if line.startswith("| 2048² image, defaults"))
    other = results.replace(row, "| 2048² image, defaults | 1.5 s | 3.0 s | 2.0x | - |")
    text = (ROOT / "README.md").read_text()
    assert "| an image of 2048 x 2048 | 1.5 s | 3.0 s | **2.0x** |" in script["updated"](text, other)
    with pytest.raises(SystemExit, match="no row"):
        script["updated"](text, results.replace(f"{row}\n", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"
