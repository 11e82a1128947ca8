"""Arrays become pictures, arrays of colours (H, W, 3): images as one sees them, flows, labels, outlines."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import labels as label_images
from flowseg.arrays import Floats, Labels
from flowseg.percentiles import percentiles

Colours = npt.NDArray[np.uint8]

_LOW, _HIGH = 0.5, 99.8  # percentiles that become black and white
# What the channels of a picture that is neither grey nor RGB shine in.
_LIGHTS = ((1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))

_GOLDEN = 0.618034  # hues this far apart stay apart for any number of labels

TRUTH, FOUND = (255, 196, 0), (0, 214, 255)  # told apart by people who see few colours, and on any image


def seen(stack: npt.NDArray[Any]) -> Colours:
    """Return an image (C, H, W) as one sees it, (H, W, 3).

    One channel is grey; three of 8 bits are red, green and blue; of any others each has a colour of its own. The
    darkest and the brightest pixels are cut, infinite ones too; NaN is black.

    Examples
    --------
    >>> seen(np.arange(12.0).reshape(1, 3, 4)).shape
    (3, 4, 3)
    """
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


def _stretched(values: npt.NDArray[Any]) -> Colours:
    """Bring numbers to 0..255, from a low percentile to a high one; NaN is black."""
    known = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    given = np.ascontiguousarray(values, None if known else np.float32)
    low, high = percentiles(given, (_LOW, _HIGH)).values
    scale = 255 / (high - low) if high > low else 0.0
    if known:
        span = np.iinfo(given.dtype)
        table = ((np.arange(span.min, span.max + 1) - low) * scale).clip(0, 255).round().astype(np.uint8)
        levels: Colours = table[given.astype(np.int32) - span.min]
        return levels
    with np.errstate(over="ignore", invalid="ignore"):
        stretched = ((given - np.float32(low)) * np.float32(scale)).clip(0, 255).round()
    return np.asarray(np.nan_to_num(stretched, copy=False), np.uint8)


def is_colour(stack: npt.NDArray[Any]) -> bool:
    """Tell whether three planes are red, green and blue."""
    return len(stack) == 3 and stack.dtype == np.uint8


def flow_colours(flows: Floats, strength: Floats | None = None) -> Colours:
    """Return flows (2, H, W) as colours (H, W, 3): the hue is the direction, brightness the length.

    Parameters
    ----------
    flows
        Vectors (dy, dx), at most 1 long.
    strength
        (H, W) from 0 to 1 in place of the length.

    Examples
    --------
    >>> flow_colours(np.zeros((2, 4, 5), np.float32)).shape
    (4, 5, 3)
    """
    angle = np.arctan2(flows[0], flows[1])
    value = np.hypot(flows[0], flows[1]).clip(0, 1) if strength is None else strength.clip(0, 1)
    shifts = np.array([0, 2 * math.pi / 3, 4 * math.pi / 3], np.float32)
    waves = (1 + np.cos(angle[..., None] - shifts)) / 2
    return np.asarray((waves * value[..., None] * 255).astype(np.uint8))


def with_outlines(picture: Colours, labels: Labels, colour: Sequence[int]) -> Colours:
    """Return the picture with the border pixels of every instance in one colour.

    Examples
    --------
    >>> with_outlines(np.zeros((3, 3, 3), np.uint8), np.ones((3, 3), np.int32), (255, 0, 0))[..., 0].tolist()
    [[255, 255, 255], [255, 0, 255], [255, 255, 255]]
    """
    drawn = picture.copy()
    drawn[label_images.outline_mask(labels)] = colour
    return drawn


def compared(planes: npt.NDArray[Any], truth: Labels, found: Labels, flows: Floats) -> Colours:
    """Return three pictures side by side: outlines of the truth, outlines of what was found, and the flows."""
    picture = seen(planes)
    panels = [with_outlines(picture, truth, TRUTH), with_outlines(picture, found, FOUND), flow_colours(flows)]
    gap = np.full((picture.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def label_colours(labels: Labels) -> Colours:
    """Return a label image as colours (H, W, 3): background black, each instance a colour unlike its neighbours'.

    Examples
    --------
    >>> label_colours(np.array([[0, 1], [2, 2]])).shape
    (2, 2, 3)
    """
    table = distinct_colours(int(labels.max(initial=0)) + 1, darkest=60)
    table[0] = 0
    return np.asarray(table[labels])


def distinct_colours(count: int, darkest: int, hues: tuple[float, float] = (0.0, 1.0)) -> Colours:
    """Return bright colours (count, 3), each unlike those before it, with red, green and blue from ``darkest`` up.

    Hues begin with the first of ``hues`` and go as far as the second says; all of them are 1.

    Examples
    --------
    >>> distinct_colours(2, darkest=0).tolist()
    [[255, 0, 0], [0, 74, 255]]
    """
    first, extent = hues
    hue = (first + extent * (np.arange(count) * _GOLDEN % 1))[:, None] * 6 + np.array([0, 4, 2])
    return np.asarray(darkest + (255 - darkest) * (np.abs(hue % 6 - 3) - 1).clip(0, 1), np.uint8)


def probability(cellprob: Floats) -> Colours:
    """Return logits (H, W) as grey (H, W): the probability, 0 to 255.

    >>> probability(np.array([[-99, 0, 99]], np.float32)).tolist()
    [[0, 127, 255]]
    """
    return np.asarray((255 / (1 + np.exp(-cellprob.clip(-30, 30)))).astype(np.uint8))


def outlined_thumbnail(picture: Colours, labels: Labels, longest: int) -> Colours:
    """Return a small picture with outlines one pixel wide, however much smaller it became.

    Examples
    --------
    >>> outlined_thumbnail(np.zeros((90, 60, 3), np.uint8), np.ones((90, 60), np.int32), 30).shape
    (30, 20, 3)
    """
    small = thumbnail(picture, longest)
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for old, new in zip(labels.shape, small.shape[:2], strict=True)
    )
    return with_outlines(small, labels[np.ix_(rows, columns)], FOUND)


def thumbnail(picture: Colours, longest: int) -> Colours:
    """Return a picture whose longer side has at most so many pixels."""
    from PIL import Image as PillowImage

    image = PillowImage.fromarray(picture)
    image.thumbnail((longest, longest), PillowImage.Resampling.BOX)
    return np.asarray(image)


def png(picture: Colours) -> bytes:
    """Return a picture (H, W, 3) as a PNG file, exact."""
    return _encoded(picture, "PNG")


def jpeg(picture: Colours) -> bytes:
    """Return a picture (H, W, 3) as a JPEG file, which is smaller."""
    return _encoded(picture, "JPEG", quality=88, subsampling=0)


def _encoded(picture: Colours, kind: str, **settings: int) -> bytes:
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, kind, **settings)
    return buffer.getvalue()
