"""The page of a run over a folder: what ran, how long, and every image, those that failed too."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flowseg.options import SegmentOptions
from flowseg.report import page, view


def document(title: str, record: Mapping[str, Any], views: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield the page in parts; ``record`` is what ``run.json`` holds, ``views`` the file of each image that is done."""
    return page.document(title, _facts(record), [_row(line, views.get(line["name"])) for line in record["images"]])


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    lines, model = record["images"], record["model"]
    statuses = [line["status"] for line in lines]
    usual = SegmentOptions()
    options = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in record["options"].items()
        if value != getattr(usual, name, None)
    ]
    facts = {
        "images": f"{len(lines):,}",
        "cells": f"{sum(line.get('instances', 0) for line in lines):,}",
        "failed": str(statuses.count("failed")) if "failed" in statuses else "",
        "time": _duration(record["seconds"]),
        "kept from an earlier run": str(statuses.count("kept")) if "kept" in statuses else "",
        "model": ", ".join(Path(name).name for name in model["models"]),
        "computed by": " ".join(str(model[name]) for name in ("engine", "device", "precision") if name in model),
        "options": ", ".join(options) or "as the model says",
        "flowseg": record["flowseg"],
    }
    return {name: text for name, text in facts.items() if text}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _row(line: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    folder = PurePosixPath(line["name"]).parent.as_posix()
    row: dict[str, Any] = {"name": line["name"], "status": line["status"], "group": "" if folder == "." else folder}
    if line["status"] == "failed" or path is None:
        return row | {"error": line.get("error", "")}
    with path.open("rb") as file:
        listed = view.listed(file.readline())
    facts = {"file": Path(line["path"]).name, "channels": line.get("channels", "")}
    if "seconds" in line:
        facts["time"] = _duration(line["seconds"])
    return {
        **row,
        **listed,
        "view": f"report/{line['name']}.js",
        "diameter": line.get("diameter"),
        "notes": line.get("notes", []),
        "facts": facts,
    }
