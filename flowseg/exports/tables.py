"""Tables as CSV text: run-length encodings as Kaggle wants them, and measurements."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from flowseg import rle
from flowseg.arrays import Labels

RLE_HEADERS: dict[rle.Order, tuple[str, str]] = {"row": ("id", "predicted"), "column": ("ImageId", "EncodedPixels")}


def rle_rows(image_id: str, labels: Labels, order: rle.Order) -> str:
    """Return CSV lines, one an instance; an image without instances has one with an empty text, as Kaggle wants."""
    texts = list(rle.encode_labels(labels, order).values()) or [""]
    return _lines((image_id, text) for text in texts)


def measurement_rows(image_id: str, table: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return CSV lines, one an instance, of a table of `flowseg.measure`."""
    columns = [_texts(column) for column in table.values()]
    return _lines((image_id, *row) for row in zip(*columns, strict=True))


def measurement_header(table: Mapping[str, object]) -> str:
    """Return the CSV line above `measurement_rows`."""
    return _lines([("image", *table)])


def rle_header(order: rle.Order) -> str:
    """Return the CSV line above `rle_rows`: as in Sartorius for rows, as in the Data Science Bowl for columns."""
    return _lines([RLE_HEADERS[order]])


def _texts(column: npt.NDArray[np.generic]) -> list[str]:
    if column.dtype.kind == "f":
        return [f"{value:.6g}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
