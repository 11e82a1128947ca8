"""Kaggle tables, read row by row by a reader of the tests' own."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from flowseg.exports import kaggle_csv
from flowseg.instances import Instances
from flowseg.rle import Order
from flowseg.sources import kaggle_table
from tests.convert.collections import masks_of, read_kaggle

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))


@pytest.mark.parametrize("order", ["row", "column"])
@settings(max_examples=60)
@given(masks=MASKS)
def test_overlapping_masks_are_read_as_they_were(order: Order, masks: npt.NDArray[np.bool_]) -> None:
    instances = Instances.from_masks(masks, masks.shape[1:])
    parts = [kaggle_csv.Part(name, instances) for name in ("a", 'b, "c"', "d/e")]
    found = masks_of(read_kaggle(b"".join(kaggle_csv.document(parts, order=order)).decode()))
    there = [mask for mask in masks if mask.any()]
    assert list(found) == ["a", 'b, "c"', "d/e"]
    for read in found.values():
        assert len(read) == len(there)
        assert all((one == other).all() for one, other in zip(read, there, strict=True))


def test_images_without_instances_have_a_row() -> None:
    nothing = kaggle_csv.Part("a", Instances.from_labels(np.zeros((2, 3), int)), {"kind": "x,y"})
    text = b"".join(kaggle_csv.document([nothing], ["kind", "other", "WIDTH"])).decode()
    assert text == 'id,annotation,width,height,kind,other\na,,3,2,"x,y",\n'


@pytest.mark.parametrize("order", ["row", "column"])
def test_further_columns_never_hide_those_of_ids_and_encodings(tmp_path: Path, order: Order) -> None:
    reserved = [*kaggle_table._IDS, *kaggle_table._TEXTS]
    columns = {**{name.upper(): "7" for name in reserved}, "notes": "one\ntwo\r\nthree", "a\nb": "c"}
    one = kaggle_csv.Part("x", Instances.from_labels([[1, 0], [0, 0]]), columns)
    (tmp_path / "t.csv").write_bytes(b"".join(kaggle_csv.document([one], list(columns), order)))
    (read,) = kaggle_table.read(tmp_path / "t.csv")
    assert read.instances().areas().tolist() == [1]
    assert (read.columns["notes"], read.columns["a b"], read.columns["rle_"]) == ("one two three", "c", "7")
