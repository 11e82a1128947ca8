"""The repository around the package: citation, licence, versions that agree."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import flowseg

ROOT = Path(__file__).parent.parent


def test_the_citation_is_valid_and_cites_what_we_build_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from cffconvert.cli.cli import cli; cli()", "--validate", "-i", "CITATION.cff"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (ROOT / "CITATION.cff").read_text()
    for doi in ("10.1038/s41592-020-01018-x", "10.1038/s41592-022-01663-4", "10.1038/s41592-025-02595-5"):
        assert doi in text
    assert f"version: {flowseg.__version__}" in text


def test_the_changelog_knows_this_version() -> None:
    assert f"## {flowseg.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["docs"]]
    for requirement in wanted:
        name = requirement.split(">")[0].split("=")[0].split("[")[0].strip().lower().replace("_", "-")
        assert name in pinned, f"{name} has no line in constraints.txt"


def test_the_registry_travels_in_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        wheel.extractall(unpacked)
    ask = "from flowseg import registry; print(registry.folder(), len(registry.entries()))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=unpacked, capture_output=True, text=True, check=True)
    folder, count = done.stdout.split()
    assert Path(folder) == unpacked / "flowseg" / "_models"
    assert int(count) > 20
