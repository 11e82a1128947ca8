"""Convolution with kernels of 3 x 3 by few multiplications: Winograd's F(4 x 4, 3 x 3).

A tile of 4 x 4 pixels of the result comes from 6 x 6 of what is given. Both sides are transformed so that the
convolution becomes 36 products of matrices, (tiles, channels) by (channels, width): 36 multiplications for 16 pixels
where 144 are usual. Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), have the transforms.

Images are (N, H, W, channels). Before it is convolved, each pixel becomes ``max(x * scale + shift, 0)``, with a shift
of each image's own; around the image are zeros. With ``grow = 2``, the image is taken as if it were twice as large.

Tiles of one row are made together. Their pixels lie apart by which column of its tile each is in, so that every
transform is one long loop over tiles and channels.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Array = npt.NDArray[np.float32]
Real = np.float32
Four = tuple[Real, Real, Real, Real]
Six = tuple[Real, Real, Real, Real, Real, Real]

TILE = 4  # pixels of a side of the result
_SIDE = TILE + 2
_PRODUCTS = _SIDE * _SIDE

_WEIGHT_SIDE = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24


def transformed(weight: npt.NDArray[np.floating]) -> Array:
    """Transform the weights (width, channels, 3, 3) of a convolution: (36, channels, width)."""
    lines = np.tensordot(weight.astype(np.float64), _WEIGHT_SIDE, (2, 1))  # (width, channels, 3, 6)
    both = np.tensordot(lines, _WEIGHT_SIDE, (2, 1))  # (width, channels, 6, 6)
    return np.ascontiguousarray(both.transpose(2, 3, 1, 0).reshape(_PRODUCTS, *weight.shape[1::-1]), np.float32)


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
    """Convolve rows of tiles, ``start`` to ``stop`` of all images, into ``result``, or add to what is there.

    At most ``most`` tiles are made at once.
    """
    height, width = result.shape[1], result.shape[2]
    down, along = -(-height // TILE), -(-width // TILE)
    channels, outputs = weights.shape[1], weights.shape[2]
    most = min(most, along)
    patch = np.empty((_SIDE, TILE * (most + 1) * channels), np.float32)
    half = np.empty((_SIDE, TILE * (most + 1) * channels), np.float32)
    given = np.empty((_PRODUCTS, most * channels), np.float32)
    made = np.empty((_PRODUCTS, most * outputs), np.float32)
    folded = np.empty((TILE, _SIDE * most * outputs), np.float32)
    line = np.empty((TILE, most * outputs), np.float32)
    for place in range(start, stop):
        image, top = place // down, place % down * TILE
        for first in range(0, along, most):
            count = min(most, along - first)
            left = first * TILE
            _gather(x[image], scale, shift[image], grow, height, width, top - 1, left - 1, count, patch)
            _transform_down(patch, half, TILE * (count + 1) * channels)
            _transform_along(half, given, count * channels, (count + 1) * channels, channels)
            for product in range(_PRODUCTS):
                np.dot(
                    given[product, : count * channels].reshape(count, channels),
                    weights[product],
                    made[product, : count * outputs].reshape(count, outputs),
                )
            _fold_down(made, folded, count * outputs)
            for y in range(min(TILE, height - top)):
                _fold_along(folded[y], line, count * outputs)
                for at in range(min(TILE * count, width - left)):
                    tile, column = at // TILE, at % TILE
                    values = line[column, tile * outputs : (tile + 1) * outputs]
                    _put(values, bias, add, result[image, top + y, left + at])


@kernel
def _gather(
    x: Array,
    scale: Array,
    shift: Array,
    grow: int,
    height: int,
    width: int,
    top: int,
    left: int,
    count: int,
    patch: Array,
) -> None:
    """Take 6 lines of pixels, scaled, shifted and cut at zero; zeros outside the image."""
    channels = len(scale)
    for line in range(_SIDE):
        y = top + line
        for pixel in range(TILE * count + 2):
            at = left + pixel
            to = (pixel % TILE * (count + 1) + pixel // TILE) * channels
            target = patch[line, to : to + channels]
            if 0 <= y < height and 0 <= at < width:
                source = x[y // grow, at // grow]
                for channel in range(channels):
                    target[channel] = max(source[channel] * scale[channel] + shift[channel], np.float32(0))
            else:
                target[:] = 0


@kernel
def _six(a: Real, b: Real, c: Real, d: Real, e: Real, f: Real) -> Six:
    """Transform six pixels of a line."""
    two, four, five = np.float32(2), np.float32(4), np.float32(5)
    even, odd = e - four * c, d - four * b
    outer, inner = e - c, two * (d - b)
    return four * a - five * c + e, even + odd, even - odd, outer + inner, outer - inner, four * b - five * d + f


@kernel
def _four(a: Real, b: Real, c: Real, d: Real, e: Real, f: Real) -> Four:
    """Transform six products of a line back to four pixels."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    near, far = b + c, d + e
    near_slope, far_slope = b - c, d - e
    return a + near + far, near_slope + two * far_slope, near + four * far, near_slope + eight * far_slope + f


@kernel
def _transform_down(patch: Array, half: Array, length: int) -> None:
    for at in range(length):
        half[0, at], half[1, at], half[2, at], half[3, at], half[4, at], half[5, at] = _six(
            patch[0, at], patch[1, at], patch[2, at], patch[3, at], patch[4, at], patch[5, at]
        )


@kernel
def _transform_along(half: Array, given: Array, length: int, column: int, next_tile: int) -> None:
    for line in range(_SIDE):
        first, second = half[line, :column], half[line, column : 2 * column]
        third, fourth = half[line, 2 * column : 3 * column], half[line, 3 * column : 4 * column]
        to = given[_SIDE * line : _SIDE * (line + 1)]
        for at in range(length):
            to[0, at], to[1, at], to[2, at], to[3, at], to[4, at], to[5, at] = _six(
                first[at], second[at], third[at], fourth[at], first[at + next_tile], second[at + next_tile]
            )


@kernel
def _fold_down(made: Array, folded: Array, length: int) -> None:
    for column in range(_SIDE):
        to = folded[:, column * length : (column + 1) * length]
        own = made[column::_SIDE]
        for at in range(length):
            to[0, at], to[1, at], to[2, at], to[3, at] = _four(
                own[0, at], own[1, at], own[2, at], own[3, at], own[4, at], own[5, at]
            )


@kernel
def _fold_along(folded: Array, line: Array, length: int) -> None:
    for at in range(length):
        line[0, at], line[1, at], line[2, at], line[3, at] = _four(
            folded[at], folded[at + length], folded[at + 2 * length],
            folded[at + 3 * length], folded[at + 4 * length], folded[at + 5 * length],
        )  # fmt: skip


@kernel
def _put(values: Array, bias: Array, add: bool, pixel: Array) -> None:
    if add:
        for at in range(len(bias)):
            pixel[at] += values[at] + bias[at]
    else:
        for at in range(len(bias)):
            pixel[at] = values[at] + bias[at]
