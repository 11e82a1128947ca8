"""Overlaps of two label images, or of runs with one: only pairs that touch take memory."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = -1  # a slot of the table that holds nothing


@kernel
def count_rows(first: Ints, second: Ints, start: int, stop: int) -> tuple[Indices, Indices]:
    """Count the pixels of each pair of labels in some rows of two images; pairs with 0 in both are left out.

    Return the pairs, packed as ``first << 32 | second`` in no order, and their counts.
    """
    keys, counts = _table(4 * first.shape[1] + 1024)
    filled = 0
    for y in range(start, stop):
        if 2 * (filled + first.shape[1]) > len(keys):
            keys, counts = _enlarged(keys, counts)
        filled += _count_row(first[y], second[y], keys, counts)
    return _packed(keys, counts, filled)


@kernel
def _count_row(first: Ints, second: Ints, keys: Indices, counts: Indices) -> int:
    """Add one row to a table that has room for it; return how many pairs are new."""
    added, x, width = 0, 0, len(first)
    while x < width:
        a, b, begin = first[x], second[x], x
        x += 1
        if a | b == 0:
            continue
        while x < width and first[x] == a and second[x] == b:
            x += 1
        added += _add(keys, counts, int(a) << 32 | int(b), x - begin)
    return added


@kernel
def count_runs(
    starts: Indices, lengths: Indices, offsets: Indices, second: Ints, first: int, last: int
) -> tuple[Indices, Indices]:
    """Count the pixels that instances ``first`` to ``last``, given as runs, share with each label of an image.

    Return as `count_rows` does; instance k counts as label k + 1. Pixels on the background are counted too.
    """
    longest = 0
    for run in range(offsets[first], offsets[last]):
        longest = max(longest, lengths[run])
    keys, counts = _table(4 * longest + 1024)
    filled = 0
    flat = second.ravel()
    for instance in range(first, last):
        for run in range(offsets[instance], offsets[instance + 1]):
            if 2 * (filled + longest) > len(keys):
                keys, counts = _enlarged(keys, counts)
            part = flat[starts[run] : starts[run] + lengths[run]]
            filled += _count_run(instance + 1, part, keys, counts)
    return _packed(keys, counts, filled)


@kernel
def _count_run(label: int, part: Ints, keys: Indices, counts: Indices) -> int:
    added, x = 0, 0
    while x < len(part):
        b, begin = part[x], x
        while x < len(part) and part[x] == b:
            x += 1
        added += _add(keys, counts, label << 32 | int(b), x - begin)
    return added


@kernel
def _table(least: int) -> tuple[Indices, Indices]:
    """Return an empty table whose length is a power of 2 of at least ``least``."""
    length = 1024
    while length < least:
        length *= 2
    return np.full(length, _EMPTY, np.int64), np.zeros(length, np.int64)


@kernel
def _add(keys: Indices, counts: Indices, key: int, count: int) -> int:
    """Add to the count of a key in an open table whose length is a power of 2; return 1 if the key is new."""
    mask = len(keys) - 1
    # Labels come in sequence: only the high bits of a product spread them over the table.
    slot = np.int64((np.uint64(key) * _SPREAD) >> np.uint64(33)) & mask
    while keys[slot] != key:
        if keys[slot] == _EMPTY:
            keys[slot], counts[slot] = key, count
            return 1
        slot = (slot + 1) & mask
    counts[slot] += count
    return 0


@kernel
def _enlarged(keys: Indices, counts: Indices) -> tuple[Indices, Indices]:
    wide_keys, wide_counts = _table(4 * len(keys))
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY:
            _add(wide_keys, wide_counts, keys[slot], counts[slot])
    return wide_keys, wide_counts


@kernel
def _packed(keys: Indices, counts: Indices, filled: int) -> tuple[Indices, Indices]:
    pairs, sums = np.empty(filled, np.int64), np.empty(filled, np.int64)
    n = 0
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY:
            pairs[n], sums[n] = keys[slot], counts[slot]
            n += 1
    return pairs, sums
