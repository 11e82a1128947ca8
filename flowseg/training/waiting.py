"""What is shown beside the steps of a training: bars for what takes long, and what is to be said."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

Step = Callable[[object], object]
#: Called with what is done and how many steps it has; gives a function to call after each.
Bar = Callable[[str, int], AbstractContextManager[Step]]

Thing = TypeVar("Thing")


@contextmanager
def silent(what: str, total: int) -> Iterator[Step]:
    """Show nothing."""
    yield lambda _: None


class Watch(NamedTuple):
    """Who watches a training.

    Attributes
    ----------
    bar
        For what takes long.
    say
        Is given what is to be said.
    note
        Is around what is not counted, and is told what it is.
    """

    bar: Bar = silent
    say: Callable[[str], object] = lambda _: None
    note: Callable[[str], AbstractContextManager[object]] = nullcontext


UNWATCHED = Watch()


def counted(things: Iterable[Thing], step: Step) -> Iterator[Thing]:
    """Yield things; each counts when the next is asked for."""
    for thing in things:
        yield thing
        step(thing)
