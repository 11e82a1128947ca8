import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg.errors import InputError, OptionError
from flowseg.normalize import Normalization, normalize
from flowseg.percentiles import percentiles

DTYPES = ["bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
sides = st.integers(1, 12)
finite = st.floats(-1e30, 1e30, width=32)


@given(hnp.arrays(st.sampled_from(["u1", "u2", "i1", "i2"]), st.tuples(sides, sides)), st.floats(0, 100))
def test_percentiles_of_integers_are_exact(values: np.ndarray, wanted: float) -> None:
    found = percentiles(values, (wanted, 0, 50, 100))
    expected = np.percentile(values.astype(np.float64), (wanted, 0, 50, 100))
    np.testing.assert_allclose(found.values, expected, rtol=1e-12, atol=1e-9)
    assert found.finite == values.size


@given(hnp.arrays(np.float32, st.tuples(sides, sides), elements=st.floats(width=32)), st.floats(0, 100))
def test_percentiles_of_floats_are_exact_over_the_finite_ones(values: np.ndarray, wanted: float) -> None:
    found = percentiles(values, (wanted, 0, 100))
    good = values[np.abs(values) < 2.0**120].astype(np.float64)
    assert found.finite == good.size
    if good.size:
        expected = np.percentile(good, (wanted, 0, 100))
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-9 * np.abs(good).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_gives_the_definition(dtype: str) -> None:
    rng = np.random.default_rng(0)
    planes = (rng.normal(60, 15, (2, 40, 50)).clip(0, 120) > (60 if dtype == "bool" else -1)) * (
        1 if dtype == "bool" else rng.normal(60, 15, (2, 40, 50)).clip(0, 120)
    )
    planes = planes.astype(dtype)
    before = planes.copy()
    result = normalize(planes)
    for number, plane in enumerate(planes.astype(np.float64)):
        low, high = np.percentile(plane, (1, 99))
        np.testing.assert_allclose(result.planes[number], (plane - low) / (high - low), atol=1e-5)
        assert (result.low[number], result.high[number]) == pytest.approx((low, high))
    assert result.planes.dtype == np.float32
    assert not any(result.flat)
    np.testing.assert_array_equal(planes, before)


@settings(max_examples=200)
@given(
    hnp.arrays(st.sampled_from(DTYPES), st.tuples(st.integers(1, 2), sides, sides)),
    st.sampled_from([{}, {"tile": 4}, {"invert": True}, {"limits": (0.0, 9.0)}, {"tile": 3, "invert": True}]),
)
def test_whatever_comes_the_result_is_finite(planes: np.ndarray, options: dict) -> None:
    result = normalize(planes, Normalization(**options))
    assert np.isfinite(result.planes).all()
    assert result.planes.shape == planes.shape


@given(
    hnp.arrays(np.uint16, st.tuples(st.just(1), st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 500)),
    st.integers(1, 90),
    st.integers(0, 9000),
)
def test_gain_and_offset_do_not_matter(planes: np.ndarray, gain: int, offset: int) -> None:
    changed = normalize((planes * np.uint16(gain) + np.uint16(offset)).astype(np.uint16))
    np.testing.assert_allclose(changed.planes, normalize(planes).planes, atol=2e-3)


def test_invert_swaps_dark_and_bright() -> None:
    planes = np.random.default_rng(1).integers(0, 255, (1, 30, 30), np.uint8)
    upright = normalize(planes).planes
    for options in [{}, {"tile": 10}, {"limits": (0, 100)}]:
        straight = normalize(planes, Normalization(**options)).planes
        inverted = normalize(planes, Normalization(invert=True, **options)).planes
        np.testing.assert_allclose(inverted, 1 - straight, atol=1e-6)
    assert np.corrcoef(upright.ravel(), normalize(255 - planes).planes.ravel())[0, 1] < -0.99


def test_not_finite_pixels_are_counted_and_take_the_extremes() -> None:
    plane = np.random.default_rng(2).normal(5, 1, (1, 40, 40)).astype(np.float32)
    broken = plane.copy()
    broken[0, 0, :3] = np.nan, np.inf, -np.inf
    result = normalize(broken)
    assert result.replaced == (3,)
    assert result.planes[0, 0, 0] == result.planes[0, 0, 2] == result.planes.min()
    assert result.planes[0, 0, 1] == result.planes.max()
    assert "3 NaN" in result.remarks()[0]
    finite_part = plane.ravel()[3:].astype(np.float64)
    low, high = np.percentile(finite_part, (1, 99))
    np.testing.assert_allclose(result.planes[0].ravel()[3:], (finite_part - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("value", [0, 100, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("options", [{}, {"tile": 4}, {"invert": True}], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (20, 20)])
def test_no_contrast_becomes_zeros(value: float, options: dict, shape: tuple[int, int]) -> None:
    result = normalize(np.full((1, *shape), value, np.float32), Normalization(**options))
    assert not result.planes.any()
    assert result.flat == (True,)


def test_an_empty_second_channel_stays_empty_and_goes_unmentioned() -> None:
    planes = np.zeros((2, 20, 20), np.uint8)
    planes[0] = np.arange(20) * 9
    for options in [{}, {"invert": True}, {"limits": (10, 50)}, {"tile": 5}]:
        result = normalize(planes, Normalization(**options))
        assert not result.planes[1].any()
        assert result.flat == (False, True)
        assert result.remarks() == []


def test_faint_numbers_have_contrast_too() -> None:
    faint = np.random.default_rng(3).random((1, 30, 30)).astype(np.float32) * 1e-5
    np.testing.assert_allclose(normalize(faint).planes, normalize(faint * 1e5).planes, atol=1e-4)


@pytest.mark.parametrize("offset", [2**40, -(2**62), 2**62])
def test_small_differences_between_large_numbers_survive(offset: int) -> None:
    small = np.random.default_rng(4).integers(0, 100, (1, 30, 30))
    np.testing.assert_allclose(normalize(small + offset).planes, normalize(small).planes, atol=1e-6)


def test_the_full_range_of_signed_integers() -> None:
    extremes = np.array([[[np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max]]])
    np.testing.assert_allclose(normalize(extremes).planes[0, 0], [-0.0102, 0.5, 1.0102], atol=1e-3)


def test_one_hot_pixel_is_bounded() -> None:
    plane = np.random.default_rng(7).normal(0, 1, (1, 40, 40)).astype(np.float32)
    hot = plane.copy()
    hot[0, 3, 3] = 1e30
    for options in [{}, {"tile": 20}]:
        result = normalize(hot, Normalization(**options))
        assert result.planes[0, 3, 3] == 1e4
        assert result.replaced == (0,)
    np.testing.assert_allclose(
        np.delete(normalize(hot).planes, 123), np.delete(normalize(plane).planes, 123), atol=0.05
    )


def test_limits_of_0_and_1_change_nothing() -> None:
    planes = np.random.default_rng(8).integers(0, 65535, (1, 9, 9), np.uint16)
    np.testing.assert_array_equal(normalize(planes, Normalization(limits=(0, 1))).planes, planes)


def test_tiles_even_out_a_slope() -> None:
    rng = np.random.default_rng(5)
    texture = rng.random((200, 400)) * 100
    slope = np.linspace(1, 20, 400)
    result = normalize((texture * slope)[np.newaxis], Normalization(tile=40)).planes[0]
    whole = normalize((texture * slope)[np.newaxis]).planes[0]
    assert result[:, :40].std() > 0.6 * result[:, -40:].std()
    assert whole[:, :40].std() < 0.2 * whole[:, -40:].std()


def test_other_byte_orders_and_strides() -> None:
    planes = np.random.default_rng(6).integers(0, 60000, (2, 20, 30), np.uint16)
    expected = normalize(planes).planes
    np.testing.assert_array_equal(normalize(planes.astype(">u2")).planes, expected)
    np.testing.assert_array_equal(normalize(np.asfortranarray(planes)).planes, expected)
    doubled = np.repeat(planes, 2, axis=2)[:, :, ::2]
    doubled.setflags(write=False)
    np.testing.assert_array_equal(normalize(doubled).planes, expected)


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros((1, 0, 3)), np.zeros((1, 3, 3), complex), [["a"]]])
def test_what_is_no_image_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="planes have"):
        normalize(bad)


@pytest.mark.parametrize(
    "options",
    [
        {"percentiles": (99, 1)},
        {"percentiles": (-1, 50)},
        {"limits": (5, 5)},
        {"limits": (0, np.inf)},
        {"limits": (1, 2, 3)},
        {"tile": -3},
        {"tile": 9, "limits": (0, 1)},
    ],
    ids=str,
)
def test_options_that_cannot_be(options: dict) -> None:
    with pytest.raises(OptionError):
        Normalization(**options)


def test_limits_a_channel_need_as_many_as_channels() -> None:
    with pytest.raises(OptionError, match="limits for 3 channels"):
        normalize(np.ones((2, 3, 3)), Normalization(limits=((0, 1),) * 3))
