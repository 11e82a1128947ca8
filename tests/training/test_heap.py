"""Memory that is freed while a training runs is there for what comes next, and is given back at its end."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flowseg.training import heap

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
PAGE = resource.getpagesize()
BYTES = 40 << 20
ROOT = Path(__file__).parents[2]


def faults(rounds: int) -> int:
    """Return how many pages the system had to find for blocks that are filled and freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_freed_memory_is_used_again() -> None:
    """In a process of its own: where memory was freed before, there may be enough of it without."""
    code = (
        "from flowseg.training import heap\nfrom tests.training.test_heap import faults\nplain = faults(30)\n"
        "with heap.kept():\n    print(plain, faults(30))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert kept < plain / 5


def test_freed_memory_is_given_back_at_the_end() -> None:
    before = resident()
    with heap.kept():
        blocks = [torch.ones(BYTES, dtype=torch.uint8) for _ in range(8)]
        del blocks
        assert resident() > before + 4 * BYTES
    assert resident() < before + 2 * BYTES


def test_an_error_passes() -> None:
    with pytest.raises(ValueError, match="it"), heap.kept():
        raise ValueError("it")


def test_elsewhere_the_c_library_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for it reads the file of Python, which the one of Microsoft's store does not allow."""

    def refused() -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(platform, "libc_ver", refused)
    monkeypatch.setattr(sys, "platform", "win32")
    with heap.kept():
        pass
