"""An image with the outlines of its instances, as a PNG or JPEG to look at."""

import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowseg import arrays, colours, labels
from flowseg.errors import InputError, OptionError

Kind = Literal["png", "jpeg"]
Bytes = npt.NDArray[np.uint8]

_ALL_HUES, _STAIN_HUES = (0.0, 1.0), (0.13, 0.4)  # first and how many: yellow to cyan stand out on stained tissue


def encode(planes: npt.NDArray[Any], image: npt.ArrayLike, kind: Kind = "png") -> bytes:
    """Return the picture.

    Parameters
    ----------
    planes
        (C, H, W) real numbers. One channel is grey; three of 8 bits are red, green and blue; of any others each has a
        colour of its own.
    image
        (H, W) labels; each has a colour of its own along its border.
    kind
        "png", exact; "jpeg", smaller.

    Examples
    --------
    >>> data = encode(np.arange(12.0).reshape(1, 3, 4), np.ones((3, 4), int))
    >>> Image.open(io.BytesIO(data)).size
    (4, 3)
    """
    if kind not in ("png", "jpeg"):
        raise OptionError(f"kind is {kind!r}; wanted png or jpeg")
    drawn = draw(planes, image)
    buffer = io.BytesIO()
    if kind == "png":
        Image.fromarray(drawn).save(buffer, "PNG", compress_level=1)
    else:
        Image.fromarray(drawn).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def draw(planes: npt.NDArray[Any], image: npt.ArrayLike) -> Bytes:
    """Return the picture (H, W, 3) as pixels; see `encode`."""
    stack = np.asarray(planes)
    if stack.ndim != 3 or stack.dtype.kind not in "biuf" or stack.size == 0:
        raise InputError(f"planes have shape {stack.shape} and type {stack.dtype}; wanted (channels, height, width)")
    found = arrays.as_labels(image).image
    arrays.check_same_shape(found.shape, stack.shape[1:], "the label image and the planes")
    canvas = colours.seen(stack)
    border = labels.outline_mask(found)
    hues = _STAIN_HUES if colours.is_colour(stack) else _ALL_HUES
    table = colours.distinct_colours(int(found.max(initial=0)) + 1, darkest=40, hues=hues)
    canvas[border] = table[found[border]]
    return canvas
