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
    of_their_own = ("all", "bench")  # the others again, and what has an environment of its own
    extras = [names for extra, names in project["optional-dependencies"].items() if extra not in of_their_own]
    for requirement in [*project["dependencies"], *(name for names in extras for name in names)]:
        name = requirement.split(">")[0].split("=")[0].split("[")[0].strip().lower().replace("_", "-")
        assert name in pinned, f"{name} has no line in constraints.txt"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    pytest.importorskip("hatchling")
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    build = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(built)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(built / done.stdout.split()[-1]) as file:
        file.extractall(unpacked)
    return unpacked


def files_in(folder: Path) -> set[str]:
    """Return the files of a folder, without what Python and Numba keep there of modules that ran."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_wheel_holds_the_package_and_its_models_and_nothing_else(wheel: Path) -> None:
    held = {name for name in files_in(wheel) if ".dist-info/" not in name}
    models = {f"flowseg/_models/{name}" for name in files_in(ROOT / "models")}
    assert held == {f"flowseg/{name}" for name in files_in(ROOT / "flowseg")} | models
    assert {"flowseg/py.typed", "flowseg/report/page.html", "flowseg/_models/nuclei/nuclei.safetensors"} <= held


def test_the_registry_of_a_wheel_is_found_beside_its_package(wheel: Path) -> None:
    ask = "from flowseg import registry; print(registry.folder(), len(registry.entries()))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=wheel, capture_output=True, text=True, check=True)
    folder, count = done.stdout.split()
    assert Path(folder) == wheel / "flowseg" / "_models"
    assert int(count) > 20
