"""No two images of a data set have one name, or one file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg.sources.data_sets import open_collection
from tests.sources.data import label_image, picture, write_table

IDS = ("a/b.png", "c/b.png", "a__b.png", "a__b", "b.png", "b.tif", "b", "a/b", "b.png.png", "\u00e9", "e\u0301")
FILES = ("a/b.png", "a/b.tif", "c/b.png", "a__b.png", "b.png", "b.tif", "b.png.png", "\u00e9.png", "e\u0301.png")


@settings(max_examples=150)
@given(st.lists(st.sampled_from(IDS), unique=True, min_size=1), st.lists(st.sampled_from(FILES), unique=True))
def test_no_two_ids_have_one_name_or_one_image(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    write_table(folder / "t.csv", ["id", "annotation", "height", "width"], [[id_, "1 2", "2", "3"] for id_ in ids])
    for name in names:
        picture(folder / "images" / name, (2, 3))
    data = open_collection(folder / "t.csv")
    if not names:
        data.require_sound()
        assert len(data) == len(ids)
    assert len({item.name for item in data}) == len(data)
    paths = [item.path for item in data if item.path is not None]
    assert len(set(paths)) == len(paths)
    assert len(data) == len(ids) or data.problems


def test_only_ids_that_would_be_called_alike_keep_their_folders(tmp_path: Path) -> None:
    ids = ["a/b.png", "c/b.png", "a__b.png", "a/d.png"]
    write_table(tmp_path / "t.csv", ["id", "annotation", "height", "width"], [[id_, "1 2", "2", "3"] for id_ in ids])
    assert [item.name for item in open_collection(tmp_path / "t.csv")] == ["a/b.png", "a__b.png", "c__b", "d"]


@pytest.mark.parametrize("end", ["_masks.tif", "_seg.npy"])
def test_two_files_of_masks_do_not_share_an_image(tmp_path: Path, end: str) -> None:
    picture(tmp_path / "a.png")
    for name in ("a", "a.png"):
        if end == "_seg.npy":
            np.save(tmp_path / f"{name}{end}", {"masks": np.zeros((20, 30), int)}, allow_pickle=True)  # type: ignore[arg-type]
        else:
            label_image(tmp_path / f"{name}{end}")
    data = open_collection(tmp_path)
    assert data.problems == (f"a, a.png have one image, {tmp_path / 'a.png'}: wanted one each",)
    assert len(data) == 0
