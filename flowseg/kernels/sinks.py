"""Sinks: where the points have gathered, and which instance each pixel belongs to."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

_LEAST_POINTS = 10  # a peak needs more points than this
_GROWN_POINTS = 2  # a seed grows over pixels with more points than this
_GROWTH = 5  # for so many pixels around its peak
_WINDOW = (2 * _GROWTH + 1) ** 2


@kernel
def count_ends(ends: Ints, counts: Ints) -> int:
    """Add up the points that end in each pixel and return how many there are.

    ``ends`` (H, W) holds flat pixel indices, -1 for none.
    """
    flat, points = counts.ravel(), 0
    for end in ends.ravel():
        if end >= 0:
            flat[end] += 1
            points += 1
    return points


@kernel
def find_peaks(counts: Ints, points: int) -> Indices:
    """Return the flat indices of the pixels that hold the most points of their 5x5 neighbourhood, in reading order."""
    full = np.empty(points // (_LEAST_POINTS + 1) + 1, np.int64)
    candidates = 0
    for at, count in enumerate(counts.ravel()):
        if count > _LEAST_POINTS:
            full[candidates] = at
            candidates += 1
    peaks = 0
    for i in range(candidates):
        if _is_peak(counts, full[i] // counts.shape[1], full[i] % counts.shape[1]):
            full[peaks] = full[i]
            peaks += 1
    return full[:peaks]


@kernel
def _is_peak(counts: Ints, y: int, x: int) -> bool:
    height, width = counts.shape
    for v in range(max(y - 2, 0), min(y + 3, height)):
        for u in range(max(x - 2, 0), min(x + 3, width)):
            if counts[v, u] > counts[y, x]:
                return False
    return True


@kernel
def grow_seeds(counts: Ints, peaks: Indices, seeds: Ints) -> None:
    """Grow a seed from each peak over well-filled pixels; peak k is written as k + 1, later ones over earlier ones."""
    height, width = counts.shape
    reached = np.empty(_WINDOW, np.int64)
    for k in range(len(peaks)):
        number = k + 1
        seeds[peaks[k] // width, peaks[k] % width] = number
        reached[0], first, last = peaks[k], 0, 1
        for _ in range(_GROWTH):
            end = last
            for i in range(first, end):
                y, x = reached[i] // width, reached[i] % width
                for v in range(max(y - 1, 0), min(y + 2, height)):
                    for u in range(max(x - 1, 0), min(x + 2, width)):
                        if counts[v, u] > _GROWN_POINTS and seeds[v, u] != number:
                            seeds[v, u] = number
                            reached[last] = v * width + u
                            last += 1
            first = end


@kernel
def assign_rows(ends: Ints, seeds: Ints, start: int, stop: int) -> None:
    """Replace, in place, each end by the seed that it lies in (0 for none)."""
    flat = seeds.ravel()
    for y in range(start, stop):
        for x in range(ends.shape[1]):
            end = ends[y, x]
            ends[y, x] = flat[end] if end >= 0 else 0
