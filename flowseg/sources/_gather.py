"""What all readers of data sets share: files of a folder, safe names, shapes from headers, and problems in one list."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowseg.errors import FlowsegError, InputError
from flowseg.instances import Instances
from flowseg.sources import image_files
from flowseg.sources._search import EXTENSIONS, part_key
from flowseg.sources.collection import Collection, Item

_LABEL_BYTES = 4
_WHOLE = re.compile(r"([0-9]{1,9})(\.0*)?")  # pandas writes whole numbers with .0 where some are missing
_LONGEST_NAME = 200  # bytes; with an ending of ours, names of files may have 255


@dataclass
class Gathered:
    """Items and problems while a data set is opened."""

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def collection(self, root: Path, form: str) -> Collection:
        """Return what was gathered, items in order of name."""
        items = sorted(self.items, key=lambda item: item.name)
        return Collection(root, form, tuple(items), tuple(self.problems), tuple(self.notes))

    def header_shape(self, path: Path, what: str) -> tuple[int, int] | None:
        """Return (height, width) as a file's header says; None, and a problem noted, where it cannot be read."""
        try:
            return shape_of(path)
        except (FlowsegError, OSError) as error:
            self.problems.append(f"{what}: {error}")
            return None

    def not_shared(self, images: Mapping[str, Path]) -> dict[str, Path]:
        """Return the images that belong to one name alone; note those that several names have found."""
        owners: dict[Path, list[str]] = {}
        for name, path in images.items():
            owners.setdefault(path, []).append(name)
        for path, names in owners.items():
            if len(names) > 1:
                self.problems.append(f"{told(sorted(names))} have one image, {path}: wanted one each")
        return {name: path for name, path in images.items() if len(owners[path]) == 1}

    def keep_own_images(self) -> None:
        """Leave out, and note, items that have found one image."""
        own = self.not_shared({item.name: item.path for item in self.items if item.path is not None})
        self.items = [item for item in self.items if item.path is None or item.name in own]

    def can_be_held(self, shape: tuple[int, int], what: str) -> bool:
        """Tell whether a label image of a shape fits into memory; note a problem where it does not."""
        size, limit = shape[0] * shape[1] * _LABEL_BYTES, image_files.memory_limit()
        if size > limit.bytes:
            self.problems.append(
                f"{what} is said to have {told_shape(shape)} pixels: {size / 1e9:.2f} GB of labels; at most "
                f"{limit.bytes / 1e9:.2f} GB are taken ({limit.reason})"
            )
        return size <= limit.bytes


def held(instances: Instances) -> Instances:
    """Return what was read when the data set was opened: the ``load`` of items that are kept in memory."""
    return instances


def shape_of(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file from its header."""
    return image_files.probe(path).plane_shape


def files_in(folder: Path, endings: Iterable[str] = EXTENSIONS) -> list[Path]:
    """Return the files of a folder with one of the endings (lower case), hidden ones left out, as people count."""
    wanted = tuple(endings)
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower().endswith(wanted) and entry.is_file()
        ]
    return [folder / name for name in sorted(names, key=part_key)]


def the_one(folder: Path, found: Sequence[Path], what: str, kind: str) -> Path:
    """Return the only file of its kind that a folder has."""
    if not found:
        raise InputError(f"{folder} has no {what}: wanted one {kind} file")
    if len(found) > 1:
        raise InputError(f"{folder} has several {what}s, {told(each.name for each in found)}: name one {kind} file")
    return found[0]


def folders_in(folder: Path) -> list[Path]:
    """Return the folders of a folder, hidden ones left out, as people count."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    return [folder / name for name in sorted(names, key=part_key)]


def folder_named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders directly below that have one of the names, in any case, in the order of the names."""
    below = {each.name.casefold(): each for each in folders_in(folder)}
    return [below[name] for name in names if name in below]


def unsafe(name: str) -> str | None:
    """Say why a name cannot be that of a file inside a folder; None where it can.

    >>> unsafe("cell_01"), unsafe("../x")
    (None, 'it leads out of its folder')
    """
    if not name:
        return "it is empty"
    if any(letter in name for letter in "/\\") or name in (".", ".."):
        return "it leads out of its folder"
    if ":" in name and os.name == "nt":
        return "it holds a colon, which Windows takes for that of a drive"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        return "it holds characters that are not printed"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return f"it has {size} bytes; at most {_LONGEST_NAME} are taken" if size > _LONGEST_NAME else None


def whole(number: object) -> int | None:
    """Return a number that is written as 520, 520.0 or text of these; None where it is negative or beyond nine digits.

    >>> whole(520.0), whole(" 520 "), whole("520.5"), whole(-1)
    (520, 520, None, None)
    """
    match = _WHOLE.fullmatch(str(number).strip())
    return int(match[1]) if match else None


def told(names: Iterable[str], most: int = 3) -> str:
    """Return the first of some names in words.

    >>> told(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")


def told_shape(shape: tuple[int, int]) -> str:
    """Return a shape in words: height x width."""
    return f"{shape[0]} x {shape[1]}"


def image_index(folder: Path) -> Mapping[str, list[Path]]:
    """Return the image files of a folder by name without ending, and by full name."""
    index: dict[str, list[Path]] = {}
    for path in files_in(folder):
        index.setdefault(path.stem, []).append(path)
        index.setdefault(path.name, []).append(path)
    return index
