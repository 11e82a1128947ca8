"""The examples run, and say what they promise."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_roundtrip_gives_back_what_went_in() -> None:
    done = subprocess.run([sys.executable, EXAMPLES / "roundtrip.py"], capture_output=True, text=True, check=True)
    lines = dict(line.split(maxsplit=2)[::2] for line in done.stdout.splitlines() if line.startswith("average"))
    precision = [float(part) for part in lines["average"].split(" at ")[0].split(", ")]
    assert precision[0] > 0.98
    assert precision[1] > 0.97
