"""Kaggle's tables: a row an instance, run-length encoded, beside a folder of images.

Sartorius has ``id, annotation, width, height`` and more, runs along rows; the Data Science Bowl ``ImageId,
EncodedPixels``, runs down columns; a submission ``id, predicted``.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowseg import rle
from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources import _files, image_files
from flowseg.sources.collection import Collection, Item

_IDS = ("id", "imageid", "image_id")
_CODES: dict[str, rle.Order] = {"annotation": "row", "predicted": "row", "encodedpixels": "column", "rle": "row"}
_FOLDERS = ("", "train", "stage1_train", "images", "test", "stage1_test")
_MOST_FIELD = 1 << 27  # characters in one cell of the table


class _Columns(NamedTuple):
    """Where in a row its parts are."""

    id: int
    code: int
    width: int | None
    height: int | None
    others: dict[str, int]
    order: rle.Order


class _Rows(NamedTuple):
    """The rows of one image."""

    codes: list[str]
    lines: list[int]
    sizes: set[tuple[int, int]]
    about: dict[str, str]


def recognises(path: Path) -> bool:
    """Tell whether a file is such a table, or a folder has exactly one."""
    return _table(path) is not None


def read(path: Path, *, images: Path | None = None, order: rle.Order | None = None) -> Collection:
    """Read a table; the texts are kept as they are, and decoded an image at a time when asked for.

    Parameters
    ----------
    path
        The table, or a folder with it.
    images
        Folder of the images; None: the table's own, or one beside it that is called train, images, ...
    order
        How runs are counted; None: as the columns are named.
    """
    table = _table(path)
    if table is None:
        raise InputError(f"{path} is not a table with an id and a run-length encoding: wanted columns {_wanted()}")
    problems: list[str] = []
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = _rows(file)
        columns = _columns(next(rows)[1], order)
        assert columns is not None
        found = _gathered(rows, columns, problems)
    pictures = _Pictures(table, images)
    items = [_item(name, found[name], columns.order, table, pictures, problems) for name in sorted(found)]
    return Collection(path, "kaggle", tuple(item for item in items if item is not None), tuple(problems))


def _wanted() -> str:
    return f"{' or '.join(_IDS)}, and {' or '.join(_CODES)}"


def _table(path: Path) -> Path | None:
    if path.is_dir():
        tables = [file for file in sorted(path.glob("*.csv")) if _is_table(file)]
        return tables[0] if len(tables) == 1 else None
    return path if path.suffix.lower() == ".csv" and path.is_file() and _is_table(path) else None


def _is_table(path: Path) -> bool:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(io.StringIO(file.readline(1 << 16))), [])
    except (OSError, csv.Error):
        return False
    return _columns(header, None) is not None


def _columns(header: list[str], order: rle.Order | None) -> _Columns | None:
    names = {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
    key = next((names[name] for name in _IDS if name in names), None)
    code = next((name for name in _CODES if name in names), None)
    if key is None or code is None:
        return None
    used = {key, names[code], names.get("width"), names.get("height")}
    others = {header[place].strip(): place for place in range(len(header)) if place not in used}
    return _Columns(key, names[code], names.get("width"), names.get("height"), others, order or _CODES[code])


def _rows(file: io.TextIOBase) -> Iterator[tuple[int, list[str]]]:
    """Yield rows and the lines that they end at; cells may be long, for this file alone."""
    reader = csv.reader(file)
    while True:
        usual = csv.field_size_limit(_MOST_FIELD)
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{getattr(file, 'name', 'the table')}, line {reader.line_num}: {error}") from error
        finally:
            csv.field_size_limit(usual)
        if row is None:
            return
        yield reader.line_num, row


def _gathered(rows: Iterator[tuple[int, list[str]]], columns: _Columns, problems: list[str]) -> dict[str, _Rows]:
    """Sort rows by image; what cannot be is a problem."""
    found: dict[str, _Rows] = {}
    for line, row in rows:
        if not row:
            continue
        fault = _fault(row, columns)
        if fault:
            problems.append(f"line {line}: {fault}")
            continue
        name = row[columns.id].strip()
        if name not in found:
            about = {key: row[place] for key, place in columns.others.items() if place < len(row)}
            found[name] = _Rows([], [], set(), about)
        one = found[name]
        size = _size(row, columns)
        if size:
            one.sizes.add(size)
        if row[columns.code].strip() not in ("", "nan"):
            one.codes.append(row[columns.code])
            one.lines.append(line)
    return found


def _fault(row: list[str], columns: _Columns) -> str:
    needed = max(columns.id, columns.code, columns.width or 0, columns.height or 0)
    if len(row) <= needed:
        return f"has {len(row)} cells; wanted at least {needed + 1}"
    name = row[columns.id].strip()
    if not name or name in (".", "..") or any(letter in "/\\:\0" or ord(letter) < 32 for letter in name):
        return f"the id {name[:60]!r} is not the name of an image"
    if columns.width is not None and columns.height is not None and _size(row, columns) is None:
        return f"width {row[columns.width][:20]!r} and height {row[columns.height][:20]!r} are not sizes of an image"
    return ""


def _size(row: list[str], columns: _Columns) -> tuple[int, int] | None:
    if columns.width is None or columns.height is None:
        return None
    height, width = row[columns.height].strip(), row[columns.width].strip()
    if not (height.isdecimal() and width.isdecimal()) or len(height) > 9 or len(width) > 9:
        return None
    return int(height), int(width)


class _Pictures:
    """Finds the image of an id, in the folders where they usually are."""

    def __init__(self, table: Path, images: Path | None) -> None:
        folders = [images] if images else [table.parent / name for name in _FOLDERS]
        self._folders = [folder for folder in folders if folder.is_dir()]
        if images and not self._folders:
            raise InputError(f"{images} is not a folder; wanted that of the images")
        self._known: Mapping[str, Path] = {
            path.stem: path for folder in reversed(self._folders) for path in _files.pictures(folder)
        }

    def of(self, name: str) -> Path | None:
        """Return the image file of an id; also where each image has a folder of its own."""
        known = self._known.get(name) or self._known.get(Path(name).stem)
        if known is not None and known.stem in (name, Path(name).stem):
            return known
        inner = (folder / name / "images" for folder in self._folders)
        return next((path for place in inner if place.is_dir() for path in _files.pictures(place)), None)


def _item(
    name: str, rows: _Rows, order: rle.Order, table: Path, pictures: _Pictures, problems: list[str]
) -> Item | None:
    image = pictures.of(name)
    if len(rows.sizes) > 1:
        problems.append(f"{name} has rows of different sizes: {sorted(rows.sizes)} (height, width)")
        return None
    size = next(iter(rows.sizes), None)
    if image is not None:
        _files.check_sizes(name, image, size, "its rows say", problems)
    elif size is None:
        problems.append(f"{name} has no image, and {table.name} does not say how large it is: wanted --images FOLDER")
        return None
    load = partial(_decoded, rows.codes, rows.lines, size, image, order)
    return Item(name, image, load, rows.about)


def _decoded(
    codes: list[str], lines: list[int], size: tuple[int, int] | None, image: Path | None, order: rle.Order
) -> Instances:
    if size is None:
        assert image is not None
        size = _files.size_of(image) or image_files.read(image).shape
    return rle.decode_instances(codes, size, order, names=(f"line {line}" for line in lines))
