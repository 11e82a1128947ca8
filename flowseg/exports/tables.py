"""Tables as CSV text: run-length encodings as Kaggle wants them, and measurements.

A part holds the rows of one image without its name; parts of many images are put together under one header.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from flowseg import rle
from flowseg.arrays import Labels

RLE_HEADERS: dict[rle.Order, tuple[str, str]] = {"row": ("id", "predicted"), "column": ("ImageId", "EncodedPixels")}


def rle_header(order: rle.Order) -> str:
    """Return the first line of a submission: as in Sartorius for rows, as in the Data Science Bowl for columns."""
    return _lines([RLE_HEADERS[order]])


def rle_texts(labels: Labels, order: rle.Order) -> str:
    """Return a part: a line an instance; an image without instances has one empty line, as Kaggle wants."""
    return "".join(f"{text}\n" for text in list(rle.encode_labels(labels, order).values()) or [""])


def measurement_header(columns: Sequence[str]) -> str:
    """Return the first line of a table of these columns."""
    return _lines([("image", *columns)])


def measurements(table: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return a part: the columns of a table of `flowseg.measure`, then a line an instance."""
    rows = zip(*(_texts(column) for column in table.values()), strict=True)
    return "".join(",".join(row) + "\n" for row in [tuple(table), *rows])


def united(headers: Iterable[Sequence[str]]) -> list[str]:
    """Return the columns of all parts: those of the widest first part, and after them any that others have.

    >>> united([["label", "mean_0", "error"], ["label", "mean_0", "mean_1", "error"]])
    ['label', 'mean_0', 'mean_1', 'error']
    """
    different = sorted(dict.fromkeys(tuple(header) for header in headers), key=len, reverse=True)
    return list(dict.fromkeys(column for header in different for column in header))


def in_columns(part: str, columns: Sequence[str]) -> list[str]:
    """Return the lines of a part without its header, with these columns; what it does not have is left empty."""
    header, *lines = part.splitlines()
    own = header.split(",")
    if own == list(columns):
        return lines
    places = [own.index(column) if column in own else len(own) for column in columns]
    rows = ([*line.split(","), ""] for line in lines)
    return [",".join(row[place] for place in places) for row in rows]


def with_image(name: str, lines: Sequence[str]) -> str:
    """Put the name of an image before each line."""
    quoted = _lines([(name, "")])[:-1]  # ends in a comma
    return "".join(f"{quoted}{line}\n" for line in lines)


def _texts(column: npt.NDArray[np.generic]) -> list[str]:
    if column.dtype.kind == "f":
        return [f"{value:.6g}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
