"""What is said of work only where there is something to wait for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

PATIENCE = 2.0
"""Seconds before a word is said, or a bar shown."""


@contextmanager
def done_late(act: Callable[[], object]) -> Iterator[None]:
    """Call a function, in a thread of its own, if what is done within takes more than a moment."""
    timer = threading.Timer(PATIENCE, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # what it began is done


def said_late(text: str, say: Callable[[str], object]) -> AbstractContextManager[None]:
    """Say something if what is done within takes more than a moment."""
    return done_late(partial(say, text))
