"""What a run of flowseg left in its folder of results: which image each of them is of."""

import json
from pathlib import Path

#: The file in a folder of results that says which images are done, a line an image.
STATE = "run.jsonl"


def is_of_a_run(path: Path) -> bool:
    """Tell whether a folder holds the results of ``flowseg segment`` or ``masks``, which calls label images so too."""
    return (path / STATE).is_file() or (path.is_dir() and any(path.glob("*_labels.tif")))


def wrote(path: Path) -> bool:
    """Tell whether a run wrote a folder, or the one that a file lies in."""
    return ((path if path.is_dir() else path.parent) / STATE).is_file()


def images_of(folder: Path) -> dict[str, Path]:
    """Return the image files, by name of their results, that a run says and that are still there."""
    found: dict[str, Path] = {}
    if not (folder / STATE).is_file():
        return found
    with (folder / STATE).open(encoding="utf-8", errors="replace") as file:
        for text in file:
            line = _parsed(text)
            name, source = line.get("name"), line.get("source")
            if isinstance(name, str) and isinstance(source, str):
                found[name] = Path(source)
    return {name: path for name, path in found.items() if path.is_file()}


def _parsed(text: str) -> dict[str, object]:
    """Return a line; nothing where it was cut short."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
