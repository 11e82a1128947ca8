"""Basins: where points gather along lines instead of in pixels, and which basins are parts of one instance."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


@kernel
def number_lines(counts: Ints, seeds: Ints) -> int:
    """Give a number to each connected group of pixels that points end in; return how many there are.

    ``seeds`` (H, W) is zero and gets the numbers; pixels that touch by a corner are connected.
    """
    height, width = counts.shape
    waiting = np.empty(np.count_nonzero(counts), np.int64)
    number = 0
    for first, count in enumerate(counts.ravel()):
        if count == 0 or seeds[first // width, first % width] != 0:
            continue
        number += 1
        seeds[first // width, first % width] = number
        waiting[0], size = first, 1
        while size:
            size -= 1
            y, x = waiting[size] // width, waiting[size] % width
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if counts[v, u] > 0 and seeds[v, u] == 0:
                        seeds[v, u] = number
                        waiting[size] = v * width + u
                        size += 1
    return number


@kernel
def _touch(labels: Ints, y: int, x: int, axis: int) -> bool:
    """Tell whether a pixel and the next one along an axis have two labels."""
    v, u = y + (axis == 0), x + (axis == 1)
    if v >= labels.shape[0] or u >= labels.shape[1]:
        return False
    return bool(labels[y, x] != 0 and labels[v, u] != 0 and labels[y, x] != labels[v, u])


@kernel
def count_contacts(labels: Ints) -> int:
    """Count the neighbours, down and to the right, that two labels have in each other."""
    contacts = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            contacts += _touch(labels, y, x, 0) + _touch(labels, y, x, 1)
    return contacts


@kernel
def find_contacts(labels: Ints, flows: Floats, pairs: Ints, apart: Floats) -> None:
    """Write each contact of two labels: the lower and the higher one, and how far the flows part there (-2 to 2)."""
    at = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            for axis in range(2):
                if _touch(labels, y, x, axis):
                    v, u = y + (axis == 0), x + (axis == 1)
                    pairs[at, 0] = min(labels[y, x], labels[v, u])
                    pairs[at, 1] = max(labels[y, x], labels[v, u])
                    apart[at] = flows[axis, v, u] - flows[axis, y, x]
                    at += 1


@kernel
def joined(pairs: Ints, count: int) -> Ints:
    """Return (count + 1,): the lowest label of all that are joined with a label, by pairs, one way or another."""
    root = np.arange(count + 1).astype(np.int32)
    for pair in pairs:
        one, other = pair
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        while root[other] != other:
            root[other] = root[root[other]]
            other = root[other]
        root[max(one, other)] = min(one, other)
    for label in range(count + 1):
        root[label] = root[root[label]]  # roots are lower, so they are final already
    return root
