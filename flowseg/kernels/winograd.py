"""Convolution with kernels of 3 x 3 by few multiplications: Winograd's F(4 x 4, 3 x 3).

A tile of 4 x 4 pixels of the result comes from 6 x 6 of what is given. Both sides are transformed so that the
convolution becomes 36 products of matrices, (tiles, channels) by (channels, width): 36 multiplications for 16 pixels
where 144 are usual. Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), have the transforms.

Images are (N, H, W, channels). Before it is convolved, each pixel becomes ``max(x * scale + shift, 0)``, with a shift
of each image's own; around the image are zeros. With ``grow = 2``, the image is taken as if it were twice as large.

Many tiles are made together. What they have at one of 36 places is a row of one array, so that every transform is a
few long loops over tiles and channels, which put what they make where they found what they take.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Array = npt.NDArray[np.float32]

TILE = 4  # pixels of a side of the result
_SIDE = TILE + 2
_PRODUCTS = _SIDE * _SIDE

_WEIGHT_SIDE = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24


def transformed(weight: npt.NDArray[np.floating]) -> Array:
    """Transform the weights (width, channels, 3, 3) of a convolution: (36, channels, width)."""
    lines = np.tensordot(weight.astype(np.float64), _WEIGHT_SIDE, (2, 1))  # (width, channels, 3, 6)
    both = np.tensordot(lines, _WEIGHT_SIDE, (2, 1))  # (width, channels, 6, 6)
    return np.ascontiguousarray(both.transpose(2, 3, 1, 0).reshape(_PRODUCTS, *weight.shape[1::-1]), np.float32)


def tiles(height: int, width: int) -> int:
    """Return how many tiles cover an image."""
    return -(-height // TILE) * -(-width // TILE)


def bytes_of_a_tile(weights: Array) -> int:
    """Return what one tile takes while it is convolved."""
    return _PRODUCTS * sum(weights.shape[1:]) * 4


@kernel
def convolve(
    x: Array,
    scale: Array,
    shift: Array,
    grow: int,
    weights: Array,
    bias: Array,
    add: bool,
    result: Array,
    start: int,
    stop: int,
    most: int,
) -> None:
    """Convolve tiles, ``start`` to ``stop`` of those of all images, into ``result``, or add to what is there.

    At most ``most`` of them are made at once.
    """
    channels, outputs = weights.shape[1], weights.shape[2]
    given = np.empty((_PRODUCTS, most * channels), np.float32)
    made = np.empty((_PRODUCTS, most * outputs), np.float32)
    for first in range(start, stop, most):
        count = min(most, stop - first)
        _take(x, scale, shift, grow - 1, result.shape[1], result.shape[2], first, count, given)
        for side in range(_SIDE):
            _transform(given[_SIDE * side :], 1, count * channels)
        for side in range(_SIDE):
            _transform(given[side:], _SIDE, count * channels)
        for product in range(_PRODUCTS):
            np.dot(
                given[product, : count * channels].reshape(count, channels),
                weights[product],
                made[product, : count * outputs].reshape(count, outputs),
            )
        for side in range(_SIDE):
            _fold(made[side:], _SIDE, count * outputs)
        for side in range(TILE):
            _fold(made[_SIDE * side :], 1, count * outputs)
        _put(made, bias, add, result, first, count)


@kernel
def _place(tile: int, height: int, width: int) -> tuple[int, int, int]:
    """Return the image, the first row and the first column of a tile."""
    along = -(-width // TILE)
    row, column = tile // along, tile % along
    down = -(-height // TILE)
    return row // down, row % down * TILE, column * TILE


@kernel
def _take(
    x: Array,
    scale: Array,
    shift: Array,
    halvings: int,
    height: int,
    width: int,
    first: int,
    count: int,
    given: Array,
) -> None:
    """Take the pixels of tiles, scaled, shifted and cut at zero; zeros outside the image."""
    channels = len(scale)
    for tile in range(count):
        image, top, left = _place(first + tile, height, width)
        to = tile * channels
        for place in range(_PRODUCTS):
            y, at = top - 1 + place // _SIDE, left - 1 + place % _SIDE
            if 0 <= y < height and 0 <= at < width:
                for channel in range(channels):
                    value = x[image, y >> halvings, at >> halvings, channel] * scale[channel] + shift[image, channel]
                    given[place, to + channel] = max(value, np.float32(0))
            else:
                given[place, to : to + channels] = 0


@kernel
def _transform(rows: Array, step: int, length: int) -> None:
    """Transform what is in six rows, ``step`` apart, in its place."""
    two, four, five = np.float32(2), np.float32(4), np.float32(5)
    for at in range(length):
        a, b, c = rows[0, at], rows[step, at], rows[2 * step, at]
        d, e, f = rows[3 * step, at], rows[4 * step, at], rows[5 * step, at]
        even, odd = e - four * c, d - four * b
        outer, inner = e - c, two * (d - b)
        rows[0, at] = four * a - five * c + e
        rows[step, at] = even + odd
        rows[2 * step, at] = even - odd
        rows[3 * step, at] = outer + inner
        rows[4 * step, at] = outer - inner
        rows[5 * step, at] = four * b - five * d + f


@kernel
def _fold(rows: Array, step: int, length: int) -> None:
    """Transform products, which are in six rows ``step`` apart, back into the first four."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    for at in range(length):
        a, b, c = rows[0, at], rows[step, at], rows[2 * step, at]
        d, e, f = rows[3 * step, at], rows[4 * step, at], rows[5 * step, at]
        near, far = b + c, d + e
        near_slope, far_slope = b - c, d - e
        rows[0, at] = a + near + far
        rows[step, at] = near_slope + two * far_slope
        rows[2 * step, at] = near + four * far
        rows[3 * step, at] = near_slope + eight * far_slope + f


@kernel
def _put(made: Array, bias: Array, add: bool, result: Array, first: int, count: int) -> None:
    """Write the pixels of tiles, or add them to what is there."""
    height, width, outputs = result.shape[1:]
    for tile in range(count):
        image, top, left = _place(first + tile, height, width)
        begin = tile * outputs
        for y in range(top, min(top + TILE, height)):
            for at in range(left, min(left + TILE, width)):
                place = _SIDE * (y - top) + at - left
                if add:
                    for output in range(outputs):
                        result[image, y, at, output] += made[place, begin + output] + bias[output]
                else:
                    for output in range(outputs):
                        result[image, y, at, output] = made[place, begin + output] + bias[output]
