"""Splits and merges on drawings where everyone agrees."""

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg import metrics
from flowseg.evaluate.errors import Errors, find_errors
from tests.shapes import label_images


def errors_of(truth: npt.ArrayLike, pred: npt.ArrayLike) -> Errors:
    return find_errors(metrics.overlaps(truth, pred), metrics.match(truth, pred))


def row(*parts: tuple[int, int]) -> list[list[int]]:
    """One row of pixels from (label, length)."""
    return [[label for label, length in parts for _ in range(length)]]


def test_one_cell_in_two_halves() -> None:
    split = errors_of(row((1, 20)), row((1, 10), (2, 10)))
    assert (split.split.tolist(), split.missed.tolist(), split.merged.tolist()) == ([True], [False], [False, False])
    assert split.spurious.tolist() == [False, False]


def test_two_cells_as_one() -> None:
    merged = errors_of(row((1, 10), (2, 10)), row((1, 20)))
    assert (merged.merged.tolist(), merged.missed.tolist(), merged.split.tolist()) == ([True], [False] * 2, [False] * 2)


def test_a_speck_splits_nothing() -> None:
    found = errors_of(row((1, 21)), row((1, 19), (2, 2)))
    assert found.split.tolist() == [False]
    assert found.spurious.tolist() == [False, True]
    assert errors_of(row((1, 20)), row((1, 18), (2, 2))).split.tolist() == [True]


def test_a_neighbour_that_reaches_in_splits_nothing() -> None:
    found = errors_of(row((1, 20), (2, 20)), row((1, 14), (2, 26)))
    assert not found.split.any()
    assert not found.merged.any()


def test_missed_and_spurious() -> None:
    found = errors_of(row((1, 5), (0, 5), (2, 5), (0, 5)), row((1, 5), (0, 10), (3, 5)))
    assert (found.missed.tolist(), found.spurious.tolist()) == ([False, True], [False, True])


@settings(max_examples=80)
@given(label_images(side=10), st.integers(-2, 2))
def test_sides_mirror_one_another(labels: npt.NDArray[np.int32], shift: int) -> None:
    other = np.roll(labels, shift, axis=0)
    there, back = errors_of(labels, other), errors_of(other, labels)
    assert there.split.tolist() == back.merged.tolist()
    if shift == 0:
        assert not any(flags.any() for flags in there)
    matched = metrics.match(labels, other)
    assert not (there.missed & np.isin(metrics.overlaps(labels, other).truth_labels, matched.truth)).any()
