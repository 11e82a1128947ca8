"""Score `nuclei` where the diameter is known, estimated, and wrong by a factor of 2; adds a table to the card.

    python benchmarks/diameters.py --data path/to/dsb2018 [--model nuclei]

The known diameter of an image is the median of its true nuclei.
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from nuclei import AT75, CARD, USE, split_of
from pages import put

from flowseg.instances import Instances
from flowseg.segment import load_model
from flowseg.training.validation import look, median_diameter, precisions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and index.csv")
    parser.add_argument("--model", default="nuclei")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    items = split_of(options.data).validation
    model = load_model(options.model)
    scores: dict[str, np.ndarray] = {}
    for name, told in ROWS.items():
        scores[name] = np.array([precisions(one) for one in look(model, items, told)])
        print(row(name, scores), flush=True)
    write(scores, len(items))


def times(factor: float, truth: Instances) -> float | None:
    known = median_diameter(truth)
    return known and known * factor


# What the model is told of the truth.
ROWS: dict[str, Callable[[Instances], float | None]] = {
    "known": median_diameter,
    "not given: estimated": lambda truth: None,
    "given, half the known": partial(times, 0.5),
    "given, twice the known": partial(times, 2.0),
}


def row(name: str, scores: dict[str, np.ndarray]) -> str:
    aps, known = scores[name], scores["known"]
    cost = known.mean(axis=0) - aps.mean(axis=0)
    at_half, mean = (round(float(value), 3) + 0.0 for value in (cost[0], cost.mean()))  # + 0.0: no -0.000
    cells = [f"{aps[:, 0].mean():.3f}", f"{aps[:, AT75].mean():.3f}", f"{aps.mean():.3f}"]
    return f"| {name} | {' | '.join(cells)} | {'' if name == 'known' else f'{at_half:+.3f} / {mean:+.3f}'} |"


def write(scores: dict[str, np.ndarray], count: int) -> None:
    header = f"""## When the diameter is wrong

`benchmarks/diameters.py`: the {count} images held back, segmented with the float16 weights of this folder; means over
images. The last column is what it costs, in AP at IoU 0.5 and in mean AP.

| diameter | AP at IoU 0.5 | at 0.75 | mean AP 0.5 to 0.9 | costs |
|---|---|---|---|---|
"""
    put(header + "\n".join(row(name, scores) for name in scores), CARD, USE)


if __name__ == "__main__":
    main()
