"""Label images: what is in them, and how to put them in order."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, checks, threads
from flowseg.arrays import Labels
from flowseg.kernels import outlines as tracing
from flowseg.kernels import regions

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Below this many pixels in boxes, threads cost more than they bring.
_SERIAL_PIXELS = 256 * 256


class Outline(NamedTuple):
    """The outside of one piece of an instance.

    Attributes
    ----------
    label
        The instance.
    points
        (N, 2) int32: pixels (y, x) of the piece, in order around it; neighbours touch, as do the last and the first.
    """

    label: int
    points: Labels


def relabel(labels: npt.ArrayLike) -> Labels:
    """Give the instances the numbers 1..n, in the order of their old labels.

    >>> relabel([[0, 9, 9, 4]]).tolist()
    [[0, 2, 2, 1]]
    """
    image = arrays.as_labels(labels).image
    there = regions.boxes_and_areas(image)[1] > 0
    return np.asarray(np.where(there, np.cumsum(there), 0).astype(np.int32)[image])


def areas(labels: npt.ArrayLike) -> dict[int, int]:
    """Return the pixels of each instance by label.

    >>> areas([[0, 7, 7, 2]])
    {2: 1, 7: 2}
    """
    image, values = arrays.as_labels(labels)
    counts = regions.boxes_and_areas(image)[1]
    return {int(values[label]): int(counts[label]) for label in np.flatnonzero(counts)}


def diameters(labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return, for each instance by ascending label, the diameter in pixels of a disc of the same area.

    >>> diameters([[5, 5], [5, 5]]).round(3).tolist()
    [2.257]
    """
    counts = regions.boxes_and_areas(arrays.as_labels(labels).image)[1]
    return np.asarray(2 * np.sqrt(counts[counts > 0] / np.pi))


def median_diameter(labels: npt.ArrayLike) -> float:
    """Return the median diameter in pixels as Cellpose defines it, that of `diameters`; 0 without instances.

    >>> round(median_diameter([[5, 5, 0], [5, 5, 0], [0, 0, 2]]), 3)
    1.693
    """
    found = diameters(labels)
    return float(np.median(found)) if len(found) else 0.0


def fill_holes(labels: npt.ArrayLike) -> Labels:
    """Fill what instances shut in: their label is written over all that cannot be left by steps along the axes.

    What lies in a hole, another instance too, becomes part of the outermost instance around it.

    >>> fill_holes([[3, 3, 3], [3, 0, 3], [3, 3, 3]]).tolist()
    [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
    """
    image, values = _own_copy(labels)
    boxes, counts = regions.boxes_and_areas(image)
    _fill(image, boxes, counts)
    return _named(image, values)


def remove_small(labels: npt.ArrayLike, min_size: int) -> Labels:
    """Remove the instances of fewer than ``min_size`` pixels; the others keep their labels.

    >>> remove_small([[1, 1, 0, 2]], 2).tolist()
    [[1, 1, 0, 0]]
    """
    _check_min_size(min_size)
    image, values = arrays.as_labels(labels)
    keep = regions.boxes_and_areas(image)[1] >= min_size
    return np.asarray(np.where(keep, values, 0).astype(np.int32)[image])


def clean(labels: npt.ArrayLike, min_size: int = 15) -> Labels:
    """Fill the holes of instances, drop those of fewer than ``min_size`` pixels, and number the rest 1..n.

    Small ones are dropped before and after holes are filled. Numbers follow the first pixels in reading order.

    >>> clean([[7, 7, 7, 0, 2], [7, 0, 7, 0, 0], [7, 7, 7, 0, 0]], min_size=2).tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """
    _check_min_size(min_size)
    image, _ = _own_copy(labels)
    boxes, counts = regions.boxes_and_areas(image)
    kept = fill_and_drop_small(image, boxes, counts, counts > 0, min_size)
    regions.renumber_in_reading_order(image, kept)
    return image


def fill_and_drop_small(image: Labels, boxes: Labels, counts: Indices, keep: Flags, min_size: int) -> Flags:
    """Fill holes in place; tell which of the labels to keep are still there and large enough, before and after."""
    keep = keep & (counts >= min_size)
    if not _fill(image, boxes, np.where(keep, counts, 0)):
        return keep
    left = np.zeros(len(keep), np.int64)
    _, counts = regions.boxes_and_areas(image)
    left[: len(counts)] = counts
    return keep & (left >= max(min_size, 1))


def _fill(image: Labels, boxes: Labels, counts: Indices) -> bool:
    """Fill, in place, the holes of labels with a count; tell whether there were any."""
    holed = np.zeros(len(counts), bool)
    threads.over_ranges(
        lambda start, stop: regions.find_holes(image, boxes, counts, start, stop, holed), _bounds(boxes, counts)
    )
    for label in np.flatnonzero(holed):
        regions.fill_holes(image, int(label), boxes[label])
    return bool(holed.any())


