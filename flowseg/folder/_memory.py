"""How much memory is free: on the machine, and in the container or batch job that this process runs in."""

from collections.abc import Iterator
from pathlib import Path

from flowseg import machine

# The files of a control group, of version 2 and version 1: the limit, what is used, and what of that is file cache.
_VERSION_2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that is free, or all there is where the system does not say; None where it says nothing.

    ``root`` is where the files of Linux that tell it are looked for.
    """
    told = [*_of_machine(root), *_of_groups(root)]
    if told:
        return min(told)
    memory = machine.memory()
    return memory.free or memory.installed or None


def _of_machine(root: Path) -> Iterator[int]:
    numbers = _numbers(root / "proc/meminfo")
    if "MemAvailable:" in numbers:
        yield numbers["MemAvailable:"] * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what each control group around this process leaves: a batch system's limit may stand on any of them."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            base, names = root / "sys/fs/cgroup", _VERSION_2
        elif "memory" in controllers.split(","):
            base, names = root / "sys/fs/cgroup/memory", _VERSION_1
        else:
            continue
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            yield from _of_group(folder, *names)
            if folder == base:
                break


def _of_group(folder: Path, limit: str, used: str, caches: tuple[str, ...]) -> Iterator[int]:
    most, current = _text(folder / limit).strip(), _text(folder / used).strip()
    if most.isdecimal() and current.isdecimal():
        statistics = _numbers(folder / "memory.stat")
        cached = sum(statistics.get(name, 0) for name in caches)  # the system gives it back when memory is wanted
        yield max(int(most) - int(current) + cached, 0)


def _numbers(path: Path) -> dict[str, int]:
    """Read lines of a name and a whole number."""
    pairs = (line.split()[:2] for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
