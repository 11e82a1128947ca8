"""Kaggle strings, "start length start length ...": row-major or column-major, counted from 1 or 0."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances, as_instances, as_shape, from_labels
from flowseg.kernels import run_text
from flowseg.rle._texts import Called, joined_texts, listed_rows, one_instance, short, split_texts
from flowseg.words import many

Order = Literal["row", "column"]


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
    return encode_instances(one_instance(mask), order, start)[0]


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
    given = as_instances(instances)
    turned = given if order == "row" else given.transposed()
    return split_texts(*run_text.write_runs(turned.starts, turned.lengths, turned.offsets, int(start)))


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
    items, called = listed_rows(rows, names)
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
    return _decoded(*listed_rows(rows, names), shape, order, start)


def _check_options(order: str, start: int) -> None:
    if order not in ("row", "column"):
        raise OptionError(f"order is {order!r}; wanted 'row' or 'column'")
    if start not in (0, 1):
        raise OptionError(f"start, the number of the first pixel, is {start!r}; wanted 0 or 1")


def _overlapping(instances: Instances, called: Called) -> InputError:
    overlap = instances.find_overlap()
    assert overlap is not None
    return InputError(
        f"{called(overlap.first)} and {called(overlap.second)} both hold the pixel {overlap.pixel} (row, column); "
        "wanted instances that do not overlap: read them with decode_instances, and make one label image with "
        "overlaps.resolve_overlaps"
    )


def _decoded(rows: list[Any], called: Called, shape: Sequence[int], order: Order, start: int) -> Instances:
    _check_options(order, start)
    height, width = as_shape(shape)
    for row, text in enumerate(rows):
        _check_text(text, called, row)
    starts, lengths, offsets, problem = run_text.read_runs(*joined_texts(rows), int(start), height * width)
    row, wrong, number = map(int, problem)
    if row >= 0:
        raise InputError(f"{called(row)}: {_explain(rows[row], wrong, number, (height, width), start)}")
    if order == "row":
        return Instances((height, width), starts, lengths, offsets)
    return Instances((width, height), starts, lengths, offsets).transposed()


def _check_text(text: object, called: Called, row: int) -> None:
    if not isinstance(text, str):
        hint = "; pandas reads an empty cell so: fillna('')" if isinstance(text, float) and text != text else ""
        raise InputError(f"{called(row)} is {short(repr(text))} ({type(text).__name__}); wanted a string{hint}")
    if not text.isascii():
        wrong = next(character for character in text if not character.isascii())
        raise InputError(f"{called(row)} holds {wrong!r}; wanted numbers in the digits 0 to 9")


def _explain(text: str, wrong: int, number: int, shape: tuple[int, int], start: int) -> str:
    """Say what is wrong at a number (counted from 0) of a text that the parser refused."""
    words = [short(word.decode()) for word in text.encode("ascii").split()]
    run = f"run {number // 2 + 1} ({' '.join(words[number // 2 * 2 :][:2])})"
    if wrong == run_text.NOT_A_NUMBER:
        return f"number {number + 1} is {words[number]!r}; wanted whole numbers in the digits 0 to 9, without a sign"
    if wrong == run_text.ODD:
        return f"it holds {many(number, 'number')}; wanted pairs of start and length (is it cut off?)"
    if wrong == run_text.BEFORE_START:
        return f"{run} starts before {start}, the first pixel (was it written with start={1 - start}?)"
    if wrong == run_text.NOT_ASCENDING:
        before = " ".join(words[number - 2 : number])
        return f"{run} starts before the end of the run before it ({before}); wanted ascending runs that do not overlap"
    if wrong == run_text.NO_LENGTH:
        return f"{run} has length 0; wanted at least 1"
    pixels = f"{shape[0]} x {shape[1]} = {shape[0] * shape[1]} pixels"
    return f"{run} goes past the end of the image of {pixels} (is the shape (height, width)?)"
