"""Bars show themselves where there is something to wait for."""

import sys

import pytest

from flowseg import late
from flowseg.cli import _progress


def test_progress_is_shown_only_where_there_is_something_to_wait_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with _progress.late_bar("working", 3) as step:
        step(None)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(late, "PATIENCE", -1.0)
    with _progress.late_bar("working", 3) as step:
        step(None)
    assert capsys.readouterr().err == "working: 1 of 3\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _progress.late_bar("working", 3) as step:
        step(None)
        step(None)
    assert "2/3" in capsys.readouterr().err
    with _progress.late_bar("working", 3, quiet=True) as step:
        step(None)
    assert capsys.readouterr().err == ""
