"""One instance as a PNG of its own, as in the Data Science Bowl 2018: 255 inside, 0 outside."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowseg import arrays


def encode(mask: npt.ArrayLike) -> bytes:
    """Return a mask (H, W) as an 8-bit grey PNG.

    Examples
    --------
    >>> np.asarray(Image.open(io.BytesIO(encode([[0, 1]])))).tolist()
    [[0, 255]]
    """
    buffer = io.BytesIO()
    Image.fromarray(arrays.as_mask(mask).astype(np.uint8) * np.uint8(255)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
