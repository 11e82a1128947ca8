"""Pictures: each kind of error has its colour where the error is."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from flowseg.errors import InputError
from flowseg.evaluate import pictures
from flowseg.evaluate.comparison import Pair
from flowseg.instances import Instances
from tests.evaluate.data import item

TOP = 22  # the title


def box(labels: npt.NDArray[np.int32], label: int, y: int, x: int, width: int = 10) -> None:
    labels[y : y + 10, x : x + width] = label


def scene() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    truth, pred = np.zeros((100, 100), np.int32), np.zeros((100, 100), np.int32)
    box(truth, 1, 5, 5)  # right
    box(pred, 9, 5, 5)
    box(truth, 2, 25, 5)  # missed
    box(pred, 3, 45, 5)  # spurious
    box(truth, 4, 65, 5, 20)  # split
    box(pred, 4, 65, 5)
    box(pred, 5, 65, 15)
    box(truth, 6, 65, 55)  # merged
    box(truth, 7, 65, 65)
    box(pred, 6, 65, 55, 20)
    return truth, pred


def colours_at(
    picture: npt.NDArray[np.uint8], y: int, x: int, height: int = 10, width: int = 10
) -> set[tuple[int, ...]]:
    factor = picture.shape[1] // 100
    part = picture[TOP + y * factor : TOP + (y + height) * factor, x * factor : (x + width) * factor]
    return {tuple(pixel) for pixel in part.reshape(-1, 3).tolist()} - {(0, 0, 0)}


def test_each_error_has_its_colour() -> None:
    truth, pred = scene()
    picture = pictures.overlay(Pair("scene", item("scene", pred), item("scene", truth)))
    assert picture.shape[1] == 1600
    right, found = pictures.TRUE.colour, pictures.FOUND.colour
    assert colours_at(picture, 4, 4, 12, 12) == {right, found}
    assert colours_at(picture, 25, 5) == {pictures.MISSED.colour}
    assert colours_at(picture, 45, 5) == {pictures.SPURIOUS.colour}
    assert colours_at(picture, 65, 5, 10, 20) == {pictures.SPLIT.colour, found}
    assert colours_at(picture, 65, 55, 10, 20) == {pictures.MERGED.colour, right}
    assert colours_at(picture, 85, 0, 10, 100) == set()
    colours = {kind.colour for kind in (pictures.TRUE, pictures.FOUND, pictures.SPLIT, pictures.MERGED)}
    assert len(colours | {pictures.MISSED.colour, pictures.SPURIOUS.colour}) == 6


def test_the_image_lies_below(tmp_path: Path) -> None:
    truth, pred = scene()
    tifffile.imwrite(tmp_path / "a.tif", np.arange(10000, dtype=np.uint16).reshape(100, 100))
    picture = pictures.overlay(Pair("a", item("a", pred), item("a", truth, path=tmp_path / "a.tif")))
    grey = picture[TOP + 90 * 16 : TOP + 100 * 16]
    assert (grey == grey[..., :1]).all()
    assert grey.mean() > 200 > picture[TOP : TOP + 30].mean()
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint16))
    with pytest.raises(InputError, match=r"shape \(9, 9\); wanted \(100, 100\)"):
        pictures.overlay(Pair("a", item("a", pred), item("a", truth, path=tmp_path / "a.tif")))


def test_instances_that_overlap_are_all_drawn() -> None:
    mask, other = np.zeros((2, 100, 100), bool)
    mask[10:50, 10:50] = other[20:40, 20:40] = True
    both = Instances.from_masks([mask, other], (100, 100))
    picture = pictures.overlay(Pair("b", item("b", Instances.from_masks([], (100, 100))), item("b", both)))
    assert colours_at(picture, 10, 10, 1, 40) == {pictures.MISSED.colour}
    assert colours_at(picture, 20, 20, 1, 20) == {pictures.MISSED.colour}


def test_one_side_may_be_missing_and_names_long() -> None:
    labels = np.ones((30, 2000), np.int32)
    picture = pictures.overlay(Pair("n" * 500, None, item("a", labels)))
    assert picture.shape[1] == 2000
    small = pictures.overlay(Pair("n", item("a", np.ones((2000, 4), np.int32)), None))
    assert small.shape[1] == 260  # the legend needs room
    assert small.shape[0] > 2000 + 3 * TOP
