"""Types of signatures as they stand in the code: ``ArrayLike``, not all that numpy makes of it."""

import re

import numpy.typing as npt
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

_MODES = ("fully-qualified", "smart", "fully-qualified-except-typing")
_LONG = {stringify_annotation(npt.ArrayLike, mode): "ArrayLike" for mode in _MODES}
_FIELDS = re.compile(r"^:(ivar|param) \w+(, \w+)+:")
_ARRAY = re.compile(r"~?(?:numpy\.)?ndarray\[tuple\[[^\]]*\](?: \| [^,]*)?, ~?(?:numpy\.)?dtype\[([^\[\]]*)\]\]")


def shortened(text: str) -> str:
    """Return a signature with short names.

    >>> shortened("(a: ~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.float32]])")
    '(a: ndarray[~numpy.float32])'
    """
    for long, short in _LONG.items():
        text = text.replace(long, short)
    return _ARRAY.sub(r"ndarray[\1]", text.replace("<factory>", "..."))


def _short(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    return (signature and shortened(signature), returns and shortened(returns))


def _joined(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep fields that are described together in one piece: Sphinx takes the first of two words for a type."""
    lines[:] = [_FIELDS.sub(lambda found: found[0].replace(", ", ","), line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.connect("autodoc-process-signature", _short)
    app.connect("autodoc-process-docstring", _joined, priority=600)  # after napoleon
    return {"parallel_read_safe": True}
