"""Kaggle's CSV files, one row an instance: Sartorius (row-major), DSB 2018 (column-major), and submissions.

Rows are decoded once, when the file is opened, so that all that cannot be read is told at once; what is kept is runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowseg import rle
from flowseg.checks import short
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.rle import Order
from flowseg.sources import _csv
from flowseg.sources._gather import Gathered, files_in, held, the_one, told, told_shape, whole
from flowseg.sources._kaggle_pictures import named, pictures_of, unsafe_id
from flowseg.sources.collection import Collection, Item

Shape = tuple[int, int]

_IDS = ("id", "imageid", "image_id")
#: Columns that hold encodings, and how pixels are counted under that name; None: in either way.
_TEXTS: Mapping[str, Order | None] = {
    "annotation": "row",
    "predicted": "row",
    "encodedpixels": "column",
    "rle": None,
}
_NOTHING = ("", "nan")  # an image without instances has one row without text
_NOT_OF_THE_IMAGE = ("height", "width")


class Layout(NamedTuple):
    """Which columns of a file hold what; -1 where there is none."""

    names: tuple[str, ...]
    id: int
    text: int
    height: int
    width: int

    @property
    def order(self) -> Order | None:
        """How pixels are counted, as the name of the column tells; None where it does not."""
        return _TEXTS[self.names[self.text]]

    @property
    def submission(self) -> bool:
        """Whether it holds predictions, as the name of the column tells."""
        return self.names[self.text] == "predicted"


@dataclass
class _Rows:
    """The rows of one image while the file is read."""

    shape: Shape | None = None
    sound: bool = True
    texts: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


class _Found(NamedTuple):
    """The rows by image, and the images of which a row cannot be read."""

    images: dict[str, _Rows]
    spoiled: set[str]


def layout(path: Path) -> Layout | None:
    """Return the columns of a CSV file, None where it is not one of Kaggle's."""
    names = _csv.header(path)
    ids = [place for place, name in enumerate(names) if name in _IDS]
    texts = [place for place, name in enumerate(names) if name in _TEXTS]
    if len(ids) != 1 or len(texts) != 1:
        return None
    height, width = (names.index(side) if names.count(side) == 1 else -1 for side in _NOT_OF_THE_IMAGE)
    return Layout(tuple(names), ids[0], texts[0], height, width)


def recognised(path: Path) -> str:
    """Say what a file, or a folder that has one or several, holds of this kind; empty where it is of another kind."""
    if path.is_file():
        return path.name if path.suffix.lower() == ".csv" and layout(path) is not None else ""
    return told(table.name for table in tables(path))


def tables(folder: Path) -> list[Path]:
    """Return the tables of a folder; submissions where there are no others."""
    found = {path: layout(path) for path in files_in(folder, (".csv",))}
    known = {path: columns for path, columns in found.items() if columns is not None}
    return [path for path, columns in known.items() if not columns.submission] or list(known)


def is_submission(folder: Path) -> bool:
    """Whether all that a folder has of this kind are predictions."""
    found = tables(folder) if folder.is_dir() else []
    return bool(found) and all(columns is not None and columns.submission for columns in map(layout, found))


def read(
    path: Path, *, images: Path | None = None, order: Order | None = None, like: Collection | None = None
) -> Collection:
    """Read a table.

    Parameters
    ----------
    path
        The table, or a folder with one.
    images
        The folder of the images; None: the one called as the table, train, ..., beside it, or its own.
    order
        How pixels are counted; None: as the columns are named, or along rows where that says nothing, which is noted.
    like
        A data set of the same names: images are as large as there, where neither the table nor an image says it.
    """
    if order not in (None, "row", "column"):
        raise OptionError(f"order is {order!r}; wanted 'row' or 'column'")
    if path.is_dir():
        path = the_one(path, tables(path), "table", "CSV")
    return _collected(path, images, order, {item.name: item for item in like or ()})


def _collected(path: Path, images: Path | None, order: Order | None, like: Mapping[str, Item]) -> Collection:
    columns = layout(path)
    if columns is None:
        names = ", ".join(_csv.header(path)) or "none"
        raise InputError(
            f"{path} has the columns {names[:200]}; wanted id and annotation (Sartorius), ImageId and EncodedPixels "
            "(DSB 2018) or id and predicted (a submission)"
        )
    _csv.require_utf_8(path, 1, columns.names)
    gathered = Gathered()
    found, spoiled = _read(path, columns, gathered)
    order = order or columns.order or _along_rows(columns, gathered)
    pictures = pictures_of(path, images, list(found), gathered, spoiled)
    unknown: list[str] = []
    for name, (id_, rows) in zip(named(list(found), pictures), found.items(), strict=True):
        if pictures is None:
            if rows.shape is None and name in like:
                rows.shape = like[name].instances().shape
            _add(gathered, name, rows, None, order, unknown)
        elif id_ in pictures:  # what has none is noted already
            _add(gathered, name, rows, pictures[id_], order, unknown)
    if unknown:
        gathered.problems.append(
            f"{told(unknown)} {'have' if len(unknown) > 1 else 'has'} no image, and {path.name} does not say how large "
            f"{'they are' if len(unknown) > 1 else 'it is'}: wanted --images FOLDER"
        )
    return gathered.collection(path, "kaggle")


