"""A lock that one holds at a time, and that dies with its holder."""

import errno
import importlib.util
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from flowseg import filelock, files
from flowseg.errors import InputError
from flowseg.filelock import hold


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, patience=0) as first, hold(path, patience=0.1) as second:
        assert first
        assert not second
    with hold(path, patience=0) as third:
        assert third


def test_who_waits_gets_it(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def other() -> None:
        with hold(path, patience=5) as alone:
            order.append(("other", alone))

    with hold(path, patience=0):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.1)
        order.append(("first", True))
    thread.join()
    assert order == [("first", True), ("other", True)]


def test_an_error_inside_lets_it_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold(tmp_path / "lock", patience=0):
        raise KeyError
    with hold(tmp_path / "lock", patience=0) as alone:
        assert alone


def test_where_there_are_no_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold(tmp_path / "no folder" / "lock", patience=0) as alone:
        assert not alone

    def none(_: object) -> None:
        raise OSError(95, "Operation not supported")

    def waited(_: float) -> None:
        raise AssertionError("there is nothing to wait for")

    monkeypatch.setattr(filelock, "_take", none)
    monkeypatch.setattr(time, "sleep", waited)
    with hold(tmp_path / "lock", patience=5) as alone:
        assert not alone


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module as Windows has it, over locks of bytes that are made up."""
    holders: dict[int, int] = {}

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (os.lseek(descriptor, 0, os.SEEK_CUR), count) == (0, 1), "the first byte is the one that is locked"
        file = os.fstat(descriptor).st_ino
        if mode == LK_UNLCK:
            assert holders.pop(file) == descriptor
        elif holders.setdefault(file, descriptor) != descriptor:
            raise PermissionError(errno.EACCES, "Permission denied")

    LK_NBLCK, LK_UNLCK = 2, 0  # noqa: N806 - as msvcrt has them
    fake = SimpleNamespace(LK_NBLCK=LK_NBLCK, LK_UNLCK=LK_UNLCK, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("windows_filelock", filelock.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_has_locks_too(tmp_path: Path, on_windows: ModuleType) -> None:
    path = tmp_path / "lock"
    with on_windows.hold(path, patience=0) as first, on_windows.hold(path, patience=0.1) as second:
        assert first
        assert not second
    with pytest.raises(KeyError), on_windows.hold(path, patience=0):
        raise KeyError
    with on_windows.hold(path, patience=0) as third:
        assert third


def test_runs_are_kept_apart_on_windows(
    tmp_path: Path, on_windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "filelock", on_windows)
    for _ in range(2):  # what was held is let go of
        with (
            files.only_writer(tmp_path),
            pytest.raises(InputError, match="another run is writing"),
            files.only_writer(tmp_path),
        ):
            pass
