"""Memory and processors, read from the files of systems that are made up."""

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from flowseg import machine as this_machine
from flowseg import threads
from flowseg.machine import Memory, memory, share_of_time, whole_memory
from flowseg.sources import image_files

GIB = 2**30


def system(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    return system(tmp_path, proc__meminfo=f"MemTotal: 99 kB\nMemAvailable: {8 * 2**20} kB\nHugePages_Total: 0\n")


def installed() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_machine_without_limits(machine: Path) -> None:
    assert memory(machine) == Memory(installed(), 8 * GIB)
    assert memory(machine).at_hand == 8 * GIB


@pytest.mark.parametrize(
    ("told", "bytes_"), [(Memory(8 * GIB, 2 * GIB), 2 * GIB), (Memory(8 * GIB, 0), 8 * GIB), (Memory(0, 0), 0)]
)
def test_a_system_without_such_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Memory, bytes_: int
) -> None:
    """Windows says what is free, macOS what is there."""
    monkeypatch.setattr(this_machine, "_of_system", lambda: told)
    assert memory(tmp_path) == told
    assert memory(tmp_path).at_hand == bytes_


def test_what_windows_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(status: Any) -> int:
        held = status._obj
        assert held.length == 64, "Windows takes no other"
        held.installed, held.free, held.addresses = 16 * GIB, 5 * GIB, 2**47
        return 1

    monkeypatch.delattr(os, "sysconf", raising=False)
    kernel = SimpleNamespace(GlobalMemoryStatusEx=ask)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(this_machine, "_text", lambda _: "")
    monkeypatch.setattr(this_machine, "whole_memory", this_machine.whole_memory.__wrapped__)
    assert memory() == Memory(16 * GIB, 5 * GIB)
    assert image_files.memory_limit().bytes == 8 * GIB
    kernel.GlobalMemoryStatusEx = lambda _: 0
    assert memory() == Memory(0, 0)


def test_file_cache_of_a_container_counts_as_free(machine: Path) -> None:
    """Reading thousands of images fills a container with cache, which the system gives back when it is wanted."""
    system(
        machine,
        proc__self__cgroup="0::/\n",
        sys__fs__cgroup__memory_dot_max=f"{4 * GIB}\n",
        sys__fs__cgroup__memory_dot_current=f"{4 * GIB - 1}\n",
        sys__fs__cgroup__memory_dot_stat=f"anon {GIB}\nfile {3 * GIB}\ninactive_file {2 * GIB}\nactive_file {GIB}\n",
    )
    assert memory(machine) == Memory(min(4 * GIB, installed()), 3 * GIB + 1)


def test_the_limit_of_a_batch_job_stands_above_its_own_group(machine: Path) -> None:
    system(
        machine,
        proc__self__cgroup="0::/slurm/job7/step0\n",
        sys__fs__cgroup__slurm__job7__memory_dot_max=f"{3 * GIB}\n",
        sys__fs__cgroup__slurm__job7__memory_dot_current=f"{GIB}\n",
        sys__fs__cgroup__slurm__job7__step0__memory_dot_max="max\n",
        sys__fs__cgroup__slurm__job7__step0__memory_dot_current=f"{GIB}\n",
    )
    assert memory(machine) == Memory(min(3 * GIB, installed()), 2 * GIB)


def test_the_first_version_of_control_groups(machine: Path) -> None:
    system(
        machine,
        proc__self__cgroup="5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
        sys__fs__cgroup__memory__memory_dot_limit_in_bytes=f"{2 * GIB}\n",
        sys__fs__cgroup__memory__memory_dot_usage_in_bytes=f"{GIB}\n",
        sys__fs__cgroup__memory__memory_dot_stat=f"total_inactive_file {GIB // 2}\n",
    )
    assert memory(machine) == Memory(min(2 * GIB, installed()), GIB + GIB // 2)


def test_an_image_may_take_half_of_what_a_container_has(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system(
        machine,
        proc__self__cgroup="0::/\n",
        sys__fs__cgroup__memory_dot_max=f"{GIB}\n",
        sys__fs__cgroup__memory_dot_current="0\n",
    )
    told = memory(machine)
    monkeypatch.setattr(this_machine, "whole_memory", lambda: told.whole)
    assert image_files.memory_limit().bytes == GIB // 2


def test_the_memory_that_there_is_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the system were read for every mask of a folder, which took longer than the masks."""
    asked: list[Path] = []
    whole_memory.cache_clear()
    monkeypatch.setattr(this_machine, "memory", lambda root: asked.append(root) or Memory(8 * GIB, GIB))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for _ in range(5):
        image_files.read(tmp_path / "a.png")
    assert len(asked) == 1
    whole_memory.cache_clear()


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, 2**16),
        ({"sys__fs__cgroup__pod__cpu_dot_max": "150000 100000\n"}, 1.5),
        ({"sys__fs__cgroup__cpu_dot_max": "400000 100000\n", "sys__fs__cgroup__pod__cpu_dot_max": "max 100000\n"}, 4),
        ({"sys__fs__cgroup__pod__cpu_dot_max": "max 100000\n"}, 2**16),
        ({"sys__fs__cgroup__cpu__pod__cpu_dot_cfs_quota_us": "-1\n"}, 2**16),
        (
            {
                "sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us": "300000\n",
                "sys__fs__cgroup__cpu__cpu_dot_cfs_period_us": "100000\n",
            },
            3,
        ),
    ],
)
def test_the_share_of_processors_time_that_a_container_has(machine: Path, files: dict[str, str], share: float) -> None:
    system(machine, proc__self__cgroup="3:cpu,cpuacct:/pod\n0::/pod\n", **files)
    assert share_of_time(machine) == share


@pytest.mark.parametrize(("share", "count"), [(0.5, 1), (1.5, 2), (3, 3), (100, 8)])
def test_threads_are_as_many_as_a_container_keeps_busy(
    monkeypatch: pytest.MonkeyPatch, share: float, count: int
) -> None:
    monkeypatch.delenv("FLOWSEG_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(this_machine, "share_of_time", lambda: share)
    assert threads.count() == count
