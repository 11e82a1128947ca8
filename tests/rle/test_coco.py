"""COCO RLE: byte for byte what pycocotools writes, and damaged texts refused with a reason."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as pycoco

from flowseg import rle
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from tests.shapes import label_images

MASKS = hnp.arrays(np.uint8, st.tuples(st.integers(0, 12), st.integers(0, 12)), elements=st.integers(0, 1))


def reference_counts(mask: Any) -> list[int]:
    counts, now = [0], 0
    for pixel in mask.ravel("F").tolist():
        if pixel != now:
            counts.append(0)
            now = pixel
        counts[-1] += 1
    return counts


def reference_expand(text: bytes) -> list[int] | None:
    """Read a compressed text slowly; None where it is not one."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = digit = 0
        while True:
            if place == len(text) or not 48 <= text[place] <= 111:
                return None
            bits = text[place] - 48
            place += 1
            value += (bits & 31) << (5 * digit)
            digit += 1
            if not bits & 32:
                break
        if bits & 16:
            value -= 1 << (5 * digit)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


@settings(max_examples=300)
@given(MASKS)
def test_a_mask_is_written_as_pycocotools_writes_it_and_comes_back(mask: Any) -> None:
    wanted = pycoco.encode(np.asfortranarray(mask))
    assert rle.to_coco(mask) == wanted
    assert rle.to_coco(mask, "text") == {"size": wanted["size"], "counts": wanted["counts"].decode()}
    listed = rle.to_coco(mask, counts="list")
    assert listed["counts"] == reference_counts(mask)
    if mask.size:
        assert pycoco.frPyObjects(dict(listed), *mask.shape) == wanted
    for form in ("bytes", "text", "list"):
        back = rle.from_coco(rle.to_coco(mask, form))
        assert back.dtype == bool
        np.testing.assert_array_equal(back, mask)


@settings(max_examples=100)
@given(label_images())
def test_a_label_image_is_written_as_its_masks_are(labels: Any) -> None:
    found = rle.labels_to_coco(labels)
    assert list(found) == [label for label in np.unique(labels).tolist() if label]
    for label, one in found.items():
        assert one == pycoco.encode(np.asfortranarray(labels == label, np.uint8))
    values = np.array([0, *found])
    back = rle.coco_to_instances(found.values(), labels.shape).to_labels()
    np.testing.assert_array_equal(values[back], labels)


def test_long_runs_and_large_images_are_written_as_pycocotools_writes_them() -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(rng.choice(1500 * 1700, 301, replace=False))
    mask = (np.searchsorted(edges, np.arange(1500 * 1700)) % 2).astype(np.uint8).reshape(1500, 1700)
    for one in (mask, mask.reshape(1700, 1500), 1 - mask):
        wanted = pycoco.encode(np.asfortranarray(one))
        assert rle.to_coco(one) == wanted
        np.testing.assert_array_equal(rle.from_coco(wanted), one)


def test_many_long_numbers_fit() -> None:
    masks = [np.zeros((3000, 1000), bool) for _ in range(60)]
    for step, mask in enumerate(masks):
        mask.ravel()[1_000_000 + step] = True
    found = rle.instances_to_coco(Instances.from_masks(masks, (3000, 1000)))
    assert found == [pycoco.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]


def test_overlapping_instances_and_mixed_forms() -> None:
    masks = [np.eye(4, 5), np.ones((4, 5)), np.zeros((4, 5))]
    instances = Instances.from_masks(masks, (4, 5))
    for form in ("bytes", "text", "list"):
        assert rle.instances_to_coco(instances, form) == [rle.to_coco(mask, form) for mask in masks]
    mixed = [rle.to_coco(mask, form) for mask, form in zip(masks, ("list", "bytes", "text"), strict=True)]
    back = rle.coco_to_instances(mixed, names=["a", "b", "c"])
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(back.mask(index), mask)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 6), max_size=8), st.integers(0, 2))
def test_counts_may_hold_zeros_and_must_sum_to_the_size(counts: list[int], more: int) -> None:
    size = sum(counts) + more
    one = {"size": [1, size], "counts": counts}
    if more:
        with pytest.raises(InputError, match=f"counts do not sum to the size: {size} pixels"):
            rle.from_coco(one)
        return
    inside = [place % 2 for place, count in enumerate(counts) for _ in range(count)]
    assert rle.from_coco(one).astype(int).tolist() == [inside]


