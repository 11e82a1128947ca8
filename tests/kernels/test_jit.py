"""Kernels are kept on disk where a disk will have them, and work where none will."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "flowseg"
SCRIPT = """
import numpy as np
from flowseg.kernels import regions
boxes, areas = regions.boxes_and_areas(np.ones((3, 4), np.int32))
print(areas.tolist(), regions.measure_rows.stats.cache_path or "memory")
"""


def run_elsewhere(root: Path, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root,
        env={**environment, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder with a fresh copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "flowseg", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "site"


def test_machine_code_is_kept_beside_the_package(installed: Path) -> None:
    assert run_elsewhere(installed) == f"[0, 12] {installed}/flowseg/kernels/__pycache__"
    assert list((installed / "flowseg" / "kernels" / "__pycache__").glob("regions.measure_rows-*.nbc"))


def test_a_package_that_cannot_be_written_uses_the_home(installed: Path, tmp_path: Path) -> None:
    block_cache(installed)
    home = tmp_path / "home"
    home.mkdir()
    out = run_elsewhere(installed, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    assert out.startswith(f"[0, 12] {home}")


def test_without_any_place_to_write_kernels_stay_in_memory(installed: Path, tmp_path: Path) -> None:
    block_cache(installed)
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    out = run_elsewhere(installed, HOME=str(not_a_folder), XDG_CACHE_HOME=str(not_a_folder / "cache"))
    assert out == "[0, 12] memory"


def block_cache(root: Path) -> None:
    """Put a file where the cache folder would be: no user, not even root, can write into it."""
    (root / "flowseg" / "kernels" / "__pycache__").write_text("")
