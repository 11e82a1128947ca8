"""What notebooks show: cards with facts and pictures, tables, bars of what takes long; in light and in dark."""

import base64
import html
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowseg.late import PATIENCE

_STYLE = (
    "display:inline-block;max-width:100%;padding:.6em .9em;border:1px solid rgba(128,128,128,.4);border-radius:8px;"
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.4"
)
_CELL = "text-align:left;padding:0 1.4em .3em 0"
_NUMBER = "text-align:right;padding:.1em .6em;font-variant-numeric:tabular-nums"
_WIDE = "max-width:100%;overflow-x:auto;font-family:system-ui,sans-serif;font-size:13px"

_PAUSE = 0.2  # seconds between two drawings of a bar


def card(title: str, facts: Mapping[str, str], pictures: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """Return a card as HTML; ``pictures`` are HTML already, all else is text."""
    cells = "".join(
        f'<td style="{_CELL}"><div style="opacity:.65;font-size:11px">{_text(name)}</div>{_text(value)}</td>'
        for name, value in facts.items()
    )
    told = "".join(f'<div style="margin-top:.3em">{_text(note)}</div>' for note in notes)
    return (
        f'<div style="{_STYLE}"><b>{_text(title)}</b>'
        f'<table style="border:0;margin:.4em 0"><tr style="background:none">{cells}</tr></table>'
        f"{''.join(pictures)}{told}</div>"
    )


def picture(data: bytes, about: str, kind: str = "png") -> str:
    """Return a picture as HTML that needs no file."""
    text = base64.b64encode(data).decode()
    return f'<img alt="{_text(about)}" style="max-width:100%" src="data:image/{kind};base64,{text}">'


def table(columns: Mapping[str, Iterable[Any]], most: int = 10) -> str:
    """Return columns of equal length as HTML: the first ``most`` rows, and how many there are.

    Examples
    --------
    >>> table({"area": [3, 4]}, most=1).count("<tr")
    2
    """
    values = [list(column) for column in columns.values()]
    count = len(values[0]) if values else 0
    head = "".join(f'<th style="{_NUMBER}">{_text(name)}</th>' for name in columns)
    rows = "".join(
        "<tr>" + "".join(f'<td style="{_NUMBER}">{_text(_short(value))}</td>' for value in row) + "</tr>"
        for row in list(zip(*values, strict=True))[:most]
    )
    more = f'<div style="opacity:.65;font-size:11px">{most} of {count} rows</div>' if count > most else ""
    return f'<div style="{_WIDE}"><table style="border:0"><tr>{head}</tr>{rows}</table>{more}</div>'


def shown_live() -> bool:
    """Tell whether a notebook shows what is displayed; a terminal, IPython's too, does not."""
    return _display_module() is not None


def _display_module() -> Any:
    if "IPython" not in sys.modules:  # whoever runs a notebook has imported it
        return None
    shell = sys.modules["IPython"].get_ipython()
    if shell is None or any(kind.__name__ == "TerminalInteractiveShell" for kind in type(shell).__mro__):
        return None
    return sys.modules["IPython.display"]


class Live:
    """A bar in a notebook: nothing for two seconds, then how far something is and the time left.

    Parameters
    ----------
    unit
        What is counted: "crops".
    what
        What is done with them, where that is not clear.
    patience
        Seconds before the bar is shown.

    Examples
    --------
    >>> with Live("images") as live:
    ...     live.step(1, 2)
    """

    def __init__(self, unit: str, what: str = "", patience: float = PATIENCE) -> None:
        self._unit, self._what, self._patience = unit, what, patience
        self._module = _display_module()
        self._handle: Any = None
        self._started = self._drawn = time.monotonic()
        self._first: int | None = None
        self._done, self._total, self._below = 0, 0, ""

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take the bar away; what was below it stays, and where something was stopped, how far it was."""
        told = ""
        if kind is not None and self._total:
            told = f"<div>stopped at {self._done:,} of {self._total:,} {_text(self._unit)}</div>"
        if self._handle is not None or told or self._below:
            self._draw(told + self._below)

    def say(self, text: str) -> None:
        """Show what is being done until there are steps to count."""
        self._draw(f"<div>{_text(text)}</div>")

    def step(self, done: int, total: int, about: str = "", below: str = "") -> None:
        """Say how far it is; ``about`` is text, ``below`` is HTML that is shown under the bar."""
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        self._done, self._total, self._below = done, total, below
        if now - self._started > self._patience and now - self._drawn > _PAUSE:
            self._drawn = now
            self._draw(self._bar(now, about) + below)

    def _bar(self, now: float, about: str) -> str:
        new = self._done - (self._first or 0)
        left = (now - self._started) / new * (self._total - self._done) if new else 0.0
        counted = f"{self._done:,} of {self._total:,} {self._unit}".strip()
        parts = [f"{self._what}: {counted}" if self._what else counted, about, f"{_duration(left)} left" if new else ""]
        bar = f'<progress max="{self._total}" value="{self._done}" style="width:20em"></progress>'
        return f"<div>{bar} {_text(', '.join(part for part in parts if part))}</div>"

    def _draw(self, content: str) -> None:
        if self._module is None:
            return
        shown = self._module.HTML(f'<div style="font-family:system-ui,sans-serif;font-size:13px">{content}</div>')
        if self._handle is None:
            self._handle = self._module.display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _short(value: Any) -> str:
    """Return a number in four digits."""
    return f"{value:.4g}" if hasattr(value, "is_integer") and not isinstance(value, int) else str(value)


def _text(value: str) -> str:
    return html.escape(str(value))
