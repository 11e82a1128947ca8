"""Time labels -> flows -> labels, metrics and RLE beside cellpose 3.1.1.2, in one process, and write RESULTS.md.

Run it where both are installed (the `bench` extra, in an environment of its own):

    python benchmarks/kernels.py --masks path/to/dsb2018/masks --sizes 512 1024 2048 8192

Ratios are of medians; both sides are timed in turn, after one warm-up. Memory is measured in a process of its own, in
which freed memory goes back at once: the peak during a call above what was held before it, less the result.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pages import RESULTS, processor, put

from flowseg import __version__, dynamics, flows, metrics, rle

Labels = npt.NDArray[np.int32]
IMAGES = ("nuclei", "60 px cells")


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of ours and of the peer (nan where there is none), bytes a pixel."""

    what: str
    image: str
    side: int
    ours: float
    peer: float
    memory: float

    def text(self) -> str:
        peer = f"{self.peer * 1e3:,.1f}" if self.peer == self.peer else "-"
        ratio = f"{self.peer / self.ours:.1f}x" if self.peer == self.peer else "-"
        memory = f"{self.memory:.1f}"
        return f"| {self.what} | {self.image} | {self.side} | {self.ours * 1e3:,.2f} | {peer} | {ratio} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=Path, required=True, help="folder of label images (PNG) to tile")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--peaks", nargs=2, metavar=("IMAGE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peaks:
        print(json.dumps(peaks(options.peaks[0], int(options.peaks[1]), options.masks)))
        return
    rows = [row for side in options.sizes for row in rows_of_side(side, options.masks, options.repeats)]
    rows.append(crop_row(options.masks))
    put(page(rows, options.repeats), options.out)


def rows_of_side(side: int, masks: Path, repeats: int) -> list[Row]:
    rows: list[Row] = []
    for image in IMAGES:
        labels = make(image, side, masks)
        print(f"{image}, {side}: {labels.max()} instances, {100 * (labels > 0).mean():.0f} % foreground", flush=True)
        memory = peaks_elsewhere(image, side, masks)
        for what, ours, peer in tasks(labels, with_peer=True):
            # The peer takes minutes on the largest images: once is enough there.
            row = Row(what, image, side, *timed(ours, peer, repeats, 1 if side > 4096 else repeats), memory[what])
            print(row.text(), flush=True)
            rows.append(row)
    return rows


Task = tuple[str, Callable[[], object], Callable[[], object] | None]


def tasks(labels: Labels, with_peer: bool) -> list[Task]:
    unit = flows.masks_to_flows(labels)
    cellprob = np.where(labels > 0, 5, -5).astype(np.float32)
    found = dynamics.flows_to_masks(unit, cellprob)
    shifted = np.roll(found, 1, axis=1)
    texts = list(rle.encode_labels(labels).values())
    columns = list(rle.encode_labels(labels, order="column").values())

    ours: list[tuple[str, Callable[[], object]]] = [
        ("labels -> flows", lambda: flows.masks_to_flows(labels)),
        ("flows -> labels, flow check", lambda: dynamics.flows_to_masks(unit, cellprob)),
        ("flows -> labels, no check", lambda: dynamics.flows_to_masks(unit, cellprob, flow_threshold=0)),
        ("average precision", lambda: metrics.average_precision(found, shifted)),
        ("RLE, rows", lambda: rle.encode_labels(labels)),
        ("RLE, columns", lambda: rle.encode_labels(labels, order="column")),
        ("RLE back, rows", lambda: rle.decode_labels(texts, labels.shape)),
        ("RLE back, columns", lambda: rle.decode_labels(columns, labels.shape, order="column")),
    ]
    theirs = peer_tasks(labels, unit, cellprob, found, shifted) if with_peer else {}
    return [(what, call, theirs.get(what)) for what, call in ours]


def peer_tasks(
    labels: Labels, unit: npt.NDArray[np.float32], cellprob: npt.NDArray[np.float32], found: Labels, shifted: Labels
) -> dict[str, Callable[[], object]]:
    import torch
    from cellpose import dynamics as peer_dynamics
    from cellpose import metrics as peer_metrics

    wide, scaled, cpu = labels.astype(np.int64), unit * 5, torch.device("cpu")

    def masks(flow_threshold: float) -> object:
        return peer_dynamics.compute_masks(scaled, cellprob, flow_threshold=flow_threshold, min_size=15, device=cpu)

    calls: dict[str, Callable[[], object]] = {
        "labels -> flows": lambda: peer_dynamics.masks_to_flows_cpu(wide),
        "flows -> labels, flow check": lambda: masks(0.4),
        "flows -> labels, no check": lambda: masks(0),
    }
    if found.max() < 20000:  # its table of overlaps is dense: beyond this it needs more memory than the machine has
        calls["average precision"] = lambda: peer_metrics.average_precision(found, shifted)
    return calls


def timed(
    ours: Callable[[], object], peer: Callable[[], object] | None, repeats: int, peer_repeats: int
) -> tuple[float, float]:
    """Return the median seconds of both, timed in turn."""
    ours()
    if peer is not None and peer_repeats > 1:
        peer()
    mine, theirs = [], []
    for turn in range(repeats):
        mine.append(seconds(ours))
        if peer is not None and turn < peer_repeats:
            theirs.append(seconds(peer))
    return float(np.median(mine)), float(np.median(theirs)) if theirs else float("nan")


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def peaks_elsewhere(image: str, side: int, masks: Path) -> dict[str, float]:
    """Return the bytes a pixel of each task, measured in a process that gives freed memory back at once."""
    command = [sys.executable, __file__, "--masks", str(masks), "--peaks", image, str(side)]
    settings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peaks(image: str, side: int, masks: Path) -> dict[str, float]:
    for _, call, _ in tasks(make(image, 256, masks), with_peer=False):
        call()  # compiled and threads started
    return {what: peak(call, side) for what, call, _ in tasks(make(image, side, masks), with_peer=False)}


def peak(call: Callable[[], object], side: int) -> float:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    result = call()
    kept = result.nbytes if isinstance(result, np.ndarray) else 0
    return float(max(0, memory("VmHWM") - before - kept) / side**2)


def memory(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(field + ":")[1].split()[0]) * 1024


def crop_row(masks: Path) -> Row:
    """Time the flows of one training crop on one thread."""
    labels = np.ascontiguousarray(nuclei(512, masks)[:224, :224])
    os.environ["FLOWSEG_THREADS"] = "1"
    flows.masks_to_flows(labels)
    times = [seconds(lambda: flows.masks_to_flows(labels)) for _ in range(200)]
    del os.environ["FLOWSEG_THREADS"]
    count = len(np.unique(labels)) - 1
    row = Row(f"flows of a crop, {count} cells, one thread", "nuclei", 224, float(np.median(times)), float("nan"), 0)
    print(row.text())
    return row


def make(image: str, side: int, masks: Path) -> Labels:
    return nuclei(side, masks) if image == IMAGES[0] else cells(side)


def nuclei(side: int, masks: Path) -> Labels:
    """Tile a square with real label images of 256 x 256."""
    from skimage.io import imread

    images = [image for path in sorted(masks.glob("*.png")) if (image := imread(path)).shape == (256, 256)]
    rng = np.random.default_rng(0)
    labels, last = np.zeros((side, side), np.int32), 0
    for y in range(0, side, 256):
        for x in range(0, side, 256):
            tile = images[rng.integers(len(images))].astype(np.int32)
            labels[y : y + 256, x : x + 256] = np.where(tile > 0, tile + last, 0)
            last += int(tile.max())
    return labels


def cells(side: int, diameter: int = 60) -> Labels:
    """Fill a square with round cells that nearly touch, jittered, each with its own radius."""
    rng = np.random.default_rng(0)
    labels, number = np.zeros((side, side), np.int32), 0
    grid = np.mgrid[: diameter + 8, : diameter + 8]
    for y in range(0, side - diameter - 7, diameter + 2):
        for x in range(0, side - diameter - 7, diameter + 2):
            number += 1
            centre = (diameter + 8) / 2 + rng.uniform(-2, 2, 2)
            inside = np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < rng.uniform(0.4, 0.5) * diameter
            labels[y : y + diameter + 8, x : x + diameter + 8][inside] = number
    return labels


def page(rows: list[Row], repeats: int) -> str:
    table = "\n".join(row.text() for row in rows)
    return f"""## Kernels

`benchmarks/kernels.py`, flowseg {__version__} beside cellpose 3.1.1.2, {datetime.date.today()}, {processor()},
numpy {np.__version__}, Python {platform.python_version()}. Medians of {repeats} runs in
turn (on 8192 the peer ran once). Memory is the peak beside the result, in bytes a pixel.

| what | image | side | flowseg, ms | cellpose, ms | ratio | bytes a pixel |
|---|---|---|---|---|---|---|
{table}
"""


if __name__ == "__main__":
    main()
