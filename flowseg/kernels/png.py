"""Undo the row filters of PNG."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Bytes = npt.NDArray[np.uint8]


@kernel
def _paeth(left: int, above: int, corner: int) -> int:
    """Return whichever of three neighbours is nearest to left + above - corner; ties go in that order."""
    guess = left + above - corner
    to_left, to_above, to_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


@kernel
def unfiltered(rows: Bytes, step: int) -> Bytes:
    """Return the bytes (H, n) of an image from its filtered rows (H, 1 + n), the first byte being the filter, 0..4.

    ``step`` is the number of bytes in a pixel: filters predict a byte from the same byte of the pixel to the left.
    """
    height, length = rows.shape[0], rows.shape[1] - 1
    out = np.empty((height, length), np.uint8)
    for y in range(height):
        filter_ = rows[y, 0]
        for x in range(length):
            left = int(out[y, x - step]) if x >= step else 0
            above = int(out[y - 1, x]) if y > 0 else 0
            corner = int(out[y - 1, x - step]) if y > 0 and x >= step else 0
            guess = 0
            if filter_ == 1:
                guess = left
            elif filter_ == 2:
                guess = above
            elif filter_ == 3:
                guess = (left + above) // 2
            elif filter_ == 4:
                guess = _paeth(left, above, corner)
            out[y, x] = np.uint8((int(rows[y, x + 1]) + guess) & 255)
    return out
