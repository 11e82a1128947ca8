"""Spread work over threads: nogil kernels over ranges of items, with the same result for any thread count.

Numba's own parallel loops are not used: they abort after a fork (a data loader's workers) and when two Python threads
enter them at once. Threads are started for one call and joined before it returns, so nothing survives into a fork.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flowseg.errors import OptionError


def count() -> int:
    """Return how many threads a call may use: ``FLOWSEG_THREADS``, or the processors this process may run on."""
    text = os.environ.get("FLOWSEG_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise OptionError(f"FLOWSEG_THREADS is {text!r}; wanted a whole number of at least 1")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def over_ranges(task: Callable[[int, int], object], bounds: Sequence[int], threads: int | None = None) -> None:
    """Call ``task(start, stop)`` for each range between consecutive bounds, on threads where that helps.

    Ranges must not depend on one another. The first exception that a task raises is raised here.
    """
    ranges = [(start, stop) for start, stop in pairwise(bounds) if stop > start]
    threads = min(threads or count(), len(ranges))
    if threads <= 1:
        for start, stop in ranges:
            task(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(task, start, stop) for start, stop in ranges]:
            future.result()
