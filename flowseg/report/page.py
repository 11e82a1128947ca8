"""The page of a report: everything in one file, but for the views of images beside it."""

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowseg import __version__
from flowseg.report.view import as_script


def document(
    title: str, facts: Mapping[str, str], rows: Sequence[Mapping[str, Any]], problems: Sequence[str] = ()
) -> Iterator[bytes]:
    """Yield the page in parts.

    Parameters
    ----------
    title
        What was looked at.
    facts
        What stands at the top: {what: text}.
    rows
        One an image, in the order to show them in: ``name``; ``view`` (file of its view, relative to the page), and
        ``thumb``, ``size``, ``count``, ``bins`` as `view.listed` gives them, where it has one; ``status``, ``error``,
        ``notes``, ``group``, ``diameter``, ``score``, ``facts`` ({what: text}) where they are known.
    problems
        What is wrong with the whole, in words.
    """
    parts = resources.files("flowseg.report")
    page = (parts / "page.html").read_text("utf-8")
    filled = {
        "title": html.escape(title),
        "style": (parts / "page.css").read_text("utf-8"),
        "script": "".join((parts / name).read_text("utf-8") for name in ("charts.js", "page.js")),
        "facts": "".join(_fact(name, text) for name, text in facts.items()),
        "problems": "".join(f"<li>{html.escape(problem)}</li>" for problem in problems),
        "version": html.escape(__version__),
    }
    before, _, after = page.partition("{{rows}}")
    yield _filled(before, filled).encode(errors="replace")
    for number, row in enumerate(rows):
        yield ((",\n" if number else "") + as_script(_linked(row))).encode()
    yield _filled(after, filled).encode(errors="replace")


def folder_of_views(path: Path) -> Path:
    """Return the folder beside a page in which numbered views lie, without those of an earlier page.

    It is called as browsers call it, so that it is not that of a data set by chance.
    """
    folder = path.with_name(f"{path.stem}_files")
    folder.mkdir(parents=True, exist_ok=True)
    for view in folder.glob("[0-9][0-9][0-9][0-9][0-9].js"):
        view.unlink()
    return folder


def _linked(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which the file of the view is an address: names of files may hold anything."""
    return {**row, "view": quote(os.fsencode(row["view"]))} if "view" in row else dict(row)


def _fact(name: str, text: str) -> str:
    return f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], text)
