"""From a Kaggle table to a submission: neurons as in Sartorius' competition, made up, so that all of it can be scored.

python examples/sartorius.py            # some minutes on a CPU
python examples/sartorius.py --quick    # seconds: too little to learn from

It writes images and `train.csv`, trains on them, segments the test images, and reads `submission.csv` with a decoder of
its own, as a competition would.
"""

import argparse
import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from flowseg.synthetic import Written, write_sartorius

THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("sartorius"), help="a new folder")
    parser.add_argument("--quick", action="store_true", help="small images, and hardly any training")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    shape, images = ((128, 160), 6) if asked.quick else ((260, 352), 60)
    data = write_sartorius(asked.out / "data", images, asked.seed, test=3 if asked.quick else 12, shape=shape)
    print(f"{images} images of neurons in {data.train.parent}", flush=True)
    train(data, asked.out / "run", asked.quick)
    submission = segment(data, asked.out)
    score = mean_precision(decoded(data.truth, shape), decoded(submission, shape))
    print(f"{submission}: mAP {score:.4f} at IoU 0.50 to 0.95, as Kaggle scores it")


def train(data: Written, run: Path, quick: bool) -> None:
    small = ("--pretrained", "none", "--inputs", "grey", "--widths", "16,32,64,128", "--crops", "8000", "--lr", "0.004")
    network = ("--pretrained", "nuclei", "--freeze", "all-but-output", "--crops", "8") if quick else small
    flowseg(
        *("train", data.train, "-o", run, *network, "--diameter-mean", "20", "--crop-size", "128"),
        *("--batch-size", "4" if quick else "16", "--ema", "0.99", "--stratify", "cell_type", "--reports", "4"),
    )


def segment(data: Written, out: Path) -> Path:
    model = out / "run" / "model.safetensors"
    flowseg("segment", data.test, "-o", out / "results", "--model", model, "--save", "rle,overlay")
    flowseg(
        *("evaluate", out / "results" / "submission.csv", data.truth, "--images", data.test),
        *("--missing", "empty", "--by", "cell_type"),
    )
    return out / "results" / "submission.csv"


def flowseg(*arguments: object) -> None:
    """Run a command as one types it."""
    command = ["flowseg", *map(str, arguments)]
    print("\n$ " + " ".join(command), flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


# What a competition does with a submission; nothing of flowseg's below.


def decoded(table: Path, shape: tuple[int, int]) -> dict[str, list[np.ndarray]]:
    """Return the masks of each image: pairs of a start, from 1, and a length, along rows."""
    masks = defaultdict(list)
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            mask = np.zeros(shape[0] * shape[1], bool)
            numbers = [int(number) for number in (row.get("annotation") or row.get("predicted") or "").split()]
            for start, length in zip(numbers[::2], numbers[1::2], strict=True):
                mask[start - 1 : start - 1 + length] = True
            masks[row["id"]] += [mask] if mask.any() else []
    return masks


def mean_precision(truth: dict[str, list[np.ndarray]], found: dict[str, list[np.ndarray]]) -> float:
    """Return the mean over images and thresholds of TP / (TP + FP + FN); a match has an IoU above the threshold."""
    scores = []
    for name in truth:
        true, ours = truth[name], found.get(name, [])
        if ours and np.sum(ours, axis=0).max() > 1:
            raise SystemExit(f"{name}: predicted masks overlap")
        iou = np.array([[(a & b).sum() / (a | b).sum() for b in ours] for a in true]).reshape(len(true), len(ours))
        matched = np.array([(iou > threshold).any(axis=0).sum() for threshold in THRESHOLDS])
        scores.append((matched / np.maximum(len(true) + len(ours) - matched, 1)).mean())
    return float(np.mean(scores))


if __name__ == "__main__":
    main()
