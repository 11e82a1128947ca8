"""Score `nuclei` on nuclei made larger, known and not given as the diameter; puts a table into the card.

    python benchmarks/large_nuclei.py --data path/to/dsb2018 [--model nuclei]

Of each image held back, the upper left is enlarged to `SIDE` pixels, its true nuclei with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from nuclei import CARD, USE, asked, split_of
from pages import put

from flowseg import images, metrics
from flowseg.images import Image
from flowseg.instances import Instances
from flowseg.segment import Model, load_model
from flowseg.sources.collection import Item
from flowseg.training.validation import median_diameter

SIDE = 420
FACTORS = 2, 4, 7
Enlarged = tuple[Image, npt.NDArray[np.int32]]


def main() -> None:
    options = asked(__doc__ or "")
    items = split_of(options.data).validation
    model = load_model(options.model)
    lines = []
    for factor in FACTORS:
        lines.append(row(factor, list(enlarged(items, factor)), model))
        print(lines[-1], flush=True)
    write(lines)


def enlarged(items: Sequence[Item], factor: int) -> Iterator[Enlarged]:
    """Give images and labels in which there are nuclei."""
    cut = slice(0, SIDE // factor)
    for item in items:
        image, truth = item.sample()
        labels = truth.to_labels()[cut, cut]
        if labels.any():
            height, width = (factor * side for side in labels.shape)
            large = images.resize(image.pixels[:, cut, cut], (height, width))
            yield replace(image, pixels=large), np.kron(labels, np.ones((factor, factor), np.int32))


def row(factor: int, sources: list[Enlarged], model: Model) -> str:
    diameters = [median_diameter(Instances.from_labels(labels)) for _, labels in sources]
    means = [
        np.mean([score(model, *source, told) for source, told in zip(sources, asked_for, strict=True)])
        for asked_for in (diameters, [None] * len(sources))
    ]
    sizes = " to ".join(f"{part:.0f}" for part in np.percentile(np.array(diameters, float), (10, 90)))
    return f"| {factor} times | {len(sources)} | {sizes} | {means[0]:.3f} | {means[1]:.3f} |"


def score(model: Model, image: Image, labels: npt.NDArray[np.int32], told: float | None) -> float:
    found = model.segment(image, diameter=told)
    return float(metrics.average_precision(labels, found.labels, 0.5).ap[0])


def write(lines: list[str]) -> None:
    header = f"""## Larger nuclei

`benchmarks/large_nuclei.py`: the upper left of the images held back, enlarged to at most {SIDE} pixels; AP at IoU 0.5,
means over the images in which nuclei are. Diameters: the 10th and the 90th percentile of those of images, in pixels.

| enlarged | images | diameters | AP where they are known | not given: estimated |
|---|---|---|---|---|
"""
    put(header + "\n".join(lines), CARD, USE)


if __name__ == "__main__":
    main()
