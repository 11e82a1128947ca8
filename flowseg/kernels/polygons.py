"""Polygons become runs down columns, as the COCO tools define them.

Their definition: corners are rounded on a grid five times finer; sides are drawn on it, a point for each step along
their longer axis; wherever the line of points crosses the middle of a column of pixels, the inside begins or ends at
the next pixel below. Crossings are taken in order down the columns, one column after another, and the inside toggles
at each. So a side counts by its direction alone, and holes made by crossing sides stay open.
"""

import math

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

FINER = 5


@kernel
def runs_of_polygons(
    corners: Floats, bounds: Int64s, owners: Int64s, height: int, width: int
) -> tuple[Int64s, Int64s, Int64s]:
    """Return starts, lengths and offsets of the runs down columns that any of the polygons of each instance holds.

    ``corners`` is (K, 2), x and y; polygon k has the corners ``bounds[k]:bounds[k + 1]``, and instance n the polygons
    ``owners[n]:owners[n + 1]``.
    """
    room = 0
    for polygon in range(bounds.size - 1):
        room += _crossings(corners, bounds[polygon], bounds[polygon + 1], height, width, np.empty(0, np.int64)) + 1
    found, begins, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    starts, lengths, offsets = np.empty(room, np.int64), np.empty(room, np.int64), np.zeros(owners.size, np.int64)
    for instance in range(owners.size - 1):
        made, first = 0, offsets[instance]
        for polygon in range(owners[instance], owners[instance + 1]):
            count = _crossings(corners, bounds[polygon], bounds[polygon + 1], height, width, found)
            made = _toggled(np.sort(found[:count]), height * width, begins, ends, made)
        made = _joined(np.sort(begins[:made]), np.sort(ends[:made]), starts[first:], lengths[first:])
        offsets[instance + 1] = first + made
    return starts[: offsets[-1]].copy(), lengths[: offsets[-1]].copy(), offsets


@kernel
def _crossings(corners: Floats, first: int, stop: int, height: int, width: int, found: Int64s) -> int:
    """Write where the outline crosses the middles of columns, as pixels counted down columns; return how many.

    With no room in ``found``: only count.
    """
    count = 0
    for corner in range(first, stop):
        after = corner + 1 if corner + 1 < stop else first
        x0, y0 = int(FINER * corners[corner, 0] + 0.5), int(FINER * corners[corner, 1] + 0.5)
        x1, y1 = int(FINER * corners[after, 0] + 0.5), int(FINER * corners[after, 1] + 0.5)
        steps = max(abs(x1 - x0), abs(y1 - y0))
        wide = abs(x1 - x0) >= abs(y1 - y0)
        back = x0 > x1 if wide else y0 > y1  # a side is drawn from its lower end: both ways give the same points
        if back:
            x0, x1, y0, y1 = x1, x0, y1, y0
        rise = 0.0
        if steps > 0:
            rise = (y1 - y0) / steps if wide else (x1 - x0) / steps
        last_x, last_y = 0, 0
        for step in range(steps + 1):
            along = steps - step if back else step
            if wide:
                x, y = x0 + along, int(y0 + rise * along + 0.5)
            else:
                x, y = int(x0 + rise * along + 0.5), y0 + along
            if step > 0 and x != last_x:
                column = (min(x, last_x) + 0.5) / FINER - 0.5
                if column == math.floor(column) and 0 <= column <= width - 1:
                    row = math.ceil(min(max((min(y, last_y) + 0.5) / FINER - 0.5, 0.0), float(height)))
                    if found.size:
                        found[count] = int(column) * height + int(row)
                    count += 1
            last_x, last_y = x, y
    return count


@kernel
def _toggled(crossings: Int64s, pixels: int, starts: Int64s, ends: Int64s, made: int) -> int:
    """Write the pixels between odd and even crossings (sorted) as runs; return how many runs are there then."""
    at = 0
    while at < crossings.size:
        end = crossings[at + 1] if at + 1 < crossings.size else pixels
        if end > crossings[at]:
            starts[made], ends[made] = crossings[at], end
            made += 1
        at += 2
    return made


@kernel
def _joined(starts: Int64s, ends: Int64s, begins: Int64s, lengths: Int64s) -> int:
    """Write the union of ranges, given as sorted starts and ends, those that meet as one; return how many."""
    made = opened = closed = 0
    begin = np.int64(0)
    while closed < ends.size:
        if opened < starts.size and starts[opened] <= ends[closed]:
            if opened == closed:
                begin = starts[opened]
            opened += 1
        else:
            closed += 1
            if opened == closed:
                begins[made], lengths[made] = begin, ends[closed - 1] - begin
                made += 1
    return made
