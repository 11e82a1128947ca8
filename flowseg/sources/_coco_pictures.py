"""The images of a COCO file: their entries, what they are called, and where their files are."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from flowseg.checks import short
from flowseg.errors import InputError
from flowseg.names import parts
from flowseg.sources._gather import Gathered, files_in, told, unsafe, whole
from flowseg.sources._search import EXTENSIONS, without_ending
from flowseg.sources.spellings import spellings, under

Shape = tuple[int, int]
_NOT_COLUMNS = {
    *("id", "file_name", "height", "width", "license", "coco_url", "flickr_url", "url", "date_captured"),
    *("original_filename", "crowds"),
}
_DRIVE = re.compile("[A-Za-z]:")


@dataclass
class Picture:
    """One entry of ``images`` and what belongs to it.

    Attributes
    ----------
    file
        Its name, with folders where the entry has some; never a way out of the folder it is looked for in.
    shape
        Height and width, as the entry says; None where it does not.
    columns
        What else the entry says.
    annotations
        Those of its instances, with their place in the file as ``_place``.
    """

    file: str
    shape: Shape | None
    columns: dict[str, str]
    annotations: list[Mapping[str, Any]] = field(default_factory=list)


def listed(content: dict[str, Any], gathered: Gathered) -> dict[Any, Picture | None]:
    """Return the pictures by id; None for what has a problem, which is noted."""
    found: dict[Any, Picture | None] = {}
    for place, entry in enumerate(content["images"], start=1):
        try:
            number = _number(entry, found)
        except InputError as error:
            gathered.problems.append(f"image {place}: {error}")
            continue
        try:
            found[number] = _picture(entry)
        except InputError as error:
            found[number] = None
            gathered.problems.append(f"image {place}: {error}")
    return found


def _number(entry: object, found: Mapping[Any, object]) -> int | str:
    """Return the id of an entry, which no other has."""
    number = identity(entry.get("id")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or number is None or not isinstance(entry.get("file_name"), str):
        raise InputError(f"{short(entry)}; wanted id, file_name, height and width")
    if number in found:
        raise InputError(f"its id {number!r} is that of another")
    return number


def _picture(entry: dict[str, Any]) -> Picture:
    file = _file_name(entry["file_name"])
    columns = {
        printed(name): printed(value)
        for name, value in entry.items()
        if name not in _NOT_COLUMNS and isinstance(value, str | int | float)
    }
    return Picture(file, _shape(entry), columns)


def _shape(entry: dict[str, Any]) -> Shape | None:
    """Return height and width, which some write as 520.0 or "520"; None where neither is said."""
    sides = entry.get("height"), entry.get("width")
    if sides == (None, None):
        return None
    height, width = map(whole, sides)
    if height is None or width is None:
        raise InputError(
            f"{entry['file_name']}: height and width are {short(sides[0])} and {short(sides[1])}; wanted whole numbers"
        )
    return height, width


def _file_name(text: str) -> str:
    r"""Return the name of a file below a folder: Windows' separators, drives and roots are another machine's.

    >>> _file_name("./x/a.png"), _file_name("C:\\data\\a.png"), _file_name("/home/me/a.png")
    ('x/a.png', 'data/a.png', 'home/me/a.png')
    """
    below = parts(text)
    if len(below) > 1 and _DRIVE.fullmatch(below[0]):
        del below[0]
    wrong = next((problem for problem in map(unsafe, below or [""]) if problem), None)
    if wrong:
        raise InputError(f"the file name {short(text)} is refused: {wrong}")
    return "/".join(below)


def identity(value: object) -> int | str | None:
    """Return an id, which pandas writes as 7.0 where others are missing; None where a value is none.

    >>> identity(7.0), identity("7"), identity(7.5), identity([7])
    (7, '7', None, None)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def printed(value: object) -> str:
    """Return a value as text that can be written as UTF-8."""
    return str(value).encode(errors="replace").decode()


def names(pictures: Mapping[Any, Picture]) -> dict[Any, str]:
    """Name each picture after its file; files that share a name with another keep more of theirs."""
    left = {number: PurePosixPath(picture.file) for number, picture in pictures.items()}
    found: dict[Any, str] = {}
    for name in (
        lambda file: without_ending(file.name),
        lambda file: file.name,
        lambda file: file.as_posix().replace("/", "__"),
    ):
        named = {number: name(file) for number, file in left.items()}
        count = Counter(each.casefold() for each in [*named.values(), *found.values()])
        found |= {number: each for number, each in named.items() if count[each.casefold()] == 1}
        left = {number: file for number, file in left.items() if number not in found}
    taken = {name.casefold() for name in found.values()}
    for number, file in left.items():
        found[number] = f"{file.as_posix().replace('/', '__')}__{quote(str(number), safe='', errors='replace')}"
        while found[number].casefold() in taken:
            found[number] += "_"
        taken.add(found[number].casefold())
    return found


class Places:
    """Folders that images may lie in.

    Parameters
    ----------
    beside
        The COCO file, when its own folder and the usual ones in it are to be looked into.
    images
        The folder of the images, where it was said.
    also
        More folders to look into, where none was said.
    """

    def __init__(self, beside: Path, images: Path | None = None, also: Iterable[Path] = ()) -> None:
        self.said = images is not None
        own = beside.parent
        around = [own, own.parent] if own.name.casefold() == "annotations" else [own]  # as COCO itself has it
        names = ("images", beside.stem, beside.stem.removeprefix("instances_"), "train", "test")
        usual = [own, *dict.fromkeys(place / name for place in around for name in names)]
        wanted = dict.fromkeys([*usual, *also]) if images is None else [images]
        self._folders = [place for place in wanted if place.is_dir()]
        # The file's own folder may be anything: what lies far below it is not searched.
        self._deep = [place for place in self._folders if place != own or self.said]

    def __str__(self) -> str:
        return " or ".join(map(str, self._folders))

    def file_of(self, picture: Picture) -> Path | None:
        """Return the file of a picture: where its name says, else of the same name in a folder, or in one below.

        Some names, of tables that became COCO, are without the ending of a file.

        Raises
        ------
        InputError
            There are several of that name.
        """
        bare = PurePosixPath(picture.file).name
        for name in (*spellings(picture.file), *spellings(bare)):
            for place in self._folders:
                if (place / name).is_file():
                    return place / name
        others = under(self._others, bare) or []
        if len(others) > 1:
            raise InputError(f"{picture.file} has several images: {told(map(str, others))}")
        return others[0] if others else None

    @cached_property
    def _others(self) -> dict[str, list[Path]]:
        """Return the image files in the folders, and in those below, by name and by name without ending."""
        found: dict[str, list[Path]] = {}
        near = (file for place in self._folders if place not in self._deep for file in files_in(place))
        for file in [*near, *_files_below(self._deep)]:
            for name in (file.name, without_ending(file.name)):
                found.setdefault(name, []).append(file)
        return found


def _files_below(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        for place, below, files in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith("."))
            yield from (Path(place, name) for name in files if name.lower().endswith(EXTENSIONS))
