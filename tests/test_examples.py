"""The examples run, and say what they promise."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flowseg
from flowseg import metrics, overlaps, rle
from flowseg.sources import data_sets, image_files
from flowseg.synthetic import write_sartorius

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_roundtrip_gives_back_what_went_in() -> None:
    done = subprocess.run([sys.executable, EXAMPLES / "roundtrip.py"], capture_output=True, text=True, check=True)
    lines = dict(line.split(maxsplit=2)[::2] for line in done.stdout.splitlines() if line.startswith("average"))
    precision = [float(part) for part in lines["average"].split(" at ")[0].split(", ")]
    assert precision[0] > 0.98
    assert precision[1] > 0.97


@pytest.mark.parametrize(("name", "nuclei"), [("1609b1b8480e", 20), ("0bf33d3db428", 29)])
def test_the_shipped_model_finds_the_nuclei_of_the_examples(name: str, nuclei: int) -> None:
    found = flowseg.load_model(device="cpu").segment(image_files.read(EXAMPLES / f"data/{name}.png"))
    assert abs(found.labels.max() - nuclei) <= 0.25 * nuclei


@pytest.mark.slow
def test_a_table_becomes_a_submission(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "sartorius.py", "--quick", "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = float(done.stdout.splitlines()[-1].split("mAP ")[1].split()[0])
    ours = float(next(line for line in done.stdout.splitlines() if "Kaggle mAP" in line).split("above)")[1].split()[0])
    assert theirs == pytest.approx(ours, abs=6e-4)
    assert (tmp_path / "out/results/submission.csv").is_file()


def test_the_score_of_the_example_is_that_of_kaggle(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLES / "sartorius.py"))
    shape = (96, 128)
    written = write_sartorius(tmp_path, 6, 1, test=0, shape=shape)
    truth = {item.name: item.instances() for item in data_sets.open_collection(written.train)}
    dots = np.indices(shape).sum(0) % 3 > 0
    found = {name: overlaps.resolve_overlaps(one).labels * dots for name, one in truth.items()}
    rows = [(name, text) for name, each in found.items() for text in rle.encode_labels(each).values()]
    table = "\n".join(["id,predicted", *map(",".join, rows)])
    (tmp_path / "submission.csv").write_text(table)
    theirs = example["mean_precision"](
        example["decoded"](written.train, shape), example["decoded"](tmp_path / "submission.csv", shape)
    )
    ours = metrics.kaggle_map(list(truth.values()), [found[name] for name in truth])
    assert 0.1 < theirs < 0.9
    assert theirs == pytest.approx(ours)
