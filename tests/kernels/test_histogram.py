import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg.kernels import histogram


@given(hnp.arrays(np.uint16, st.integers(0, 50)))
def test_counts_of_16_bits(values: np.ndarray) -> None:
    counts = np.zeros((2, 65536), np.int64)
    histogram.count_16(values, counts)
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(values, minlength=65536))


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_keys_order_as_the_floats_do(values: np.ndarray) -> None:
    keys = np.array([histogram.ordered_key(bits) for bits in np.sort(values).view(np.uint32)], np.int64)
    assert (np.diff(keys)[np.diff(np.sort(values).astype(np.float64)) > 0] > 0).all()


@given(hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)))
def test_both_halves_count_every_value(values: np.ndarray) -> None:
    bits = values.view(np.uint32)
    keys = np.array([histogram.ordered_key(value) for value in bits], np.uint32)
    upper = np.zeros((2, 65536), np.int64)
    histogram.count_upper_halves(bits, upper)
    np.testing.assert_array_equal(upper.sum(axis=0), np.bincount(keys >> 16, minlength=65536))
    slots = np.full(65536, -1, np.int8)
    if len(keys):
        slots[keys[0] >> 16] = 0
        lower = np.zeros((1, 65536), np.int64)
        histogram.count_lower_halves(bits, slots, lower)
        same = keys[keys >> 16 == keys[0] >> 16]
        np.testing.assert_array_equal(lower[0], np.bincount(same & 0xFFFF, minlength=65536))