def _along_rows(columns: Layout, gathered: Gathered) -> Order:
    """Return the order that is taken where none is said, and note it."""
    gathered.notes.append(
        f"the column {columns.names[columns.text]} does not say how pixels are counted: along rows was taken; where "
        "they go down columns, say --order column (convert: --in-order, truth of evaluate: --truth-order; in Python: "
        "order=)"
    )
    return "row"


def _read(path: Path, columns: Layout, gathered: Gathered) -> _Found:
    """Gather the rows of each image; note those that cannot be read."""
    found: dict[str, _Rows] = {}
    refused: set[str] = set()
    spoiled: set[str] = set()
    differing: dict[str, set[str]] = {}
    for line, fields, rough in _csv.rows(path):
        problem = _problem_of_row(columns, fields)
        if problem or fields is None:
            gathered.problems.append(f"line {line}: {problem}")
            if columns.id < len(rough) and not unsafe_id(_id(rough[columns.id])):
                spoiled.add(_id(rough[columns.id]))
            continue
        name = _id(fields[columns.id])
        wrong = unsafe_id(name)
        if wrong:
            if name not in refused:
                refused.add(name)
                gathered.problems.append(f"line {line}: the id {short(name)} is refused: {wrong}")
            continue
        rows = found.setdefault(name, _Rows())
        problem = _take(rows, columns, line, fields, differing.setdefault(name, set()))
        if problem:
            rows.sound = False
            gathered.problems.append(f"line {line} ({name}): {problem}")
    for name, rows in found.items():
        rows.sound = rows.sound and name not in spoiled
        for column in differing[name]:  # it tells of instances, not of the image
            rows.columns.pop(column, None)
    return _Found(found, spoiled)


def _id(text: str) -> str:
    """Return an id as it is looked for: tables made on Windows part folders by backslashes."""
    return text.strip().replace("\\", "/")


def _problem_of_row(columns: Layout, fields: list[str] | None) -> str | None:
    if fields is None:
        return "a quote does not close on the line, or within a field"
    if len(fields) != len(columns.names):
        return f"it has {len(fields)} fields; wanted {len(columns.names)}, as many as columns"
    if not all(_csv.is_utf_8(field) for place, field in enumerate(fields) if place != columns.id):
        return "it holds bytes that are not UTF-8: save the table as UTF-8"
    return None


def _take(rows: _Rows, columns: Layout, line: int, fields: list[str], differing: set[str]) -> str | None:
    """Add one row to those of its image; return what is wrong with it."""
    if columns.height >= 0 and columns.width >= 0:
        height, width = whole(fields[columns.height]), whole(fields[columns.width])
        if not height or not width:
            sides = f"{short(fields[columns.height])} and {short(fields[columns.width])}"
            return f"height and width are {sides}; wanted whole numbers from 1 to 999,999,999"
        rows.shape = rows.shape or (height, width)
        if rows.shape != (height, width):
            return f"it says {told_shape((height, width))} pixels, earlier rows of the image {told_shape(rows.shape)}"
    text = fields[columns.text].strip()
    if text.casefold() not in _NOTHING:
        rows.texts.append(text)
        rows.lines.append(line)
    for place, name in enumerate(columns.names):
        if place in (columns.id, columns.text, columns.height, columns.width) or not name:
            continue
        if rows.columns.setdefault(name, fields[place].strip()) != fields[place].strip():
            differing.add(name)
    return None


def _add(
    gathered: Gathered,
    name: str,
    rows: _Rows,
    picture: Path | None,
    order: Order,
    unknown: list[str],
) -> None:
    """Decode the rows of one image into an item."""
    shape = rows.shape
    if picture is not None:
        size = gathered.header_shape(picture, name)
        if size is None:
            return
        if shape is not None and shape != size:
            gathered.problems.append(
                f"{name} is said to have {told_shape(shape)} pixels; the image has {told_shape(size)}"
            )
            return
        shape = size
    if shape is None and not rows.sound:
        return  # noted already
    if shape is None:
        unknown.append(name)
        return
    instances = _decoded(gathered, name, rows, shape, order) if gathered.can_be_held(shape, name) else None
    if instances is not None:
        gathered.items.append(Item(name, picture, partial(held, instances), rows.columns))


def _decoded(gathered: Gathered, name: str, rows: _Rows, shape: Shape, order: Order) -> Instances | None:
    """Decode all rows at once; where that fails, row by row, to note each that cannot be read.

    An image of which a row cannot be read has no instances: some of them missing would be worse.
    """
    try:
        found = rle.decode_instances(rows.texts, shape, order)
        return found if rows.sound else None
    except InputError as whole:
        told_before = len(gathered.problems)
        for line, text in zip(rows.lines, rows.texts, strict=True):
            try:
                rle.decode_instances([text], shape, order)
            except InputError as error:
                gathered.problems.append(f"line {line} ({name}): {str(error).removeprefix('row 1: ')}")
        if len(gathered.problems) == told_before:
            gathered.problems.append(f"{name}: {whole}")
        return None
