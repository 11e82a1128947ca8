"""Memory that is freed while a training runs is there for what comes next, and is given back at its end."""

import platform
from pathlib import Path

import pytest
import torch

from flowseg.training import heap

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
PAGE = resource.getpagesize()
BYTES = 40 << 20


def faults(rounds: int) -> int:
    """Return how many pages the system had to find for blocks that are filled and freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_freed_memory_is_used_again() -> None:
    with heap.kept():
        faults(2)
        assert faults(10) < BYTES // PAGE  # without, ten times as many: each round finds all of its pages


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
