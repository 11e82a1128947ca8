"""Bilinear resampling of planes, one range of output rows at a time."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@kernel
def _stretch_row(row: Floats, left: Indices, weight: Floats, out: Floats) -> None:
    """Resample one row along x."""
    last = row.shape[0] - 1
    for x in range(out.shape[0]):
        low = left[x]
        high = min(low + 1, last)
        out[x] = row[low] * (np.float32(1) - weight[x]) + row[high] * weight[x]


@kernel
def bilinear_rows(
    plane: Floats,
    above: Indices,
    weight_y: Floats,
    left: Indices,
    weight_x: Floats,
    out: Floats,
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start:stop`` of ``out`` from ``plane`` (H, W).

    Output row r lies between source rows ``above[r]`` and the next, ``weight_y[r]`` of the way; columns likewise. Each
    source row is stretched along x once and kept while output rows still need it.
    """
    last = plane.shape[0] - 1
    held = np.empty((2, out.shape[1]), np.float32)
    holds = np.full(2, -1, np.int64)
    for r in range(start, stop):
        upper = above[r]
        lower = min(upper + 1, last)
        for row in (upper, lower):
            slot = row & 1
            if holds[slot] != row:
                _stretch_row(plane[row], left, weight_x, held[slot])
                holds[slot] = row
        first, second = held[upper & 1], held[lower & 1]
        weight = weight_y[r]
        rest = np.float32(1) - weight
        for x in range(out.shape[1]):
            out[r, x] = first[x] * rest + second[x] * weight
