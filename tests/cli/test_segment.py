"""A folder run: what it writes, that it can be stopped anywhere, goes on, and leaves no broken file."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from flowseg import checkpoint, cli, files, rle
from flowseg.folder import Job, run
from flowseg.model_config import Architecture, ModelConfig
from flowseg.options import SegmentOptions
from flowseg.segment import load_model
from tests.networks import scrambled

ROOT = Path(__file__).parents[2]
SMALL = Architecture(widths=(4, 6))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file: a random network whose probability is shifted so that it finds something everywhere."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    config = ModelConfig(architecture=SMALL, flow_threshold=0.0, min_size=1)
    checkpoint.write_flowseg(path, config, scrambled(SMALL).state_dict())
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50 + number), np.uint8)
        Image.fromarray(pixels).save(folder / f"image{number}.png")
    return folder


def segment(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["segment", *map(str, arguments), "--diameter", "30", "--device", "cpu"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_labels.tif")}


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*_labels.tif")}


def test_a_folder_becomes_labels_tables_and_a_record(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = segment(images, "-o", out, "--model", model, "--save", "labels,rle,table,flows")
    assert result.exit_code == 0, result.output
    record = json.loads((out / "run.json").read_text())
    assert [line["name"] for line in record["images"]] == [f"image{number}" for number in range(5)]
    assert record["model"]["digests"] == [files.digest(model)]
    rows, table = (
        list(csv.DictReader((out / name).read_text().splitlines())) for name in ("submission.csv", "measurements.csv")
    )
    for number, line in enumerate(record["images"]):
        labels = tifffile.imread(out / f"image{number}_labels.tif")
        assert labels.shape == (40, 50 + number)
        assert labels.dtype == np.uint16
        texts = [row["predicted"] for row in rows if row["id"] == f"image{number}"]
        assert (rle.decode_labels(texts, labels.shape) == labels).all()
        own = [row for row in table if row["image"] == f"image{number}"]
        assert len(own) == labels.max() == line["instances"]
        assert [int(row["area"]) for row in own] == np.bincount(labels.ravel())[1:].tolist()


def test_flows_that_were_kept_give_the_same_labels(model: Path, images: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert segment(images, "-o", out, "--model", model, "--save", "labels,flows").exit_code == 0
    result = CliRunner().invoke(cli.main, ["masks", str(out), "-o", str(again)])
    assert result.exit_code == 0, result.output
    for path in out.glob("*_labels.tif"):
        assert (tifffile.imread(path) == tifffile.imread(again / path.name)).all()
    (tmp_path / "bad_flows.npz").write_bytes(b"no")
    result = CliRunner().invoke(cli.main, ["masks", str(tmp_path / "bad_flows.npz"), "-o", str(again)])
    assert result.exit_code == 1
    assert "is not a file of flows" in result.output


def test_a_second_run_redoes_only_what_changed(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(images, "-o", out, "--model", model).exit_code == 0
    first = stamps(out)
    again = segment(images, "-o", out, "--model", model)
    assert "0 images segmented, 5 kept" in again.output
    assert stamps(out) == first
    (out / "image1_labels.tif").unlink()
    assert "1 image segmented, 4 kept" in segment(images, "-o", out, "--model", model).output
    (out / "image1_labels.tif").unlink()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(images / "image3.png")
    assert "2 images segmented, 3 kept" in segment(images, "-o", out, "--model", model).output
    assert "5 images segmented, 0 kept" in segment(images, "-o", out, "--model", model, "--min-size", "3").output
    assert "5 images segmented" in segment(images, "-o", out, "--model", model, "--min-size", "3", "--overwrite").output


def test_the_first_run_says_that_it_compiles(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowseg.doctor._kernel_folder", lambda: str(tmp_path / "kernels"))
    (tmp_path / "kernels").mkdir()
    told = "compiling first"
    assert told in segment(images, "-o", tmp_path / "a", "--model", model).output
    assert told not in segment(images, "-o", tmp_path / "a", "--model", model, "--quiet").output
    (tmp_path / "kernels/runs.nbc").touch()
    assert told not in segment(images, "-o", tmp_path / "a", "--model", model).output


def test_one_bad_image_is_reported_and_the_rest_goes_on(model: Path, images: Path, tmp_path: Path) -> None:
    (images / "image2.png").write_bytes(b"broken")
    result = segment(images, "-o", tmp_path / "out", "--model", model, "--save", "labels,rle,table")
    assert result.exit_code == 1
    assert "failed: " in result.output
    assert "image2.png is not a TIFF, PNG, JPEG or BMP image" in result.output
    assert "4 images segmented, 0 kept from earlier, 1 failed" in result.output
    lines = json.loads((tmp_path / "out/run.json").read_text())["images"]
    assert f"; {sum(line.get('instances', 0) for line in lines)} cells; results in" in result.output
    assert len(stamps(tmp_path / "out")) == 4


def test_results_of_an_image_that_is_no_longer_readable_go(model: Path, images: Path, tmp_path: Path) -> None:
    out, given = tmp_path / "out", ("--model", model, "--save", "labels,rle")
    assert segment(images, "-o", out, *given).exit_code == 0
    (images / "image1.png").write_bytes(b"not what it was")
    (images / "image2.png").touch()
    assert segment(images, "-o", out, *given).exit_code == 1
    assert sorted(contents(out)) == [f"image{number}_labels.tif" for number in (0, 2, 3, 4)]
    assert not (out / ".parts/image1.rle.csv").exists()
    ids = {row["id"] for row in csv.DictReader((out / "submission.csv").read_text().splitlines())}
    assert ids <= {"image0", "image2", "image3", "image4"}


def test_json_lines_and_quiet(model: Path, images: Path, tmp_path: Path) -> None:
    result = segment(images, "-o", tmp_path / "out", "--model", model, "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["status"] for line in lines] == ["done"] * 5
    assert segment(images, "-o", tmp_path / "out", "--model", model, "--quiet").output == ""


def test_the_choice_of_channels_is_said_when_it_changes(model: Path, images: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(images / "image2.png")
    said = segment(images, "-o", tmp_path / "out", "--model", model).output
    assert [line for line in said.splitlines() if line.startswith("channels of ")] == [
        "channels of image0 and what follows: cytoplasm <- grey, nucleus <- nothing",
        "channels of image2 and what follows: cytoplasm <- mean of red, green and blue, nucleus <- nothing",
        "channels of image3 and what follows: cytoplasm <- grey, nucleus <- nothing",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--percentiles", "5"), "not two numbers such as 1,99"),
        (("--percentiles", "99,1"), "the low percentile below the high one"),
        (("--max-memory", "nan"), "nan is not a number of GiB above 0"),
        (("--channels", "0,1,2"), "3 channels are chosen; the network takes 2"),
        (("--group", "cort"), "no thresholds for a group 'cort'"),
        (("--max-size-fraction", "0"), "--max-size-fraction is 0.0"),
        (("--tile", "33"), "--tile is 33; wanted a multiple of 2"),
    ],
)
def test_options_that_cannot_be_are_told_before_the_first_image(
    model: Path, images: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    result = segment(images, "-o", tmp_path / "out", "--model", model, *options)
    assert result.exit_code != 0
    assert result.output.count(message) == 1
    assert not (tmp_path / "out").exists()


def test_an_image_that_needs_too_much_memory_is_refused_with_the_figure(
    model: Path, images: Path, tmp_path: Path
) -> None:
    result = segment(images, "-o", tmp_path / "out", "--model", model, "--max-memory", "0.0001")
    assert result.exit_code == 1
    assert "GiB of memory, 0.00 are allowed" in result.output
    assert "--max-memory" in result.output


def test_an_interrupt_while_the_model_loads_is_told_like_any_other(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flowseg.segment

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flowseg.segment, "load_model", stop)
    result = segment(images, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 130
    assert result.output == "stopped: the same command goes on from here\n"


def start(model: Path, images: Path, out: Path) -> "subprocess.Popen[str]":
    """Start a run in a process of its own and wait until it has done two images."""
    command = [sys.executable, "-m", "flowseg", "segment", str(images), "-o", str(out), "--model", str(model), "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "--diameter", "30", "--device", "cpu"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    return process


@pytest.fixture
def many(images: Path) -> Path:
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 255, (300, 300), np.uint8)
        Image.fromarray(pixels).save(images / f"more{number:02}.png")
    return images


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(model: Path, many: Path, tmp_path: Path, how: signal.Signals) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    process = start(model, many, out)
    process.send_signal(how)
    assert process.stdout is not None
    process.stdout.read()
    process.stdout.close()
    code = process.wait(timeout=60)
    assert code == (130 if how == signal.SIGINT else -signal.SIGKILL)
    finished = stamps(out)
    assert 2 <= len(finished) < 65
    for name in finished:
        tifffile.imread(out / name)  # whole, or this raises
    result = segment(many, "-o", out, "--model", model, "--save", "labels")
    assert result.exit_code == 0
    assert {name: stamps(out)[name] for name in list(finished)[:2]} == dict(list(finished.items())[:2])
    assert not list(out.rglob("*.part"))
    assert segment(many, "-o", whole, "--model", model).exit_code == 0
    ours, theirs = (
        {name: data for name, data in contents(folder).items() if "_labels" in name} for folder in (out, whole)
    )
    assert ours == theirs


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_leaves_no_broken_file(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(out)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        result = segment(images, "-o", out, "--model", model, "--save", "labels,flows")
        assert result.exit_code == 1
        assert "No space left" in result.output
        assert not list(out.rglob("*.part"))
        for path in out.glob("*_labels.tif"):
            assert tifffile.imread(path).ndim == 2
        for path in out.glob("*_flows.npz"):
            np.load(path).close()
    finally:
        time.sleep(0.05)
        subprocess.run(["umount", str(out)], check=True)


def test_many_instances_take_32_bits() -> None:
    from flowseg.exports import label_tiff

    labels = np.arange(70_000, dtype=np.int32).reshape(250, 280)
    import io

    read = tifffile.imread(io.BytesIO(label_tiff.encode(labels)))
    assert read.dtype == np.uint32
    assert (read == labels).all()


def test_memory_stays_flat(model: Path, images: Path, tmp_path: Path) -> None:
    """Only a few images are held at a time: results of 40 images never pile up while they wait to be written."""
    import tracemalloc

    loaded = load_model(str(model), device="cpu")
    paths = sorted(images.glob("*.png"))
    options = SegmentOptions(diameter=30.0)
    run(loaded, paths, Job(tmp_path / "warm"), options)
    peaks = []
    for copies in (1, 8):
        linked = []
        for copy in range(copies):
            for path in paths:
                target = tmp_path / f"{copies}-{copy}-{path.name}"
                target.write_bytes(path.read_bytes())
                linked.append(target)
        tracemalloc.start()
        run(loaded, linked, Job(tmp_path / f"out{copies}"), options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 500_000
