"""Images as planes: choosing channels, normalising, resizing. Planes are (C, H, W) float32, channels first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import threads
from flowseg.arrays import Floats
from flowseg.errors import InputError
from flowseg.kernels import resize as kernels
from flowseg.options import NormalisationOptions

_FLAT = 1e-3  # percentiles closer than this: the channel is taken as empty, as Cellpose does
_ROWS = 64
_ROLES = ("cells", "nuclei")

ChannelNames = Sequence[int | str]


class Chosen(NamedTuple):
    """Planes for a network, and where they came from.

    Attributes
    ----------
    planes
        (C, H, W) float32, not normalised; a channel that is not there is zeros.
    said
        The choice in words, for logs.
    """

    planes: Floats
    said: str


@dataclass(frozen=True)
class Normalised:
    """Planes in which the low percentile is 0 and the high one 1.

    Attributes
    ----------
    planes
        (C, H, W) float32, finite.
    replaced
        Pixels that were NaN or infinite.
    flat
        Channels (from 0) without contrast, which became 0.
    """

    planes: Floats
    replaced: int
    flat: tuple[int, ...]


def as_planes(image: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return an image given as (H, W), (C, H, W) or (H, W, C) as (C, H, W).

    The channels are the one axis that is shorter than both others; if it is the first or the last is then clear.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise InputError(f"the image has type {array.dtype}; wanted real numbers")
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise InputError(f"the image has shape {array.shape}; wanted (height, width) or that with channels")
    first, last = array.shape[0], array.shape[2]
    if first < min(array.shape[1:]) and first <= last:
        return array
    if last < min(array.shape[:2]):
        return np.moveaxis(array, 2, 0)
    raise InputError(
        f"the image has shape {array.shape}, so it is not clear which axis holds the channels; wanted "
        "(channels, height, width) with fewer channels than pixels along either side"
    )


def choose(
    planes: npt.NDArray[Any], wanted: int, channels: ChannelNames | None = None, names: Sequence[str] = ()
) -> Chosen:
    """Choose channels, by number from 0 or by name, for a network that takes ``wanted`` of them.

    Without a choice a grey image is the first channel; of a colour image (3 or 4 channels) the mean of red, green and
    blue, as Cellpose does; two channels are taken as they come. More than that is asked for.

    Parameters
    ----------
    planes
        (C, H, W).
    names
        What the image calls its channels; matched without regard to case.
    """
    count = len(planes)
    if channels is None:
        if count in (3, 4) and wanted < count:
            grey = planes[:3].mean(axis=0, dtype=np.float32)
            return Chosen(_filled([grey], wanted), f"{_ROLES[0]} <- mean of red, green and blue")
        if count > wanted:
            raise InputError(f"the image has {count} channels{_listed(names)}, the network takes {wanted}: choose them")
        channels = range(count)
    if not 1 <= len(channels) <= wanted:
        raise InputError(f"{len(channels)} channels were chosen; the network takes 1 to {wanted}")
    numbers = [_number(channel, count, names) for channel in channels]
    said = ", ".join(
        f"{_ROLES[role] if role < len(_ROLES) else f'input {role}'} <- channel {number}"
        + (f" ({names[number]})" if number < len(names) else "")
        for role, number in enumerate(numbers)
    )
    return Chosen(_filled([planes[number] for number in numbers], wanted), said)


def _number(channel: int | str, count: int, names: Sequence[str]) -> int:
    if isinstance(channel, str) and channel.strip().lstrip("-").isdecimal():
        channel = int(channel)
    if isinstance(channel, str):
        lowered = [name.lower() for name in names]
        if channel.strip().lower() in lowered:
            return lowered.index(channel.strip().lower())
        raise InputError(f"there is no channel {channel!r}; the image has {count} channels{_listed(names)}")
    if not 0 <= channel < count:
        raise InputError(f"there is no channel {channel}; the image has channels 0 to {count - 1}{_listed(names)}")
    return int(channel)


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _filled(planes: Sequence[npt.NDArray[Any]], wanted: int) -> Floats:
    """Put planes into (wanted, H, W) float32; what is missing is zeros."""
    result = np.zeros((wanted, *planes[0].shape), np.float32)
    for place, plane in enumerate(planes):
        result[place] = plane
    return result


def normalise(planes: Floats, options: NormalisationOptions | None = None) -> Normalised:
    """Scale each channel so that a low percentile becomes 0 and a high one 1, as Cellpose does.

    NaN and infinity become the lowest finite value of their channel. A channel without contrast becomes 0.
    """
    options = options or NormalisationOptions()
    result = np.array(planes, np.float32)
    replaced, flat = 0, []
    for number, plane in enumerate(result):
        replaced += _without_nonfinite(plane)
        if not np.ptp(plane) > 0 if plane.size else True:
            flat.append(number)
            plane[:] = 0
            continue
        if options.tile:
            low, high = _local_percentiles(plane, options)
        else:
            low, high = np.percentile(_sparse(plane), options.percentiles).astype(np.float32)
            if high - low <= _FLAT:
                flat.append(number)
                plane[:] = 0
                continue
        plane -= low
        plane /= high - low
        if options.invert:
            np.subtract(1, plane, out=plane)
    return Normalised(result, replaced, tuple(flat))


def _without_nonfinite(plane: Floats) -> int:
    """Replace, in place, what is not finite; return how many pixels that were."""
    if np.isfinite(np.sum(plane, dtype=np.float64)):
        return 0
    wrong = ~np.isfinite(plane)
    plane[wrong] = plane[~wrong].min() if not wrong.all() else 0
    return int(np.count_nonzero(wrong))


def _sparse(plane: Floats) -> Floats:
    """Take every so many rows and columns of a large image, as Cellpose does for percentiles."""
    if plane.size <= 224**3:
        return plane
    rows, columns = (max(1, side // 224) for side in plane.shape)
    return plane[::rows, ::columns]


def _local_percentiles(plane: Floats, options: NormalisationOptions) -> tuple[Floats, Floats]:
    """Return the low and high percentile around each pixel: those of blocks, smoothed and enlarged."""
    from scipy.ndimage import gaussian_filter1d

    from flowseg.tiles import fixed_grid

    height, width = plane.shape
    grid = fixed_grid(height, width, options.tile, 0.1)
    shape = (len(grid.rows), len(grid.columns))
    blocks = [plane[row : row + grid.tile_height, column : column + grid.tile_width] for row, column in grid.corners()]
    lows, highs = (np.array(each).reshape(shape) for each in np.percentile(blocks, options.percentiles, axis=(1, 2)))
    empty = highs - lows < _FLAT
    if empty.all():
        lows[:], highs[:] = 0, 1
    elif empty.any():
        nearest = _nearest_full(empty)
        lows, highs = lows[nearest], highs[nearest]
    # Cellpose smooths over an axis of length one and over the rows of blocks
    lows, highs = (resize(gaussian_filter1d(each, 1, axis=0)[None], (height, width))[0] for each in (lows, highs))
    return lows, highs


def _nearest_full(empty: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], ...]:
    from scipy.ndimage import distance_transform_edt

    return tuple(distance_transform_edt(empty, return_distances=False, return_indices=True))


def resize(planes: npt.NDArray[Any], shape: tuple[int, int]) -> Floats:
    """Resize planes (C, H, W) to (C, *shape), bilinearly, as OpenCV does: half-pixel centres, edges repeated.

    >>> resize(np.array([[[0.0, 4.0]]]), (1, 4)).tolist()
    [[[0.0, 1.0, 3.0, 4.0]]]
    """
    source = np.require(planes, np.float32, ["C", "A", "W"])
    result = np.empty((len(source), *shape), np.float32)
    rows, columns = (_places(old, new) for old, new in zip(source.shape[1:], shape, strict=True))

    def fill(start: int, stop: int) -> None:
        for plane, out in zip(source, result, strict=True):
            kernels.resize_rows(plane, *rows, *columns, start, stop, out)

    threads.over_ranges(fill, threads.blocks(shape[0], _ROWS))
    return result


def _places(old: int, new: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return, for each new pixel, the old one before it and how far it lies toward the next."""
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = np.floor(places).astype(np.int64)
    return before, (places - before).astype(np.float32)
