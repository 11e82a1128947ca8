"""Runs as text and back: Kaggle strings ("start length start length") and COCO counts, all instances at once.

Text is ASCII bytes, the texts of all instances one after another; text k is ``bounds[k]:bounds[k + 1]``. Parsers say
what they could not read as (text, what is wrong, where in it), or -1 three times.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

# What can be wrong with a text.
NOT_A_NUMBER, ODD, BEFORE_START, NOT_ASCENDING, NO_LENGTH, PAST_END = 1, 2, 3, 4, 5, 6
BAD_CHARACTER, CUT_OFF, NEGATIVE, WRONG_SUM = 7, 8, 9, 10

HUGE = 2**58  # more than any pixel count; larger numbers are read as this, so that none wraps
COCO_DIGITS = 12  # of 5 bits: more than any pixel count needs, and it fits 64 bits


@kernel
def write_runs(starts: Int64s, lengths: Int64s, offsets: Int64s, first: int) -> tuple[Bytes, Int64s]:
    """Write "start length start length" for each instance; ``first`` is the number of the first pixel."""
    bounds = np.zeros(offsets.size, np.int64)
    for instance in range(offsets.size - 1):
        size = 0
        for run in range(offsets[instance], offsets[instance + 1]):
            size += _digits(starts[run] + first) + _digits(lengths[run]) + 2
        bounds[instance + 1] = bounds[instance] + max(size - 1, 0)
    text = np.full(bounds[-1], 32, np.uint8)  # spaces
    for instance in range(offsets.size - 1):
        at = bounds[instance]
        for run in range(offsets[instance], offsets[instance + 1]):
            at = _write_number(text, at, starts[run] + first) + 1
            at = _write_number(text, at, lengths[run]) + 1
    return text, bounds


@kernel
def _digits(number: int) -> int:
    digits = 1
    while number >= 10:
        number //= 10
        digits += 1
    return digits


@kernel
def _write_number(text: Bytes, at: int, number: int) -> int:
    end = at + _digits(number)
    for place in range(end - 1, at - 1, -1):
        text[place] = 48 + number % 10
        number //= 10
    return end


@kernel
def read_runs(text: Bytes, bounds: Int64s, first: int, pixels: int) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Parse "start length start length" texts; return starts, lengths, offsets and the first problem.

    Runs come out in order, apart (those that touch are joined) and inside an image of ``pixels`` pixels.
    """
    room = (text.size + bounds.size) // 4 + 1  # the shortest run is "1 1 "
    starts = np.empty(room, np.int64)
    lengths = np.empty(room, np.int64)
    offsets = np.zeros(bounds.size, np.int64)
    problem = np.full(3, -1, np.int64)
    made = 0
    for row in range(bounds.size - 1):
        made, wrong, number = _read_row(text, bounds[row], bounds[row + 1], first, pixels, starts, lengths, made)
        offsets[row + 1] = made
        if wrong:
            problem[:] = row, wrong, number
            break
    return starts[:made], lengths[:made], offsets, problem


@kernel
def _read_row(
    text: Bytes, at: int, stop: int, first: int, pixels: int, starts: Int64s, lengths: Int64s, made: int
) -> tuple[int, int, int]:
    """Parse one text; return the runs made so far, what is wrong (0: nothing), and the number it is wrong at."""
    before = made
    number = 0
    start = 0
    while True:
        while at < stop and _is_space(text[at]):
            at += 1
        if at == stop:
            break
        value, at = _read_number(text, at, stop)
        if value < 0:
            return made, NOT_A_NUMBER, number
        if number % 2 == 0:
            start = value - first
        wrong = 0
        free = starts[made - 1] + lengths[made - 1] if made > before else 0
        if number % 2 == 0:
            wrong = _wrong_start(start, free, pixels)
        elif value == 0:
            wrong = NO_LENGTH
        elif value > pixels - start:
            wrong = PAST_END
        elif made > before and free == start:
            lengths[made - 1] += value
        else:
            starts[made] = start
            lengths[made] = value
            made += 1
        if wrong:
            return made, wrong, number
        number += 1
    return made, ODD if number % 2 else 0, number


@kernel
def _wrong_start(start: int, free: int, pixels: int) -> int:
    if start < 0:
        return BEFORE_START
    if start < free:
        return NOT_ASCENDING
    return PAST_END if start >= pixels else 0


@kernel
def _is_space(character: int) -> bool:
    return character == 32 or 9 <= character <= 13


@kernel
def _read_number(text: Bytes, at: int, stop: int) -> tuple[int, int]:
    """Return the number that begins at ``at``, -1 where it is none, and where it ends."""
    value = 0
    while at < stop and not _is_space(text[at]):
        digit: Any = np.int64(text[at]) - 48  # signed, or it would wrap below 0
        if digit < 0 or digit > 9:
            return -1, at
        value = min(value * 10 + digit, HUGE)
        at += 1
    return value, at


