"""Intensities as networks are trained on them: the 1st percentile of a channel becomes 0, the 99th becomes 1.

On ordinary images the numbers are those of Cellpose 3. Where Cellpose would hand NaN, infinity or raw values to the
network, the result here is defined: see `normalize`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from flowseg import spikes
from flowseg.arrays import Floats
from flowseg.errors import InputError, OptionError
from flowseg.images import resize
from flowseg.percentiles import HUGE, percentiles
from flowseg.words import many

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

# Normalised values are bounded by this: one hot pixel 10,000 times the contrast away would overflow half precision.
_LARGEST = 1e4

# A channel is flat where its percentiles are this close, absolutely and relative to the larger of them.
_FLAT = 1e-3

# Cellpose's tiles share this part of their side with each neighbour.
_TILE_OVERLAP = 0.1


@dataclass(frozen=True)
class Normalization:
    """How intensities are scaled.

    Attributes
    ----------
    percentiles
        The percentiles of a channel that become 0 and 1.
    limits
        (low, high), or one such pair a channel, that become 0 and 1 in place of percentiles; (0, 1) changes nothing.
    tile
        Side in pixels of the squares that percentiles are taken over, interpolated between; 0 for the whole image.
    invert
        Whether cells are darker than what is around them: 0 and 1 change places.
    clean
        Whether hot and dead pixels of a camera are given what is around them; see `flowseg.spikes`.
    """

    percentiles: tuple[float, float] = (1.0, 99.0)
    limits: tuple[float, float] | tuple[tuple[float, float], ...] | None = None
    tile: int = 0
    invert: bool = False
    clean: bool = False

    def __post_init__(self) -> None:
        if len(self.percentiles) != 2 or not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise OptionError(f"percentiles {self.percentiles}; wanted two of 0..100, the lower first")
        if self.tile < 0 or self.tile != int(self.tile):
            raise OptionError(f"tile {self.tile}; wanted a side in pixels, or 0 for the whole image")
        if self.limits is None:
            return
        if self.tile:
            raise OptionError(f"limits {self.limits} and tile {self.tile} exclude one another")
        array = np.asarray(self.limits, np.float64)
        if array.ndim not in (1, 2) or array.shape[-1] != 2 or not (np.abs(array) < HUGE).all():
            raise OptionError(f"limits {self.limits}; wanted (low, high) or one such pair a channel")
        if (array[..., 1] - array[..., 0] < 1 / HUGE).any():
            raise OptionError(f"limits {self.limits}; wanted the lower before the higher")


class Normalized(NamedTuple):
    """Normalised planes and what was done to get them, one entry a plane.

    Attributes
    ----------
    planes
        (C, H, W) float32, finite.
    low, high
        Intensity that became 0 and 1; with tiles, those of the whole plane.
    replaced
        How many pixels were NaN or infinite.
    flat
        Whether the plane holds next to no contrast and became zeros.
    sparse
        Whether it did so although it has contrast, of pixels too few for the percentiles.
    spikes
        How many hot or dead pixels were cleaned.
    """

    planes: Floats
    low: tuple[float, ...]
    high: tuple[float, ...]
    replaced: tuple[int, ...]
    flat: tuple[bool, ...]
    sparse: tuple[bool, ...]
    spikes: tuple[int, ...]

    def remarks(self) -> list[str]:
        """Say what a person should know: pixels replaced."""
        return [
            f"input {number} of the network: {many(count, kind)}, in whose place {instead}"
            for counts, kind, instead in (
                (self.replaced, "NaN or infinite pixel", "its extremes are"),
                (self.spikes, "hot or dead pixel", "the median of those around is"),
            )
            for number, count in enumerate(counts)
            if count
        ]


class _Done(NamedTuple):
    """What was done to one plane; see `Normalized`."""

    low: float
    high: float
    replaced: int
    flat: bool
    sparse: bool
    spikes: int


def normalize(planes: npt.ArrayLike, options: Normalization | None = None) -> Normalized:
    """Scale each plane so that its percentiles become 0 and 1.

    Parameters
    ----------
    planes
        (C, H, W), any boolean, integer or float type; not changed. Integers of 8 and 16 bits are fastest.
    options
        `Normalization`; None is percentiles 1 and 99 of the whole plane.

    Returns
    -------
    Normalized
        Planes (C, H, W) as float32, finite whatever came. A plane without contrast becomes zeros: constant, or
        percentiles closer than 0.001 and closer than a thousandth of their size. NaN and minus infinity count as the
        smallest finite value of the plane, infinity (any number from 2**120 on) as the largest, and none of them in the
        percentiles. Without limits, results beyond 10,000 are cut there. A plane of zeros is an empty channel and stays
        zeros, inverted or not.

    Examples
    --------
    >>> import numpy as np
    >>> result = normalize(np.arange(101.0).reshape(1, 1, 101))
    >>> result.low, result.high, result.planes[0, 0, 50].item()
    ((1.0,), (99.0,), 0.5)
    """
    options = options or Normalization()
    given = np.asarray(planes)
    if given.ndim != 3 or given.size == 0:
        raise InputError(f"planes have shape {given.shape}; wanted (channels, height, width), none of them 0")
    if given.dtype.kind not in "biuf":
        raise InputError(f"planes have type {given.dtype}; wanted booleans, integers or floats")
    limits = _limits(options, len(given))
    out = np.empty(given.shape, np.float32)
    done = [_normalize_plane(*each, options) for each in zip(given, limits, out, strict=True)]
    return Normalized(
        planes=out,
        low=tuple(plane.low for plane in done),
        high=tuple(plane.high for plane in done),
        replaced=tuple(plane.replaced for plane in done),
        flat=tuple(plane.flat for plane in done),
        sparse=tuple(plane.sparse for plane in done),
        spikes=tuple(plane.spikes for plane in done),
    )


def _limits(options: Normalization, channels: int) -> list[tuple[float, float] | None]:
    """One pair of limits, or None, for each channel."""
    if options.limits is None:
        return [None] * channels
    array = np.asarray(options.limits, np.float64)
    if array.ndim == 2 and len(array) != channels:
        raise OptionError(f"limits for {len(array)} channels, {options.limits}, and an image of {channels}")
    return [(float(low), float(high)) for low, high in np.broadcast_to(array, (channels, 2))]


def _normalize_plane(given: Array, limits: tuple[float, float] | None, out: Floats, options: Normalization) -> _Done:
    """Write one plane, normalised, to ``out``."""
    plane, offset = _narrow(given, None if limits is None else limits[0])
    levels = percentiles(plane, (0.0, *options.percentiles, 100.0))
    least, low, high, most = (float(value) for value in levels.values)
    replaced = plane.size - levels.finite
    if replaced:
        plane = np.where(np.isnan(plane), least, plane).clip(least, most).astype(np.float32)
    if limits is not None:
        low, high = limits[0] - offset, limits[1] - offset
        done = least < most or least + offset != 0
    else:
        done = bool(options.tile) or has_contrast(low, high)
    if done and options.tile:
        done = _scale_by_tiles(plane, options, out)
    elif done:
        _scale(plane, low, high - low, out)
    _finish(out, done, options.invert, _LARGEST if limits is None else HUGE)
    cleaned = spikes.clean(out) if options.clean else 0
    sparse = not done and has_contrast(least, most)
    return _Done(low + offset, high + offset, replaced, not done, sparse, cleaned)


def _scale(plane: Array, low: float | Floats, span: float | Floats, out: Floats) -> None:
    """Write ``(plane - low) / span`` to ``out``, in float32; may be infinite where span is tiny."""
    np.subtract(plane, np.asarray(low, np.float32), out=out)
    with np.errstate(over="ignore"):
        np.divide(out, np.asarray(span, np.float32), out=out)


def _finish(out: Floats, done: bool, invert: bool, largest: float) -> None:
    """Clear a plane that could not be scaled; of the others, bound outliers and swap dark and bright if wanted."""
    if not done:
        out[:] = 0
        return
    if max(-float(out.min()), float(out.max())) > largest:
        np.clip(out, -largest, largest, out=out)
    if invert:
        np.subtract(np.float32(1), out, out=out)


def has_contrast(low: float, high: float) -> bool:
    """Whether two percentiles are far enough apart to divide by their difference.

    Cellpose wants 0.001 and so finds nothing in an image of numbers below that; a thousandth of their size will do too.
    """
    apart, size = high - low, max(abs(low), abs(high))
    return apart > _FLAT or apart > max(_FLAT * size, float(np.finfo(np.float32).tiny))


def ends(planes: Array, wanted: tuple[float, float] = (1.0, 99.0)) -> list[tuple[float, float]]:
    """Return two percentiles of each plane; of wide types, above its smallest value."""
    levels = (percentiles(_narrow(plane, None)[0], wanted).values for plane in planes)
    return [(float(low), float(high)) for low, high in levels]


def _narrow(plane: Array, zero: float | None) -> tuple[Array, float]:
    """Bring a plane to 8- or 16-bit integers or float32, and say what was subtracted on the way.

    Of wider types ``zero`` or else the smallest value is taken off first, so that small differences between large
    numbers survive.
    """
    if plane.dtype.kind in "biu" and plane.dtype.itemsize <= 2:
        return np.ascontiguousarray(plane.view(np.uint8) if plane.dtype.kind == "b" else plane), 0.0
    if plane.dtype.kind == "f" and plane.dtype.itemsize <= 4:
        return np.ascontiguousarray(plane, np.float32), 0.0
    if zero is not None:
        return _less(plane.astype(np.float64), zero), zero
    if plane.dtype.kind == "f":
        usual = plane[np.abs(plane) < HUGE]
        least = float(usual.min()) if usual.size else 0.0
        return _less(plane, least), least
    smallest = plane.min()
    unsigned = np.dtype(f"u{plane.dtype.itemsize}")  # differences of signed numbers may need the sign's bit
    apart = np.ascontiguousarray(plane).view(unsigned) - np.asarray(smallest).view(unsigned)
    return apart.astype(np.float32), float(smallest)


def _less(plane: Array, zero: float) -> Floats:
    """Subtract in double precision; what is beyond float32 becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(plane - zero, np.float32)


