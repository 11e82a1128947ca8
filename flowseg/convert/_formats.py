"""What a collection can be converted to: the one list of formats, and how each is made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flowseg import rle
from flowseg.convert._entry import Entry, Table
from flowseg.errors import FlowsegError
from flowseg.exports import (
    coco_json,
    geojson,
    kaggle_csv,
    label_tiff,
    mask_png,
    outline_text,
    overlay,
    parquet,
    roi_zip,
    seg_npy,
    tables,
)
from flowseg.sources.collection import Category


@dataclass(frozen=True)
class Style:
    """How formats that leave a choice are written; see `flowseg.convert.Conversion`."""

    order: rle.Order = "row"
    form: coco_json.Form = "rle"


class Entries:
    """All images in order, one at a time, and how they are to be written; each is finished when the next is asked for.

    Those that cannot be read are given to ``skip``, where there is one. ``categories`` are what the data set lists.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        style: Style,
        finished: Callable[[Entry], None],
        skip: Callable[[Entry, FlowsegError], None] | None = None,
        categories: Sequence[Category] = (),
    ) -> None:
        self.all, self.style, self.categories = entries, style, categories
        self._finished, self._skip = finished, skip

    def __iter__(self) -> Iterator[Entry]:
        for entry in self.all:
            try:
                entry.read()
            except FlowsegError as error:
                if self._skip is None:
                    raise
                self._skip(entry, error)
                continue
            yield entry
            self._finished(entry)


class Format(NamedTuple):
    """One format.

    Attributes
    ----------
    ending
        Of the name of the one file; or of the file of an image, after its name.
    whole
        Makes one file of all images, piece by piece; or
    each
        makes the files of one image: (what follows its name, bytes).
    takes
        Which of the settings of `flowseg.convert.Conversion` that are not of all formats it heeds.
    """

    ending: str
    whole: Callable[[Entries], Iterator[bytes]] | None = None
    each: Callable[[Entry], Iterator[tuple[str, bytes]]] | None = None
    takes: tuple[str, ...] = ()


def _kaggle(entries: Entries) -> Iterator[bytes]:
    columns = list(dict.fromkeys(name for entry in entries.all for name in entry.item.columns))
    parts = (kaggle_csv.Part(entry.name, entry.instances, entry.item.columns) for entry in entries)
    return kaggle_csv.document(parts, columns, entries.style.order)


def _coco(entries: Entries) -> Iterator[bytes]:
    listed = _categories(entries)

    def part(entry: Entry) -> coco_json.Part:
        kinds = entry.of_each(entry.item.categories)
        made = coco_json.annotations(
            entry.instances,
            entry.values,
            scores=entry.of_each(entry.item.scores),
            form=entries.style.form,
            categories=None if kinds is None else [listed[kind].number for kind in kinds],
        )
        return coco_json.Part(entry.file_name, entry.instances.shape, made, entry.item.columns)

    made = [coco_json.category(*kind) for kind in dict.fromkeys(listed.values())]
    return coco_json.document(map(part, entries), made or [coco_json.category()])


def _categories(entries: Entries) -> dict[Category | None, Category]:
    """Return what each category is written as: itself; cells, under a number that is free, where there is none."""
    used = [kind for entry in entries.all for kind in entry.item.categories or ()]
    listed = dict.fromkeys([*entries.categories, *(kind for kind in used if kind is not None)])
    found: dict[Category | None, Category] = {kind: kind for kind in listed}
    if None in used:
        free = max((kind.number for kind in listed if isinstance(kind.number, int)), default=0) + 1
        found[None] = next((kind for kind in listed if kind.name == coco_json.CELL), Category(coco_json.CELL, free))
    return found


def _table(entries: Entries) -> Iterator[bytes]:
    made, columns = _all_tables(entries)
    yield tables.measurement_header(columns).encode()
    for name, table in made.items():
        yield tables.with_image(name, tables.in_columns(tables.measurements(table), columns)).encode()


def _parquet(entries: Entries) -> Iterator[bytes]:
    parquet.require()
    made, columns = _all_tables(entries)
    return parquet.joined(((name, parquet.encode(table)) for name, table in made.items()), columns)


def _all_tables(entries: Entries) -> tuple[dict[str, Table], list[str]]:
    """Measure all images, whose columns are known only then."""
    made = {entry.name: entry.table for entry in entries}
    return made, tables.united([list(table) for table in made.values()])


def _masks(entry: Entry) -> Iterator[tuple[str, bytes]]:
    for index in np.flatnonzero(entry.instances.areas()).tolist():  # a file without pixels is none to those who read
        yield f"/masks/{entry.values[index]:04}.png", mask_png.encode(entry.instances.mask(index))


def _geojson(entry: Entry) -> bytes:
    there = entry.instances.areas() > 0
    table: dict[str, np.typing.NDArray[np.generic]] = dict(entry.table)
    if not there.all():  # the table leaves out what has no pixels
        places = np.maximum(np.cumsum(there) - 1, 0)
        table = {name: column[places] for name, column in table.items()} if there.any() else {}
    return geojson.encode(entry.instances, entry.values, table, name=entry.name, classes=entry.classes)


def _seg(entry: Entry) -> bytes:
    path = entry.item.path
    return seg_npy.encode(entry.labels, filename="" if path is None else str(path.absolute()))


def _one(ending: str, encode: Callable[[Entry], bytes], takes: tuple[str, ...] = ()) -> Format:
    """Return a format of one file an image."""
    return Format(ending, each=lambda entry: iter([(ending, encode(entry))]), takes=takes)


_LABELS, _PIXELS = ("overlap",), ("axes", "plane")  # of formats that hold one label image; that look at images

FORMATS: Mapping[str, Format] = {
    "kaggle": Format(".csv", whole=_kaggle, takes=("order",)),
    "coco": Format(".json", whole=_coco, takes=("form",)),
    "labels": _one("_labels.tif", lambda entry: label_tiff.encode(entry.numbered), _LABELS),
    "masks": Format("/masks", each=_masks),
    "rois": _one("_rois.zip", lambda entry: roi_zip.encode(entry.instances, entry.values)),
    "geojson": _one(".geojson", _geojson, _PIXELS),
    "seg": _one("_seg.npy", _seg, _LABELS),
    "outlines": _one("_cp_outlines.txt", lambda entry: outline_text.encode(entry.labels).encode(), _LABELS),
    "overlay": _one("_overlay.png", lambda entry: overlay.encode(entry.planes, entry.labels), _LABELS + _PIXELS),
    "overlay-jpeg": _one(
        "_overlay.jpg", lambda entry: overlay.encode(entry.planes, entry.labels, "jpeg"), _LABELS + _PIXELS
    ),
    "table": Format(".csv", whole=_table, takes=_PIXELS),
    "parquet": Format(".parquet", whole=_parquet, takes=_PIXELS),
}

#: What the ending of a name stands for, where nothing else is said.
BY_ENDING: Mapping[str, str] = {
    ".csv": "kaggle",
    ".json": "coco",
    ".geojson": "geojson",
    ".zip": "rois",
    ".tif": "labels",
    ".tiff": "labels",
    ".npy": "seg",
    ".txt": "outlines",
    ".png": "overlay",
    ".jpg": "overlay-jpeg",
    ".jpeg": "overlay-jpeg",
    ".parquet": "parquet",
}
