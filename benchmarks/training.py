"""Time training beside cellpose 3.1.1.2 `train_seg`, all included, in one run; adds a table to RESULTS.md.

    python benchmarks/training.py --data path/to/dsb2018 [--device cuda]

Both train the full network from nothing on the same images, batches of 8 crops of 224 x 224 pixels. Reading images and
(for Cellpose) computing flows come before the clock starts: what is timed is a step, crops and augmentation included,
the mean of many in the best of a few rounds.
How good the networks become is for `benchmarks/quality.py`.
"""

import argparse
import datetime
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import machine, on_what, put

from flowseg import __version__
from flowseg.dataset import CropOptions, Crops
from flowseg.model_config import ModelConfig
from flowseg.network import Network
from flowseg.sources.collection import Item
from flowseg.sources.data_sets import open_collection
from flowseg.training import TrainOptions, heap
from flowseg.training.step import Stepper

BATCH, SIDE = 8, 224
ROUNDS = 3
WARM = 6  # steps before the clock starts; on a GPU, one is recorded after three
HOW: dict[str, dict[str, Any]] = {"fp32": {"precision": "fp32"}, "defaults": {}, "compiled": {"compile": True}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", choices=HOW, action="append", help="rows, where not all are wanted")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    items = list(open_collection(options.data))
    rows = speed_rows(items[:64], options.device, options.steps, options.only or list(HOW))
    put(page(rows, options.device))


def speed_rows(items: list[Item], device: str, steps: int, names: list[str]) -> list[str]:
    """Return the rows, of the best rounds. Cellpose's come first: the memory that flowseg keeps would speed it up."""
    images, targets = peer_data(items, device)
    peer_seconds(images, targets, device, 1)  # compiles, and finds memory
    theirs = least("cellpose", lambda: peer_seconds(images, targets, device, steps))
    rows = []
    for name in names:
        ours = least(name, lambda how=HOW[name]: our_seconds(items, device, steps, **how))
        rows.append(f"| a step, {name} | {ours:.4g} s | {theirs:.4g} s | {theirs / ours:.1f}x |")
        print(rows[-1], flush=True)
    return rows


def least(name: str, seconds: Callable[[], float]) -> float:
    found = [seconds() for _ in range(ROUNDS)]
    print(name, *(f"{one:.4g} s" for one in found), flush=True)
    return min(found)


def our_seconds(items: list[Item], device: str, steps: int, **how: Any) -> float:
    torch.manual_seed(0)
    crops = Crops(items, ModelConfig(), CropOptions(size=SIDE, cache_bytes=1 << 32))
    for index in range(len(items)):
        crops.diameter(index)
    stepper = Stepper(Network(), TrainOptions(device=device, batch_size=BATCH, **how), steps)
    numbers = [range(start * BATCH, (start + 1) * BATCH) for start in range(steps + WARM)]
    batches = stepper.batches(crops, numbers)
    with heap.kept():  # as in `flowseg.train`
        for _ in range(WARM):
            stepper.step(next(batches), batches)
        started = time.perf_counter()
        for batch in batches:
            stepper.step(batch, batches)
        return (time.perf_counter() - started) / steps


def peer_data(items: list[Item], device: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return images and Cellpose's flows, made once for all: they take longer than the steps, now more and now less."""
    from cellpose.dynamics import labels_to_flows

    images, masks = map(list, zip(*arrays(items), strict=True))
    return images, labels_to_flows(masks, device=torch.device(device))


def arrays(items: list[Item]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for item in items:
        image, instances = item.sample()
        yield image.pixels.mean(axis=0).astype(np.float32), instances.to_labels()


def peer_seconds(images: list[np.ndarray], targets: list[np.ndarray], device: str, steps: int) -> float:
    """Time Cellpose's own steps: of two trainings, the longer less the shorter, so that what comes before cancels."""

    def took(count: int) -> float:
        network = peer_network(device)
        started = time.perf_counter()
        peer_train(network, images, targets, count * BATCH, 1)
        return time.perf_counter() - started

    short, long = took(1), took(1 + steps)
    return (long - short) / steps


def peer_network(device: str) -> object:
    from cellpose.models import CellposeModel

    return CellposeModel(gpu=device != "cpu", device=torch.device(device), pretrained_model=None)


def peer_train(model: object, images: list, masks: list, crops: int, epochs: int) -> None:
    """Train a Cellpose network on so many crops an epoch; masks are label images, or Cellpose's flows."""
    from cellpose import train as peer

    with tempfile.TemporaryDirectory() as folder:
        peer.train_seg(
            model.net, train_data=images, train_labels=masks, channels=[0, 0], batch_size=BATCH, n_epochs=epochs,
            nimg_per_epoch=crops, min_train_masks=1, save_path=folder, bsize=SIDE,
        )  # fmt: skip


def page(rows: list[str], device: str) -> str:
    body = "\n".join(rows)
    return f"""## Training{on_what(device)}

`benchmarks/training.py`, flowseg {__version__} beside cellpose 3.1.1.2 `train_seg`, {datetime.date.today()},
{machine(device)}. The full network, batches of {BATCH} crops of {SIDE} x {SIDE} pixels of the Data Science Bowl.

| what | flowseg | cellpose | ratio |
|---|---|---|---|
{body}
"""


if __name__ == "__main__":
    main()