def count_pieces(labels: npt.ArrayLike) -> dict[int, int]:
    """Return how many connected pieces each instance has; pixels that touch at a corner are connected.

    >>> count_pieces([[1, 0, 1, 2]])
    {1: 2, 2: 1}
    """
    image, values = arrays.as_labels(labels)
    offsets, _, _ = _pieces(image)
    counts = np.diff(offsets)
    return {int(values[label]): int(counts[label]) for label in np.flatnonzero(counts)}


def largest_piece(labels: npt.ArrayLike) -> Labels:
    """Keep the largest connected piece of each instance, the first of equals.

    >>> largest_piece([[1, 0, 1, 1]]).tolist()
    [[0, 0, 1, 1]]
    """
    image, values = _own_copy(labels)
    offsets, firsts, sizes = _pieces(image)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    stray = np.ones(len(firsts), bool)
    stray[_longest(owner, sizes)] = False
    for piece in np.flatnonzero(stray):
        tracing.erase_piece(image, int(firsts[piece]), int(sizes[piece]))
    return _named(image, values)


def outlines(labels: npt.ArrayLike, *, all_pieces: bool = False) -> list[Outline]:
    """Return the outlines of all instances, by ascending label.

    Points are pixels of the instance itself, from its first pixel in reading order down its left side and around: the
    same as OpenCV's ``findContours(RETR_EXTERNAL, CHAIN_APPROX_NONE)`` with (x, y) turned to (y, x). Holes have no
    outline. An instance in pieces has that of the piece with the longest outline, or with ``all_pieces`` one each.

    >>> outlines([[0, 4, 4], [0, 4, 4]])[0].points.tolist()
    [[0, 1], [1, 1], [1, 2], [0, 2]]
    """
    image, values = arrays.as_labels(labels)
    pieces, firsts, _ = _pieces(image)
    offsets = np.zeros(len(firsts) + 1, np.int64)
    bounds = threads.blocks(len(firsts), 256)
    threads.over_ranges(
        lambda a, b: tracing.trace_range(image, firsts, a, b, offsets, np.zeros((0, 2), np.int32)), bounds
    )
    lengths = offsets[1:].copy()
    np.cumsum(offsets, out=offsets)
    points = np.empty((int(offsets[-1]), 2), np.int32)
    threads.over_ranges(lambda a, b: tracing.trace_range(image, firsts, a, b, offsets, points), bounds)
    owner = np.repeat(np.arange(len(pieces) - 1), np.diff(pieces))
    chosen = np.arange(len(firsts)) if all_pieces else _longest(owner, lengths)
    return [Outline(int(values[owner[piece]]), points[offsets[piece] : offsets[piece + 1]]) for piece in chosen]


def outline_mask(labels: npt.ArrayLike) -> Flags:
    """Return (H, W): the pixels of instances with a neighbour, along the axes, that is not of the same instance.

    >>> outline_mask(np.ones((3, 3), int)).astype(int).tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    image = arrays.as_labels(labels).image
    framed = np.pad(image, 1)
    inner = np.ones(image.shape, bool)
    for other in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        inner &= image == other
    return np.asarray((image > 0) & ~inner)


def _longest(owner: Indices, lengths: Indices) -> Indices:
    """Return, for each owner, the position of its longest piece; the first of equals."""
    order = np.lexsort((np.arange(len(owner)), -lengths, owner))
    return np.asarray(order[np.unique(owner[order], return_index=True)[1]], np.int64)


def _pieces(image: Labels) -> tuple[Indices, Indices, Indices]:
    """Return offsets by label into the pieces, and each piece's first pixel (flat) and size."""
    boxes, counts = regions.boxes_and_areas(image)
    none, offsets = np.zeros(0, np.int64), np.zeros(len(counts) + 1, np.int64)
    bounds = _bounds(boxes, counts)
    threads.over_ranges(lambda a, b: tracing.find_pieces(image, boxes, counts, a, b, offsets, none, none), bounds)
    np.cumsum(offsets, out=offsets)
    firsts, sizes = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]), np.int64)
    if len(firsts):
        threads.over_ranges(
            lambda a, b: tracing.find_pieces(image, boxes, counts, a, b, offsets, firsts, sizes), bounds
        )
    return offsets, firsts, sizes


def _check_min_size(min_size: int) -> None:
    checks.whole("min_size", min_size, -1, arrays.MAX_LABEL)


def _own_copy(labels: npt.ArrayLike) -> arrays.LabelImage:
    given = arrays.as_array(labels, "labels")
    image, values = arrays.as_labels(given)
    return arrays.LabelImage(image.copy() if np.may_share_memory(image, given) else image, values)


def _named(image: Labels, values: Indices) -> Labels:
    """Give the labels back their own values."""
    return image if values[-1] == len(values) - 1 else np.asarray(values.astype(np.int32)[image])


def _bounds(boxes: Labels, counts: Indices) -> list[int]:
    """Split labels 1..n into ranges of nearly equal work."""
    size = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    pixels = np.where(counts > 0, size[:, 0] * size[:, 1], 0.0)[1:]
    if pixels.sum() < _SERIAL_PIXELS:
        return [1, len(boxes)]
    return [1 + bound for bound in threads.cost_bounds(pixels, 4 * threads.count())]
