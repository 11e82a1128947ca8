"""An image with the outlines of its instances, as a PNG or JPEG to look at."""

import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowseg import arrays, labels, normalize
from flowseg.errors import InputError, OptionError

Kind = Literal["png", "jpeg"]
Bytes = npt.NDArray[np.uint8]

_LOW, _HIGH = 0.5, 99.8  # percentiles that become black and white
_GOLDEN = 0.618034  # hues this far apart stay apart for any number of labels
_ALL_HUES, _STAIN_HUES = (0.0, 1.0), (0.13, 0.4)  # first and how many: yellow to cyan stand out on stained tissue
# What the channels of a picture that is neither grey nor RGB shine in.
_LIGHTS = ((1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))


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
    canvas = seen(stack)
    border = labels.outline_mask(found)
    hues = _STAIN_HUES if is_colour(stack) else _ALL_HUES
    canvas[border] = _colours(int(found.max(initial=0)), *hues)[found[border]]
    return canvas


def seen(stack: npt.NDArray[Any]) -> Bytes:
    """Return an image as one sees it, (H, W, 3)."""
    if is_colour(stack):  # colours keep their balance: stretched together
        return np.ascontiguousarray(np.moveaxis(_stretched(stack), 0, 2))
    if len(stack) == 1:
        return np.repeat(_stretched(stack[0])[..., np.newaxis], 3, axis=2)
    canvas = np.zeros((*stack.shape[1:], 3), np.uint8)
    for number, plane in enumerate(stack):
        grey = _stretched(plane)
        for channel in np.flatnonzero(_LIGHTS[number % len(_LIGHTS)]):
            np.maximum(canvas[..., channel], grey, out=canvas[..., channel])
    return canvas


def _stretched(values: npt.NDArray[Any]) -> Bytes:
    """Bring numbers to 0..255, from a low percentile to a high one; what is not finite is black."""
    known = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    given = np.ascontiguousarray(values, None if known else np.float32)
    low, high = normalize.percentiles(given, (_LOW, _HIGH)).values
    scale = 255 / (high - low) if high > low else 0.0
    if known:
        span = np.iinfo(given.dtype)
        table = ((np.arange(span.min, span.max + 1) - low) * scale).clip(0, 255).round().astype(np.uint8)
        seen: Bytes = table[given.astype(np.int32) - span.min]
        return seen
    with np.errstate(over="ignore", invalid="ignore"):
        stretched = ((given - np.float32(low)) * np.float32(scale)).clip(0, 255).round()
    return np.asarray(np.nan_to_num(stretched, copy=False), np.uint8)


def is_colour(stack: npt.NDArray[Any]) -> bool:
    """Tell whether three planes are red, green and blue."""
    return len(stack) == 3 and stack.dtype == np.uint8


def _colours(highest: int, first: float, extent: float) -> Bytes:
    """Return a bright colour for each label, (highest + 1, 3)."""
    hue = (first + extent * (np.arange(highest + 1) * _GOLDEN % 1))[:, np.newaxis] * 6 + np.array([0, 4, 2])
    return np.asarray(40 + 215 * (np.abs(hue % 6 - 3) - 1).clip(0, 1), np.uint8)
