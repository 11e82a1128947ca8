"""The examples run, and say what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

import flowseg
from flowseg.sources import image_files

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
