"""What differs on Windows, made up where this is another system."""

import errno
import os
from pathlib import Path

import pytest

from flowseg import files
from flowseg.errors import InputError
from flowseg.sources import image_files


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "_PAUSES", (0.0, 0.0))


class Held:
    """A file that another program has open for so many tries: Windows moves nothing over it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
        self.tries, self._replace = tries, os.replace
        monkeypatch.setattr(os, "replace", self.replace)

    def replace(self, source: Path, target: Path) -> None:
        self.tries -= 1
        if self.tries >= 0:
            raise PermissionError(errno.EACCES, "Access is denied", str(source), 5, str(target))
        self._replace(source, target)


def test_who_looks_at_a_file_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, tries=2)
    files.write_whole(tmp_path / "a.csv", b"new")
    assert held.tries < 0
    assert (tmp_path / "a.csv").read_bytes() == b"new"


def test_a_file_that_stays_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"old")
    Held(monkeypatch, tries=9)
    with pytest.raises(PermissionError) as caught:
        files.write_whole(tmp_path / "a.csv", b"new")
    told = files.in_words(caught.value)
    assert told.startswith(f"{tmp_path / 'a.csv'} cannot be replaced: is it open in another program?")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == b"old"


def test_elsewhere_nobody_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WINDOWS", False)
    held = Held(monkeypatch, tries=1)
    with pytest.raises(PermissionError):
        files.write_whole(tmp_path / "a.csv", b"new")
    assert held.tries == 0


def test_paths_that_are_too_long_are_told(tmp_path: Path) -> None:
    """Windows says that there is no such file."""
    path = tmp_path / ("x" * 200) / ("y" * 60 + ".tif")
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
    assert f"the path has {len(str(path))} letters, and Windows takes 259" in files.in_words(gone)
    with pytest.raises(InputError, match="letters, and Windows takes 259"):
        image_files.read(path)
    with pytest.raises(InputError, match=r"short\.tif does not exist"):
        image_files.read("short.tif")


def test_a_folder_is_no_image_however_the_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="is a folder; wanted an image file"):
        image_files.read(tmp_path)
