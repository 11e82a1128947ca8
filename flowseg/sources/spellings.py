"""Names with accents are written in two ways that look alike: composed (NFC), and taken apart (NFD), as on macOS."""

import unicodedata
from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar("_Value")


def spellings(name: str) -> tuple[str, ...]:
    r"""Return a name as it is, composed, and taken apart; each once.

    >>> spellings("a"), spellings("\u00f6") == ("\u00f6", "o\u0308")
    (('a',), True)
    """
    if name.isascii():
        return (name,)
    return tuple(dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]))


def under(index: Mapping[str, _Value], name: str) -> _Value | None:
    """Return what an index has under a name as it is, else under another spelling; None where it has neither."""
    return next((index[each] for each in spellings(name) if each in index), None)
