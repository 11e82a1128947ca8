"""Follow the flows: Euler integration of every foreground pixel, with bilinear interpolation between pixels."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# Points are moved in blocks, step by step, so that the processor overlaps their reads.
_BLOCK = 128
# Positions this many steps apart are compared; a point that moved less than _SETTLED pixels along both axes stays.
_STRIDE = 8
_SETTLED = 0.02


@kernel
def mask_flows_of_rows(flows: Floats, cellprob: Floats, threshold: float, start: int, stop: int, field: Floats) -> None:
    """Fill rows of ``field`` (H, W, 2) with the flows where the probability is above the threshold, 0 elsewhere."""
    for y in range(start, stop):
        for x in range(field.shape[1]):
            inside = cellprob[y, x] > threshold
            field[y, x, 0] = flows[0, y, x] if inside else np.float32(0)
            field[y, x, 1] = flows[1, y, x] if inside else np.float32(0)


@kernel
def follow_rows(
    field: Floats, cellprob: Floats, threshold: float, steps: int, start: int, stop: int, ends: Ints
) -> None:
    """Write, for each foreground pixel of rows ``start`` to ``stop``, the flat index of the pixel it ends in; else -1.

    field: (H, W, 2) flows, zero outside the foreground. ends: (H, W).
    """
    width = field.shape[1]
    origins = np.empty(_BLOCK, np.int64)
    filled = 0
    flat = ends.ravel()
    for y in range(start, stop):
        for x in range(width):
            if cellprob[y, x] > threshold:
                origins[filled] = y * width + x
                filled += 1
                if filled == _BLOCK:
                    _follow_block(field, origins, filled, steps, flat)
                    filled = 0
            else:
                ends[y, x] = -1
    _follow_block(field, origins, filled, steps, flat)


@kernel
def _follow_block(field: Floats, origins: npt.NDArray[np.int64], count: int, steps: int, ends: Ints) -> None:
    width = field.shape[1]
    moving = origins[:count].copy()
    ys, xs = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(count):
        ys[i], xs[i] = moving[i] // width, moving[i] % width
    old_ys, old_xs = ys.copy(), xs.copy()
    done = 0
    while count > 0:
        run = min(_STRIDE, steps - done)
        for _ in range(run):
            _step(field, ys, xs, count)
        done += run
        left = 0
        for i in range(count):
            settled = abs(ys[i] - old_ys[i]) < _SETTLED and abs(xs[i] - old_xs[i]) < _SETTLED
            if settled or done >= steps:
                ends[moving[i]] = np.int64(ys[i]) * width + np.int64(xs[i])
            else:
                ys[left], xs[left], moving[left] = ys[i], xs[i], moving[i]
                old_ys[left], old_xs[left] = ys[i], xs[i]
                left += 1
        count = left


@kernel
def _step(field: Floats, ys: Floats, xs: Floats, count: int) -> None:
    """Move each point by the flow at its position; points stay inside the image."""
    last_y, last_x = np.uint64(field.shape[0] - 1), np.uint64(field.shape[1] - 1)
    high_y, high_x = np.float32(last_y), np.float32(last_x)
    for i in range(count):
        y, x = ys[i], xs[i]
        y0, x0 = np.uint64(np.int32(y)), np.uint64(np.int32(x))
        y1, x1 = min(y0 + np.uint64(1), last_y), min(x0 + np.uint64(1), last_x)
        fy, fx = y - np.float32(np.int32(y)), x - np.float32(np.int32(x))
        gy, gx = np.float32(1) - fy, np.float32(1) - fx
        w00, w01, w10, w11 = gy * gx, gy * fx, fy * gx, fy * fx
        dy = field[y0, x0, 0] * w00 + field[y0, x1, 0] * w01 + field[y1, x0, 0] * w10 + field[y1, x1, 0] * w11
        dx = field[y0, x0, 1] * w00 + field[y0, x1, 1] * w01 + field[y1, x0, 1] * w10 + field[y1, x1, 1] * w11
        ys[i] = min(max(y + dy, np.float32(0)), high_y)
        xs[i] = min(max(x + dx, np.float32(0)), high_x)
