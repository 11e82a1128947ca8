"""Kaggle strings: equal to a slow reference, inverse of one another, and refused with a reason where wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg import rle
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from tests.shapes import label_images

ORDERS = st.sampled_from(["row", "column"])
STARTS = st.sampled_from([0, 1])
MASKS = hnp.arrays(bool, st.tuples(st.integers(0, 9), st.integers(0, 9)))


def reference_encode(mask: npt.NDArray[Any], order: str, start: int) -> str:
    pixels = mask.ravel("C" if order == "row" else "F").tolist()
    numbers: list[int] = []
    for place, inside in enumerate(pixels):
        if inside and (place == 0 or not pixels[place - 1]):
            numbers += [place + start, 0]
        if inside:
            numbers[-1] += 1
    return " ".join(map(str, numbers))


def reference_decode(text: str, shape: tuple[int, int], order: str, start: int) -> npt.NDArray[np.bool_] | None:
    """Read a text one pixel at a time; None where it must be refused."""
    words = [word for word in re.split("[ \t\n\v\f\r]", text) if word]
    if len(words) % 2 or not all(re.fullmatch("[0-9]+", word) for word in words):
        return None
    pixels, end = [False] * (shape[0] * shape[1]), 0
    for begin, length in zip(map(int, words[::2]), map(int, words[1::2]), strict=True):
        if begin - start < end or length == 0 or begin - start + length > len(pixels):
            return None
        end = begin - start + length
        for pixel in range(begin - start, end):
            pixels[pixel] = True
    return np.array(pixels, bool).reshape(shape, order="C" if order == "row" else "F")


@settings(max_examples=300)
@given(MASKS, ORDERS, STARTS)
def test_a_mask_is_written_as_the_reference_writes_it_and_comes_back(mask: Any, order: Any, start: int) -> None:
    text = rle.encode(mask, order, start)
    assert text == reference_encode(mask, order, start)
    back = rle.decode(text, mask.shape, order, start)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


@settings(max_examples=200)
@given(label_images(), ORDERS, STARTS)
def test_a_label_image_is_written_as_its_masks_are(labels: Any, order: Any, start: int) -> None:
    texts = rle.encode_labels(labels, order, start)
    assert list(texts) == [label for label in np.unique(labels).tolist() if label]
    for label, text in texts.items():
        assert text == reference_encode(labels == label, order, start)


@settings(max_examples=200)
@given(label_images(), ORDERS, STARTS)
def test_a_label_image_comes_back_numbered(labels: Any, order: Any, start: int) -> None:
    texts = rle.encode_labels(labels, order, start)
    back = rle.decode_labels(texts.values(), labels.shape, order, start)
    assert back.dtype == np.int32
    assert back.flags.c_contiguous
    values = np.array([0, *texts])
    np.testing.assert_array_equal(values[back], labels)


@settings(max_examples=200)
@given(st.lists(hnp.arrays(bool, (5, 7)), max_size=5), ORDERS, STARTS)
def test_overlapping_instances_are_written_and_come_back(masks: Any, order: Any, start: int) -> None:
    texts = rle.encode_instances(Instances.from_masks(masks, (5, 7)), order, start)
    assert texts == [reference_encode(mask, order, start) for mask in masks]
    back = rle.decode_instances(texts, (5, 7), order, start)
    assert len(back) == len(masks)
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(back.mask(index), mask)


@settings(max_examples=1000)
@given(st.text("0123456789  -+.ne\t\n\x1c\u0663", max_size=12), ORDERS, STARTS)
def test_any_text_is_read_as_the_reference_reads_it_or_refused(text: str, order: Any, start: int) -> None:
    wanted = reference_decode(text, (3, 5), order, start)
    if wanted is None:
        with pytest.raises(InputError, match="row 2"):
            rle.decode_instances(["1 1", text], (3, 5), order, start)
    else:
        np.testing.assert_array_equal(rle.decode(text, (3, 5), order, start), wanted)


@settings(max_examples=500)
@given(st.lists(st.integers(0, 9), max_size=6), ORDERS, STARTS)
def test_any_numbers_are_read_as_the_reference_reads_them_or_refused(numbers: Any, order: Any, start: int) -> None:
    text = " ".join(map(str, numbers))
    wanted = reference_decode(text, (4, 3), order, start)
    if wanted is None:
        with pytest.raises(InputError, match="the text: "):
            rle.decode(text, (4, 3), order, start)
    else:
        np.testing.assert_array_equal(rle.decode(text, (4, 3), order, start), wanted)


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (1, 6), (6, 1), (1, 1), (3, 4)])
def test_full_and_empty_masks_of_any_shape(shape: tuple[int, int], order: Any) -> None:
    size = shape[0] * shape[1]
    assert rle.encode(np.zeros(shape), order) == ""
    assert rle.encode(np.ones(shape), order) == (f"1 {size}" if size else "")
    assert rle.decode(f"0 {size}" if size else "", shape, order, start=0).sum() == size
    assert rle.decode("", shape, order).shape == shape
    assert rle.decode_labels([], shape, order).shape == shape


def test_sartorius_and_bowl_orders() -> None:
    mask = np.zeros((3, 4), bool)
    mask[0, 3] = mask[1, :2] = True
    assert rle.encode(mask) == "4 3"
    assert rle.encode(mask, order="column") == "2 1 5 1 10 1"
    assert rle.encode(mask, start=0) == "3 3"


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_labels_of_any_integer_type_and_layout(dtype: Any, order: Any) -> None:
    labels = np.zeros((12, 10), dtype)
    labels[2:5, 1:9], labels[6:, 3] = 7, 100
    wanted = {7: reference_encode(labels == 7, order, 1), 100: reference_encode(labels == 100, order, 1)}
    assert rle.encode_labels(labels, order) == wanted
    assert rle.encode_labels(np.asfortranarray(labels), order) == wanted
    doubled = np.repeat(np.repeat(labels, 2, 0), 2, 1)[::2, ::2]
    assert not doubled.flags.c_contiguous
    assert rle.encode_labels(doubled, order) == wanted
    labels.flags.writeable = False
    assert rle.encode_labels(labels, order) == wanted


def test_huge_labels_keep_their_values() -> None:
    labels = np.array([[2**31 - 1, 0, 5], [0, 0, 5]], np.int64)
    before = labels.copy()
    assert rle.encode_labels(labels) == {5: "3 1 6 1", 2**31 - 1: "1 1"}
    np.testing.assert_array_equal(labels, before)


def test_noise_fits_although_every_pixel_is_a_run() -> None:
    labels = np.arange(1, 40_001).reshape(200, 200) % 999 + 1
    for order in ("row", "column"):
        texts = rle.encode_labels(labels, order)
        np.testing.assert_array_equal(rle.decode_labels(texts.values(), labels.shape, order), labels)


@pytest.mark.parametrize("count", ["1", "2", "5"])
def test_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    labels = np.zeros((1200, 1300), np.int32)
    labels[:, 100:900], labels[5:800, 1000:], labels[1000:, 1000:1200] = 1, 2, 9
    monkeypatch.setenv("FLOWSEG_THREADS", count)
    for order in ("row", "column"):
        texts = rle.encode_labels(labels, order)
        assert list(texts) == [1, 2, 9]
        back = rle.decode_labels(texts.values(), labels.shape, order)
        np.testing.assert_array_equal(np.array([0, 1, 2, 9])[back], labels)
    whole = np.ones((1200, 1300), np.int32)
    assert rle.encode_labels(whole) == {1: "1 1560000"}


def test_touching_runs_and_blanks_are_accepted() -> None:
    wanted = rle.decode("1 4", (2, 3))
    np.testing.assert_array_equal(rle.decode("1 2 3 2", (2, 3)), wanted)
    np.testing.assert_array_equal(rle.decode("  01  4\t\r\n", (2, 3)), wanted)
    assert len(rle.decode_instances(["1 2 3 2"], (2, 3)).starts) == 1


REFUSED = {
    "1 2 4": r"3 numbers; wanted pairs of start and length",
    "1 2 nan 4": r"number 3 is 'nan'; wanted whole numbers",
    "1 2.0": r"number 2 is '2.0'",
    "1 -2": r"number 2 is '-2'.*without a sign",
    "+1 2": r"number 1 is '\+1'",
    "1_0 2": r"number 1 is '1_0'",
    "1 0x2": r"number 2 is '0x2'",
    "1 1e3": r"number 2 is '1e3'",
    "1 2\x1c3 4": r"number 2 is '2\\x1c3'",
    "1 2\x003 4": r"number 2 is '2\\x003'",
    "\u0661 \u0662": "holds '\u0661'; wanted numbers in the digits 0 to 9",
    "1 \uff12": "holds '\uff12'",
    "\ud800": "wanted numbers in the digits 0 to 9",
    "0 3": r"run 1 \(0 3\) starts before 1, the first pixel \(was it written with start=0\?\)",
    "1 0": r"run 1 \(1 0\) has length 0",
    "1 3 3 1": r"run 2 \(3 1\) starts before the end of the run before it \(1 3\)",
    "5 1 1 2": r"run 2 \(1 2\) starts before the end of the run before it \(5 1\)",
    "5 3": r"run 1 \(5 3\) goes past the end of the image of 2 x 3 = 6 pixels",
    "7 1": r"run 1 \(7 1\) goes past the end",
    f"1 {10**30}": r"run 1 \(1 1000000+\.\.\.\) goes past the end",
    f"{2**64 + 1} 1": r"run 1 \(18446744073709551617 1\) goes past the end",
    f"1 {2**63}": r"run 1 \(1 9223372036854775808\) goes past the end",
}


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text))
def test_what_is_wrong_is_refused_and_said(text: str, order: Any) -> None:
    with pytest.raises(InputError, match=REFUSED[text]) as single:
        rle.decode(text, (2, 3), order)
    assert str(single.value).startswith("the text")
    with pytest.raises(InputError, match=r"^row 3( |:)"):
        rle.decode_instances(["", "1 1", text, "no"], (2, 3), order)
    with pytest.raises(InputError, match=r"^row 3 \(c0ffee\)"):
        rle.decode_labels(["", "1 1", text], (2, 3), order, names=["a", "b", "c0ffee"])


def test_a_missing_cell_of_a_table_is_explained() -> None:
    with pytest.raises(InputError, match=r"row 2 is nan \(float\); wanted a string; .*fillna"):
        rle.decode_labels(["1 1", float("nan")], (2, 3))  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"row 1 is None \(NoneType\); wanted a string"):
        rle.decode_instances([None], (2, 3))  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"the text is b'1 1' \(bytes\); wanted a string"):
        rle.decode(b"1 1", (2, 3))  # type: ignore[arg-type]


def test_overlapping_rows_are_named() -> None:
    rows = ["1 2", "", "2 2"]
    wanted = r"row 1 and row 3 both hold the pixel \(0, 1\).*decode_instances.*resolve_overlaps"
    with pytest.raises(InputError, match=wanted):
        rle.decode_labels(rows, (2, 3))
    with pytest.raises(InputError, match=r"row 1 \(a\) and row 3 \(c\) both hold the pixel \(1, 0\)"):
        rle.decode_labels(rows, (2, 3), order="column", names="abc")
    assert rle.decode_instances(rows, (2, 3)).areas().tolist() == [2, 0, 2]


def test_an_empty_row_leaves_its_label_unused() -> None:
    assert rle.decode_labels(["1 1", "", "3 1"], (1, 3)).tolist() == [[1, 0, 3]]


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, -3), (2.0, 3), None, "ab", (2**40, 2**40)])
def test_wrong_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(InputError, match="shape is"):
        rle.decode("1 1", shape)


def test_wrong_options_and_inputs_are_refused() -> None:
    mask = np.eye(3)
    for call in (rle.encode, rle.encode_labels, lambda mask, *given: rle.decode("1 1", (3, 3), *given)):
        with pytest.raises(OptionError, match="order is 'F'; wanted 'row' or 'column'"):
            call(mask, "F")  # type: ignore[operator]
        with pytest.raises(OptionError, match="is 2; wanted 0 or 1"):
            call(mask, "row", 2)  # type: ignore[operator]
    with pytest.raises(InputError, match="mask holds 1 and 2 beside 0; wanted the mask of one instance"):
        rle.encode([[0, 1, 2]])
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        rle.encode([0, 1, 1])
    with pytest.raises(InputError, match="rows is one str"):
        rle.decode_labels("1 1", (2, 3))
    with pytest.raises(InputError, match="1 name for 2 rows"):
        rle.decode_labels(["1 1", "2 1"], (2, 3), names=["a"])


def test_a_mask_may_have_any_one_value() -> None:
    for mask in (np.eye(2) * 255, np.eye(2, dtype=np.uint8) * 7, -np.eye(2), np.eye(2).tolist()):
        assert rle.encode(mask) == "1 1 4 1"


@pytest.mark.slow
def test_a_large_image_makes_the_round_trip() -> None:
    labels = np.zeros((8192, 8192), np.int32)
    blocks = labels.reshape(256, 32, 256, 32)
    blocks[:, 3:29, :, 5:30] = np.arange(1, 65537).reshape(256, 1, 256, 1)
    for order in ("row", "column"):
        texts = rle.encode_labels(labels, order)
        assert len(texts) == 65536
        np.testing.assert_array_equal(rle.decode_labels(texts.values(), labels.shape, order), labels)


@pytest.mark.slow
def test_kernels_do_the_same_without_the_compiler() -> None:
    root = Path(__file__).parent.parent.parent
    tests = ["tests/rle", "tests/test_instances.py", "-k", "not slow and not noise and not threads"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests],
        cwd=root,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
