"""What is said of work only where there is something to wait for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0
"""Seconds before a word is said, or a bar shown."""


@contextmanager
def said_late(text: str, say: Callable[[str], object]) -> Iterator[None]:
    """Say something if what is done within takes more than a moment."""
    timer = threading.Timer(PATIENCE, say, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
