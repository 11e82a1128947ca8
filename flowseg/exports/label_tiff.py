"""Label images as compressed TIFF."""

import io

import numpy as np
import tifffile

from flowseg.arrays import Labels

_MOST_16 = 65_535


def encode(labels: Labels) -> bytes:
    """Return a TIFF (zlib) of labels: 16 bits a pixel, 32 where one is above 65,535."""
    kind = np.uint16 if labels.max(initial=0) <= _MOST_16 else np.uint32
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, labels.astype(kind), compression="zlib", compressionargs={"level": 3}, predictor=False)
    return buffer.getvalue()
