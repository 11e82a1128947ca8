"""Flows of instances by diffusion: heat enters at the centre, spreads inside the instance, and flows point uphill.

Heat is kept in float64 and summed in one fixed order, because central differences of nearly equal heats decide the
direction near symmetry axes. A compact instance is spread over its bounding box, laid out flat with one empty pixel
between rows so that a step is a single straight loop. A ragged one (few pixels in a large box) is spread over a
graph of its pixels; so are pieces that no heat reaches.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel
from flowseg.kernels.regions import flood_piece

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Pixel = tuple[int, int]

# A box this much larger than its instance is spread over the graph of pixels instead.
_RAGGED = 6
_SMALL_BOX = 1024
# In a box as large as this it pays to look first whether heat can reach all of the instance.
_LARGE_BOX = 2**16


@kernel
def flows_of_range(image: Ints, boxes: Ints, areas: Indices, start: int, stop: int, flows: Floats) -> None:
    """Write the flows (2, H, W) of labels ``start`` to ``stop``; pieces without heat flow to their own centre."""
    for label in range(start, stop):
        if areas[label] > 0:
            _flow_of_instance(image, label, boxes[label], areas[label], True, flows, (0, 0))


@kernel
def flow_errors_of_range(
    image: Ints, boxes: Ints, areas: Indices, start: int, stop: int, flows: Floats, errors: Doubles
) -> None:
    """Write the mean squared difference between ``flows`` and the flows of labels ``start`` to ``stop``.

    Pieces that no heat reaches count as having no flow: the error is what tells such an instance from a whole one.
    """
    height, width = 1, 1
    for label in range(start, stop):
        y0, x0, y1, x1 = boxes[label]
        height, width = max(height, y1 - y0), max(width, x1 - x0)
    own = np.zeros((2, height, width), np.float32)
    for label in range(start, stop):
        if areas[label] == 0:
            continue
        y0, x0, y1, x1 = boxes[label]
        own[:, : y1 - y0, : x1 - x0] = 0
        _flow_of_instance(image, label, boxes[label], areas[label], False, own, (y0, x0))
        total = 0.0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if image[y, x] == label:
                    dy = np.float64(own[0, y - y0, x - x0]) - flows[0, y, x]
                    dx = np.float64(own[1, y - y0, x - x0]) - flows[1, y, x]
                    total += dy * dy + dx * dx
        errors[label] = total / areas[label]


@kernel
def _flow_of_instance(
    image: Ints, label: int, box: Ints, area: int, strays: bool, flows: Floats, corner: Pixel
) -> None:
    """Write one instance's flows into ``flows``, whose first pixel is ``corner`` of the image."""
    y0, x0, y1, x1 = box
    steps = 2 * (y1 - y0 + 2 + x1 - x0 + 2)
    centre = _centre(image, label, box, area)
    size = (y1 - y0) * (x1 - x0)
    compact = size <= _RAGGED * area + _SMALL_BOX
    if compact and (size < _LARGE_BOX or _is_one_piece(image, label, box, area, centre)):
        all_reached = _spread_box(image, label, box, centre, steps, flows, corner)
        if all_reached or not strays:
            return
    _spread_graph(image, label, box, area, centre, steps, strays, flows, corner)


@kernel
def _is_one_piece(image: Ints, label: int, box: Ints, area: int, centre: Pixel) -> bool:
    width = box[3] - box[1]
    seen, stack = np.zeros((box[2] - box[0]) * width, np.bool_), np.empty(area, np.int64)
    seed = (centre[0] - box[0]) * width + centre[1] - box[1]
    return flood_piece(image, label, box, seed, seen, stack) == area


