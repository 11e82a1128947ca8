"""Results of one image as files, and tables put together from the parts of all images."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from flowseg import files, rle
from flowseg.exports import flows_file, label_tiff, tables
from flowseg.options import MaskOptions
from flowseg.segment import Segmentation

_PARTS = ".parts"
_ENDINGS = {
    "labels": "{}_labels.tif",
    "flows": "{}_flows.npz",
    "rle": f"{_PARTS}/{{}}.rle.csv",
    "table": f"{_PARTS}/{{}}.table.csv",
}
SAVES = ("labels", "rle", "table", "flows")


def names_of_files(name: str, save: Sequence[str]) -> dict[str, str]:
    """Return the files of one image, below the folder of results: {kind of result: name}."""
    return {kind: _ENDINGS[kind].format(name) for kind in SAVES if kind in save}


def write(out: Path, name: str, found: Segmentation, save: Sequence[str], order: rle.Order, masks: MaskOptions) -> None:
    """Write what is wanted of one image, each file whole."""
    for kind, relative in names_of_files(name, save).items():
        path = out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, _encode(kind, found, order, masks))


def _encode(kind: str, found: Segmentation, order: rle.Order, masks: MaskOptions) -> bytes:
    if kind == "labels":
        return label_tiff.encode(found.labels)
    if kind == "flows":
        about = {"diameter": found.diameter, "channels": found.channels, "masks": asdict(masks)}
        return flows_file.encode(found.flows, found.cellprob, about)
    if kind == "rle":
        return tables.rle_texts(found.labels, order).encode()
    return tables.measurements(found.to_table()).encode()


def write_submission(out: Path, ids: dict[str, str], order: rle.Order) -> None:
    """Put ``submission.csv`` together from the parts of images; ``ids`` holds what each is called in it."""

    def pieces() -> Iterator[bytes]:
        yield tables.rle_header(order).encode()
        for name, image_id in ids.items():
            yield tables.with_image(image_id, _part(out, name, "rle").splitlines()).encode()

    files.write_whole(out / "submission.csv", pieces())


def write_measurements(out: Path, names: Sequence[str]) -> None:
    """Put ``measurements.csv`` together from the parts of images, which may have different numbers of channels."""

    def header_of(name: str) -> list[str]:
        with (out / _ENDINGS["table"].format(name)).open() as file:
            return file.readline().rstrip("\n").split(",")

    columns = tables.united(header_of(name) for name in names)

    def pieces() -> Iterator[bytes]:
        yield tables.measurement_header(columns).encode()
        for name in names:
            yield tables.with_image(name, tables.in_columns(_part(out, name, "table"), columns)).encode()

    files.write_whole(out / "measurements.csv", pieces())


def _part(out: Path, name: str, kind: str) -> str:
    return (out / _ENDINGS[kind].format(name)).read_text()
