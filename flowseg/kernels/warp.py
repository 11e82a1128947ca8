"""Move an image and its labels together: turned, stretched and bent by one map."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
Planes = npt.NDArray[Any]
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
def _value(planes: Planes, levels: Floats, channel: int, row: int, column: int) -> np.float32:
    """Read an intensity: what its stored number becomes, or, without levels, itself."""
    stored = planes[min(channel, len(planes) - 1), row, column]
    return np.float32(levels[channel, int(stored)] if levels.shape[1] > 0 else stored)


@kernel
def warp(
    planes: Planes,
    levels: Floats,
    labels: Labels,
    matrix: Doubles,
    bend: Floats,
    out: Floats,
    out_labels: npt.NDArray[np.int32],
    out_inside: Flags,
) -> bool:
    """Fill a crop and its labels from an image; both are 0 where the map leaves the image. Tell whether it never does.

    Parameters
    ----------
    planes, labels
        (C, h, w), or (1, h, w) for all channels; and (h, w).
    levels
        (C, n): what each number that planes hold becomes; (C, 0): planes are floats, and stay as they are.
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
    whole = True
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
            if not inside:
                whole = False
                out_labels[r, c] = 0
                for channel in range(len(out)):
                    out[channel, r, c] = 0
                continue
            out_labels[r, c] = labels[nearest_row, nearest_column]
            y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = np.float32(y - top), np.float32(x - left)
            for channel in range(len(out)):
                upper = _value(planes, levels, channel, top, left)
                upper += (_value(planes, levels, channel, top, right) - upper) * across
                lower = _value(planes, levels, channel, bottom, left)
                lower += (_value(planes, levels, channel, bottom, right) - lower) * across
                out[channel, r, c] = upper + (lower - upper) * down
    return whole


@kernel
def clear_outside(image: Floats, inside: Flags) -> None:
    """Put 0 where a crop (C, H, W) is outside the image."""
    for channel in range(len(image)):
        for r in range(image.shape[1]):
            for c in range(image.shape[2]):
                if not inside[r, c]:
                    image[channel, r, c] = 0
