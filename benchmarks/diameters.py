"""Score `nuclei` by kind, and where the diameter is known, estimated, and wrong by 2; puts both tables into the card.

    python benchmarks/diameters.py --data path/to/dsb2018 [--model nuclei]

The known diameter of an image is the median of its true nuclei.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from nuclei import AT75, CARD, USE, asked, split_of
from pages import put

from flowseg.instances import Instances
from flowseg.segment import load_model
from flowseg.sources.collection import Item
from flowseg.training.finish import Looked, summary, with_interval
from flowseg.training.validation import look, median_diameter, precisions


def main() -> None:
    options = asked(__doc__ or "")
    items = split_of(options.data).validation
    model = load_model(options.model)
    scores: dict[str, np.ndarray] = {}
    for name, told in ROWS.items():
        scores[name] = np.array([precisions(one) for one in look(model, items, told)])
        print(row(name, scores), flush=True)
    write_kinds(items, scores["known"])
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


def write_kinds(items: Sequence[Item], aps: np.ndarray) -> None:
    header = f"""## Scores

`benchmarks/diameters.py`: on the {len(items)} images held back, each at the median diameter of its true nuclei; average
precision, means over images, with 95 % intervals over images redrawn. `benchmarks/RESULTS.md`, Quality, has Cellpose's.

| kind | images | nuclei | AP at IoU 0.5 | AP at 0.75 | mean AP 0.5 to 0.9 |
|---|---|---|---|---|---|
"""
    looked = [
        Looked(item.name, item.columns["kind"], len(item.instances()), tuple(each))
        for item, each in zip(items, aps.tolist(), strict=True)
    ]
    rows = [
        f"| {found.group} | {found.images} | {found.instances} | "
        + " | ".join(with_interval(*score) for score in (found.ap50, found.ap75, found.map))
        + " |"
        for found in summary(looked, seed=1)
    ]
    put(header + "\n".join(rows), CARD)


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
