"""Lines of CSV files split as the csv module splits them."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowseg.errors import InputError
from flowseg.sources import _csv

plain = st.text(st.characters(exclude_characters='\r\n\0"', exclude_categories=("Cs",)), max_size=8)
field = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=8)


@given(st.lists(field, min_size=1, max_size=6), st.sampled_from([",", ";", "\t"]), st.sampled_from([0, 1]))
def test_what_the_csv_module_writes_is_read(fields: list[str], delimiter: str, quoting: int) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="").writerow(fields)  # type: ignore[call-overload]
    assert _csv.split(text.getvalue(), delimiter) == fields


@pytest.mark.parametrize("line", ['"a', 'a,"b', '"a"b,c', '"a" ,b', '"""', 'x,"'])
def test_quotes_that_do_not_fit(line: str) -> None:
    assert _csv.split(line) is None


def test_rows_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf Id ;B\r\n1;2\r\n\r\n"x;\ry";3\r\n4;\xff\n')
    assert _csv.header(tmp_path / "t.csv") == ["id", "b"]
    rows = list(_csv.rows(tmp_path / "t.csv"))
    assert [row.line for row in rows] == [2, 4, 5, 6]
    assert [row.fields for row in rows] == [["1", "2"], None, ['y"', "3"], ["4", "\udcff"]]


def test_rows_without_anything_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,b\n1,2\n,\n"",""\n , \n3,\n')
    assert [row.fields for row in _csv.rows(tmp_path / "t.csv")] == [["1", "2"], ["3", ""]]


def test_utf_16_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,annotation\n", encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16; save it as UTF-8"):
        _csv.header(tmp_path / "t.csv")
