"""Data sets as Kaggle has them: a row an instance, in run lengths, with what is known of its image."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flowseg import rle
from flowseg.instances import Instances

# Of an image and its instance, as in Sartorius' train.csv and in the Data Science Bowl's stage1_solution.csv.
_OWN: dict[rle.Order, tuple[str, ...]] = {
    "row": ("id", "annotation", "width", "height"),
    "column": ("ImageId", "EncodedPixels", "Height", "Width"),
}
# What a column of ids, or of encodings, is known by: no other can be called so.
_RESERVED = {"id", "imageid", "image_id", "annotation", "predicted", "encodedpixels", "rle"}


class Part(NamedTuple):
    """One image: its id, its instances, and what else is known of it by name of a column."""

    image_id: str
    instances: Instances
    columns: Mapping[str, str] = {}


def document(parts: Iterable[Part], columns: Sequence[str] = (), order: rle.Order = "row") -> Iterator[bytes]:
    """Yield the table, image by image; instances may overlap.

    Parameters
    ----------
    parts
        An image without instances has one row with an empty encoding.
    columns
        Names of further columns; what an image does not have is left empty. One that is called as ids or encodings are
        (``image_id``) has a ``_`` after its name, and a text of several lines becomes one.
    order
        "row", with the columns of Sartorius, or "column", with those of the Data Science Bowl 2018.

    Examples
    --------
    >>> part = Part("a", Instances.from_labels([[0, 7, 7], [3, 0, 7]]), {"cell_type": "cort"})
    >>> print(b"".join(document([part], ["cell_type"])).decode(), end="")
    id,annotation,width,height,cell_type
    a,4 1,3,2,cort
    a,2 2 6 1,3,2,cort
    """
    own = {name.casefold() for name in _OWN[order]}
    further = [name for name in columns if name.casefold() not in own]
    yield _lines([(*_OWN[order], *map(_not_reserved, further))])
    for part in parts:
        height, width = part.instances.shape
        values = (_one_line(part.columns.get(name, "")) for name in further)
        rest = (*((width, height) if order == "row" else (height, width)), *values)
        texts = rle.encode_instances(part.instances, order) or [""]
        yield _lines([(part.image_id, text, *rest) for text in texts])


def _not_reserved(name: str) -> str:
    plain = _one_line(name)
    return f"{plain}_" if plain.strip().casefold() in _RESERVED else plain


def _one_line(text: str) -> str:
    """Return a text without line breaks: readers take a line for a row."""
    return " ".join(text.splitlines())


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
