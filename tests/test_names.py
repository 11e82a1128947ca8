"""Names of files: of several drives, on disks that take two for one, and on Windows."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowseg import files, names
from flowseg.convert import Conversion, convert
from flowseg.errors import InputError
from flowseg.folder import Job, named, run
from flowseg.instances import Instances
from flowseg.options import SegmentOptions
from flowseg.sources.collection import Collection, Item
from tests.folder.fakes import FakeModel, save

COMPOSED, APART = "z\u00fcrich", "zu\u0308rich"

LONG = "x" * 120
PAIRS = [
    ("A", "a"), ("x/a", "X/a"), (f"{LONG}/{LONG}A{LONG}", f"{LONG}/{LONG}a{LONG}"), (COMPOSED, APART),
    (COMPOSED, APART.upper()),
]  # fmt: skip


@pytest.fixture
def one_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make of every disk one of macOS: capitals, and how accents are written, do not tell files apart."""

    def exists(path: Path) -> bool:
        there = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        return names.folded(path.name) in map(names.folded, there)

    monkeypatch.setattr(Path, "exists", exists)


def items(*called: str) -> Collection:
    found = Instances.from_labels(np.eye(3, dtype=int))
    return Collection(Path("made.csv"), "kaggle", tuple(Item(name, None, lambda: found) for name in called))


def test_files_of_several_drives_are_named_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(paths: list[Path]) -> str:
        raise ValueError("Paths don't have the same drive")

    paths = [Path("/C:/plate/a.tif"), Path("/D:/plate/a.tif")]
    assert list(named(paths)) == ["C:/plate/a", "D:/plate/a"]
    monkeypatch.setattr(os.path, "commonpath", apart)
    assert list(named(paths)) == ["C/plate/a", "D/plate/a"]
    assert names.below_drive(PureWindowsPath(r"\\?\D:\plate\a.tif")) == "D/plate/a.tif"


# Names as they are in paths of every system: without what parts them, and not "." or "..".
parts_of_paths = st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cs"]), min_size=1).filter(
    lambda part: part not in (".", "..")
)


@given(st.lists(parts_of_paths, min_size=1, max_size=5), st.data())
def test_a_path_is_taken_apart_alike_whichever_system_wrote_it(wanted: list[str], data: st.DataObject) -> None:
    between = [data.draw(st.sampled_from(["/", "\\", "//", "\\\\", "/./", "\\.\\"])) for _ in wanted[1:]]
    before = data.draw(st.sampled_from(["", "/", "./", ".\\", "\\\\", "//"]))
    path = before + wanted[0] + "".join(f"{mark}{part}" for mark, part in zip(between, wanted[1:], strict=True))
    assert names.parts(path) == wanted
    assert names.last_part(path) == wanted[-1]
    assert names.last_part(f"C:\\{path}") == names.last_part(f"C:/{path}") == wanted[-1]


def test_a_path_of_nothing_has_no_name() -> None:
    assert [names.last_part(path) for path in ("", "/", "\\", "./")] == [""] * 4


@given(parts_of_paths)
def test_systems_agree_on_the_names_of_their_own_paths(name: str) -> None:
    assert names.last_part(f"/data/{name}") == PurePosixPath(f"/data/{name}").name
    if ":" not in name:
        assert names.last_part(f"D:\\data\\{name}") == PureWindowsPath(f"D:\\data\\{name}").name


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_disk_is_asked_whether_it_tells_names_apart(tmp_path: Path, one: str, other: str, request: object) -> None:
    assert isinstance(request, pytest.FixtureRequest)
    names.check_told_apart([one, other, "b"], tmp_path / "not" / "there")
    request.getfixturevalue("one_for_two")
    names.check_told_apart([one, "b", one], tmp_path)
    with pytest.raises(InputError, match=f"{one} and {other} would be one file in"):
        names.check_told_apart(["b", one, other], tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over_what_is_called_nearly_alike(tmp_path: Path, one_for_two: None) -> None:
    paths = [save(tmp_path / "in" / name, count) for name, count in (("A.tif", 2), ("a.tif", 3))]
    with pytest.raises(InputError, match="A and a would be one file"):
        run(FakeModel(), paths, Job(tmp_path / "out"), SegmentOptions())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"A_labels\.tif and a_labels\.tif would be one file"):
        convert(items("A", "a"), Conversion(tmp_path / "made", "labels"))
    assert not (tmp_path / "made").exists()


def test_where_the_disk_tells_them_apart_both_are_written(tmp_path: Path) -> None:
    if (tmp_path / "x").write_text("") == 0 and (tmp_path / "X").exists():
        pytest.skip("this disk does not")
    convert(items("A", "a"), Conversion(tmp_path / "made", "labels"))
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["A_labels.tif", "a_labels.tif"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("plate:1", "holds :"),
        ("what?", r"holds \?"),
        ("a/con.2/x", "CON is a device"),
        ("lpt1", "LPT1 is a device"),
        ("a./b", "ends in a dot"),
        ("a /b", "ends in a space"),
    ],
)
def test_names_that_windows_would_not_take_are_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    convert(items(name), Conversion(tmp_path / "here", "geojson"))
    monkeypatch.setattr(files, "WINDOWS", True)
    to = "geojson" if "ends" not in why else "masks"
    with pytest.raises(InputError, match=f"cannot be the name of a file on Windows: .*{why}"):
        convert(items(name, "b"), Conversion(tmp_path / "there", to))
    assert not (tmp_path / "there").exists()
    convert(items("aux_2", "b.c"), Conversion(tmp_path / "there", to))


@pytest.mark.usefixtures("one_for_two")
def test_the_disk_is_not_asked_about_names_that_windows_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file called so for a moment would be a stream of another."""
    monkeypatch.setattr(files, "WINDOWS", True)
    with pytest.raises(InputError, match="cannot be the name of a file on Windows"):
        convert(items("A:b", "a:B"), Conversion(tmp_path, "geojson"))
