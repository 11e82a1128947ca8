"""What of the machine this process may use: memory and processors. A container or a batch job may leave it less."""

import ctypes
import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# The files of a control group, of version 2 and version 1: the limit, what is used, and what of that is file cache.
_MEMORY = {
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}
_ROOT = Path("/")  # where the files of Linux are
_UNLIMITED = 2.0**16  # processors: more than any machine has


class Memory(NamedTuple):
    """Bytes of memory that this process may use, and of them those that are free; 0 where the system does not say."""

    whole: int
    free: int

    @property
    def at_hand(self) -> int:
        """What is free, or else all that there is."""
        return self.free or self.whole


def memory(root: Path = _ROOT) -> Memory:
    """Return what the system and the control groups around this process say of memory."""
    told = [_of_system(), Memory(0, _numbers(root / "proc/meminfo").get("MemAvailable:", 0) * 1024)]
    for version, folder in _control_groups("memory", root):
        told.extend(_of_group(folder, *_MEMORY[version]))
    return Memory(*(min((number for number in numbers if number), default=0) for numbers in zip(*told, strict=True)))


@cache
def whole_memory(root: Path = _ROOT) -> int:
    """Return the bytes of memory that this process may use, asked for once: that takes longer than a small image."""
    return memory(root).whole


def processors() -> int:
    """Return how many processors this process may keep busy."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, math.ceil(share_of_time())))


@cache
def share_of_time(root: Path = _ROOT) -> float:
    """Return how many processors' time control groups leave this process: with more threads, all of them wait."""
    shares = [_share(version, folder) for version, folder in _control_groups("cpu", root)]
    return min(shares, default=_UNLIMITED)


def _share(version: int, folder: Path) -> float:
    if version == 2:
        quota, period = (*_text(folder / "cpu.max").split(), "", "")[:2]
    else:
        quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    limited = quota.isdecimal() and period.isdecimal() and int(quota) > 0 and int(period) > 0
    return int(quota) / int(period) if limited else _UNLIMITED


class _Status(ctypes.Structure):
    """What Windows calls MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("installed", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        *((name, ctypes.c_uint64) for name in ("files", "free_files", "addresses", "free_addresses", "free_extended")),
    ]


def _of_system() -> Memory:
    """Ask the system's own call: POSIX tells what is installed, Windows also what is free."""
    try:
        return Memory(max(0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), 0)
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return _of_windows(getattr(ctypes, "windll", None))


def _of_windows(libraries: Any) -> Memory:
    status = _Status(length=ctypes.sizeof(_Status))
    if libraries is None or not libraries.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return Memory(0, 0)
    return Memory(int(status.installed), int(status.free))


def _control_groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Yield version and folder of each group around this process: a batch system's limit may stand on any of them."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            version, base = 2, root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            version, base = 1, root / "sys/fs/cgroup" / controller
        else:
            continue
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            yield version, folder
            if folder == base:
                break


def _of_group(folder: Path, limit: str, used: str, caches: tuple[str, ...]) -> Iterator[Memory]:
    most, current = _text(folder / limit).strip(), _text(folder / used).strip()
    if most.isdecimal() and current.isdecimal():
        statistics = _numbers(folder / "memory.stat")
        cached = sum(statistics.get(name, 0) for name in caches)  # the system gives it back when memory is wanted
        yield Memory(int(most), max(int(most) - int(current) + cached, 1))


def _numbers(path: Path) -> dict[str, int]:
    """Read lines of a name and a whole number."""
    pairs = (line.split()[:2] for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
