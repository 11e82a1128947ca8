"""The distance of each pixel to the end of its own instance, and the direction in which that grows."""

import math

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


@kernel
def _heights(labels: Labels, out: Floats) -> None:
    """Count rows to the nearest pixel of another label in the same column; outside the image is another label."""
    height, width = labels.shape
    for x in range(width):
        run = 0
        for y in range(height):
            run = run + 1 if y > 0 and labels[y, x] == labels[y - 1, x] else 1
            out[y, x] = run
        run = 0
        for y in range(height - 1, -1, -1):
            run = run + 1 if y < height - 1 and labels[y, x] == labels[y + 1, x] else 1
            out[y, x] = min(out[y, x], np.float32(run))


@kernel
def inner_distances(labels: Labels) -> Floats:
    """Return the exact Euclidean distance (H, W) to the nearest pixel of another label; 0 in the background.

    In a row only the run of equal labels around a pixel matters: what lies beyond its ends is farther than they are.
    """
    height, width = labels.shape
    heights = np.empty((height, width), np.float32)
    _heights(labels, heights)
    out = np.zeros((height, width), np.float32)
    for y in range(height):
        start = 0
        while start < width:
            stop = start + 1
            while stop < width and labels[y, stop] == labels[y, start]:
                stop += 1
            if labels[y, start] != 0:
                for x in range(start, stop):
                    best = float(min(x - start + 1, stop - x)) ** 2
                    reach = min(math.sqrt(best), float(heights[y, x]))
                    low, high = max(start, x - int(reach)), min(stop, x + int(reach) + 1)
                    for other in range(low, high):
                        best = min(best, float(x - other) ** 2 + float(heights[y, other]) ** 2)
                    out[y, x] = math.sqrt(best)
            start = stop
    return out


@kernel
def uphill(labels: Labels, height_map: Floats) -> Floats:
    """Return unit vectors (2, H, W) along the central difference of a map inside each instance, 0 elsewhere."""
    height, width = labels.shape
    out = np.zeros((2, height, width), np.float32)
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0:
                continue
            below = height_map[y + 1, x] if y + 1 < height and labels[y + 1, x] == own else np.float32(0)
            above = height_map[y - 1, x] if y > 0 and labels[y - 1, x] == own else np.float32(0)
            right = height_map[y, x + 1] if x + 1 < width and labels[y, x + 1] == own else np.float32(0)
            left = height_map[y, x - 1] if x > 0 and labels[y, x - 1] == own else np.float32(0)
            dy, dx = below - above, right - left
            length = math.sqrt(dy * dy + dx * dx)
            if length > 1e-6:
                out[0, y, x] = dy / length
                out[1, y, x] = dx / length
    return out
