"""A collection reads when asked, and tells all its problems at once."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources.collection import Collection, Item, spread


def _nothing(shape: tuple[int, int]) -> Instances:
    return Instances.from_masks([], shape)


def test_a_sample_is_an_image_and_instances_of_one_shape(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), np.uint8))
    image, instances = Item("a", tmp_path / "a.tif", partial(_nothing, (4, 5))).sample()
    assert image.shape == instances.shape == (4, 5)
    with pytest.raises(InputError, match="masks of a and its image"):
        Item("a", tmp_path / "a.tif", partial(_nothing, (5, 4))).sample()


def test_an_item_without_an_image_says_so() -> None:
    with pytest.raises(InputError, match="b has instances but no image"):
        Item("b", None, partial(_nothing, (4, 5))).image()


def test_all_problems_are_told_at_once() -> None:
    problems = tuple(f"row {number}" for number in range(30))
    with pytest.raises(InputError, match=r"30 problems:\n  - row 0\n(.|\n)*and 10 more"):
        Collection(Path("x.csv"), "kaggle", (), problems).require_sound()
    with pytest.raises(InputError, match="no image with masks"):
        Collection(Path("x.csv"), "kaggle", ()).require_sound()
    item = Item("b", None, partial(_nothing, (4, 5)))
    Collection(Path("x.csv"), "kaggle", (item,)).require_sound()


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 76, 127, 128, 500])
def test_as_many_as_are_asked_for_from_everywhere(count: int) -> None:
    items = list(range(count))
    found = spread(items, 64)  # type: ignore[arg-type]
    assert len(found) == min(count, 64)
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, count - 1)
    gaps = np.diff(found)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_nothing_of_nothing() -> None:
    assert spread([], 64) == []


def test_a_collection_is_told_in_a_line() -> None:
    assert repr(Collection(Path("x"), "pairs", ())) == "Collection(x, pairs, 0 images)"
    assert repr(Collection(Path("x"), "pairs", (), ("a", "b"))) == "Collection(x, pairs, 0 images, 2 problems)"
