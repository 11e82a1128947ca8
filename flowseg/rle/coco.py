"""COCO run-length encodings, as pycocotools has them: counts down the columns, compressed or as a list."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances, as_instances, as_shape, from_labels
from flowseg.kernels import run_text
from flowseg.rle._texts import Called, Int64s, joined_texts, listed_rows, one_instance, short, split_texts

CountsForm = Literal["bytes", "text", "list"]


class CocoRle(TypedDict):
    """One mask as COCO keeps it: size [height, width]; counts down the columns, compressed or as a list."""

    size: list[int]
    counts: bytes | str | list[int]


def to_coco(mask: npt.ArrayLike, counts: CountsForm = "bytes") -> CocoRle:
    """Write one mask (height, width) as COCO RLE, byte for byte what ``pycocotools.mask.encode`` writes.

    Parameters
    ----------
    mask
        (height, width), boolean or 0 and one other value.
    counts
        "bytes": compressed, as pycocotools has it; "text": the same as a string, for JSON; "list": not compressed.

    Examples
    --------
    >>> to_coco([[0, 1, 1], [1, 0, 0]])
    {'size': [2, 3], 'counts': b'121O0'}
    >>> to_coco([[0, 1, 1], [1, 0, 0]], counts="list")
    {'size': [2, 3], 'counts': [1, 2, 1, 1, 1]}
    """
    return instances_to_coco(one_instance(mask), counts)[0]


def from_coco(obj: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Read one COCO RLE, compressed (bytes or string) or not (list), into a mask (height, width) bool.

    Raises
    ------
    InputError
        No size or counts, a text that is cut off or corrupt, a negative count, or counts that do not sum to the size.

    Examples
    --------
    >>> from_coco({"size": [2, 3], "counts": [1, 2, 1, 1, 1]}).astype(int).tolist()
    [[0, 1, 1], [1, 0, 0]]
    """
    return _read_coco([obj], lambda row: "the COCO mask", None).mask(0)


def labels_to_coco(labels: npt.ArrayLike, counts: CountsForm = "bytes") -> dict[int, CocoRle]:
    """Write every instance of a label image (height, width) as COCO RLE: {label: RLE}; see `to_coco` for ``counts``.

    Examples
    --------
    >>> labels_to_coco([[0, 7, 7], [3, 0, 7]], counts="list")[3]
    {'size': [2, 3], 'counts': [1, 1, 4]}
    """
    instances, values = from_labels(labels)
    return dict(zip(values.tolist(), instances_to_coco(instances, counts), strict=True))


def instances_to_coco(instances: Instances, counts: CountsForm = "bytes") -> list[CocoRle]:
    """Write every instance as COCO RLE, also where instances overlap; see `to_coco` for ``counts``.

    Examples
    --------
    >>> instances_to_coco(Instances.from_labels([[0, 7, 7], [3, 0, 7]]), counts="text")[0]
    {'size': [2, 3], 'counts': '114'}
    """
    if counts not in ("bytes", "text", "list"):
        raise OptionError(f"counts is {counts!r}; wanted 'bytes', 'text' or 'list'")
    height, width = as_instances(instances).shape
    turned = instances.transposed()
    numbers, bounds = run_text.counts_of_runs(turned.starts, turned.lengths, turned.offsets, height * width)
    if counts == "list":
        values = numbers.tolist()
        written: list[Any] = [values[first:stop] for first, stop in pairwise(bounds.tolist())]
    else:
        written = split_texts(*run_text.compress(numbers, bounds))
        if counts == "bytes":
            written = [text.encode("ascii") for text in written]
    return [{"size": [height, width], "counts": one} for one in written]


