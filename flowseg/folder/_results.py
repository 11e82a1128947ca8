"""Results of one image as files, and tables put together from the parts of all images.

`OUTPUTS` is the one list of what there is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from flowseg import files, instances, measure, rle
from flowseg.errors import InputError, OptionError
from flowseg.exports import (
    coco_json,
    flows_file,
    geojson,
    label_tiff,
    outline_text,
    overlay,
    parquet,
    roi_zip,
    seg_npy,
    tables,
)
from flowseg.names import last_part
from flowseg.options import MaskOptions
from flowseg.report import run_page, view
from flowseg.segmentation import Segmentation


@dataclass(frozen=True, eq=False)
class Result:
    """What was found in one image, and what encoders share.

    Attributes
    ----------
    name
        Of the results.
    source
        Path of the image, or "" where it is not known.
    found, masks
        The segmentation, and the thresholds of its instances.
    order
        Of run-length encodings.
    form
        Of COCO masks.
    group
        Of the image, such as a cell type; "" where it was not said.
    """

    name: str
    source: str
    found: Segmentation
    masks: MaskOptions
    order: rle.Order
    form: coco_json.Form = "rle"
    group: str = ""

    @cached_property
    def table(self) -> dict[str, measure.Column]:
        """Measurements, a row an instance."""
        return self.found.to_table()

    @cached_property
    def instances(self) -> instances.LabelInstances:
        """The instances and their labels."""
        return instances.from_labels(self.found.labels)


class Kept(NamedTuple):
    """One image in a table of all: the name of its results, what tables call it, the name of its file."""

    name: str
    image_id: str
    file_name: str


class Output(NamedTuple):
    """One kind of result.

    Attributes
    ----------
    ending
        The file of an image, below the folder of results; parts of tables lie in ``.parts``.
    encode
        From what was found to what the file holds.
    table
        The table of all images that parts make, or "".
    join
        Puts the table together.
    check
        Raises where a library is missing.
    """

    ending: str
    encode: Callable[[Result], bytes]
    table: str = ""
    join: "Callable[[Parts], Iterator[bytes]] | None" = None
    check: Callable[[], None] = lambda: None


class Parts:
    """The parts of a table: what each image left; how run lengths are counted; and the record, as in ``run.json``."""

    def __init__(
        self, out: Path, ending: str, images: Sequence[Kept], order: rle.Order, record: Mapping[str, Any]
    ) -> None:
        self.images, self.order, self.record = images, order, record
        self._out, self._ending = out, ending

    @property
    def title(self) -> str:
        """The name of the folder of results."""
        return self._out.resolve().name

    def path(self, image: Kept) -> Path:
        """Return the file of an image's part."""
        return self._out / self._ending.format(image.name)

    def __iter__(self) -> Iterator[tuple[Kept, bytes]]:
        return ((image, self.path(image).read_bytes()) for image in self.images)


def names_of_files(name: str, save: Sequence[str]) -> dict[str, str]:
    """Return the files of one image, below the folder of results: {kind of result: name}."""
    return {kind: OUTPUTS[kind].ending.format(name) for kind in SAVES if kind in save}


