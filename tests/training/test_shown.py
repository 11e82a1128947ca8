"""A training that Python started: what takes long is told, in a notebook and in a script; quiet, nothing is."""

import time

import pytest

from flowseg import late, notebook
from flowseg.training import shown
from flowseg.training.loop import Progress
from flowseg.training.shown import Shown
from tests.test_notebook import in_a


def test_a_notebook_shows_bars_and_what_has_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = in_a("ZMQInteractiveShell", monkeypatch)
    monkeypatch.setattr(notebook.Live.__init__, "__defaults__", ("", -1.0))
    with Shown(quiet=False) as training:
        watch = training.watch()
        with watch.bar("reading images", 3) as step:
            step("a")
            step("b")
        with watch.note("getting ready"):
            training.tell(Progress(8, 16, 0.5, None))
    texts = [text for text in seen.texts if "<div></div>" not in text]
    assert ["reading images: 1 of 3" in texts[0], "reading images: 2 of 3" in texts[1]] == [True, True]
    assert "<progress" not in texts[2]
    assert "getting ready ..." in texts[3]
    assert "8 of 16 crops, loss 0.500" in texts[4]
    assert "getting ready" not in texts[-1]


def test_a_script_prints_what_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Shown(quiet=False).watch()
    with watch.bar("reading images", 3) as step, watch.note("getting ready"):
        step("a")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(shown, "_BETWEEN_LINES", -1.0)
    monkeypatch.setattr(late, "PATIENCE", 0.0)
    with watch.bar("reading images", 3) as step:
        step("a")
    assert capsys.readouterr().out == "reading images: 1 of 3\n"
    told = ""
    with watch.note("getting ready"):
        while not told:
            time.sleep(0.01)
            told = capsys.readouterr().out
    assert told == "getting ready ...\n"


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = in_a("ZMQInteractiveShell", monkeypatch)
    monkeypatch.setattr(shown, "_BETWEEN_LINES", -1.0)
    with Shown(quiet=True) as training:
        watch = training.watch()
        with watch.bar("reading images", 3) as step, watch.note("getting ready"):
            step("a")
        watch.say("left out: a.tif")
    assert (seen.texts, capsys.readouterr().out) == ([], "")
