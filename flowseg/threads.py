"""Spread work over threads: nogil kernels over ranges of items, with the same result for any thread count.

Numba's own parallel loops are not used: they abort after a fork (a data loader's workers) and when two Python threads
enter them at once. The threads here are kept between calls and forgotten in a forked child, which starts its own.
"""

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from flowseg import machine
from flowseg.errors import OptionError

Thing = TypeVar("Thing")
Made = TypeVar("Made")

_GIVING_WAY = 10  # steps of Linux' niceness: about a tenth of what others get

_own = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def count() -> int:
    """Return how many threads a call may use: ``FLOWSEG_THREADS``, or the processors this process may keep busy."""
    if getattr(_own, "alone", False):
        return 1
    text = os.environ.get("FLOWSEG_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise OptionError(f"FLOWSEG_THREADS is {text!r}; wanted a whole number of at least 1")
        return int(text)
    return machine.processors()


@contextmanager
def alone() -> Iterator[None]:
    """Let what this thread calls use no other: for workers that are as many as the processors already."""
    before = getattr(_own, "alone", False)
    _own.alone = True
    try:
        yield
    finally:
        _own.alone = before


def give_way() -> None:
    """Let this thread wait where others want its processor; only Linux has priorities of single threads."""
    if sys.platform == "linux":
        own = os.PRIO_PROCESS, threading.get_native_id()
        with suppress(OSError):  # of a sandbox
            os.setpriority(*own, os.getpriority(*own) + _GIVING_WAY)


def even_bounds(items: int, parts: int) -> list[int]:
    """Return the bounds of ``parts`` ranges of nearly equal length that cover ``items`` items."""
    return [items * part // parts for part in range(parts + 1)]


def blocks(items: int, size: int) -> list[int]:
    """Return the bounds of ranges of ``size`` items each, the last one shorter, that cover ``items`` items."""
    return [*range(0, items, size), items]


def cost_bounds(costs: npt.NDArray[np.float64], parts: int) -> list[int]:
    """Return the bounds of ``parts`` ranges of nearly equal total cost."""
    total = np.cumsum(costs)
    if total.size == 0 or total[-1] <= 0:
        return even_bounds(len(costs), parts)
    targets = total[-1] * np.arange(1, parts) / parts
    return [0, *(int(cut) for cut in np.searchsorted(total, targets)), len(costs)]


def over_ranges(task: Callable[[int, int], object], bounds: Sequence[int]) -> None:
    """Call ``task(start, stop)`` for each range between consecutive bounds, on threads where that helps.

    Ranges must not depend on one another. The caller's thread works too, so nothing waits for a thread to start. The
    first exception that a task raises is raised here, when all threads are done.
    """
    ranges = [(start, stop) for start, stop in pairwise(bounds) if stop > start]
    turns = itertools.count()

    def work() -> None:
        while (turn := next(turns)) < len(ranges):
            task(*ranges[turn])

    helpers = [_threads().submit(work) for _ in range(min(count(), len(ranges)) - 1)]
    try:
        work()
    finally:
        started = [helper for helper in helpers if not helper.cancel()]  # the rest has nothing left to do
        wait(started)
    for helper in started:
        helper.result()


def mapped(task: Callable[[Thing], Made], things: Iterable[Thing]) -> Iterator[Made]:
    """Yield what a task makes of each thing, in order: they are made beside one another, each with one thread alone.

    An error is raised at the thing that it belongs to.
    """

    def make(thing: Thing) -> Made:
        with alone():
            return task(thing)

    pool = ThreadPoolExecutor(count(), thread_name_prefix="flowseg-mapped")
    try:
        yield from pool.map(make, things)
    finally:
        pool.shutdown(cancel_futures=True)


def _threads() -> ThreadPoolExecutor:
    """Return the threads of this process; more than the machine has processors never run at once."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(count(), os.cpu_count() or 1), thread_name_prefix="flowseg")
        return _pool


def _forget_threads() -> None:
    """Start anew in a forked child: the parent's threads are not there, and its lock may be held."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
