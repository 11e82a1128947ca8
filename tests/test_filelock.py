"""A lock that one holds at a time, and that dies with its holder."""

import threading
import time
from pathlib import Path

import pytest

from flowseg import filelock
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

    monkeypatch.setattr(filelock, "_take", none)
    begun = time.monotonic()
    with hold(tmp_path / "lock", patience=5) as alone:
        assert not alone
    assert time.monotonic() - begun < 1