@settings(max_examples=1000)
@given(st.one_of(st.binary(max_size=8), st.text("0123456789<>OPQo", max_size=8).map(str.encode)))
def test_any_bytes_are_read_as_the_reference_reads_them_or_refused(text: bytes) -> None:
    counts = reference_expand(text)
    pixels = sum(counts) if counts else 12
    if counts is None or min(counts, default=0) < 0 or pixels > 100_000 or not counts:
        with pytest.raises(InputError, match=r"the COCO mask: .*counts"):
            rle.from_coco({"size": [1, max(0, min(pixels, 100_000))] if counts else [3, 4], "counts": text})
        return
    mask = rle.from_coco({"size": [pixels, 1], "counts": text})
    listed = rle.from_coco({"size": [pixels, 1], "counts": counts})
    np.testing.assert_array_equal(mask, listed)


@settings(max_examples=100)
@given(MASKS.filter(lambda mask: mask.any()), st.data())
def test_a_text_that_is_cut_off_is_refused(mask: Any, data: Any) -> None:
    one = rle.to_coco(mask)
    one["counts"] = one["counts"][: data.draw(st.integers(0, len(one["counts"]) - 1))]
    with pytest.raises(InputError, match=r"do not sum to the size|end within a number"):
        rle.from_coco(one)


REFUSED = [
    (b"S4", "counts do not sum to the size: 12 pixels"),
    (b"P", r"counts end within a number, after 1 characters"),
    (b"\xff", r"not COCO's compressed RLE"),
    (b"3 5", r"character 2 of counts is not COCO's compressed RLE"),
    ("3é", r"not COCO's compressed RLE"),
    (b"O", "counts hold a negative number"),
    (b"P" * 40 + b"0", r"character 12 of counts is not COCO's"),
    (b"oooooooooo3", "counts do not sum to the size"),
    ([13], "counts do not sum to the size: 12 pixels"),
    ([2, 3], "counts do not sum"),
    ([], "counts do not sum"),
    (b"", "counts do not sum"),
    ([14, -2], "counts do not sum"),
    ([6, -2, 8], "counts hold a negative number"),
    ([2**62, 2**62, 2**62, 2**62, 12], "more than any image"),
    ([10**30], r"wanted a text or a list of whole numbers"),
    (np.array([2**64 - 1], np.uint64), "more than any image"),
    ([6.0, 6.0], "wanted a text or a list of whole numbers"),
    ([float("nan")], "wanted a text or a list of whole numbers"),
    ([[1, 2], [3]], "wanted a text or a list of whole numbers"),
    (["6", "6"], "wanted a text or a list of whole numbers"),
    (None, "wanted a text or a list of whole numbers"),
    (12, "wanted a text or a list of whole numbers"),
]


@pytest.mark.parametrize(("counts", "says"), REFUSED, ids=lambda given: ascii(given)[:30])
def test_what_is_wrong_is_refused_and_said(counts: Any, says: str) -> None:
    one = {"size": [3, 4], "counts": counts}
    with pytest.raises(InputError, match=says) as single:
        rle.from_coco(one)
    assert str(single.value).startswith("the COCO mask: ")
    with pytest.raises(InputError, match=r"^row 2 \(id 8\): "):
        rle.coco_to_instances([rle.to_coco(np.eye(3, 4)), one], names=["id 7", "id 8"])


def test_wrong_sizes_and_objects_are_refused() -> None:
    eye = rle.to_coco(np.eye(3))
    for size in ([3], [3, 3, 1], [3.5, 3], [-3, -3], None, "33"):
        with pytest.raises(InputError, match=r"^the COCO mask: size: shape is"):
            rle.from_coco({**eye, "size": size})
    for one in ([[1.0, 2.0, 3.0, 4.0]], {"counts": [9]}, {"size": [3, 3]}, None, "9"):
        with pytest.raises(InputError, match="wanted an RLE with 'size' and 'counts', not a polygon"):
            rle.from_coco(one)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"row 2 has size \[3, 4\]; wanted that of the image, \[3, 3\]"):
        rle.coco_to_instances([eye, rle.to_coco(np.eye(3, 4))])
    with pytest.raises(InputError, match=r"row 1 has size \[3, 3\]; wanted that of the image, \[4, 4\]"):
        rle.coco_to_instances([eye], shape=(4, 4))
    with pytest.raises(InputError, match="rows is one dict"):
        rle.coco_to_instances(eye)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no RLE and no shape"):
        rle.coco_to_instances([])
    assert len(rle.coco_to_instances([], shape=(4, 4))) == 0


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(OptionError, match="counts is 'zip'; wanted 'bytes', 'text' or 'list'"):
        rle.to_coco(np.eye(3), "zip")  # type: ignore[arg-type]
