"""Outlines: the pieces of instances, and the pixels along the outside of each piece, in order."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel
from flowseg.kernels.regions import flood_piece

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

# The eight neighbours, counter-clockwise as seen on a screen, from the right.
_DY = (0, -1, -1, -1, 0, 1, 1, 1)
_DX = (1, 1, 0, -1, -1, -1, 0, 1)
_LEFT = 4


@kernel
def find_pieces(
    image: Ints, boxes: Ints, areas: Indices, start: int, stop: int, offsets: Indices, firsts: Indices, sizes: Indices
) -> None:
    """Find the connected pieces of labels ``start`` to ``stop``, each with its first pixel and its size.

    With empty ``firsts``: write each label's number of pieces to ``offsets[label + 1]``. Else write the pieces of a
    label from ``offsets[label]`` on.
    """
    largest = 1
    for label in range(start, stop):
        y0, x0, y1, x1 = boxes[label]
        largest = max(largest, (y1 - y0) * (x1 - x0))
    seen, stack = np.empty(largest, np.bool_), np.empty(largest, np.int64)
    for label in range(start, stop):
        y0, x0, y1, x1 = boxes[label]
        width, left, found = x1 - x0, areas[label], 0
        seen[: (y1 - y0) * width] = False
        at = 0
        while left > 0:
            y, x = y0 + at // width, x0 + at % width
            if image[y, x] == label and not seen[at]:
                size = flood_piece(image, label, boxes[label], at, seen, stack)
                if len(firsts) > 0:
                    firsts[offsets[label] + found] = np.int64(y) * image.shape[1] + x
                    sizes[offsets[label] + found] = size
                found += 1
                left -= size
            at += 1
        if len(firsts) == 0:
            offsets[label + 1] = found


@kernel
def erase_piece(image: Ints, first: int, size: int) -> None:
    """Set the piece that holds the pixel ``first`` to background, in place."""
    height, width = image.shape
    flat = image.ravel()
    label = flat[first]
    stack, depth = np.empty(size, np.int64), 1
    stack[0], flat[first] = first, 0
    while depth > 0:
        depth -= 1
        y, x = stack[depth] // width, stack[depth] % width
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if image[v, u] == label:
                    image[v, u], stack[depth] = 0, v * width + u
                    depth += 1


@kernel
def trace_range(image: Ints, firsts: Indices, start: int, stop: int, offsets: Indices, points: Ints) -> None:
    """Follow the outside of the pieces that begin at ``firsts[start:stop]``.

    With empty ``points``: write the number of points to ``offsets[piece + 1]``. Else write the points (y, x) of a
    piece from ``offsets[piece]`` on.
    """
    for piece in range(start, stop):
        if len(points) == 0:
            offsets[piece + 1] = _trace(image, firsts[piece], points)
        else:
            _trace(image, firsts[piece], points[offsets[piece] : offsets[piece + 1]])


@kernel
def _trace(image: Ints, first: int, points: Ints) -> int:
    """Walk around a piece from its first pixel in reading order; return the number of points."""
    y0, x0 = first // image.shape[1], first % image.shape[1]
    label = image[y0, x0]
    way = _LEFT - 1
    while way > _LEFT - 8 and not _is(image, label, y0 + _DY[way & 7], x0 + _DX[way & 7]):
        way -= 1
    if way == _LEFT - 8:  # a pixel alone
        if len(points) > 0:
            points[0, 0], points[0, 1] = y0, x0
        return 1
    way &= 7
    end_y, end_x = y0 + _DY[way], x0 + _DX[way]  # the walk ends when it steps from here to the first pixel
    y, x, count = y0, x0, 0
    while True:
        if len(points) > 0:
            points[count, 0], points[count, 1] = y, x
        count += 1
        way = (way + 1) & 7
        while not _is(image, label, y + _DY[way], x + _DX[way]):
            way = (way + 1) & 7
        last_y, last_x = y, x
        y, x = y + _DY[way], x + _DX[way]
        if y == y0 and x == x0 and last_y == end_y and last_x == end_x:
            return count
        way = (way + 4) & 7


@kernel
def _is(image: Ints, label: int, y: int, x: int) -> bool:
    return 0 <= y < image.shape[0] and 0 <= x < image.shape[1] and bool(image[y, x] == label)
