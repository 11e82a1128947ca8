"""Score `nuclei` on images held back that are spoiled in one way each; puts a table into the card.

    python benchmarks/spoiled.py --data path/to/dsb2018 [--model nuclei]

How is in `spoil.py`. Every image is looked at with the median diameter of its true nuclei.
"""

from collections.abc import Sequence

import numpy as np
import spoil
from nuclei import CARD, USE, asked, split_of
from pages import put

from flowseg import metrics
from flowseg.images import Image
from flowseg.segment import Model, load_model
from flowseg.sources.collection import Item
from flowseg.training.validation import THRESHOLDS, median_diameter

KINDS = "fluorescence", "histology"
WAYS: dict[str, spoil.Way] = {
    "as they are": lambda pixels, _: pixels,
    "blurred by 2 pixels": lambda pixels, _: spoil.blurred(pixels, 2),
    "blurred by 4 pixels": lambda pixels, _: spoil.blurred(pixels, 4),
    "a third of the pixels a side": lambda pixels, _: spoil.coarse(pixels, 3),
    "noise of a fifth of the span": lambda pixels, rng: spoil.noisy(pixels, 0.2, rng),
    "a pixel in a thousand hot": lambda pixels, rng: spoil.with_hot(pixels, 0.001, rng),
    "at most 10 photons": lambda pixels, rng: spoil.few_photons(pixels, 10, rng),
    "six levels": lambda pixels, _: spoil.few_levels(pixels, 6),
    "darker by 0.8 to the right": lambda pixels, _: spoil.uneven(pixels, 0.8, 0),
    "JPEG of quality 10": lambda pixels, _: spoil.compressed(pixels, 10),
    "in magenta; hues turned by 60 degrees": lambda pixels, _: spoil.tinted(pixels, 5 / 6),
    "in yellow; hues turned by 180 degrees": lambda pixels, _: spoil.tinted(pixels, 1 / 6 if pixels.ndim == 2 else 0.5),
    "written on": lambda pixels, _: spoil.captioned(pixels, "50 um", right=True, bottom=True, shade=(255, 255, 255)),
}


def main() -> None:
    options = asked(__doc__ or "")
    items = split_of(options.data).validation
    model = load_model(options.model)
    lines = []
    for name, way in WAYS.items():
        lines.append(row(name, [score(model, item, way) for item in items], items))
        print(lines[-1], flush=True)
    write(lines, len(items))


def score(model: Model, item: Item, way: spoil.Way) -> np.ndarray:
    image, truth = item.sample()
    pixels = way(plain(image), np.random.default_rng(0))
    found = model.segment(pixels, diameter=median_diameter(truth))
    return metrics.average_precision(truth.to_labels(), found.labels, THRESHOLDS).ap


def plain(image: Image) -> spoil.Pixels:
    pixels = np.asarray(image.pixels, np.uint8)
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def row(name: str, scores: list[np.ndarray], items: Sequence[Item]) -> str:
    kinds = np.array([item.columns["kind"] for item in items])
    aps = np.array(scores)
    cells = [aps[:, 0].mean(), aps.mean(), *(aps[kinds == kind, 0].mean() for kind in KINDS)]
    return f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |"


def write(lines: list[str], count: int) -> None:
    header = f"""## Spoiled images

`benchmarks/spoiled.py`: the {count} images held back, spoiled in one way each (`benchmarks/spoil.py` has the ways), at
the known diameter; means over images. Nuclei have 18 pixels (median). Grey images become images of one colour where a
colour is named; in those in colour, hues are turned.

| images | AP at IoU 0.5 | mean AP 0.5 to 0.9 | AP at 0.5, fluorescence | histology |
|---|---|---|---|---|
"""
    put(header + "\n".join(lines), CARD, USE)


if __name__ == "__main__":
    main()