@kernel
def _centre(image: Ints, label: int, box: Ints, area: int) -> tuple[int, int]:
    """Return the pixel of the instance nearest the mean of its pixels; the first in reading order of equals."""
    sum_y, sum_x = 0, 0
    for y in range(box[0], box[2]):
        for x in range(box[1], box[3]):
            if image[y, x] == label:
                sum_y += y - box[0]
                sum_x += x - box[1]
    mean_y, mean_x = sum_y / area, sum_x / area
    best, cy, cx = np.inf, 0, 0
    for y in range(box[0], box[2]):
        for x in range(box[1], box[3]):
            if image[y, x] == label:
                distance = (x - box[1] - mean_x) ** 2 + (y - box[0] - mean_y) ** 2
                if distance < best:
                    best, cy, cx = distance, y, x
    return cy, cx


@kernel
def _spread_box(image: Ints, label: int, box: Ints, centre: Pixel, steps: int, flows: Floats, corner: Pixel) -> bool:
    """Spread heat over the bounding box and write the flows; tell whether heat reached every pixel."""
    y0, x0, y1, x1 = box
    cy, cx = centre
    height, width = y1 - y0, x1 - x0
    row = width + 1  # pixel (y, x) of the box is at (y + 1) * row + x + 1: an empty pixel lies between rows
    size = (height + 2) * row + 2
    heat, spare, share = np.zeros(size), np.zeros(size), np.zeros(size)
    for y in range(height):
        for x in range(width):
            if image[y0 + y, x0 + x] == label:
                share[(y + 1) * row + x + 1] = 1 / 9
    source = (cy - y0 + 1) * row + cx - x0 + 1
    for step in range(steps):
        heat[source] += 1
        # Heat moves one row a step: rows that it cannot have reached yet are still cold.
        first = max(1, cy - y0 + 1 - step - 1)
        last = min(height, cy - y0 + 1 + step + 1)
        _step(heat, spare, share, first * row + 1, (last + 1) * row, row)
        heat, spare = spare, heat
    all_reached = True
    for y in range(height):
        for x in range(width):
            at = (y + 1) * row + x + 1
            if share[at] > 0:
                all_reached = all_reached and heat[at] > 0
                dy, dx = heat[at + row] - heat[at - row], heat[at + 1] - heat[at - 1]
                _write_flow(dy, dx, flows, y + y0 - corner[0], x + x0 - corner[1])
    return all_reached


@kernel
def _step(heat: Doubles, spare: Doubles, share: Doubles, first: int, last: int, row: int) -> None:
    """One step of diffusion from ``heat`` to ``spare``: the mean over 3x3 neighbours, nothing outside the instance."""
    here, up, down = heat[first:last], heat[first - row : last - row], heat[first + row : last + row]
    left, right = heat[first - 1 : last - 1], heat[first + 1 : last + 1]
    up_left, up_right = heat[first - row - 1 : last - row - 1], heat[first - row + 1 : last - row + 1]
    down_left, down_right = heat[first + row - 1 : last + row - 1], heat[first + row + 1 : last + row + 1]
    out, keep = spare[first:last], share[first:last]
    for i in range(last - first):
        # fmt: off
        out[i] = keep[i] * (here[i] + up[i] + down[i] + left[i] + right[i]
                            + up_left[i] + up_right[i] + down_left[i] + down_right[i])
        # fmt: on


@kernel
def _write_flow(dy: float, dx: float, flows: Floats, y: int, x: int) -> None:
    norm = 1e-60 + np.sqrt(dy * dy + dx * dx)
    flows[0, y, x] = dy / norm
    flows[1, y, x] = dx / norm


