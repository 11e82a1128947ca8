"""Boundaries of instances as polygons on the corners of pixels: exact, with holes, the same for every format."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import threads
from flowseg.instances import Instances
from flowseg.kernels import boundaries as tracing
from flowseg.kernels import runs

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

# Below this many segments of rows, threads cost more than they bring.
_SERIAL_SEGMENTS = 5_000


class Boundaries(NamedTuple):
    """The boundaries of n instances.

    Attributes
    ----------
    points
        (P, 2) int32: corners (y, x), in which pixel (y, x) reaches from (y, x) to (y + 1, x + 1). Only corners where a
        boundary turns; the first is not repeated. The inside is to the right of the way: clockwise on a screen around
        a piece, the other way around a hole.
    rings
        (R + 1,) int64: the points of ring r are ``points[rings[r]:rings[r + 1]]``; at least four.
    pieces
        (G + 1,) int64: the rings of piece g are ``pieces[g]`` to ``pieces[g + 1]``, first its outside, then its holes.
    offsets
        (n + 1,) int64: the pieces of instance k are ``offsets[k]`` to ``offsets[k + 1]``.
    """

    points: Ints
    rings: Indices
    pieces: Indices
    offsets: Indices

    def of(self, instance: int) -> list[list[Ints]]:
        """Return the pieces of an instance, each as its rings (N, 2) of corners (y, x): outside, then holes."""
        return [
            [self.points[self.rings[ring] : self.rings[ring + 1]] for ring in range(*self.pieces[piece : piece + 2])]
            for piece in range(self.offsets[instance], self.offsets[instance + 1])
        ]


def trace(instances: Instances) -> Boundaries:
    """Return the boundaries of all instances; they may overlap.

    Pixels are one piece where they share a side: pieces that touch at a corner are two polygons, and every ring is a
    simple one.

    Examples
    --------
    >>> found = trace(Instances.from_labels([[0, 4, 4], [0, 4, 4]]))
    >>> [ring.tolist() for ring in found.of(0)[0]]
    [[[0, 1], [0, 3], [2, 3], [2, 1]]]
    """
    segments, bounds = runs.split_at_line_ends(
        instances.starts, instances.lengths, instances.offsets, max(instances.shape[1], 1)
    )
    costs = np.diff(bounds).astype(np.float64)
    ranges = [0, len(instances)]
    if segments.shape[1] > _SERIAL_SEGMENTS:
        ranges = threads.cost_bounds(costs, 4 * threads.count())
    parts: dict[int, tuple[Ints, Indices]] = {}

    def trace_range(start: int, stop: int) -> None:
        parts[start] = tracing.trace_range(segments, bounds, start, stop)

    threads.over_ranges(trace_range, ranges)
    return _in_order([parts[start] for start in sorted(parts)], len(instances))


def _in_order(parts: list[tuple[Ints, Indices]], count: int) -> Boundaries:
    """Put rings in the order of their instances and pieces, the outside of a piece before its holes."""
    points = np.concatenate([np.zeros((0, 2), np.int32), *(part[0] for part in parts)])
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(part[1][0], prepend=0) for part in parts)])
    owner, kind = np.concatenate([np.zeros((2, 0), np.int64), *(part[1][1:] for part in parts)], axis=1)
    order = np.lexsort((kind, owner))
    if (np.diff(order) != 1).any():
        starts = np.cumsum(lengths) - lengths
        points = np.concatenate([points[starts[ring] : starts[ring] + lengths[ring]] for ring in order])
    outside = kind[order] % 2 == 0
    pieces = np.append(np.flatnonzero(outside), len(order))
    offsets = np.searchsorted(owner[order][outside], np.arange(count + 1))
    return Boundaries(points, np.concatenate([[0], np.cumsum(lengths[order])]), pieces, offsets)


def boxes(instances: Instances) -> Indices:
    """Return the box of each instance, (n, 4) int64 as y0, x0, y1, x1, half-open; zeros where it has no pixels.

    Examples
    --------
    >>> boxes(Instances.from_labels([[0, 4, 4], [0, 4, 4]])).tolist()
    [[0, 1, 2, 3]]
    """
    segments, bounds = runs.split_at_line_ends(
        instances.starts, instances.lengths, instances.offsets, max(instances.shape[1], 1)
    )
    found = np.zeros((len(instances), 4), np.int64)
    there = np.flatnonzero(np.diff(bounds))
    if len(there):
        first, last = bounds[there], bounds[there + 1] - 1
        found[there] = np.stack(
            [
                segments[0, first],
                np.minimum.reduceat(segments[1], first),
                segments[0, last] + 1,
                np.maximum.reduceat(segments[2], first),
            ],
            axis=1,
        )
    return found
