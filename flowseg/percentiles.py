"""Percentiles of the numbers of an image, exact and fast: counted, not sorted (see `flowseg.kernels.histogram`)."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg.arrays import Floats
from flowseg.kernels import histogram

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

HUGE = 2.0**120
"""Numbers of this size and beyond count as infinite, so that no difference overflows."""

# Upper halves of the ordered keys of float32 numbers that are smaller; NaN and infinity lie beyond, too.
_FIRST_FINITE, _LAST_FINITE = 0x0480, 0xFB7F


class Levels(NamedTuple):
    """Percentiles of the finite values of an array, and how many values those are."""

    values: Doubles
    finite: int


def percentiles(values: Array, wanted: tuple[float, ...]) -> Levels:
    """Return exact percentiles of the finite values, linear between neighbours as in `numpy.percentile`.

    Parameters
    ----------
    values
        Integers of 8 or 16 bits, or float32; any shape; C-contiguous.
    wanted
        Percentiles, 0 to 100.

    Returns
    -------
    Levels
        One value for each percentile; zeros where no value is finite.

    Examples
    --------
    >>> import numpy as np
    >>> percentiles(np.array([1, 2, 4, np.nan], np.float32), (0, 25, 100)).values.tolist()
    [1.0, 1.5, 4.0]
    """
    flat = values.reshape(-1)
    whole = flat.dtype.kind in "biu"
    sums = _sums_of_integers(flat) if whole else _sums_of_floats(flat)
    finite = int(sums[-1])
    if finite == 0:
        return Levels(np.zeros(len(wanted)), 0)
    place = np.asarray(wanted, np.float64) / 100 * (finite - 1)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, finite - 1)
    ranks = np.unique(np.concatenate([below, above]))
    found = _integers_at(flat, ranks, sums) if whole else _floats_at(flat, ranks, sums)
    first, second = found[np.searchsorted(ranks, below)], found[np.searchsorted(ranks, above)]
    return Levels(first + (second - first) * (place - below), finite)


def _sums_of_integers(flat: Array) -> npt.NDArray[np.int64]:
    """For each 16-bit key, how many values have that key or a smaller one."""
    counts = np.zeros((2, 65536), np.int64)
    histogram.count_16(_keys(flat), counts)
    return np.asarray(counts.sum(axis=0).cumsum())


def _keys(flat: Array) -> npt.NDArray[np.uint16]:
    """Integers of up to 16 bits as unsigned ones in the same order."""
    if flat.dtype.kind == "i":
        return flat.astype(np.int16).view(np.uint16) ^ np.uint16(0x8000)
    return flat.astype(np.uint16, copy=False)


def _integers_at(flat: Array, ranks: npt.NDArray[np.int64], sums: npt.NDArray[np.int64]) -> Doubles:
    keys = np.searchsorted(sums, ranks, side="right")
    return (keys - 0x8000 if flat.dtype.kind == "i" else keys).astype(np.float64)


def _sums_of_floats(flat: Floats) -> npt.NDArray[np.int64]:
    """For each upper half of a key, how many finite values have that or a smaller one."""
    counts = np.zeros((2, 65536), np.int64)
    histogram.count_upper_halves(flat.view(np.uint32), counts)
    counts[:, :_FIRST_FINITE] = 0
    counts[:, _LAST_FINITE + 1 :] = 0
    return np.asarray(counts.sum(axis=0).cumsum())


def _floats_at(flat: Floats, ranks: npt.NDArray[np.int64], sums: npt.NDArray[np.int64]) -> Doubles:
    """Values of the given ranks: their upper halves follow from ``sums``, the lower from a second pass."""
    upper = np.searchsorted(sums, ranks, side="right")
    buckets, slot_of_rank = np.unique(upper, return_inverse=True)
    slots = np.full(65536, -1, np.int8)
    slots[buckets] = np.arange(len(buckets))
    counts = np.zeros((len(buckets), 65536), np.int64)
    histogram.count_lower_halves(flat.view(np.uint32), slots, counts)
    inside = ranks - np.concatenate([[0], sums])[upper]
    within = counts.cumsum(axis=1)
    lower = [np.searchsorted(within[slot], rank, side="right") for slot, rank in zip(slot_of_rank, inside, strict=True)]
    keys = (upper.astype(np.uint32) << np.uint32(16)) | np.array(lower, np.uint32)
    bits = np.where(keys >> np.uint32(31), keys ^ np.uint32(0x80000000), ~keys)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)
