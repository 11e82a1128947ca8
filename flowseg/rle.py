"""Run-length encodings of masks: Kaggle strings (row- or column-major) and COCO counts (compressed or not).

A whole label image is encoded at once, and a table of texts decoded at once; every text that is not right is refused
with an error that names its row. Labels that are many or large cost by their runs, not by their number of pixels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances, as_shape, from_labels
from flowseg.kernels import run_text

Order = Literal["row", "column"]
CountsForm = Literal["bytes", "text", "list"]
Int64s = npt.NDArray[np.int64]
Called = Callable[[int], str]  # row index -> what errors call it


class CocoRle(TypedDict):
    """One mask as COCO keeps it: size [height, width]; counts down the columns, compressed or as a list."""

    size: list[int]
    counts: bytes | str | list[int]


def encode(mask: npt.ArrayLike, order: Order = "row", start: int = 1) -> str:
    """Write one mask as a Kaggle string, "start length start length ...".

    Parameters
    ----------
    mask
        (height, width), boolean or 0 and one other value.
    order
        "row": pixels are counted along rows (Sartorius); "column": down columns (Data Science Bowl 2018).
    start
        The number of the first pixel: 1, as Kaggle counts, or 0.

    Returns
    -------
    str
        Numbers with one space between; runs go on from one line into the next. An empty mask is an empty string.

    Examples
    --------
    >>> mask = [[0, 1, 1], [1, 0, 0]]
    >>> encode(mask), encode(mask, order="column")
    ('2 3', '2 2 5 1')
    """
    return encode_instances(_one_instance(mask), order, start)[0]


def decode(text: str, shape: Sequence[int], order: Order = "row", start: int = 1) -> npt.NDArray[np.bool_]:
    """Read one Kaggle string into a mask; see `encode` for ``order`` and ``start``.

    Parameters
    ----------
    text
        "start length start length ...", ascending; runs may touch. An empty string is an empty mask.
    shape
        (height, width) of the image.

    Returns
    -------
    mask
        (height, width) bool.

    Raises
    ------
    InputError
        An odd count of numbers, not a number, a run before or past the image, not ascending, or of no length.

    Examples
    --------
    >>> decode("2 3", shape=(2, 3)).astype(int).tolist()
    [[0, 1, 1], [1, 0, 0]]
    """
    return _decoded([text], lambda row: "the text", shape, order, start).mask(0)


def encode_labels(labels: npt.ArrayLike, order: Order = "row", start: int = 1) -> dict[int, str]:
    """Write every instance of a label image (height, width) as a Kaggle string: {label: text}, labels ascending.

    Labels may have gaps and be large; see `encode` for ``order`` and ``start``.

    Examples
    --------
    >>> encode_labels([[0, 7, 7], [3, 0, 7]])
    {3: '4 1', 7: '2 2 6 1'}
    """
    _check_options(order, start)
    instances, values = from_labels(labels)
    return dict(zip(values.tolist(), encode_instances(instances, order, start), strict=True))


def encode_instances(instances: Instances, order: Order = "row", start: int = 1) -> list[str]:
    """Write every instance as a Kaggle string, also where instances overlap; see `encode` for ``order`` and ``start``.

    Examples
    --------
    >>> encode_instances(Instances.from_labels([[0, 7, 7], [3, 0, 7]]), start=0)
    ['3 1', '1 2 5 1']
    """
    _check_options(order, start)
    turned = instances if order == "row" else instances.transposed()
    return _split(*run_text.write_runs(turned.starts, turned.lengths, turned.offsets, int(start)))


def decode_labels(
    rows: Iterable[str],
    shape: Sequence[int],
    order: Order = "row",
    start: int = 1,
    names: Iterable[object] | None = None,
) -> arrays.Labels:
    """Read Kaggle strings, one an instance, into a label image: row k (counted from 1) becomes label k.

    Parameters
    ----------
    rows, order, start
        One text an instance (an empty one leaves its label unused); see `encode` for the others.
    shape
        (height, width) of the image.
    names
        What errors call each row beside its number, such as an id.

    Returns
    -------
    labels
        (height, width) int32, 0 is background.

    Raises
    ------
    InputError
        A text is refused (see `decode`), or two rows hold the same pixel; the error names the rows.

    Examples
    --------
    >>> decode_labels(["4 1", "2 2 6 1"], shape=(2, 3)).tolist()
    [[0, 2, 2], [1, 0, 2]]
    """
    items, called = _called(rows, names)
    instances = _decoded(items, called, shape, order, start)
    try:
        return instances.to_labels()
    except InputError:
        raise _overlapping(instances, called) from None


def decode_instances(
    rows: Iterable[str],
    shape: Sequence[int],
    order: Order = "row",
    start: int = 1,
    names: Iterable[object] | None = None,
) -> Instances:
    """Read Kaggle strings, one an instance; instances may overlap. Parameters and errors are those of `decode_labels`.

    Examples
    --------
    >>> decode_instances(["1 3", "3 2"], shape=(2, 3)).areas().tolist()
    [3, 2]
    """
    return _decoded(*_called(rows, names), shape, order, start)


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
    return instances_to_coco(_one_instance(mask), counts)[0]


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
    height, width = instances.shape
    turned = instances.transposed()
    numbers, bounds = run_text.counts_of_runs(turned.starts, turned.lengths, turned.offsets, height * width)
    if counts == "list":
        values = numbers.tolist()
        written: list[Any] = [values[first:stop] for first, stop in pairwise(bounds.tolist())]
    else:
        written = _split(*run_text.compress(numbers, bounds))
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
    return _read_coco(*_called(objects, names), shape)


def _one_instance(mask: npt.ArrayLike) -> Instances:
    values = np.asarray(mask)
    checked = arrays.as_mask(values)
    if values.dtype != bool and checked.any():
        inside = values[checked]
        if (inside != inside[0]).any():
            raise InputError(
                f"mask holds {inside.min()} and {inside.max()} beside 0; wanted the mask of one instance "
                "(encode_labels and labels_to_coco take label images)"
            )
    return Instances.from_masks([checked], checked.shape)


def _check_options(order: str, start: int) -> None:
    if order not in ("row", "column"):
        raise OptionError(f"order is {order!r}; wanted 'row' or 'column'")
    if start not in (0, 1):
        raise OptionError(f"start, the number of the first pixel, is {start!r}; wanted 0 or 1")


def _called(rows: Iterable[Any], names: Iterable[object] | None) -> tuple[list[Any], Called]:
    """Return the rows, and how errors call each."""
    if isinstance(rows, str | bytes | Mapping):
        raise InputError(f"rows is one {type(rows).__name__}; wanted a list, one item an instance")
    items = list(rows)
    if names is None:
        return items, lambda row: f"row {row + 1}"
    given = list(names)
    if len(given) != len(items):
        raise InputError(f"{len(given)} names for {len(items)} rows; wanted one each")
    return items, lambda row: f"row {row + 1} ({given[row]})"


def _overlapping(instances: Instances, called: Called) -> InputError:
    overlap = instances.find_overlap()
    assert overlap is not None
    return InputError(
        f"{called(overlap.first)} and {called(overlap.second)} both hold the pixel {overlap.pixel} (row, column); "
        "wanted instances that do not overlap: read them with decode_instances, and make one label image with "
        "overlaps.resolve_overlaps"
    )


def _split(text: npt.NDArray[np.uint8], bounds: Int64s) -> list[str]:
    whole = text.tobytes().decode("ascii")
    return [whole[first:stop] for first, stop in pairwise(bounds.tolist())]


def _joined(texts: list[str]) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """Put ASCII texts one after another as bytes (with one more, as numpy takes no empty buffer)."""
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=bounds[1:])
    return np.frombuffer("".join([*texts, " "]).encode("ascii"), np.uint8), bounds


def _decoded(rows: list[Any], called: Called, shape: Sequence[int], order: Order, start: int) -> Instances:
    _check_options(order, start)
    height, width = as_shape(shape)
    for row, text in enumerate(rows):
        _check_text(text, called, row)
    starts, lengths, offsets, problem = run_text.read_runs(*_joined(rows), int(start), height * width)
    row, wrong, number = map(int, problem)
    if row >= 0:
        raise InputError(f"{called(row)}: {_explain(rows[row], wrong, number, (height, width), start)}")
    if order == "row":
        return Instances((height, width), starts, lengths, offsets)
    return Instances((width, height), starts, lengths, offsets).transposed()


def _check_text(text: object, called: Called, row: int) -> None:
    if not isinstance(text, str):
        hint = "; pandas reads an empty cell so: fillna('')" if isinstance(text, float) and text != text else ""
        raise InputError(f"{called(row)} is {_short(repr(text))} ({type(text).__name__}); wanted a string{hint}")
    if not text.isascii():
        wrong = next(character for character in text if not character.isascii())
        raise InputError(f"{called(row)} holds {wrong!r}; wanted numbers in the digits 0 to 9")


def _explain(text: str, wrong: int, number: int, shape: tuple[int, int], start: int) -> str:
    """Say what is wrong at a number (counted from 0) of a text that the parser refused."""
    words = [_short(word.decode()) for word in text.encode("ascii").split()]
    run = f"run {number // 2 + 1} ({' '.join(words[number // 2 * 2 :][:2])})"
    if wrong == run_text.NOT_A_NUMBER:
        return f"number {number + 1} is {words[number]!r}; wanted whole numbers in the digits 0 to 9, without a sign"
    if wrong == run_text.ODD:
        return f"it holds {number} numbers; wanted pairs of start and length (is it cut off?)"
    if wrong == run_text.BEFORE_START:
        return f"{run} starts before {start}, the first pixel (was it written with start={1 - start}?)"
    if wrong == run_text.NOT_ASCENDING:
        before = " ".join(words[number - 2 : number])
        return f"{run} starts before the end of the run before it ({before}); wanted ascending runs that do not overlap"
    if wrong == run_text.NO_LENGTH:
        return f"{run} has length 0; wanted at least 1"
    pixels = f"{shape[0]} x {shape[1]} = {shape[0] * shape[1]} pixels"
    return f"{run} goes past the end of the image of {pixels} (is the shape (height, width)?)"


def _short(word: str) -> str:
    return word if len(word) <= 30 else f"{word[:27]}..."


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
        raise InputError(f"{called(row)} is {_short(repr(obj))}; wanted an RLE with 'size' and 'counts', not a polygon")
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
    numbers, bounds, problem = run_text.expand(*_joined(texts))
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
        raise InputError(f"{called}: counts are {_short(repr(counts))}; wanted a text or a list of whole numbers")
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


__all__ = [
    "CocoRle",
    "Instances",
    "Order",
    "coco_to_instances",
    "decode",
    "decode_instances",
    "decode_labels",
    "encode",
    "encode_instances",
    "encode_labels",
    "from_coco",
    "instances_to_coco",
    "labels_to_coco",
    "to_coco",
]
