"""Bring the speed table of README.md up to date with RESULTS.md: python benchmarks/readme.py [--check].

The table stands between two marks; each of its rows is a row of RESULTS.md, found by its first cells.
"""

import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- speed: python benchmarks/readme.py -->", "<!-- end of speed -->"


class Row(NamedTuple):
    """A row of the README: what it says, and the first cells of the row of RESULTS.md that it is."""

    says: str
    cells: tuple[str, ...]


ROWS = (
    Row("200 images of 256 x 256, from start to end", ("folder of 200 images of 256², processes from start to end",)),
    Row("an image of 2048 x 2048", ("2048² image, defaults",)),
    Row("the same, in float32 on Cellpose's own tiles", ("2048² image, float32, same tiles",)),
    Row("masks to flows, 2048 x 2048, cells of 60 pixels", ("labels -> flows", "60 px cells", "2048")),
    Row("flows to masks, the same", ("flows -> labels, flow check", "60 px cells", "2048")),
)


def table(results: str) -> str:
    """Return the README's table from the text of RESULTS.md."""
    lines = ["| | flowseg | Cellpose 3.1.1.2 | |", "|---|---|---|---|"]
    for row in ROWS:
        ours, theirs, ratio = _found(results, row)
        lines.append(f"| {row.says} | {ours} | {theirs} | **{ratio}** |")
    return "\n".join(lines)


def _found(results: str, row: Row) -> tuple[str, str, str]:
    """Return our time, theirs and the ratio, as RESULTS.md has them; milliseconds where its column says so."""
    head: list[str] = []
    for line in results.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        head = head or cells
        if tuple(cells[: len(row.cells)]) == row.cells:
            at = next(number for number, name in enumerate(head) if name.startswith("flowseg"))
            unit = " ms" if head[at].endswith("ms") else ""
            return f"{cells[at]}{unit}", f"{cells[at + 1]}{unit}", cells[head.index("ratio")]
    raise SystemExit(f"RESULTS.md has no row that begins with {' | '.join(row.cells)}")


def updated(readme: str, results: str) -> str:
    """Return the README with the table that RESULTS.md makes."""
    before, rest = readme.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    """Write it; with --check, say whether it is up to date."""
    old = README.read_text()
    new = updated(old, (HERE / "RESULTS.md").read_text())
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if old == new else "README.md is not what RESULTS.md says: python benchmarks/readme.py")
    README.write_text(new)


if __name__ == "__main__":
    main()
