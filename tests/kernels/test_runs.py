"""Kernels that find and turn runs, where the functions above them do not reach every path."""

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg.kernels import run_text, runs

LINES = hnp.arrays(np.int32, st.integers(0, 60), elements=st.sampled_from([0, 0, 0, 0, 1, 2]))


def scanned(labels: Any, first: int, stop: int, room: int = 100) -> tuple[int, Any]:
    starts, lengths = np.zeros(room, np.int64), np.zeros(room, np.int64)
    found = runs.scan(labels, first, stop, starts, lengths)
    return found, list(zip(starts[:found].tolist(), lengths[:found].tolist(), strict=True))


@settings(max_examples=300)
@given(LINES, st.data())
def test_ranges_find_the_runs_of_the_whole_once(labels: Any, data: Any) -> None:
    edges = np.flatnonzero(np.diff(labels, prepend=-1, append=-1))
    wanted = [(a, b - a) for a, b in pairwise(edges.tolist()) if labels[a]]
    cuts = sorted(data.draw(st.lists(st.integers(0, labels.size), max_size=3)))
    bounds = [0, *cuts, labels.size]
    assert [run for a, b in pairwise(bounds) for run in scanned(labels, a, b)[1]] == wanted


@settings(max_examples=100)
@given(LINES, st.integers(0, 5))
def test_runs_that_do_not_fit_are_counted_and_nothing_is_written_past_the_end(labels: Any, room: int) -> None:
    found, pairs = scanned(labels, 0, labels.size)
    again, first_pairs = scanned(labels, 0, labels.size, room)
    assert again == found
    assert first_pairs == pairs[:room]


@settings(max_examples=100)
@given(st.lists(st.integers(0, 2**56), min_size=1, max_size=9))
def test_numbers_of_any_size_are_written_and_read(numbers: list[int]) -> None:
    counts, bounds = np.array(numbers), np.array([0, len(numbers)])
    text, ends = run_text.compress(counts, bounds)
    frozen = np.frombuffer(text.tobytes(), np.uint8)
    back, offsets, problem = run_text.expand(frozen, ends)
    assert problem.tolist() == [-1, -1, -1]
    assert back.tolist() == numbers
    assert offsets.tolist() == [0, len(numbers)]
