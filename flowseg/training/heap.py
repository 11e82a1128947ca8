"""Memory that a training step frees stays with the process for the next one.

On Linux the C library gives large blocks back at once, and the system hands them out again page by page, cleared:
100,000 page faults a step of 8 crops of 224 pixels.
"""

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # of <malloc.h>
_NEVER = 2**31 - 1
_STEP = 64 << 20
_LARGE = 32 << 20  # from here on, by itself, the C library asks the system once it has seen blocks that large


def give_back() -> None:
    """Give freed memory back to the system, where the C library can."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    known = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL(None) if known else None


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory until the end, when it is given back; where the C library is another one, nothing is done."""
    library = _library()
    if library is None:
        yield
        return
    set_option: Callable[[int, int], int] = library.mallopt
    for option, value in ((_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _STEP), (_MMAP_MAX, 0)):
        set_option(option, value)
    try:
        yield
    finally:
        for option, value in (
            (_TRIM_THRESHOLD, 2 * _LARGE), (_TOP_PAD, 1 << 17), (_MMAP_MAX, 1 << 16), (_MMAP_THRESHOLD, _LARGE),
        ):  # fmt: skip
            set_option(option, value)
        give_back()
