"""Train Cellpose and flowseg on the same images for as many crops, and score both on the rest; hours on a processor.

    python benchmarks/quality.py --data path/to/dsb2018 --keep folder [--crops 16000] [--side 128] [--model nuclei]

Three networks of the same shape start from nothing: cellpose 3.1.1.2 `train_seg`; flowseg with Cellpose's learning
rate, weight decay and augmentation; flowseg with its defaults. What is done is kept in the folder: the same command
goes on where it was stopped (Cellpose's part starts again), and scores `--model` on the same images as well. With
`--only peer` or `--only ours` a call does its part and no more, so that two may run side by side, a core each. With
`--only model` it scores `--model` again, and the other rows of RESULTS.md stay. Every image is segmented at its
true median diameter. Cellpose's network computes in bfloat16 and channels-last too, so that it takes an hour rather
than four.
"""

import argparse
import datetime
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import RESULTS, put

from flowseg import __version__, metrics
from flowseg.dataset import CropOptions
from flowseg.segment import load_model
from flowseg.sources.data_sets import open_collection
from flowseg.training import Asked, Split, TrainOptions, held_out, run
from flowseg.training.run_folder import RunFolder
from flowseg.training.validation import THRESHOLDS, median_diameter

BATCH = 8
PEER = "cellpose"
AT75 = THRESHOLDS.index(0.75)

Scores = dict[str, list[float]]  # AP at each of THRESHOLDS, by name of image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and index.csv")
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=16000)
    parser.add_argument("--side", type=int, default=224, help="of the crops, in pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help="score this one too")
    parser.add_argument("--only", choices=("peer", "ours", "model"), help="do one part alone")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    items = list(open_collection(options.data))
    split = held_out(items, 0.15, seed=1, stratify="kind")
    theirs = {"lr": 0.005, "weight_decay": 1e-5}
    steps: dict[str, Callable[[], Scores]] = {
        PEER: lambda: peer_scores(split, options),
        "flowseg, Cellpose's settings": lambda: our_scores(split, options, "same", theirs),
        "flowseg, defaults": lambda: our_scores(split, options, "defaults", {}),
    }
    if options.model:
        name = f"flowseg, {Path(options.model).stem}"
        steps[name] = lambda: scores_of(options.model, split, options.device)
        if options.only == "model":
            replace_row(name, steps[name](), split)
            return
    chosen = [name for name in steps if options.only in (None, "peer" if name == PEER else "ours")]
    results = {name: kept(options.keep, name, steps[name]) for name in chosen}
    if not options.only:
        write(results, split, options)


def kept(folder: Path, name: str, step: Callable[[], Scores]) -> Scores:
    """Return the scores of an earlier call, or make them."""
    path = kept_at(folder, name)
    if path.exists():
        return dict(json.loads(path.read_text()))
    started = time.monotonic()
    made = step()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made))
    print(f"{name}: mean AP {mean(made):.4f} after {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
    return made


def kept_at(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(', ', '-').replace(' ', '-')}.json"


def mean(scores: Scores) -> float:
    return float(np.mean(list(scores.values())))


def our_scores(split: Split, options: Any, name: str, settings: dict[str, Any]) -> Scores:
    folder = RunFolder(options.keep / name)
    crop = CropOptions(size=options.side)
    how = TrainOptions(crops=options.crops, device=options.device, reports=1, crop=crop, **settings)
    run(Split(split.train, []), folder.path, how, Asked(), resume=folder.config.exists())
    return scores_of(str(folder.model), split, options.device)


def scores_of(model: str, split: Split, device: str, tta: bool = False) -> Scores:
    loaded = load_model(model, device=device)
    found: Scores = {}
    for item in split.validation:
        image, truth = item.sample()
        labels = loaded.segment(image, diameter=median_diameter(truth), tta=tta).labels
        found[item.name] = metrics.average_precision(truth, labels, THRESHOLDS).ap.tolist()
    return found


def peer_scores(split: Split, options: Any) -> Scores:
    device, crops = options.device, options.crops
    from cellpose import train as peer
    from cellpose.models import CellposeModel

    model = CellposeModel(gpu=device != "cpu", device=torch.device(device), pretrained_model=None)
    forward = model.net.forward

    mkldnn, model.net.mkldnn = model.net.mkldnn, False

    def fast(data: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            output, style, *rest = forward(data.to(memory_format=torch.channels_last))
        return (output.float(), style.float(), *rest)

    model.net.to(memory_format=torch.channels_last)
    model.net.forward = fast
    images = [item.sample()[0].pixels.mean(axis=0).astype(np.float32) for item in split.train]
    masks = [item.instances().to_labels() for item in split.train]
    epochs = max(1, crops // len(images))
    (options.keep / "peer").mkdir(parents=True, exist_ok=True)
    peer.train_seg(
        model.net, train_data=images, train_labels=masks, channels=[0, 0], batch_size=BATCH, n_epochs=epochs,
        nimg_per_epoch=crops // epochs, min_train_masks=1, save_path=options.keep / "peer", bsize=options.side,
    )  # fmt: skip
    model.net.forward, model.net.mkldnn = forward, mkldnn
    found: Scores = {}
    for item in split.validation:
        image, truth = item.sample()
        plane = image.pixels.mean(axis=0).astype(np.float32)
        labels = model.eval(plane, channels=[0, 0], diameter=median_diameter(truth))[0]
        found[item.name] = metrics.average_precision(truth, np.asarray(labels, np.int32), THRESHOLDS).ap.tolist()
    return found


def write(results: dict[str, Scores], split: Split, options: Any) -> None:
    kinds = kinds_of(split)
    days = {name: datetime.date.fromtimestamp(kept_at(options.keep, name).stat().st_mtime) for name in results}
    lines = [row(name, scores, kinds, days[name]) for name, scores in results.items()]
    print("\n".join(lines))
    counts = [f"{kind} ({sum(kinds[name] == kind for name in kinds)})" for kind in sorted(set(kinds.values()))]
    side = options.side
    header = f"""## Quality

`benchmarks/quality.py`, flowseg {__version__} and cellpose 3.1.1.2: networks of one shape trained from nothing on
{len(split.train)} images of the Data Science Bowl for {options.crops:,} crops of {side} x {side} pixels, and scored on
the other {len(split.validation)}: AP at IoU 0.5 / at 0.75 / mean of 0.5 to 0.9, means over images.

| network | scored | all ({len(kinds)}) | {" | ".join(counts)} |
|{"---|" * (len(counts) + 3)}
"""
    put(header + "\n".join(lines))


def replace_row(name: str, scores: Scores, split: Split) -> None:
    """Put the row of one network into the table that is there."""
    made = row(name, scores, kinds_of(split), datetime.date.today())
    print(made)
    lines = RESULTS.read_text().splitlines()
    lines[next(at for at, line in enumerate(lines) if line.startswith(f"| {name} |"))] = made
    RESULTS.write_text("\n".join(lines) + "\n")


def kinds_of(split: Split) -> dict[str, str]:
    return {item.name: item.columns["kind"] for item in split.validation}


def row(name: str, scores: Scores, kinds: dict[str, str], day: datetime.date) -> str:
    cells = [name, str(day)]
    for kind in ("", *sorted(set(kinds.values()))):
        aps = np.array([ap for image, ap in scores.items() if kind in ("", kinds[image])])
        cells.append(f"{aps[:, 0].mean():.3f} / {aps[:, AT75].mean():.3f} / {aps.mean():.3f}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
