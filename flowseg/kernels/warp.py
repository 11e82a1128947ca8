"""Move an image and its labels together: turned, stretched and bent by one map."""

import math

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@kernel
def _bent(bend: Floats, component: int, at_row: float, at_column: float) -> float:
    """Read a coarse grid of shifts between its knots; it covers the output, corner to corner."""
    rows, columns = bend.shape[1], bend.shape[2]
    top, left = min(int(at_row), rows - 2), min(int(at_column), columns - 2)
    down, right = at_row - top, at_column - left
    upper = bend[component, top, left] * (1 - right) + bend[component, top, left + 1] * right
    lower = bend[component, top + 1, left] * (1 - right) + bend[component, top + 1, left + 1] * right
    return float(upper * (1 - down) + lower * down)


@kernel
def warp(
    planes: Floats,
    labels: Labels,
    matrix: Doubles,
    bend: Floats,
    out: Floats,
    out_labels: Labels,
    out_inside: Flags,
) -> None:
    """Fill a crop and its labels from an image; both are 0 where the map leaves the image.

    Parameters
    ----------
    planes, labels
        (C, h, w) and (h, w).
    matrix
        (2, 3): output pixel (row, column, 1) to the place (row, column) in the image.
    bend
        (2, a, b): shifts in the image's pixels on a coarse grid over the output, a and b at least 2; (2, 0, 0) is none.
    out, out_labels
        (C, H, W), between pixels linearly, and (H, W), of the nearest pixel.
    out_inside
        (H, W): whether the place is in the image.
    """
    height, width = labels.shape
    rows, columns = out_labels.shape
    for r in range(rows):
        for c in range(columns):
            y = matrix[0, 0] * r + matrix[0, 1] * c + matrix[0, 2]
            x = matrix[1, 0] * r + matrix[1, 1] * c + matrix[1, 2]
            if bend.shape[1] > 0:
                at_row = r * (bend.shape[1] - 1) / max(rows - 1, 1)
                at_column = c * (bend.shape[2] - 1) / max(columns - 1, 1)
                y += _bent(bend, 0, at_row, at_column)
                x += _bent(bend, 1, at_row, at_column)
            nearest_row, nearest_column = math.floor(y + 0.5), math.floor(x + 0.5)
            inside = 0 <= nearest_row < height and 0 <= nearest_column < width
            out_inside[r, c] = inside
            out_labels[r, c] = labels[nearest_row, nearest_column] if inside else 0
            if not inside:
                out[:, r, c] = 0
                continue
            y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = np.float32(y - top), np.float32(x - left)
            for channel in range(planes.shape[0]):
                plane = planes[channel]
                upper = plane[top, left] + (plane[top, right] - plane[top, left]) * across
                lower = plane[bottom, left] + (plane[bottom, right] - plane[bottom, left]) * across
                out[channel, r, c] = upper + (lower - upper) * down
