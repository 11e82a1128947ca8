"""Bilinear resizing, sampled as OpenCV samples: pixel centres at half coordinates, edges repeated."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@kernel
def resize_rows(
    plane: Floats,
    rows: Indices,
    row_shares: Floats,
    columns: Indices,
    column_shares: Floats,
    start: int,
    stop: int,
    out: Floats,
) -> None:
    """Fill rows of ``out``: pixel (y, x) lies between ``rows[y]`` and the next row, ``row_shares[y]`` of the way."""
    last_row, last_column = plane.shape[0] - 1, plane.shape[1] - 1
    for y in range(start, stop):
        above, below = plane[rows[y]], plane[min(rows[y] + 1, last_row)]
        down = row_shares[y]
        for x in range(out.shape[1]):
            left, right, along = columns[x], min(columns[x] + 1, last_column), column_shares[x]
            top = above[left] + along * (above[right] - above[left])
            bottom = below[left] + along * (below[right] - below[left])
            out[y, x] = top + down * (bottom - top)
