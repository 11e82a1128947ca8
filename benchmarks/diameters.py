"""Score `nuclei` where the diameter is known, estimated, and wrong by a factor of 2; adds a table to the card.

    python benchmarks/diameters.py --data path/to/dsb2018 [--model nuclei] [--factors 0.5,2]

The known diameter of an image is the median of its true nuclei.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from nuclei import AT75, CARD, USE, split_of
from pages import put

from flowseg import metrics
from flowseg.segment import load_model
from flowseg.training.validation import THRESHOLDS, median_diameter

Diameter = Callable[[float | None], float | None]  # of what is known about an image, what the model is told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and index.csv")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--factors", type=lambda text: [float(part) for part in text.split(",")], default=[0.5, 2.0])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: dict[str, Diameter] = {"known": lambda known: known, "not given: estimated": lambda _: None}
    rows |= {f"given, {factor:g} times the known": times(factor) for factor in options.factors}
    items = split_of(options.data).validation
    model = load_model(options.model)
    scores: dict[str, np.ndarray] = {}
    for name, told in rows.items():
        found = []
        for item in items:
            image, truth = item.sample()
            labels = model.segment(image, diameter=told(median_diameter(truth))).labels
            found.append(metrics.average_precision(truth, labels, THRESHOLDS).ap)
        scores[name] = np.array(found)
        print(row(name, scores), flush=True)
    write(scores, len(items))


def times(factor: float) -> Diameter:
    return lambda known: known and known * factor


def row(name: str, scores: dict[str, np.ndarray]) -> str:
    aps, known = scores[name], scores["known"]
    cost = known.mean(axis=0) - aps.mean(axis=0)
    cells = [f"{aps[:, 0].mean():.3f}", f"{aps[:, AT75].mean():.3f}", f"{aps.mean():.3f}"]
    return f"| {name} | {' | '.join(cells)} | {'' if name == 'known' else f'{cost[0]:+.3f} / {cost.mean():+.3f}'} |"


def write(scores: dict[str, np.ndarray], count: int) -> None:
    header = f"""## When the diameter is wrong

`benchmarks/diameters.py`: the {count} images held back, means over images. The last column is what it costs, in AP at
IoU 0.5 and in mean AP.

| diameter | AP at IoU 0.5 | at 0.75 | mean AP 0.5 to 0.9 | costs |
|---|---|---|---|---|
"""
    put(header + "\n".join(row(name, scores) for name in scores), CARD, USE)


if __name__ == "__main__":
    main()
