"""What notebooks show: cards, tables, and bars that come late and go at the end."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowseg import notebook
from flowseg.measure import measure
from tests.shapes import solid_cells


class Shown:
    """Stands for IPython: keeps what is displayed."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def HTML(self, text: str) -> str:  # noqa: N802 - IPython's name
        return text

    def display(self, text: str, display_id: bool) -> "Shown":
        assert display_id
        self.texts.append(text)
        return self

    def update(self, text: str) -> None:
        self.texts.append(text)


def in_a(kind: str, monkeypatch: pytest.MonkeyPatch) -> Shown:
    shown = Shown()
    shell = type(kind, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[misc]
    monkeypatch.setitem(sys.modules, "IPython.display", shown)  # type: ignore[arg-type]
    monkeypatch.setattr(notebook, "_PAUSE", -1.0)
    return shown


def test_a_bar_is_shown_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = in_a("ZMQInteractiveShell", monkeypatch)
    with notebook.Live("crops", patience=-1) as live:
        live.step(1000, 4000, "loss <1>")
        live.step(2000, 4000, below="<b>report</b>")
    assert "1,000 of 4,000 crops, loss &lt;1&gt;" in shown.texts[0]
    assert 'max="4000" value="2000"' in shown.texts[1]
    assert "left" in shown.texts[1]
    assert "<progress" not in shown.texts[-1]
    assert "<b>report</b>" in shown.texts[-1]


def test_what_is_quick_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = in_a("ZMQInteractiveShell", monkeypatch)
    with notebook.Live("crops", patience=1000) as live:
        live.step(1, 2)
    assert shown.texts == []
    with notebook.Live("crops", patience=1000) as live:
        live.step(2, 2, below="<b>report</b>")
    assert len(shown.texts) == 1


def test_a_stop_says_how_far_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = in_a("ZMQInteractiveShell", monkeypatch)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 - the block is what is tested
        with notebook.Live("images", patience=-1) as live:
            live.step(3, 9)
            raise KeyboardInterrupt
    assert "stopped at 3 of 9 images" in shown.texts[-1]
    assert "<progress" not in shown.texts[-1]


@pytest.mark.parametrize("kind", ["TerminalInteractiveShell", "NoneType"])
def test_a_terminal_shows_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = in_a(kind, monkeypatch)
    if kind == "NoneType":
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))  # type: ignore[misc]
    assert not notebook.shown_live()
    with notebook.Live("crops", patience=-1) as live:
        live.step(1, 2, below="x")
    assert shown.texts == []


def test_a_table_shows_its_first_rows() -> None:
    text = notebook.table({"a<b": range(12), "x": np.linspace(0, 1, 12)}, most=3)
    assert text.count("<tr") == 4
    assert "a&lt;b" in text
    assert "0.09091" in text
    assert "3 of 12 rows" in text
    assert "rows" not in notebook.table({"a": [1]})
    assert notebook.table({}).count("<td") == 0


def test_measurements_are_a_table_for_people_and_for_pandas() -> None:
    labels = solid_cells(80, 16, seed=1)
    table = measure(labels)
    count = labels.max()
    assert f"10 of {count} rows" in table._repr_html_()
    assert repr(table).startswith(f"Table({count} rows: label, centroid_y, ")
    frame: Any = pd.DataFrame(table)
    assert frame.shape == (count, len(table))
    assert frame["area"].sum() == (labels > 0).sum()
    assert frame["label"].tolist() == list(range(1, count + 1))
