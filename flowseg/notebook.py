"""What notebooks show of results: a small card with facts and pictures, in light and in dark."""

import base64
import html
from collections.abc import Mapping, Sequence

_STYLE = (
    "display:inline-block;max-width:100%;padding:.6em .9em;border:1px solid rgba(128,128,128,.4);border-radius:8px;"
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.4"
)
_CELL = "text-align:left;padding:0 1.4em .3em 0"


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


def _text(value: str) -> str:
    return html.escape(str(value))
