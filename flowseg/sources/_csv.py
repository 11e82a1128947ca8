"""CSV files line by line: rows of any length, each with the number of its line, damage told and passed over.

The csv module has one limit on the length of fields for the whole process; encodings of masks are longer.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flowseg import files
from flowseg.errors import InputError

_DELIMITERS = (",", ";", "\t")
_NOTHING = "".join(_DELIMITERS) + ' "'


class Row(NamedTuple):
    """One row: the number of its line, counted from 1, and its fields; None where quotes do not fit.

    ``rough`` are the fields as if there were no quotes, to tell what a row that cannot be read is about.
    """

    line: int
    fields: list[str] | None
    rough: list[str]


def header(path: Path) -> list[str]:
    """Return the names of the columns, without spaces around them and in lower case."""
    return [name.casefold() for name in names(path)]


def names(path: Path) -> list[str]:
    """Return the names of the columns as they are written, without spaces around them."""
    for row in _rows(path):
        return [name.strip() for name in row.fields or []]
    return []


def is_utf_8(text: str) -> bool:
    """Whether a text of a file was UTF-8: other bytes come as surrogates."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def require_utf_8(path: Path, line: int, fields: Iterable[str]) -> None:
    """Refuse a table of which a line is in another encoding, such as spreadsheets on Windows write."""
    if not all(map(is_utf_8, fields)):
        raise InputError(f"{path}, line {line}: it holds bytes that are not UTF-8: save the table as UTF-8")


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows after the header; lines without anything in any field, as spreadsheets write, are left out.

    A quote ends on the line where it begins. Bytes that are not UTF-8 come as surrogates.
    """
    found = _rows(path)
    next(found, None)
    return found


def _rows(path: Path) -> Iterator[Row]:
    _check_encoding(path)
    delimiter = ""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, text in enumerate(file, start=1):
            line = text.rstrip("\n")
            if not line.strip(_NOTHING):
                continue
            delimiter = delimiter or max(_DELIMITERS, key=line.count)
            fields = split(line, delimiter)
            rough = [field.strip(' "') for field in line.split(delimiter)] if fields is None else fields
            yield Row(number, fields, rough)


def _check_encoding(path: Path) -> None:
    files.check_has_end(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is text in UTF-16; save it as UTF-8")


def split(line: str, delimiter: str = ",") -> list[str] | None:
    """Split a line into fields; None where a quote does not end, or ends before the field does.

    >>> split('"a, b",c,')
    ['a, b', 'c', '']
    """
    if '"' not in line:
        return line.split(delimiter)
    fields: list[str] = []
    at = 0
    while True:
        if line.startswith('"', at):
            end = _closing(line, at + 1)
            if end < 0 or (end + 1 < len(line) and line[end + 1] != delimiter):
                return None
            fields.append(line[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            fields.append(line[at:end])
            at = end
        if at >= len(line):
            return fields
        at += 1


def _closing(line: str, at: int) -> int:
    """Return where the quote that closes a field is; -1 where there is none."""
    while True:
        end = line.find('"', at)
        if end < 0 or not line.startswith('"', end + 1):
            return end
        at = end + 2
