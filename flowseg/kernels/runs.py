"""Runs of pixels: found in a label image, grouped by label, painted back, and turned from row order to column order.

A run is a start (a flat pixel index, row by row) and a length; it goes on from one row into the next. The runs of
instance k are ``offsets[k]:offsets[k + 1]``. Runs down the columns of an image are runs along the rows of its
transpose, so turning costs time by the number of runs, not of pixels.
"""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

BLOCK = 8


@kernel
def scan(labels: Int32s, first: int, stop: int, starts: Int64s, lengths: Int64s) -> int:
    """Write the runs that start in ``labels[first:stop]`` (flat); return how many, also where they did not fit."""
    found = 0
    at = first
    if first > 0:  # a run that began before this range belongs to the range before it
        while at < stop and labels[at] != 0 and labels[at] == labels[first - 1]:
            at += 1
    while at < stop:
        label = labels[at]
        if label == 0:
            at = _next_labelled(labels, at, stop)
            continue
        begin = at
        at += 1
        while at < labels.size and labels[at] == label:
            at += 1
        if found < starts.size:
            starts[found] = begin
            lengths[found] = at - begin
        found += 1
    return found


@kernel
def _next_labelled(labels: Int32s, at: int, stop: int) -> int:
    while at + BLOCK <= stop:  # background goes by a block at a time
        seen = labels[at]
        for step in range(1, BLOCK):
            seen |= labels[at + step]
        if seen != 0:
            break
        at += BLOCK
    while at < stop and labels[at] == 0:
        at += 1
    return at


@kernel
def group(labels: Int32s, starts: Int64s, lengths: Int64s, highest: int) -> tuple[Int64s, Int64s, Int64s]:
    """Sort runs by label, each label's runs kept in order.

    Return starts, lengths and bounds: the runs of a label are ``bounds[label]:bounds[label + 1]``.
    """
    # Counted two bins up and summed, the bin above a label is its cursor; when all are placed it is the label's end.
    bounds = np.zeros(highest + 3, np.int64)
    for run in range(starts.size):
        bounds[labels[starts[run]] + 2] += 1
    for label in range(1, bounds.size):
        bounds[label] += bounds[label - 1]
    sorted_starts = np.empty(starts.size, np.int64)
    sorted_lengths = np.empty(starts.size, np.int64)
    for run in range(starts.size):
        label = labels[starts[run]]
        place = bounds[label + 1]
        bounds[label + 1] += 1
        sorted_starts[place] = starts[run]
        sorted_lengths[place] = lengths[run]
    return sorted_starts, sorted_lengths, bounds[:-1]


@kernel
def paint(starts: Int64s, lengths: Int64s, offsets: Int64s, labels: Int32s) -> Int64s:
    """Write k + 1 into the pixels (flat) of each instance k, until one is taken.

    Return (the instance that holds it, the instance that wants it, the pixel), or -1 three times.
    """
    for instance in range(offsets.size - 1):
        for run in range(offsets[instance], offsets[instance + 1]):
            for pixel in range(starts[run], starts[run] + lengths[run]):
                if labels[pixel] != 0:
                    return np.array([labels[pixel] - 1, instance, pixel], np.int64)
                labels[pixel] = instance + 1
    return np.full(3, -1, np.int64)


@kernel
def split_at_line_ends(starts: Int64s, lengths: Int64s, offsets: Int64s, width: int) -> tuple[Int64s, Int64s]:
    """Cut runs where a line of ``width`` pixels ends.

    Return segments (3, S): line, begin and end within the line; and the bounds of each instance's segments, (n + 1,).
    """
    total = 0
    for run in range(starts.size):
        total += (starts[run] + lengths[run] - 1) // width - starts[run] // width + 1
    segments = np.empty((3, total), np.int64)
    bounds = np.zeros(offsets.size, np.int64)
    made = 0
    for instance in range(offsets.size - 1):
        for run in range(offsets[instance], offsets[instance + 1]):
            line = starts[run] // width
            begin = starts[run] - line * width
            left = lengths[run]
            while left > 0:
                end = min(width, begin + left)
                segments[0, made] = line
                segments[1, made] = begin
                segments[2, made] = end
                left -= end - begin
                begin = 0
                line += 1
                made += 1
        bounds[instance + 1] = made
    return segments, bounds


