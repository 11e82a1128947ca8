"""Overlays: the image stretched as asked, each instance outlined in a colour of its own."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from PIL import Image

from flowseg.errors import InputError, OptionError
from flowseg.exports import overlay
from flowseg.labels import outline_mask
from tests.shapes import label_images, solid_cells


def test_each_instance_has_one_colour_along_its_border_and_the_rest_is_the_image() -> None:
    cells = solid_cells(100, 16, seed=1)
    ramp = np.tile(np.linspace(0, 60_000, 100).astype(np.uint16), (100, 1))
    seen = overlay.draw(ramp[None], cells)
    border = outline_mask(cells)
    colours = {label: np.unique(seen[border & (cells == label)], axis=0) for label in range(1, cells.max() + 1)}
    assert {len(found) for found in colours.values()} == {1}
    assert len({found.tobytes() for found in colours.values()}) == len(colours)
    for channel in range(3):
        assert (seen[..., channel][~border] == seen[..., 0][~border]).all()
    low, high = np.percentile(ramp, (0.5, 99.8))
    expected = (255 * (ramp - low) / (high - low)).clip(0, 255)
    assert np.abs(seen[..., 0][~border] - expected[~border]).max() <= 1


@pytest.mark.parametrize(
    "kind", [np.bool_, np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint64, float, np.float16]
)
def test_every_type_is_stretched_alike(kind: type) -> None:
    plane = (np.random.default_rng(0).random((1, 20, 30)) * (1 if kind is np.bool_ else 120)).round().astype(kind)
    seen = overlay.draw(plane, np.zeros((20, 30), int))
    reference = overlay.draw(plane.astype(np.float32), np.zeros((20, 30), int))
    assert np.abs(seen.astype(int) - reference).max() <= 1
    assert (seen.min(), seen.max()) == (0, 255)


def test_negative_numbers_nan_and_a_flat_image() -> None:
    plane = np.linspace(-5, 5, 200).reshape(1, 10, 20)
    plane[0, 0, 0] = np.nan
    plane[0, 0, 1] = np.inf
    seen = overlay.draw(plane, np.zeros((10, 20), int))
    assert (seen[0, 0] == 0).all()
    assert np.abs(seen[5, 1, 0] - 255 * 101 / 200) < 4
    assert (overlay.draw(np.full((1, 4, 4), 7), np.zeros((4, 4), int)) == 0).all()


def test_colours_keep_their_balance_and_channels_their_light() -> None:
    picture = np.zeros((3, 10, 10), np.uint8)
    picture[0] = np.arange(100).reshape(10, 10)
    picture[1] = picture[0] // 2
    seen = overlay.draw(picture, np.zeros((10, 10), int)).astype(int)
    assert np.abs(seen[..., 1] - seen[..., 0] / 2).max() < 4
    assert (seen[..., 2] == 0).all()
    two = np.zeros((2, 10, 10))
    two[0, :5, ::2], two[1, 5:, ::2] = 1, 1
    seen = overlay.draw(two, np.zeros((10, 10), int))
    assert seen[0, 0].tolist() == [255, 0, 255]
    assert seen[9, 0].tolist() == [0, 255, 0]
    assert overlay.draw(np.random.default_rng(0).random((9, 4, 4)), np.zeros((4, 4), int)).shape == (4, 4, 3)


@settings(max_examples=30)
@given(label_images())
def test_a_png_holds_what_was_drawn_and_nothing_is_changed(image: npt.NDArray[np.int32]) -> None:
    if image.size == 0:
        return
    planes = np.random.default_rng(0).random((1, *image.shape), np.float32)
    before, labels_before = planes.copy(), image.copy()
    planes.flags.writeable = image.flags.writeable = False
    with Image.open(io.BytesIO(overlay.encode(planes, image))) as opened:
        assert (np.asarray(opened) == overlay.draw(planes, image)).all()
    with Image.open(io.BytesIO(overlay.encode(planes, image, "jpeg"))) as opened:
        assert opened.size == image.shape[::-1]
    assert (planes == before).all()
    assert (image == labels_before).all()


@pytest.mark.parametrize(
    "planes", [np.zeros((4, 4)), np.zeros((1, 4, 5)), np.zeros((1, 4, 4), complex), np.zeros((0, 4, 4))]
)
def test_what_is_no_image_of_these_labels_is_refused(planes: npt.NDArray[Any]) -> None:
    with pytest.raises(InputError, match="wanted"):
        overlay.encode(planes, np.zeros((4, 4), int))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(OptionError, match="wanted png or jpeg"):
        overlay.encode(np.zeros((1, 4, 4)), np.zeros((4, 4), int), "gif")  # type: ignore[arg-type]
