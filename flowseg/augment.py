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
from flowseg.kernels.warp import clear_outside, warp

_KNOT = 32  # pixels between the knots of an elastic map
_STRAIGHT = np.empty((2, 0, 0), np.float32)


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
"""Crops of the image as it is, anywhere in it: what validation looks at."""


class Source(NamedTuple):
    """An image to cut crops from.

    Attributes
    ----------
    planes
        (C, h, w), or (1, h, w) where all channels are alike: uint8 or uint16 as they are stored, or float32.
    levels
        (C, n) float32: what each stored whole number becomes; (C, 0) where planes are floats, which stay as they are.
    labels
        (h, w) integers, 0 is background.
    """

    planes: npt.NDArray[Any]
    levels: Floats
    labels: npt.NDArray[np.integer[Any]]


class Crop(NamedTuple):
    """An image (C, size, size) float32, normalised, and its labels (size, size) int32; both 0 outside the source."""

    image: Floats
    labels: Labels


class _Look(NamedTuple):
    """How intensities of a crop are changed: to a power, by a factor and a shift for each channel, and what follows."""

    power: float
    factor: list[float]
    shift: list[float]
    blur: float
    noise: float
    without: int  # a channel; 0: none

    def curved(self, values: Floats) -> Floats:
        """Apply power, factor and shift to (C, ...), in place; an empty channel, all 0, stays so."""
        for channel, factor, shift in zip(values, self.factor, self.shift, strict=True):  # numpy keeps Python if small
            if not channel.any():
                continue
            if self.power != 1:
                np.maximum(channel, 0, out=channel)
                np.power(channel, np.float32(self.power), out=channel)
            channel *= factor
            channel += shift
        return values


def crop(
    source: Source,
    size: int,
    zoom: float,
    rng: np.random.Generator,
    options: AugmentOptions,
    out: Floats | None = None,
) -> Crop:
    """Cut one crop, at a random place, changed as the options say.

    Threads that cut crops wait for one another wherever Python is needed, so nearly all is done by one kernel.

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
    out
        (C, size, size) float32 that becomes the image of the crop.
    """
    zoom *= _drawn_factor(rng, options.scale)
    matrix = _matrix(source.labels.shape, size, zoom, rng, options)
    bend = _bend(size, options.elastic / zoom, rng)
    look = _drawn_look(len(source.levels), rng, options)
    levels = source.levels
    if look is not None and levels.size:
        levels = look.curved(levels.copy())
    image = np.empty((len(source.levels), size, size), np.float32) if out is None else out
    labels = np.empty((size, size), np.int32)
    inside = np.empty((size, size), np.bool_)
    whole = warp(source.planes, levels, source.labels, matrix, bend, image, labels, inside)
    if look is not None and _changed(image, look, rng, not levels.size) and not whole:
        clear_outside(image, inside)
    return Crop(image, labels)


def _drawn_factor(rng: np.random.Generator, most: float) -> float:
    return (1 + most) ** (2 * rng.random() - 1) if most else 1.0


def _matrix(
    shape: tuple[int, ...], size: int, zoom: float, rng: np.random.Generator, options: AugmentOptions
) -> npt.NDArray[np.float64]:
    """Return the map (2, 3) from a pixel of the crop to a place in the image."""
    angle = 2 * math.pi * rng.random() if options.rotate else 0.0
    along, across = math.cos(angle) / zoom, math.sin(angle) / zoom
    side = -1 if options.flip and rng.random() < 0.5 else 1
    middle = (size - 1) / 2
    rows = []
    for length, by_row, by_column in zip(shape, (along, across), (-across * side, along * side), strict=True):
        place = _centre(length, size / zoom, rng)
        rows.append((by_row, by_column, place - (by_row + by_column) * middle))
    return np.array(rows)


def _centre(length: int, side: float, rng: np.random.Generator) -> float:
    """Draw the centre of a crop along one axis: inside the image if it fits, else so that all of the image is in it."""
    return (length - 1) / 2 + abs(length - side) / 2 * (2 * rng.random() - 1)


def _bend(size: int, pixels: float, rng: np.random.Generator) -> Floats:
    if pixels == 0:
        return _STRAIGHT
    knots = max(2, size // _KNOT + 1)
    return rng.normal(0, pixels, (2, knots, knots)).astype(np.float32)


def _drawn_look(channels: int, rng: np.random.Generator, options: AugmentOptions) -> _Look | None:
    """Draw how intensities are changed: all channels alike, then the colours; None where nothing is to be changed."""
    may = ("contrast", "brightness", "colour", "gamma", "noise", "blur", "drop", "invert")
    if not any(getattr(options, name) for name in may):
        return None
    power, factor = _drawn_factor(rng, options.gamma), _drawn_factor(rng, options.contrast)
    shift = options.brightness * (2 * rng.random() - 1)
    factors, shifts = [], []
    for _ in range(channels):
        own = _drawn_factor(rng, options.colour)
        factors.append(factor * own)
        shifts.append(shift * own + (options.colour * (rng.random() - 0.5) if options.colour else 0.0))
    blur = options.blur * rng.random() if options.blur and rng.random() < 0.25 else 0.0
    noise = options.noise * rng.random() if options.noise and rng.random() < 0.25 else 0.0
    if rng.random() < options.invert:
        factors, shifts = [-one for one in factors], [1 - one for one in shifts]
    drop = channels > 1 and rng.random() < options.drop
    return _Look(power, factors, shifts, blur, noise, int(rng.integers(1, channels)) if drop else 0)


def _changed(image: Floats, look: _Look, rng: np.random.Generator, curve: bool) -> bool:
    """Do in place what could not be done to the levels; tell whether the outside is no longer 0."""
    if curve:
        look.curved(image)
    if look.blur:
        ndimage.gaussian_filter(image, (0, look.blur, look.blur), truncate=3, output=image)
    if look.noise:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(look.noise)
        image += noise * image.any(axis=(1, 2), keepdims=True)  # an empty channel stays so
    if look.without:
        image[look.without] = 0
    return bool(curve or look.blur or look.noise)
