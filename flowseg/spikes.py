"""Hot and dead pixels of a camera: single ones far beyond all around them, which no lens draws.

One in a thousand, a hundred times brighter than the cells, and a network finds nothing in the whole image.
"""

import numpy as np

from flowseg.arrays import Floats

_AROUND = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)]


def clean(plane: Floats) -> int:
    """Give each spike the median of the eight pixels around it, in place; return how many there were.

    Parameters
    ----------
    plane
        (H, W) float32, normalised: 0 to 1 is the contrast of the image. A spike is a pixel above 1 or below 0 that lies
        more than 1 beyond all around it but one, and more than twice as far out: a point through a microscope, at
        two pixels to its width, has half its height beside it. All but one, so that two spikes may touch.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.zeros((5, 5), np.float32)
    >>> plane[1, 1], plane[4, 4] = 90, -3
    >>> clean(plane), float(abs(plane).max())
    (2, 0.0)
    """
    rows, columns = np.nonzero((plane > 1) | (plane < 0))  # few: what lies beyond two percentiles
    framed = np.pad(plane, 1, mode="reflect")
    around = np.sort([framed[rows + dy, columns + dx] for dy, dx in _AROUND], axis=0)
    own = plane[rows, columns]
    high, low = around[-2], around[1]
    spikes = (own > np.maximum(high + 1, 2 * high)) | (own < np.minimum(low - 1, 2 * low))
    plane[rows[spikes], columns[spikes]] = np.median(around[:, spikes], axis=0)
    return int(spikes.sum())
