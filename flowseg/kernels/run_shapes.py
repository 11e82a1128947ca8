"""The shape of instances from their runs: pieces, holes, and pixels on the border; instances may overlap."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Int64s = npt.NDArray[np.int64]


@kernel
def measure(segments: Int64s, bounds: Int64s, height: int, width: int) -> Int64s:
    """Return (3, n): pieces, holes and border pixels of each instance.

    ``segments`` (3, S) are line, begin and end, in reading order within an instance; those of instance k are
    ``bounds[k]:bounds[k + 1]``. Pixels of a piece touch at least at corners, those of a hole at sides.
    """
    found = np.zeros((3, bounds.size - 1), np.int64)
    parent = np.empty(segments.shape[1], np.int64)
    for instance in range(bounds.size - 1):
        first, stop = bounds[instance], bounds[instance + 1]
        pieces, links = _connected(segments, first, stop, parent)
        found[0, instance] = pieces
        # Segments are the corners of a graph that lies flat, and each of its meshes shuts in one hole.
        found[1, instance] = pieces - (stop - first) + links
        for at in range(first, stop):
            line, begin, end = segments[0, at], segments[1, at], segments[2, at]
            if line == 0 or line == height - 1 or width == 1:
                found[2, instance] += end - begin
            else:
                found[2, instance] += int(begin == 0) + int(end == width)
    return found


@kernel
def owners(segments: Int64s, bounds: Int64s) -> Int64s:
    """Return (S,), for each segment, a number that only the segments of its piece have."""
    parent = np.empty(segments.shape[1], np.int64)
    for instance in range(bounds.size - 1):
        _connected(segments, bounds[instance], bounds[instance + 1], parent)
    for at in range(parent.size):
        parent[at] = _root(parent, at)
    return parent


@kernel
def _connected(segments: Int64s, first: int, stop: int, parent: Int64s) -> tuple[int, int]:
    """Return how many pieces the segments of one instance form, and how many pairs of them touch."""
    pieces = stop - first
    links = 0
    above = first
    for at in range(first, stop):
        parent[at] = at
        while above < at and segments[0, above] < segments[0, at] - 1:
            above += 1
        # Segments before this one in the line above end before all later ones in this line begin.
        while above < at and segments[0, above] == segments[0, at] - 1 and segments[2, above] < segments[1, at]:
            above += 1
        other = above
        while other < at and segments[0, other] == segments[0, at] - 1 and segments[1, other] <= segments[2, at]:
            links += 1
            one, two = _root(parent, other), _root(parent, at)
            if one != two:
                parent[two] = one
                pieces -= 1
            other += 1
    return pieces, links


@kernel
def _root(parent: Int64s, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at
