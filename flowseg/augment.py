"""Change an image and its labels together: moved by one map, so that flows computed afterwards are right.

Flows are never turned: a crop's flows are those of the crop's own labels.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from flowseg import checks
from flowseg.arrays import Floats, Labels
from flowseg.kernels.warp import warp

_KNOT = 32  # pixels between the knots of an elastic map


@dataclass(frozen=True)
class AugmentOptions:
    """What is drawn anew for each crop.

    Attributes
    ----------
    rotate, flip
        Turn by any angle; mirror half of the crops.
    scale
        Resize by a factor between ``1 / (1 + scale)`` and ``1 + scale``.
    elastic
        Bend by so many pixels of the crop, one standard deviation; 0 does not.
    contrast, brightness
        Stretch intensities by a factor up to ``1 + contrast`` or its inverse, and shift them by up to ``brightness``
        of the span between the percentiles of the image.
    colour
        Stretch each channel by a factor of its own up to ``1 + colour`` or its inverse, and shift it by up to half of
        ``colour`` of the span.
    gamma
        Raise intensities to a power between ``1 / (1 + gamma)`` and ``1 + gamma``.
    noise, blur
        Add Gaussian noise of up to this standard deviation, or blur by up to so many pixels, in a quarter of the
        crops each.
    drop
        Part of the crops in which a channel other than the first is left out.
    invert
        Part of the crops whose intensities are inverted.

    Examples
    --------
    >>> AugmentOptions(scale=0.5, invert=0.5).rotate
    True
    """

    rotate: bool = True
    flip: bool = True
    scale: float = 0.25
    elastic: float = 0.0
    contrast: float = 0.2
    brightness: float = 0.1
    colour: float = 0.0
    gamma: float = 0.2
    noise: float = 0.05
    blur: float = 0.0
    drop: float = 0.0
    invert: float = 0.0

    def __post_init__(self) -> None:
        checks.plain(self)
        for name in ("rotate", "flip"):
            checks.flag(name, getattr(self, name))
        for name, most in (("scale", 9), ("elastic", 100), ("contrast", 9), ("brightness", 9), ("colour", 9)):
            checks.number(name, getattr(self, name), 0, most)
        for name, most in (("gamma", 9), ("noise", 9), ("blur", 20), ("drop", 1), ("invert", 1)):
            checks.number(name, getattr(self, name), 0, most)


NOTHING = AugmentOptions(False, False, *[0] * 10)
"""Crops as the image is: what validation looks at."""


class Source(NamedTuple):
    """An image to cut crops from.

    Attributes
    ----------
    planes
        (C, h, w) in the type that the image is stored in.
    low, span
        (C,) float32: the intensity that becomes 0, and how much more becomes 1.
    labels
        (h, w) integers, 0 is background.
    """

    planes: npt.NDArray[Any]
    low: Floats
    span: Floats
    labels: npt.NDArray[np.integer[Any]]


class Crop(NamedTuple):
    """An image (C, size, size) float32, normalised, and its labels (size, size) int32; both 0 outside the source."""

    image: Floats
    labels: Labels


def crop(source: Source, size: int, zoom: float, rng: np.random.Generator, options: AugmentOptions) -> Crop:
    """Cut one crop, at a random place, changed as the options say.

    Parameters
    ----------
    source
        Where from.
    size
        Side of the crop in pixels.
    zoom
        Factor by which the image is resized before ``options.scale`` adds its own.
    rng
        Everything is drawn from it: the same state gives the same crop.
    """
    zoom *= _drawn_factor(rng, options.scale)
    matrix = _matrix(source.labels.shape, size, zoom, rng, options)
    bend = _bend(size, options.elastic / zoom, rng)
    image = np.empty((len(source.planes), size, size), np.float32)
    labels = np.empty((size, size), np.int32)
    inside = np.empty((size, size), np.bool_)
    (top, left), (bottom, right) = _window(matrix, size, bend, source.labels.shape)
    planes = source.planes[:, top:bottom, left:right].astype(np.float32)
    planes -= source.low[:, None, None]
    planes /= source.span[:, None, None]
    matrix[:, 2] -= (top, left)
    warp(planes, source.labels[top:bottom, left:right].astype(np.int32), matrix, bend, image, labels, inside)
    changed = _intensities(image, rng, options)
    if changed is not None:
        image = changed
        if not inside.all():
            image[:, ~inside] = 0
    return Crop(image, labels)


def _drawn_factor(rng: np.random.Generator, most: float) -> float:
    return float((1 + most) ** rng.uniform(-1, 1)) if most else 1.0


def _matrix(
    shape: tuple[int, ...], size: int, zoom: float, rng: np.random.Generator, options: AugmentOptions
) -> npt.NDArray[np.float64]:
    """Return the map (2, 3) from a pixel of the crop to a place in the image."""
    angle = rng.uniform(0, 2 * math.pi) if options.rotate else 0.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if options.flip and rng.random() < 0.5:
        turn[:, 1] *= -1
    matrix = np.empty((2, 3))
    matrix[:, :2] = turn / zoom
    place = [_centre(length, size / zoom, rng, options is NOTHING) for length in shape]
    matrix[:, 2] = place - matrix[:, :2] @ np.full(2, (size - 1) / 2)
    return matrix


def _centre(length: int, side: float, rng: np.random.Generator, still: bool) -> float:
    """Draw the centre of a crop along one axis: inside the image if it fits, else so that all of the image is in it."""
    room = 0.0 if still else abs(length - side) / 2
    return (length - 1) / 2 + rng.uniform(-room, room)


def _bend(size: int, pixels: float, rng: np.random.Generator) -> Floats:
    if pixels == 0:
        return np.empty((2, 0, 0), np.float32)
    knots = max(2, size // _KNOT + 1)
    return rng.normal(0, pixels, (2, knots, knots)).astype(np.float32)


def _window(
    matrix: npt.NDArray[np.float64], size: int, bend: Floats, shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first and one past the last row and column of the image that the crop can touch."""
    corners = np.array([(0, 0, 1), (0, size - 1, 1), (size - 1, 0, 1), (size - 1, size - 1, 1)]) @ matrix.T
    margin = 2 + float(np.abs(bend).max(initial=0))
    low = np.clip(np.floor(corners.min(0) - margin), 0, np.subtract(shape, 1)).astype(int)
    high = np.clip(np.ceil(corners.max(0) + margin) + 1, low + 1, shape).astype(int)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _intensities(image: Floats, rng: np.random.Generator, options: AugmentOptions) -> Floats | None:
    """Return the image with other intensities; None where nothing is to be changed."""
    if options.contrast or options.brightness or options.colour or options.gamma:
        _stretch(image, rng, options)
    elif not (options.noise or options.blur or options.drop or options.invert):
        return None
    if options.blur and rng.random() < 0.25:
        sigma = rng.uniform(0, options.blur)
        image = ndimage.gaussian_filter(image, (0, sigma, sigma), truncate=3)
    if options.noise and rng.random() < 0.25:
        image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, options.noise))
    if rng.random() < options.invert:
        np.subtract(1, image, out=image)
    if len(image) > 1 and rng.random() < options.drop:
        image[rng.integers(1, len(image))] = 0
    return image


def _stretch(image: Floats, rng: np.random.Generator, options: AugmentOptions) -> None:
    """Change brightness, contrast and gamma in place, all channels alike, then the colours."""
    power = _drawn_factor(rng, options.gamma)
    if power != 1:
        np.maximum(image, 0, out=image)
        np.power(image, np.float32(power), out=image)
    factor = _drawn_factor(rng, options.contrast)
    shift = rng.uniform(-options.brightness, options.brightness) if options.brightness else 0.0
    image *= np.float32(factor)
    image += np.float32(shift)
    if options.colour:
        each = (len(image), 1, 1)
        image *= ((1 + options.colour) ** rng.uniform(-1, 1, each)).astype(np.float32)
        image += (options.colour / 2 * rng.uniform(-1, 1, each)).astype(np.float32)