@kernel
def counts_of_runs(starts: Int64s, lengths: Int64s, offsets: Int64s, pixels: int) -> tuple[Int64s, Int64s]:
    """Return the COCO counts of each instance, pixels off, on, off, ... and their bounds; runs go down the columns."""
    counts = np.empty(2 * starts.size + offsets.size, np.int64)
    bounds = np.zeros(offsets.size, np.int64)
    made = 0
    for instance in range(offsets.size - 1):
        end = 0
        for run in range(offsets[instance], offsets[instance + 1]):
            counts[made] = starts[run] - end
            counts[made + 1] = lengths[run]
            made += 2
            end = starts[run] + lengths[run]
        if end < pixels or pixels == 0:
            counts[made] = pixels - end
            made += 1
        bounds[instance + 1] = made
    return counts[:made], bounds


@kernel
def compress(counts: Int64s, offsets: Int64s) -> tuple[Bytes, Int64s]:
    """Write counts as COCO's compressed text: differences to the count two before, 5 bits a character."""
    bounds = np.zeros(offsets.size, np.int64)
    text = np.empty(2 * counts.size + 64, np.uint8)
    made = 0
    for instance in range(offsets.size - 1):
        for index in range(offsets[instance], offsets[instance + 1]):
            if made + COCO_DIGITS + 1 > text.size:
                larger = np.empty(2 * text.size, np.uint8)
                larger[:made] = text[:made]
                text = larger
            change = counts[index]
            if index > offsets[instance] + 2:
                change -= counts[index - 2]
            made = _write_change(text, made, change)
        bounds[instance + 1] = made
    return text[:made], bounds


@kernel
def _write_change(text: Bytes, at: int, change: int) -> int:
    while True:
        bits = change & 31
        change >>= 5
        last = change == -1 if bits & 16 else change == 0
        text[at] = 48 + bits + (0 if last else 32)
        at += 1
        if last:
            return at


@kernel
def expand(text: Bytes, bounds: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Read COCO's compressed texts; return the counts (not checked), their bounds, and the first problem."""
    counts = np.empty(text.size, np.int64)
    offsets = np.zeros(bounds.size, np.int64)
    problem = np.full(3, -1, np.int64)
    made = 0
    for row in range(bounds.size - 1):
        begin = made
        at = bounds[row]
        while at < bounds[row + 1]:
            change, end, wrong = _read_change(text, at, bounds[row + 1])
            if made > begin + 2:
                change += counts[made - 2]
            if not wrong and (change < 0 or change > HUGE):
                wrong = NEGATIVE if change < 0 else WRONG_SUM
            if wrong:
                problem[:] = row, wrong, end - bounds[row]
                return counts[:made], offsets, problem
            counts[made] = change
            made += 1
            at = end
        offsets[row + 1] = made
    return counts[:made], offsets, problem


@kernel
def _read_change(text: Bytes, at: int, stop: int) -> tuple[int, int, int]:
    """Return one signed number, where it ends, and what is wrong with it (0: nothing)."""
    change = 0
    for digit in range(COCO_DIGITS):
        if at == stop:
            return 0, at, CUT_OFF
        bits: Any = np.int64(text[at]) - 48
        if bits < 0 or bits > 63:
            return 0, at, BAD_CHARACTER
        at += 1
        change |= (bits & 31) << (5 * digit)
        if not bits & 32:
            if bits & 16:
                change -= 1 << (5 * digit + 5)
            return change, at, 0
    return 0, at - 1, BAD_CHARACTER


@kernel
def runs_of_counts(counts: Int64s, offsets: Int64s, pixels: int) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Turn COCO counts into runs down the columns; return starts, lengths, offsets and the first problem."""
    starts = np.empty(counts.size, np.int64)
    lengths = np.empty(counts.size, np.int64)
    bounds = np.zeros(offsets.size, np.int64)
    problem = np.full(3, -1, np.int64)
    made = 0
    for row in range(offsets.size - 1):
        begin = made
        end = 0
        for index in range(offsets[row], offsets[row + 1]):
            count = counts[index]
            if count < 0 or count > pixels - end:
                problem[:] = row, NEGATIVE if count < 0 else WRONG_SUM, index - offsets[row]
                return starts[:made], lengths[:made], bounds, problem
            if (index - offsets[row]) % 2 and count > 0:
                if made > begin and starts[made - 1] + lengths[made - 1] == end:
                    lengths[made - 1] += count
                else:
                    starts[made] = end
                    lengths[made] = count
                    made += 1
            end += count
        if end != pixels:
            problem[:] = row, WRONG_SUM, offsets[row + 1] - offsets[row]
            return starts[:made], lengths[:made], bounds, problem
        bounds[row + 1] = made
    return starts[:made], lengths[:made], bounds, problem
