"""Instances as runs: to masks and labels and back, transposed, overlaps found, wrong runs refused."""

import pickle
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from flowseg import rle
from flowseg.errors import InputError
from flowseg.instances import Instances, from_labels, to_pieces
from flowseg.kernels import runs
from flowseg.overlaps import resolve_overlaps, split_into_layers
from tests.shapes import label_images

STACKS = hnp.arrays(bool, st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(0, 8)))


def of(masks: Any) -> Instances:
    return Instances.from_masks(list(masks), masks.shape[1:])


@settings(max_examples=200)
@given(STACKS)
def test_masks_areas_and_runs_agree(masks: Any) -> None:
    instances = of(masks)
    assert len(instances) == len(masks)
    np.testing.assert_array_equal(instances.areas(), masks.sum((1, 2)))
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(instances.mask(index), mask)


@settings(max_examples=300)
@given(STACKS)
def test_transposing_gives_the_runs_of_the_transposed_masks(masks: Any) -> None:
    turned, wanted = of(masks).transposed(), of(masks.transpose(0, 2, 1))
    assert turned.shape == wanted.shape
    np.testing.assert_array_equal(turned.starts, wanted.starts)
    np.testing.assert_array_equal(turned.lengths, wanted.lengths)
    np.testing.assert_array_equal(turned.offsets, wanted.offsets)


@settings(max_examples=200)
@given(label_images())
def test_labels_give_the_runs_of_their_masks_and_come_back(labels: Any) -> None:
    instances, values = from_labels(labels)
    present = np.setdiff1d(labels, 0)
    np.testing.assert_array_equal(values, present)
    wanted = Instances.from_masks([labels == value for value in present], labels.shape)
    np.testing.assert_array_equal(instances.starts, wanted.starts)
    np.testing.assert_array_equal(instances.lengths, wanted.lengths)
    np.testing.assert_array_equal(instances.offsets, wanted.offsets)
    np.testing.assert_array_equal(np.append(0, present)[instances.to_labels()], labels)


@settings(max_examples=200)
@given(STACKS)
def test_an_overlap_is_found_where_there_is_one(masks: Any) -> None:
    instances = of(masks)
    overlap = instances.find_overlap()
    if masks.sum(0).max(initial=0) < 2:
        assert overlap is None
        assert instances.to_labels().max(initial=0) <= len(masks)
        return
    assert overlap is not None
    assert overlap.first < overlap.second
    assert masks[overlap.first][overlap.pixel]
    assert masks[overlap.second][overlap.pixel]
    with pytest.raises(InputError, match=f"instances {overlap.first + 1} and {overlap.second + 1} .*resolve_overlaps"):
        instances.to_labels()


WRONG = [
    (([0], [1, 1], [0, 1]), "1 starts, 2 lengths"),
    (([0], [1], [0]), "do not fit together"),
    (([0], [1], []), "offsets up to nothing"),
    (([0], [1], [1, 1]), "do not fit together"),
    (([0, 3], [1, 1], [0, 2, 1, 2]), "do not fit together"),
    (([-1], [1], [0, 1]), "leave the image of 2 x 3 pixels"),
    (([5], [2], [0, 1]), "leave the image"),
    (([2**62], [2**62], [0, 1]), "leave the image"),
    (([0], [0], [0, 1]), "have no length"),
    (([0, 1], [1, 1], [0, 2]), "instance 1 .*starts at 1 where the one before ends at 1"),
    (([0, 4, 2], [2, 1, 1], [0, 1, 1, 3]), "instance 3 .*starts at 2 where the one before ends at 5"),
    (([0.5], [1], [0, 1]), "wanted a list of whole numbers"),
    (([[0]], [1], [0, 1]), "wanted a list of whole numbers"),
]


@pytest.mark.parametrize(("given", "says"), WRONG, ids=lambda given: str(given)[:40])
def test_runs_that_kernels_could_not_trust_are_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Instances((2, 3), *map(np.array, given))


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"mask 2 and the image have shapes \(2, 2\) and \(2, 3\)"):
        Instances.from_masks([np.ones((2, 3)), np.ones((2, 2))], (2, 3))


def test_arrays_are_read_only_and_the_callers_stay_writable() -> None:
    starts = np.array([0])
    instances = Instances((2, 3), starts, np.array([2]), np.array([0, 1]))
    assert starts.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        instances.starts[0] = 1


def test_a_thousand_masks_of_a_large_image_are_their_runs_only() -> None:
    instances = Instances((10**6, 10**6), np.arange(1000) * 10**9, np.full(1000, 5), np.arange(1001))
    assert instances.areas().sum() == 5000
    assert instances.transposed().shape == (10**6, 10**6)
    assert len(instances.transposed().starts) == 5000


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="counts what is compiled")
def test_kernels_are_compiled_once_for_arrays_that_may_and_may_not_be_written() -> None:
    labels = np.eye(4, dtype=np.int32)
    for writable in (True, False):
        labels.flags.writeable = writable
        Instances.from_labels(labels).transposed().to_labels()
    for kernel in (runs.scan, runs.group, runs.split_at_line_ends, runs.transpose, runs.paint):
        assert len(kernel.signatures) == 1  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(STACKS)
def test_pieces_are_those_that_scipy_labels(masks: Any) -> None:
    found = of(masks).pieces()
    wanted = []
    for mask in masks:
        pieces, count = ndimage.label(mask, np.ones((3, 3)))
        wanted += [pieces == number for number in range(1, count + 1)]
    assert len(found) == len(wanted)
    same = [found.mask(index).tobytes() for index in range(len(found))]
    assert sorted(same) == sorted(np.ascontiguousarray(mask).tobytes() for mask in wanted)


def test_a_label_image_is_not_taken_for_a_mask() -> None:
    labels = np.zeros((6, 6), int)
    labels[1:3, 1:3], labels[4:6, 4:6] = 1, 2
    with pytest.raises(InputError, match="mask 1 holds 1 and 2 beside 0"):
        Instances.from_masks(labels[None], labels.shape)
    assert Instances.from_masks((labels == 2)[None] * 255, labels.shape).areas().tolist() == [4]


def test_arrays_stay_as_they_were_checked() -> None:
    starts = np.array([0, 4])
    instances = Instances((2, 3), starts, np.array([2, 1]), np.array([0, 2]))
    starts[:] = 100
    assert instances.starts.tolist() == [0, 4]
    sent = pickle.loads(pickle.dumps(instances))
    assert (sent.shape, sent.starts.tolist(), sent.offsets.tolist()) == ((2, 3), [0, 4], [0, 2])
    assert not sent.starts.flags.writeable


def test_masks_are_counted_as_lists_are() -> None:
    pair = of(np.array([[[1, 0]], [[0, 1]]], bool))
    assert pair.mask(-1).tolist() == pair.mask(1).tolist() == [[False, True]]
    with pytest.raises(IndexError):
        pair.mask(2)
    assert repr(pair) == "Instances(2 instances, 1 x 2 pixels)"


@pytest.mark.parametrize(
    "call", [resolve_overlaps, split_into_layers, to_pieces, rle.encode_instances, rle.instances_to_coco]
)
def test_labels_are_not_taken_for_instances(call: Any) -> None:
    with pytest.raises(InputError, match=r"instances is ndarray; wanted Instances: .*from_labels"):
        call(np.eye(3, dtype=int))
