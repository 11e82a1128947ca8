"""Bars show themselves where there is something to wait for."""

import sys
import time

import pytest

from flowseg import late
from flowseg.cli import _progress
from flowseg.cli.train import _Teller
from flowseg.training.loop import Progress


def until(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Wait until something is shown."""
    shown = ""
    while text not in shown:
        time.sleep(0.01)
        shown += capsys.readouterr().err


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
        until(capsys, "0/3")  # also while the first step goes on
        step(None)
        step(None)
    assert "2/3" in capsys.readouterr().err
    with _progress.late_bar("working", 3, quiet=True) as step:
        step(None)
    assert capsys.readouterr().err == ""


def test_the_bar_of_a_training_comes_back_after_another_and_ends_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _Teller(as_json=False, quiet=False) as teller:
        bar = teller.watch().bar
        with bar("reading images", 3):
            pass
        assert not teller.progress.live.is_started  # which has not begun
        teller.tell(Progress(8, 16, 0.5, None))
        with bar("validating", 3):
            assert not teller.progress.live.is_started
        assert teller.progress.live.is_started
    assert not teller.progress.live.is_started  # which would leave a terminal without its cursor
    assert "8/16 crops" in capsys.readouterr().err