def _scale_by_tiles(plane: Array, options: Normalization, out: Floats) -> bool:
    """Scale by percentiles of overlapping tiles, interpolated in between; say whether any tile had contrast."""
    low, high = _tile_levels(plane, options)
    bare = ~np.vectorize(has_contrast, otypes=[bool])(low, high)
    if bare.all():
        return False
    low, high = _filled(low, bare), _filled(high, bare)
    # Cellpose smooths along y only, and twice: its weights were trained on that, so it stays.
    for _ in range(2):
        low, high = (gaussian_filter1d(level, 1, axis=0) for level in (low, high))
    _scale(plane, resize(low, plane.shape), resize(high - low, plane.shape), out)
    return True


def _tile_levels(plane: Array, options: Normalization) -> tuple[Doubles, Doubles]:
    """Return the two percentiles of each tile, (rows of tiles, columns of tiles)."""
    tops, lefts = (_tile_starts(size, options.tile) for size in plane.shape)
    levels = np.empty((2, len(tops), len(lefts)))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            tile = plane[top : top + options.tile, left : left + options.tile]
            levels[:, row, column] = np.percentile(tile, options.percentiles)
    return levels[0], levels[1]


def _tile_starts(size: int, tile: int) -> npt.NDArray[np.int64]:
    if size <= tile:
        return np.zeros(1, np.int64)
    return np.linspace(0, size - tile, int(np.ceil((1 + 2 * _TILE_OVERLAP) * size / tile))).astype(np.int64)


def _filled(level: Doubles, bare: npt.NDArray[np.bool_]) -> Doubles:
    """Give tiles without contrast the level of the nearest tile that has some, the first such in reading order."""
    filled = level.copy()
    good = np.argwhere(~bare)
    for position in np.argwhere(bare):
        filled[tuple(position)] = level[tuple(good[((good - position) ** 2).sum(axis=1).argmin()])]
    return filled
