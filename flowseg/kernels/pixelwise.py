"""What a network does to pixels one by one, or four by four: images are (N, H, W, channels)."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Array = npt.NDArray[np.float32]


@kernel
def halve(x: Array, result: Array, start: int, stop: int) -> None:
    """Take the largest of each 2 x 2 pixels, for lines ``start`` to ``stop`` of the result, of all images."""
    lines, columns, channels = result.shape[1], result.shape[2], result.shape[3]
    for line in range(start, stop):
        image, y = divmod(line, lines)
        for at in range(columns):
            a, b = x[image, 2 * y, 2 * at], x[image, 2 * y, 2 * at + 1]
            c, d = x[image, 2 * y + 1, 2 * at], x[image, 2 * y + 1, 2 * at + 1]
            to = result[image, y, at]
            for channel in range(channels):
                to[channel] = max(max(a[channel], b[channel]), max(c[channel], d[channel]))


@kernel
def project(x: Array, weights: Array, bias: Array, grow: int, result: Array, start: int, stop: int, most: int) -> None:
    """Multiply the channels of each pixel by weights, for lines of all images; write it ``grow`` times both ways."""
    lines, columns, outputs = x.shape[1], x.shape[2], weights.shape[1]
    made = np.empty((columns, outputs), np.float32)
    for line in range(start, stop):
        image, y = divmod(line, lines)
        for first in range(0, columns, most):
            np.dot(x[image, y, first : first + most], weights, made[first : first + most])
        for down in range(grow):
            for at in range(columns * grow):
                to, source = result[image, y * grow + down, at], made[at // grow]
                for channel in range(outputs):
                    to[channel] = source[channel] + bias[channel]


@kernel
def finish(
    x: Array, scale: Array, shift: Array, weights: Array, bias: Array, maps: Array, start: int, stop: int
) -> None:
    """Scale, shift and cut at zero, multiply by weights, and write maps (N, outputs, H, W), for lines of all images."""
    lines, columns, channels = x.shape[1], x.shape[2], x.shape[3]
    cut = np.empty((columns, channels), np.float32)
    made = np.empty((columns, weights.shape[1]), np.float32)
    for line in range(start, stop):
        image, y = divmod(line, lines)
        for at in range(columns):
            source, to = x[image, y, at], cut[at]
            for channel in range(channels):
                to[channel] = max(source[channel] * scale[channel] + shift[channel], np.float32(0))
        np.dot(cut, weights, made)
        for output in range(weights.shape[1]):
            for at in range(columns):
                maps[image, output, y, at] = made[at, output] + bias[output]
