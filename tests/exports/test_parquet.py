"""Measurements as Parquet: the same numbers and types, of many images with different columns."""

import io
import sys

import numpy as np
import pyarrow.parquet
import pytest

from flowseg.errors import MissingExtra
from flowseg.exports import parquet
from flowseg.measure import measure
from tests.shapes import solid_cells


def test_a_table_is_read_as_it_was() -> None:
    table = measure(solid_cells(60, 15, seed=0), np.random.default_rng(0).random((2, 60, 60)))
    data = parquet.encode(table)
    read = pyarrow.parquet.read_table(io.BytesIO(data))
    assert read.column_names == list(table) == parquet.columns_of(data)
    for name, column in table.items():
        assert read[name].to_numpy().dtype == column.dtype
        assert (read[name].to_numpy() == column).all()


def test_images_are_joined_under_all_their_columns() -> None:
    labels = solid_cells(60, 15, seed=0)
    one = measure(labels)
    two = measure(labels, np.ones((1, 60, 60)))
    none = measure(np.zeros((5, 5), int))
    parts = [("a", parquet.encode(one)), ("x/b", parquet.encode(two)), ("none", parquet.encode(none))]
    pieces = list(parquet.joined(parts, list(two)))
    assert len(pieces) == 4
    read = pyarrow.parquet.read_table(io.BytesIO(b"".join(pieces)))
    count = len(one["label"])
    assert read["image"].to_pylist() == ["a"] * count + ["x/b"] * count
    assert read["mean_intensity_0"].to_pylist() == [None] * count + [1.0] * count
    assert read["area"].to_pylist() == one["area"].tolist() * 2
    assert str(read.schema.field("area").type) == "int64"


def test_no_images_are_an_empty_table() -> None:
    read = pyarrow.parquet.read_table(io.BytesIO(b"".join(parquet.joined([], ["label", "area"]))))
    assert read.column_names == ["image", "label", "area"]
    assert read.num_rows == 0


def test_a_missing_library_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pyarrow is not installed: pip install "flowseg\[parquet\]"'):
        parquet.require()
