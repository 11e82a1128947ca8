"""What is known of each image: lines kept from earlier runs, and lines of this one, told in order."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flowseg import files
from flowseg.segmentation import Segmentation

Line = dict[str, Any]

_WANTED = {"name": str, "source": str, "input": str, "settings": str, "instances": int, "notes": list, "files": list}


class Ledger:
    """The lines of all runs in a folder, in a file that each finished image adds a line to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, Line] = {}
        self._files: dict[str, set[str]] = {}
        for line in _read(path):
            self._note(line)
        self._lock = threading.Lock()

    def get(self, name: str) -> Line | None:
        """Return the last line of an image; None if it has none, or its results were being replaced."""
        return self._lines.get(name)

    def written(self, name: str) -> set[str]:
        """Return the files that runs wrote of an image, or began to, whenever that was."""
        return self._files.get(name, set())

    def begin(self, name: str, writing: Sequence[str]) -> None:
        """Strike the line of an image whose results are about to be replaced: until that is done they are mixed.

        ``writing`` is which files will be there: from now on they are no one else's.
        """
        with self._lock:
            line = {"name": name, "status": "begun", "files": list(writing)}
            files.append_line(self._path, json.dumps(line))
            self._note(line)

    def add(self, line: Line) -> None:
        """Add the line of an image whose results are there, whole."""
        with self._lock:
            files.append_line(self._path, json.dumps(line))

    def _note(self, line: Line) -> None:
        name = line["name"]
        if isinstance(line.get("files"), list):
            self._files.setdefault(name, set()).update(map(str, line["files"]))
        if all(isinstance(line.get(key), kind) for key, kind in _WANTED.items()):
            self._lines[name] = line
        else:
            self._lines.pop(name, None)


def _read(path: Path) -> Iterator[Line]:
    """Yield the lines of a file; what is not a line of ours, or was cut short by a crash, is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from filter(None, map(_parse, file))


def _parse(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("name"), str) else None


class InOrder:
    """Passes lines on in the order of the images, whichever thread they come from and whenever."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._early: dict[int, Line] = {}
        self._next = 0

    def put(self, place: int, line: Line) -> None:
        """Pass a line on as soon as those of all images before it are there."""
        with self._lock:
            self._early[place] = line
            while self._next in self._early:
                self._next += 1
                self._tell(self._early.pop(self._next - 1))


def line_of(name: str, path: Path, found: Segmentation) -> Line:
    """Return the line of an image that is done."""
    masks = found.masks
    return {
        "name": name,
        "path": str(path),
        "source": os.path.abspath(path),
        "status": "done",
        "instances": int(found.labels.max(initial=0)),
        "shape": list(found.labels.shape),
        "diameter": round(found.diameter, 3),
        "channels": found.channels,
        "removed": {
            "too_large": masks.too_large,
            "inconsistent": masks.inconsistent,
            "too_small": masks.too_small,
        },
        "notes": found.notes,
    }


def line_of_failure(name: str, path: Path, error: BaseException) -> Line:
    """Return the line of an image that could not be done."""
    what = "out of memory: a smaller --tile takes less" if isinstance(error, MemoryError) else files.in_words(error)
    return {"name": name, "path": str(path), "status": "failed", "error": what}
