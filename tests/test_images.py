"""Images as planes: channels, normalisation, resizing, against slow references."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from flowseg import FlowsegError, images
from flowseg.options import NormalisationOptions

Planes = npt.NDArray[np.float32]
SIDES = st.integers(1, 12)


@settings(deadline=None, max_examples=80)
@given(
    hnp.arrays(
        np.float32, st.tuples(st.just(2), st.integers(1, 12), st.integers(1, 12)), elements=st.floats(-9, 9, width=32)
    ),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_resizing_samples_half_pixel_centres(planes: Planes, height: int, width: int) -> None:
    grid = [
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for old, new in zip(planes.shape[1:], (height, width), strict=True)
    ]
    at = np.stack(np.meshgrid(*grid, indexing="ij"))
    wanted = [ndimage.map_coordinates(plane.astype(float), at, order=1, mode="nearest") for plane in planes]
    np.testing.assert_allclose(images.resize(planes, (height, width)), wanted, atol=1e-4)


def test_resizing_to_the_same_size_changes_nothing() -> None:
    planes = np.random.default_rng(0).normal(size=(2, 33, 21)).astype(np.float32)
    assert (images.resize(planes, (33, 21)) == planes).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_percentiles_become_0_and_1(dtype: str) -> None:
    planes = (np.random.default_rng(0).gamma(2, 20, (2, 80, 90)) + 5).astype(dtype)
    result = images.normalise(planes)
    for plane, given_plane in zip(result.planes, planes, strict=True):
        low, high = np.percentile(given_plane.astype(np.float64), [1, 99])
        np.testing.assert_allclose(plane, (given_plane - low) / (high - low), atol=1e-4)
    assert (result.replaced, result.flat) == (0, ())
    inverted = images.normalise(planes, NormalisationOptions(invert=True)).planes
    np.testing.assert_allclose(inverted, 1 - result.planes, atol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 1e30, np.nan, np.inf, -np.inf])
def test_an_image_without_contrast_becomes_nothing(value: float) -> None:
    for shape in ((1, 1, 1), (1, 1, 40), (2, 30, 30)):
        result = images.normalise(np.full(shape, value, np.float32))
        assert (result.planes == 0).all()
        assert result.flat == tuple(range(shape[0]))
        assert result.replaced == (0 if np.isfinite(value) else np.prod(shape))


def test_pixels_that_are_not_finite_are_replaced_and_counted() -> None:
    planes = np.random.default_rng(0).uniform(1, 2, (1, 50, 50)).astype(np.float32)
    planes[0, 3, 4:7] = np.nan, np.inf, -np.inf
    before = planes.copy()
    result = images.normalise(planes)
    assert result.replaced == 3
    assert np.isfinite(result.planes).all()
    assert (result.planes[0, 3, 4:7] == result.planes.min()).all()
    assert np.array_equal(planes, before, equal_nan=True)


def test_blocks_have_their_own_percentiles() -> None:
    rng = np.random.default_rng(0)
    texture, light = rng.uniform(size=(400, 400)), np.linspace(1, 20, 400)
    lit = (texture * light)[None].astype(np.float32)
    plain, local = (images.normalise(lit, NormalisationOptions(tile=tile)).planes[0] for tile in (0, 100))
    assert plain[:, :50].std() < 0.2 * plain[:, -50:].std()
    assert local[:, :50].std() > 0.4 * local[:, -50:].std()
    assert (images.normalise(np.ones((1, 300, 300)), NormalisationOptions(tile=100)).planes == 0).all()


def test_axes_are_told_apart_or_refused() -> None:
    assert images.as_planes(np.zeros((30, 40))).shape == (1, 30, 40)
    assert images.as_planes(np.zeros((30, 40, 3))).shape == (3, 30, 40)
    assert images.as_planes(np.zeros((2, 30, 40))).shape == (2, 30, 40)
    for shape in ((5,), (3, 4, 5, 6), (30, 30, 30), (30, 2, 40)):
        with pytest.raises(FlowsegError, match="wanted"):
            images.as_planes(np.zeros(shape))
    with pytest.raises(FlowsegError, match="complex"):
        images.as_planes(np.zeros((3, 3), complex))


def test_channels_are_chosen_by_number_or_name() -> None:
    planes = np.arange(4)[:, None, None] * np.ones((4, 5, 6))
    names = ("DAPI", "GFP", "RFP", "BF")
    by_name = images.choose(planes, 2, ("gfp", "DAPI"), names)
    assert by_name.planes[:, 0, 0].tolist() == [1, 0]
    assert by_name.said == "cells <- channel 1 (GFP), nuclei <- channel 0 (DAPI)"
    assert images.choose(planes, 2, ("2", 3)).planes[:, 0, 0].tolist() == [2, 3]
    assert images.choose(planes, 2, (3,)).planes[:, 0, 0].tolist() == [3, 0]


def test_without_a_choice_images_are_taken_as_cellpose_takes_them() -> None:
    planes = np.arange(3)[:, None, None] * np.ones((3, 5, 6))
    assert images.choose(planes[:1], 2).planes[:, 0, 0].tolist() == [0, 0]
    assert images.choose(planes[1:], 2).planes[:, 0, 0].tolist() == [1, 2]
    colour = images.choose(planes, 2)
    assert colour.planes[:, 0, 0].tolist() == [1, 0]
    assert "mean of red, green and blue" in colour.said


@pytest.mark.parametrize(
    ("count", "channels", "message"),
    [
        (5, None, "the image has 5 channels.*choose"),
        (2, (2,), "no channel 2; the image has channels 0 to 1"),
        (2, (-1,), "no channel -1"),
        (2, ("GFP",), "no channel 'GFP'"),
        (4, (0, 1, 2), "3 channels were chosen; the network takes 1 to 2"),
        (4, (), "0 channels were chosen"),
    ],
)
def test_channels_that_are_not_there_are_refused(count: int, channels: tuple[int | str, ...], message: str) -> None:
    with pytest.raises(FlowsegError, match=message):
        images.choose(np.zeros((count, 5, 5)), 2, channels)