def coco_to_instances(
    objects: Iterable[Mapping[str, Any]],
    shape: Sequence[int] | None = None,
    names: Iterable[object] | None = None,
) -> Instances:
    """Read COCO RLEs of one image, one an instance; instances may overlap, and forms of counts may be mixed.

    Parameters
    ----------
    objects
        RLEs as `from_coco` takes them.
    shape
        (height, width) of the image; where it is not given, the size of the first RLE.
    names
        What errors call each RLE beside its number, such as an annotation's id.

    Examples
    --------
    >>> objects = [{"size": [2, 3], "counts": [1, 2, 3]}, {"size": [2, 3], "counts": "121O0"}]
    >>> coco_to_instances(objects).areas().tolist()
    [2, 3]
    """
    return _read_coco(*listed_rows(objects, names), shape)


def _read_coco(objects: list[Any], called: Called, shape: Sequence[int] | None) -> Instances:
    sizes = [_coco_size(obj, called, row) for row, obj in enumerate(objects)]
    if shape is None and not sizes:
        raise InputError("no RLE and no shape; wanted a shape where there is no RLE to take it from")
    height, width = as_shape(shape) if shape is not None else sizes[0]
    for row, size in enumerate(sizes):
        if size != (height, width):
            raise InputError(f"{called(row)} has size {list(size)}; wanted that of the image, {[height, width]}")
    counts, bounds = _coco_counts(objects, called, height * width)
    starts, lengths, offsets, problem = run_text.runs_of_counts(counts, bounds, height * width)
    _raise_coco(problem, called, height * width)
    return Instances((width, height), starts, lengths, offsets).transposed()


def _coco_size(obj: Any, called: Called, row: int) -> tuple[int, int]:
    if not isinstance(obj, Mapping) or "size" not in obj or "counts" not in obj:
        raise InputError(f"{called(row)} is {short(repr(obj))}; wanted an RLE with 'size' and 'counts', not a polygon")
    try:
        return as_shape(obj["size"])
    except InputError as error:
        raise InputError(f"{called(row)}: size: {error}") from None


def _coco_counts(objects: list[Any], called: Called, pixels: int) -> tuple[Int64s, Int64s]:
    """Return the counts of all RLEs, one after another, and the bounds of each RLE's."""
    listed: dict[int, Int64s] = {}
    texts = []
    for row, obj in enumerate(objects):
        counts = obj["counts"]
        if isinstance(counts, bytes | bytearray):
            counts = bytes(counts).decode("latin-1")
        if not isinstance(counts, str):
            listed[row] = _listed_counts(counts, called(row))
            counts = ""
        elif not counts.isascii():
            raise InputError(f"{called(row)}: counts hold a character that is not COCO's compressed RLE")
        texts.append(counts)
    numbers, bounds, problem = run_text.expand(*joined_texts(texts))
    _raise_coco(problem, called, pixels)
    if not listed:
        return numbers, bounds
    parts = [listed.get(row, numbers[first:stop]) for row, (first, stop) in enumerate(pairwise(bounds))]
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64)


def _listed_counts(counts: Any, called: str) -> Int64s:
    try:
        numbers = np.asarray(counts)
    except ValueError:
        numbers = np.zeros((0, 0))
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise InputError(f"{called}: counts are {short(repr(counts))}; wanted a text or a list of whole numbers")
    if numbers.size and int(numbers.max()) > run_text.HUGE:
        raise InputError(f"{called}: counts hold {numbers.max()}, more than any image has pixels")
    return numbers.astype(np.int64)


def _raise_coco(problem: Int64s, called: Called, pixels: int) -> None:
    row, wrong, place = map(int, problem)
    if row < 0:
        return
    says = {
        run_text.BAD_CHARACTER: f"character {place + 1} of counts is not COCO's compressed RLE",
        run_text.CUT_OFF: f"counts end within a number, after {place} characters (are they cut off?)",
        run_text.NEGATIVE: "counts hold a negative number; wanted pixels off, on, off, ... (are they corrupt?)",
        run_text.WRONG_SUM: f"counts do not sum to the size: {pixels} pixels (are they cut off, or the size wrong?)",
    }
    raise InputError(f"{called(row)}: {says[wrong]}")
