"""The memory of the machine, where the system has a call that tells it."""

import ctypes
import os
from typing import Any, NamedTuple


class Memory(NamedTuple):
    """Bytes of memory that are installed and that are free; 0 where the system does not say."""

    installed: int
    free: int


class _Status(ctypes.Structure):
    """What Windows calls MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("installed", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        *((name, ctypes.c_uint64) for name in ("files", "free_files", "addresses", "free_addresses", "free_extended")),
    ]


def memory() -> Memory:
    """Return what the system says of its memory: POSIX what is installed, Windows also what is free."""
    try:
        return Memory(max(0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), 0)
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return _of_windows(getattr(ctypes, "windll", None))


def _of_windows(libraries: Any) -> Memory:
    status = _Status(length=ctypes.sizeof(_Status))
    if libraries is None or not libraries.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return Memory(0, 0)
    return Memory(int(status.installed), int(status.free))
