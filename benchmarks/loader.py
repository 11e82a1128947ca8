"""Time and weigh the making of training crops, flows included; adds tables to RESULTS.md.

    python benchmarks/loader.py --data path/to/dsb2018
    python benchmarks/loader.py                            # memory alone, which needs no data

Crops a second of 224 x 224 pixels with the default augmentation, for 1 worker up to one a processor; and the memory
that a table of Sartorius' size takes: 73,585 instances in 606 images of 520 x 704 pixels, made here.
"""

import argparse
import csv
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pages import processor, put
from PIL import Image

from flowseg import __version__, threads
from flowseg.dataset import CropOptions, Crops
from flowseg.model_config import Architecture, ModelConfig
from flowseg.sources.data_sets import open_collection

SPEED, MEMORY = "## Training crops", "## Memory of the loader"
CONFIG = ModelConfig(architecture=Architecture(channels=1))
IMAGES, INSTANCES, SHAPE = 606, 73_585, (520, 704)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set to time crops of")
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--weigh", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.weigh:
        print(json.dumps(weighed(options.weigh)))
        return
    if options.data:
        about = "Crops of 224 x 224 pixels of the Data Science Bowl's images, augmented, with their flows."
        record(SPEED, about, speed_rows(options.data, options.crops))
    about = f"A table as large as Sartorius': {INSTANCES:,} masks that overlap, in {IMAGES} images of 520 x 704 pixels."
    record(MEMORY, about, memory_rows())


def speed_rows(data: Path, count: int) -> list[str]:
    items = open_collection(data).items
    crops = Crops(items, CONFIG, CropOptions(cache_bytes=1 << 32))
    for index in range(len(items)):
        crops.diameter(index)  # reads every image: what is timed is the making of crops
    rows = []
    for workers in sorted({1, 2, threads.count()} & set(range(1, threads.count() + 1))):
        batches = [range(start, start + 8) for start in range(0, count, 8)]
        list(crops.batches(batches[:10], workers))
        started = time.perf_counter()
        for _ in crops.batches(batches, workers):
            pass
        rows.append(f"| crops a second, {workers} workers | {count / (time.perf_counter() - started):,.0f} |")
    return rows


def memory_rows() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder))
        command = [sys.executable, __file__, "--weigh", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        f"| peak memory of the process: all masks held | {found['decoded']:.2f} GB |",
        f"| peak memory of the process: then 4,000 crops of all images | {found['crops']:.2f} GB |",
    ]


def write_table(folder: Path) -> None:
    """Write images of noise and a table of ellipses that overlap, as many and as large as Sartorius'."""
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48] - 24
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "annotation", "width", "height", "cell_type"])
        for image in range(IMAGES):
            name = f"{image:012x}"
            pixels = rng.integers(100, 150, SHAPE, np.uint8)
            Image.fromarray(pixels).save(folder / f"train/{name}.png")
            for _ in range(INSTANCES * (image + 1) // IMAGES - INSTANCES * image // IMAGES):
                axes, angle = rng.uniform((4, 9), (10, 22)), rng.uniform(0, np.pi)
                along = rows * np.sin(angle) + columns * np.cos(angle)
                across = rows * np.cos(angle) - columns * np.sin(angle)
                shape = (across / axes[0]) ** 2 + (along / axes[1]) ** 2 < 1
                top, left = rng.integers(0, SHAPE[0] - 48), rng.integers(0, SHAPE[1] - 48)
                there = shape.any(axis=1)  # an ellipse has one run in a row
                starts = (top + np.flatnonzero(there)) * SHAPE[1] + left + shape[there].argmax(axis=1) + 1
                text = " ".join(map(str, np.stack([starts, shape[there].sum(axis=1)], axis=1).ravel().tolist()))
                writer.writerow([name, text, SHAPE[1], SHAPE[0], ("shsy5y", "cort", "astro")[image % 3]])


def weighed(folder: Path) -> dict[str, float]:
    """Open the table, decode all of it, then make crops; return peaks in GB."""
    data = open_collection(folder)
    data.require_sound()
    kept = [item.instances() for item in data]
    assert sum(map(len, kept)) == INSTANCES
    decoded = peak()
    del kept
    crops = Crops(data.items, CONFIG)
    for _ in crops.batches([range(start, start + 8) for start in range(0, 4000, 8)], threads.count()):
        pass
    return {"decoded": decoded, "crops": peak()}


def peak() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e6


def record(mark: str, about: str, rows: list[str]) -> None:
    """Put a section into RESULTS.md, in place of the one of that name."""
    print("\n".join(rows))
    put(page(mark, about, rows))


def page(mark: str, about: str, rows: list[str]) -> str:
    body = "\n".join(rows)
    return f"""{mark}

`benchmarks/loader.py`, flowseg {__version__}, {datetime.date.today()}, {processor()}.
{about}

| what | measured |
|---|---|
{body}
"""


if __name__ == "__main__":
    main()
