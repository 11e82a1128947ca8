"""Counts of 16-bit keys, from which percentiles follow exactly: of 16-bit numbers at once, of float32 in two steps.

The bits of a float32, read as an unsigned number, order like the floats after one twist: flip all bits of the negative
ones, the sign bit of the others. The upper half of that key picks one of 65,536 buckets, the lower half the value
in it. NaN and infinity are the buckets at either end.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Counts = npt.NDArray[np.int64]


@kernel
def count_16(values: npt.NDArray[np.uint16], counts: Counts) -> None:
    """Add to ``counts`` (2, 65536) how often each value occurs; the two rows are to be summed.

    Neighbouring pixels are often equal: two rows keep one addition from waiting for the one before.
    """
    pairs = values.size // 2
    for i in range(pairs):
        counts[0, values[2 * i]] += 1
        counts[1, values[2 * i + 1]] += 1
    if values.size % 2:
        counts[0, values[values.size - 1]] += 1


@kernel
def ordered_key(bits: np.uint32) -> np.uint32:
    """Turn the bits of a float32 into a number that orders as the floats do."""
    if bits >> np.uint32(31):
        return np.uint32(~bits)
    return np.uint32(bits | np.uint32(0x80000000))


@kernel
def count_upper_halves(bits: npt.NDArray[np.uint32], counts: Counts) -> None:
    """Add to ``counts`` (2, 65536) how often each upper half of the ordered keys occurs."""
    pairs = bits.size // 2
    for i in range(pairs):
        counts[0, ordered_key(bits[2 * i]) >> np.uint32(16)] += 1
        counts[1, ordered_key(bits[2 * i + 1]) >> np.uint32(16)] += 1
    if bits.size % 2:
        counts[0, ordered_key(bits[bits.size - 1]) >> np.uint32(16)] += 1


@kernel
def count_lower_halves(bits: npt.NDArray[np.uint32], slots: npt.NDArray[np.int8], counts: Counts) -> None:
    """Count the lower halves of the keys in the buckets of interest.

    ``slots`` (65536,) holds for each upper half the row of ``counts`` (k, 65536) to count in, or -1 for none.
    """
    for i in range(bits.size):
        key = ordered_key(bits[i])
        slot = slots[key >> np.uint32(16)]
        if slot >= 0:
            counts[slot, key & np.uint32(0xFFFF)] += 1