@kernel
def transpose(segments: Int64s, bounds: Int64s, width: int, height: int) -> tuple[Int64s, Int64s, Int64s]:
    """Turn runs along lines into runs across them; return starts, lengths and offsets in the transposed image.

    ``width`` is the length of a line and ``height`` the number of lines, of the image before it is transposed.
    """
    cursors = np.zeros((2, width), np.int64)
    runs = np.empty((2, 2 * segments.shape[1] + width), np.int64)
    offsets = np.zeros(bounds.size, np.int64)
    made = 0
    for instance in range(bounds.size - 1):
        first, stop = bounds[instance], bounds[instance + 1]
        room = made + _count_across(segments, first, stop, cursors)
        if room > runs.shape[1]:
            larger = np.empty((2, 2 * room), np.int64)
            larger[:, :made] = runs[:, :made]
            runs = larger
        made = _transpose_one(segments, first, stop, height, cursors, runs, made)
        offsets[instance + 1] = made
    return runs[0, :made].copy(), runs[1, :made].copy(), offsets


@kernel
def _count_across(segments: Int64s, first: int, stop: int, cursors: Int64s) -> int:
    """Count the runs across, at each position of a line, into ``cursors``; return their sum."""
    low, high = _extent(segments, first, stop)
    cursors[:, low:high] = 0
    _walk(segments, first, stop, cursors, np.empty((2, 0), np.int64))
    return int(cursors[0, low:high].sum())


@kernel
def _transpose_one(
    segments: Int64s, first: int, stop: int, height: int, cursors: Int64s, runs: Int64s, made: int
) -> int:
    """Write the runs across of one instance, counted in ``cursors``, from ``made`` on; return where the next start."""
    low, high = _extent(segments, first, stop)
    total = made
    for position in range(low, high):
        count = cursors[0, position]
        cursors[:, position] = total
        total += count
    # The k-th beginning and the k-th end at a position belong to one run: both come in ascending order of lines.
    _walk(segments, first, stop, cursors, runs)
    joined = made
    at = made
    for position in range(low, high):
        while at < cursors[0, position]:
            start = position * height + runs[0, at]
            length = runs[1, at] - runs[0, at]
            if joined > made and runs[0, joined - 1] + runs[1, joined - 1] == start:
                runs[1, joined - 1] += length
            else:
                runs[0, joined] = start
                runs[1, joined] = length
                joined += 1
            at += 1
    return joined


@kernel
def _extent(segments: Int64s, first: int, stop: int) -> tuple[int, int]:
    if first == stop:
        return 0, 0
    low, high = segments[1, first], segments[2, first]
    for segment in range(first + 1, stop):
        low = min(low, segments[1, segment])
        high = max(high, segments[2, segment])
    return low, high


@kernel
def _walk(segments: Int64s, first: int, stop: int, cursors: Int64s, runs: Int64s) -> None:
    """Go over the lines of one instance; a run across begins where the line before has no pixel, and ends likewise."""
    before_first = before_stop = first
    line_first = first
    while line_first < stop:
        line = segments[0, line_first]
        line_stop = line_first
        while line_stop < stop and segments[0, line_stop] == line:
            line_stop += 1
        if before_first < before_stop and segments[0, before_first] + 1 < line:
            _mark(segments, before_first, before_stop, 0, 0, segments[0, before_first] + 1, cursors[1], runs[1])
            before_first = before_stop
        _mark(segments, line_first, line_stop, before_first, before_stop, line, cursors[0], runs[0])
        _mark(segments, before_first, before_stop, line_first, line_stop, line, cursors[1], runs[1])
        before_first, before_stop, line_first = line_first, line_stop, line_stop
    if before_first < before_stop:
        _mark(segments, before_first, before_stop, 0, 0, segments[0, before_first] + 1, cursors[1], runs[1])


@kernel
def _mark(
    segments: Int64s, first: int, stop: int, other: int, other_stop: int, line: int, cursors: Int64s, marks: Int64s
) -> None:
    """Note ``line`` at each position that segments first:stop hold and other:other_stop do not; only count if no room.

    Both ranges are ascending and apart.
    """
    for segment in range(first, stop):
        position = segments[1, segment]
        while position < segments[2, segment]:
            while other < other_stop and segments[2, other] <= position:
                other += 1
            free = segments[2, segment]
            if other < other_stop:
                free = min(free, segments[1, other])
            while position < free:
                if marks.size:
                    marks[cursors[position]] = line
                cursors[position] += 1
                position += 1
            if other < other_stop:
                position = segments[2, other]
