"""Boundaries: the edges between the pixels of an instance and all others, as rings of pixel corners.

Pixels are one piece where they share a side. So pieces meet at corners at most, no ring touches itself, and holes touch
their outside, or one another, at corners at most: valid polygons in every format that has them.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OWN = -1  # a pixel of the instance that is in no piece yet


@kernel
def trace_range(segments: Indices, bounds: Indices, start: int, stop: int) -> tuple[Ints, Indices]:
    """Trace the instances ``start`` to ``stop``, given as segments (3, S): line, begin and end within the line.

    Return the corners (P, 2) as y, x of all rings, the inside to the right of the way; and the rings (3, R): where the
    corners end, the instance, and twice the piece within it, one more for a hole.
    """
    count = bounds[stop] - bounds[start]
    points, rings = np.empty((4 * count, 2), np.int32), np.empty((3, count), np.int64)
    found = np.zeros(2, np.int64)  # rings and corners
    largest = 1
    for instance in range(start, stop):
        _, _, height, width = _box(segments, bounds[instance], bounds[instance + 1])
        largest = max(largest, (height + 2) * (width + 2))
    pieces, seen = np.zeros(largest, np.int32), np.zeros(largest, np.bool_)
    places, path = np.full(largest, -1, np.int32), np.empty(2 * largest, np.int32)
    for instance in range(start, stop):
        top, left, height, width = _box(segments, bounds[instance], bounds[instance + 1])
        row = width + 2
        pieces[: (height + 2) * row] = 0
        seen[: (height + 2) * row] = False
        for segment in range(bounds[instance], bounds[instance + 1]):
            first = (segments[0, segment] - top + 1) * row + 1 - left
            pieces[first + segments[1, segment] : first + segments[2, segment]] = _OWN
        before = found[0]
        _trace_pieces(pieces[: (height + 2) * row], row, seen, places, path, points, rings, found)
        for ring in range(before, found[0]):
            rings[1, ring] = instance
        points[rings[0, before - 1] if before else 0 : found[1]] += np.array([top - 1, left - 1], np.int32)
    return points[: found[1]].copy(), rings[:, : found[0]].copy()


@kernel
def _box(segments: Indices, first: int, stop: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what segments cover."""
    if first == stop:
        return 0, 0, 0, 0
    left, right = segments[1, first], segments[2, first]
    for segment in range(first, stop):
        left, right = min(left, segments[1, segment]), max(right, segments[2, segment])
    top = segments[0, first]
    return top, left, segments[0, stop - 1] + 1 - top, right - left


@kernel
def _trace_pieces(
    pieces: Ints, row: int, seen: Flags, places: Ints, path: Ints, points: Ints, rings: Indices, found: Indices
) -> None:
    """Trace all rings of an instance in a frame of zeros; every ring has a pixel whose upper side is part of it."""
    piece = 0
    for pixel in range(row, pieces.size):
        if pieces[pixel] == 0 or pieces[pixel - row] != 0 or seen[pixel]:
            continue
        outside = pieces[pixel] == _OWN
        if outside:
            piece += 1
            _flood(pieces, row, pixel, piece, path)
        _trace(pieces, row, pixel, outside, seen, places, path, points, rings, found)


@kernel
def _flood(pieces: Ints, row: int, pixel: int, piece: int, stack: Ints) -> None:
    """Give the pixels that hang together by sides the number of their piece."""
    stack[0], depth = pixel, 1
    pieces[pixel] = piece
    while depth > 0:
        depth -= 1
        here = stack[depth]
        for other in (here - row, here - 1, here + 1, here + row):
            if pieces[other] == _OWN:
                pieces[other], stack[depth] = piece, other
                depth += 1


@kernel
def _trace(
    pieces: Ints,
    row: int,
    first: int,
    outside: bool,
    seen: Flags,
    places: Ints,
    path: Ints,
    points: Ints,
    rings: Indices,
    found: Indices,
) -> None:
    """Walk along one boundary from the upper left corner of a pixel; where it meets itself, a hole is cut off.

    A corner has the number of the pixel below and to the right of it. Ways are right, down, left, up.
    """
    ways = (1, row, -1, -row)
    on_left, on_right = (-row, 0, -1, -row - 1), (0, -1, -row - 1, -row)
    hole = 2 * pieces[first] + 1
    here, way, depth = first, 0, 1
    path[0], places[first] = first, 0
    while True:
        if way == 0:
            seen[here] = True
        here += ways[way]
        left, right = pieces[here + on_left[way]] != 0, pieces[here + on_right[way]] != 0
        if right and not left:
            continue
        way = (way + 3) & 3 if right else (way + 1) & 3
        if here == first and way == 0:
            break
        if left and not right and places[here] >= 0:  # met before: two pixels that touch at this corner
            _keep(path, places[here], depth, row, hole, places, points, rings, found)
            depth = places[here] + 1
            continue
        path[depth], places[here] = here, depth
        depth += 1
    _keep(path, 0, depth, row, hole - outside, places, points, rings, found)
    places[first] = -1


@kernel
def _keep(
    path: Ints, start: int, stop: int, row: int, kind: int, places: Ints, points: Ints, rings: Indices, found: Indices
) -> None:
    """Add the ring ``path[start:stop]``, and forget where its corners are but the first."""
    for place in range(start, stop):
        points[found[1], 0], points[found[1], 1] = path[place] // row, path[place] % row
        found[1] += 1
        if place > start:
            places[path[place]] = -1
    rings[0, found[0]], rings[2, found[0]] = found[1], kind
    found[0] += 1
