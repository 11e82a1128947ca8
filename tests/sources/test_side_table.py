"""Tables beside a data set, which tell more of its images."""

from pathlib import Path

import pytest

from flowseg.errors import InputError
from flowseg.sources._side_table import columns_beside, side_table
from flowseg.sources.data_sets import open_collection
from tests.sources.data import label_image, picture


def test_a_table_beside_two_folders_tells_more_of_images(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.png")
        label_image(tmp_path / f"masks/{name}.tif")
    (tmp_path / "index.csv").write_text("id,kind\na,brightfield\nc,other\n")
    assert [item.columns for item in open_collection(tmp_path)] == [{"kind": "brightfield"}, {}]


@pytest.mark.parametrize(("line", "text"), [(1, b"id,gr\xf6\xdfe\na,3\n"), (2, b"id,kind\na,gro\xdf\n")])
def test_tables_beside_that_are_not_utf_8_are_told(tmp_path: Path, line: int, text: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    for read in (lambda: columns_beside(tmp_path), lambda: side_table(tmp_path / "t.csv")):
        with pytest.raises(InputError, match=rf"t\.csv, line {line}: it holds bytes that are not UTF-8: save"):
            read()


def test_a_table_beside_may_have_been_written_on_windows(tmp_path: Path) -> None:
    (tmp_path / "kinds.csv").write_bytes(b"\xef\xbb\xbffile_name;kind\r\nD:\\cells\\a.png;large\r\nb.png;small\r\n")
    assert columns_beside(tmp_path) == {"a": {"kind": "large"}, "b": {"kind": "small"}}
