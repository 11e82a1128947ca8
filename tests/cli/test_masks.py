"""``flowseg masks``: from kept flows to labels, each to a file of its own, bad files reported."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from flowseg import cli, flows
from flowseg.exports import flows_file
from flowseg.folder import STATE
from flowseg.options import MaskOptions
from tests.shapes import logits, solid_cells


def masks(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["masks", *map(str, arguments)])


def keep(path: Path, seed: int, options: MaskOptions | None = None) -> int:
    """Write the flows of cells; return how many cells there are."""
    image = solid_cells(80, 16, seed=seed, gap=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {} if options is None else {"masks": asdict(options)}
    path.write_bytes(flows_file.encode(flows.masks_to_flows(image), logits(image), about))
    return int(image.max())


def test_files_of_the_same_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    counts = {name: keep(tmp_path / "run" / f"{name}_flows.npz", seed) for seed, name in enumerate(("x/a", "y/a"))}
    result = masks(tmp_path / "run", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for name, count in counts.items():
        assert tifffile.imread(tmp_path / "out" / f"{name}_labels.tif").max() == count
        assert f"{name}: {count} instances\n" in result.output


def test_thresholds_are_those_of_the_run_unless_given(tmp_path: Path) -> None:
    count = keep(tmp_path / "a_flows.npz", 1, MaskOptions(min_size=5000))
    stated = masks(tmp_path / "a_flows.npz", "-o", tmp_path / "out")
    assert stated.output == f"a: 0 instances (removed: {count} too small)\n"
    assert f"a: {count} instances" in masks(tmp_path / "a_flows.npz", "-o", tmp_path / "out", "--min-size", 1).output


def test_patterns_and_names_in_any_letters(tmp_path: Path) -> None:
    """As from a shell of Windows, which fills in no pattern, into a file of its older encoding."""
    for seed, name in enumerate(("a", "b[1]", "\u03b4")):
        keep(tmp_path / f"{name}_flows.npz", seed)
    patterns = [str(tmp_path / pattern) for pattern in ("b[1]_flows.npz", "?_flows.npz")]
    result = CliRunner(charset="cp1252").invoke(cli.main, ["masks", *patterns, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert [line.split(": ")[0] for line in result.output.splitlines()] == ["b[1]", "a", r"\u03b4"]
    missing = masks(tmp_path / "x*_flows.npz", "-o", tmp_path / "out")
    assert (missing.exit_code, "x*_flows.npz' does not exist" in missing.output) == (2, True)


def test_flows_that_windows_kept_name_their_image(tmp_path: Path) -> None:
    image = solid_cells(40, 16, seed=0, gap=1)
    about = {"source": r"D:\plate 1\a.png"}
    (tmp_path / "a_flows.npz").write_bytes(flows_file.encode(flows.masks_to_flows(image), logits(image), about))
    assert masks(tmp_path / "a_flows.npz", "-o", tmp_path / "out", "--save", "coco").exit_code == 0
    listed = json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    assert [each["file_name"] for each in listed] == ["a.png"]


@pytest.mark.parametrize("about", [{"masks": {"unknown": 1}}, {"masks": [1]}, {"masks": {"niter": "many"}}])
def test_one_bad_file_is_reported_and_the_rest_goes_on(tmp_path: Path, about: dict[str, object]) -> None:
    keep(tmp_path / "run" / "b_flows.npz", 1)
    zeros = np.zeros((2, 8, 8), np.float32)
    (tmp_path / "run" / "a_flows.npz").write_bytes(flows_file.encode(zeros, zeros[0], about))
    (tmp_path / "run" / "c_flows.npz").write_bytes(b"PK\x03\x04")
    result = masks(tmp_path / "run", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.output.count("failed: ") == 2
    assert "2 failed" in result.output
    assert all(f"{tmp_path / 'run' / name}_flows.npz" in result.output for name in "ac")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b_labels.tif"]


def test_results_of_a_run_are_not_replaced(tmp_path: Path) -> None:
    keep(tmp_path / "a_flows.npz", 1)
    (tmp_path / STATE).touch()
    result = masks(tmp_path, "-o", tmp_path)
    assert result.exit_code == 1
    assert "choose another folder" in result.output


def test_what_is_no_file_of_flows_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and more")
    result = masks(tmp_path / "a.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "a.png is not a file of flows that --save flows wrote, or was cut short" in result.output
    assert "pickle" not in result.output


def test_a_folder_without_flows_says_how_to_keep_them(tmp_path: Path) -> None:
    assert "'flowseg segment --save labels,flows' keeps them" in masks(tmp_path, "-o", tmp_path / "out").output


def test_thresholds_that_cannot_be_are_told_once(tmp_path: Path) -> None:
    for name in "ab":
        keep(tmp_path / "run" / f"{name}_flows.npz", 1)
    result = masks(tmp_path / "run", "-o", tmp_path / "out", "--cellprob-threshold", "nan")
    assert result.exit_code == 1
    assert result.output.count("--cellprob-threshold is nan") == 1
    assert not (tmp_path / "out").exists()


def test_large_cells_can_be_dropped(tmp_path: Path) -> None:
    count = keep(tmp_path / "a_flows.npz", 1)
    result = masks(tmp_path / "a_flows.npz", "-o", tmp_path / "out", "--max-size-fraction", 0.001)
    assert result.output == f"a: 0 instances (removed: {count} too large)\n"
