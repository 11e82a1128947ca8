"""Where benchmarks write: sections of RESULTS.md or of a model's card, replaced by the next run; and the machine."""

import platform
from pathlib import Path

from flowseg import engines, threads

RESULTS = Path(__file__).parent / "RESULTS.md"


def put(section: str, page: Path = RESULTS, before: str = "") -> None:
    """Put a section into a page: in place of the one with the same heading; else before a heading, or at the end."""
    heading = section.split("\n", 1)[0] + "\n"
    text = page.read_text() if page.exists() else "# Measured\n"
    head, found, rest = text.partition(heading)
    if found:
        rest = rest[rest.index("\n## ") :] if "\n## " in rest else ""
    elif before:
        head, limit, rest = text.partition(f"\n{before}")
        rest = limit + rest
    page.write_text(f"{head.rstrip()}\n\n{section.rstrip()}\n{rest}")


def processor() -> str:
    """Return the processor and the cores that are used, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.split(":")[1].strip() for line in lines if "model name" in line)
    return f"{next(names, platform.processor())}, {threads.count()} cores"


def machine(device: str) -> str:
    """Return what a benchmark ran on, in words."""
    if device == "cpu":
        return processor()
    import torch

    return f"{torch.cuda.get_device_name(device)}, {processor()}"


def on_what(device: str) -> str:
    """Return the end of a heading: each kind of machine has a section of its own."""
    if device != "cpu":
        return " on a GPU"
    return " with AMX" if engines.has_amx() else ""