def checked(save: Sequence[str], known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return kinds of results in their own order, each once; refuse what is not known or lacks a library."""
    known = SAVES if known is None else known
    wrong = [each for each in save if each not in known]
    if wrong or not save:
        raise OptionError(f"save is {', '.join(save) or 'empty'}; wanted some of {', '.join(known)}")
    for kind in save:
        OUTPUTS[kind].check()
    return tuple(kind for kind in known if kind in save)


def check_forms(save: Sequence[str], rle_order: str, coco_form: str) -> None:
    """Refuse forms of results that there are not, and other than the usual ones for results that are not saved."""
    if rle_order not in ("row", "column"):
        raise OptionError(f"rle_order is {rle_order!r}; wanted row or column")
    if coco_form not in ("rle", "polygons"):
        raise OptionError(f"coco_form is {coco_form!r}; wanted rle or polygons")
    if rle_order != "row" and "rle" not in save:
        raise OptionError(f"rle_order is {rle_order!r}, and rle is not saved: save it too, or leave that out")
    if coco_form != "rle" and "coco" not in save:
        raise OptionError("polygons are of coco, which is not saved: save it too, or leave them out")


def write(out: Path, result: Result, save: Sequence[str]) -> None:
    """Write what is wanted of one image, each file whole."""
    for kind, relative in names_of_files(result.name, save).items():
        path = out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, OUTPUTS[kind].encode(result))


def write_tables(
    out: Path, images: Sequence[Kept], save: Sequence[str], order: rle.Order, record: Mapping[str, Any] | None = None
) -> None:
    """Put the tables together from the parts of images; ``record`` tells of the run."""
    for kind in SAVES:
        output = OUTPUTS[kind]
        if kind in save and output.join is not None:
            parts = Parts(out, output.ending, images, order, record or {})
            files.write_whole(out / output.table, output.join(parts))


def _flows(result: Result) -> bytes:
    found = result.found
    about = {
        "diameter": found.diameter,
        "channels": found.channels,
        "source": result.source,
        "group": result.group,
        "masks": asdict(result.masks),
    }
    return flows_file.encode(found.flows, found.cellprob, about)


def _coco(result: Result) -> bytes:
    found, values = result.instances
    made = coco_json.annotations(found, values, result.table["mean_probability"], result.form)
    return coco_json.encode(coco_json.Part(last_part(result.source), found.shape, made))


def _seg(result: Result) -> bytes:
    found = result.found
    return seg_npy.encode(
        found.labels,
        filename=result.source,
        diameter=found.diameter,
        flows=found.flows,
        cellprob=found.cellprob,
    )


def _overlay(result: Result, kind: overlay.Kind = "png") -> bytes:
    if result.found.planes is None:
        raise InputError(f"{result.name} was segmented without its image at hand: there is nothing to draw on")
    return overlay.encode(result.found.planes, result.found.labels, kind)


def _view(result: Result) -> bytes:
    found = result.found
    table = {name: values for name, values in result.table.items() if not name.startswith("bbox")}
    shown = view.View(result.name, found.planes, result.instances.instances, table, found.flows, found.cellprob)
    return view.encode(shown)


def _geojson(result: Result) -> bytes:
    classes = [result.group] * len(result.instances.instances)
    return geojson.encode(*result.instances, result.table, name=result.name, classes=classes)


def _join_rle(parts: Parts) -> Iterator[bytes]:
    yield tables.rle_header(parts.order).encode()
    for image, part in parts:
        yield tables.with_image(image.image_id, part.decode().splitlines()).encode()


def _join_measurements(parts: Parts) -> Iterator[bytes]:
    """Join tables of images that may have different numbers of channels."""

    def header_of(image: Kept) -> list[str]:
        with parts.path(image).open(encoding="utf-8") as file:
            return file.readline().rstrip("\n").split(",")

    columns = tables.united(map(header_of, parts.images))
    yield tables.measurement_header(columns).encode()
    for image, part in parts:
        yield tables.with_image(image.name, tables.in_columns(part.decode(), columns)).encode()


def _join_coco(parts: Parts) -> Iterator[bytes]:
    return coco_json.document(coco_json.decode(part)._replace(file_name=image.file_name) for image, part in parts)


def _join_report(parts: Parts) -> Iterator[bytes]:
    return run_page.document(parts.title, parts.record, {image.name: parts.path(image) for image in parts.images})


def _join_parquet(parts: Parts) -> Iterator[bytes]:
    columns = tables.united(parquet.columns_of(part) for _, part in parts)
    return parquet.joined(((image.name, part) for image, part in parts), columns)


OUTPUTS: Mapping[str, Output] = {
    "labels": Output("{}_labels.tif", lambda result: label_tiff.encode(result.found.labels)),
    "rle": Output(
        ".parts/{}.rle.csv",
        lambda result: tables.rle_texts(result.found.labels, result.order).encode(),
        "submission.csv",
        _join_rle,
    ),
    "table": Output(
        ".parts/{}.table.csv",
        lambda result: tables.measurements(result.table).encode(),
        "measurements.csv",
        _join_measurements,
    ),
    "flows": Output("{}_flows.npz", _flows),
    "coco": Output(".parts/{}.coco.json", _coco, "annotations.json", _join_coco),
    "rois": Output("{}_rois.zip", lambda result: roi_zip.encode(*result.instances)),
    "geojson": Output("{}.geojson", _geojson),
    "seg": Output("{}_seg.npy", _seg),
    "outlines": Output("{}_cp_outlines.txt", lambda result: outline_text.encode(result.found.labels).encode()),
    "overlay": Output("{}_overlay.png", _overlay),
    "overlay-jpeg": Output("{}_overlay.jpg", lambda result: _overlay(result, "jpeg")),
    "parquet": Output(
        ".parts/{}.parquet",
        lambda result: parquet.encode(result.table),
        "measurements.parquet",
        _join_parquet,
        parquet.require,
    ),
    "report": Output("report/{}.js", _view, "report.html", _join_report),
}
SAVES = tuple(OUTPUTS)