@kernel
def _spread_graph(
    image: Ints,
    label: int,
    box: Ints,
    area: int,
    centre: Pixel,
    steps: int,
    strays: bool,
    flows: Floats,
    corner: Pixel,
) -> None:
    """Spread heat over the graph of pixels, piece by piece, and write the flows.

    The piece with the instance's centre is heated there, the others (if ``strays``) at their own centres.
    """
    ys, xs, near = _graph(image, label, box, area)
    heat, spare = np.zeros(area + 1), np.zeros(area + 1)
    members, seen = np.empty(area, np.int64), np.zeros(area + 1, np.bool_)
    seen[area] = True
    for seed in range(area):
        if seen[seed]:
            continue
        piece = members[: _collect_piece(seed, near, seen, members)]
        source, source_steps = -1, steps
        for i in piece:
            if ys[i] == centre[0] and xs[i] == centre[1]:
                source = i
        if source < 0 and strays:
            source, source_steps = _own_centre(piece, ys, xs)
        if source >= 0:
            _spread_piece(piece, near, source, source_steps, heat, spare)
    for i in range(area):
        dy = heat[near[i, 1]] - heat[near[i, 0]]
        dx = heat[near[i, 3]] - heat[near[i, 2]]
        _write_flow(dy, dx, flows, ys[i] - corner[0], xs[i] - corner[1])


@kernel
def _graph(image: Ints, label: int, box: Ints, area: int) -> tuple[Indices, Indices, Indices]:
    """Return the rows and columns of the instance's pixels, and (n, 8) positions of each one's neighbours among them.

    Neighbours are up, down, left, right, then the diagonals; n stands for none.
    """
    y0, x0, y1, x1 = box
    ys, xs, near = np.empty(area, np.int64), np.empty(area, np.int64), np.full((area, 8), area, np.int64)
    above, here = np.full(x1 - x0 + 2, -1, np.int64), np.full(x1 - x0 + 2, -1, np.int64)
    i = 0
    for y in range(y0, y1):
        above, here = here, above
        here[:] = -1
        for x in range(x0, x1):
            if image[y, x] != label:
                continue
            ys[i], xs[i], at = y, x, x - x0 + 1
            here[at] = i
            _link(near, i, here[at - 1], 2)
            _link(near, i, above[at], 0)
            _link(near, i, above[at - 1], 4)
            _link(near, i, above[at + 1], 5)
            i += 1
    return ys, xs, near


@kernel
def _link(near: Indices, i: int, other: int, side: int) -> None:
    """Make two pixels neighbours of one another: ``other`` is on this side of ``i``."""
    if other >= 0:
        near[i, side] = other
        near[other, side + 1 if side < 4 else 11 - side] = i


@kernel
def _collect_piece(seed: int, near: Indices, seen: npt.NDArray[np.bool_], members: Indices) -> int:
    """List the pixels connected with ``seed`` and return how many they are."""
    seen[seed], members[0] = True, seed
    first, last = 0, 1
    while first < last:
        for k in range(8):
            other = near[members[first], k]
            if not seen[other]:
                seen[other], members[last] = True, other
                last += 1
        first += 1
    return last


@kernel
def _own_centre(piece: Indices, ys: Indices, xs: Indices) -> tuple[int, int]:
    """Return the pixel nearest the mean of a piece (the first of equals), and the steps that its box asks for."""
    sum_y, sum_x = 0, 0
    y0, y1, x0, x1 = ys[piece[0]], ys[piece[0]], xs[piece[0]], xs[piece[0]]
    for i in piece:
        sum_y, sum_x = sum_y + ys[i], sum_x + xs[i]
        y0, y1, x0, x1 = min(y0, ys[i]), max(y1, ys[i]), min(x0, xs[i]), max(x1, xs[i])
    best, centre = np.inf, piece[0]
    for i in piece:
        distance = (ys[i] - sum_y / len(piece)) ** 2 + (xs[i] - sum_x / len(piece)) ** 2
        if distance < best or (distance == best and i < centre):
            best, centre = distance, i
    return centre, 2 * (y1 - y0 + 3 + x1 - x0 + 3)


@kernel
def _spread_piece(piece: Indices, near: Indices, centre: int, steps: int, heat: Doubles, spare: Doubles) -> None:
    for _ in range(steps):
        heat[centre] += 1
        for i in piece:
            total = heat[i]
            for k in range(8):
                total += heat[near[i, k]]
            spare[i] = 1 / 9 * total
        for i in piece:
            heat[i] = spare[i]
