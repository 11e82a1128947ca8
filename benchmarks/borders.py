"""Tell how far out the true nuclei of fluorescence images are drawn, and what that costs; adds a table to the card.

    python benchmarks/borders.py --data path/to/dsb2018 [--model nuclei]

How far out an image is drawn is the intensity of the border pixels of its true masks, where 0 is the background and 1
the median inside of them: 0.5 is half way down the slope. Images below `LOOSE` are drawn around the nuclei, in what is
as dark as the background; the masks that the model finds are then grown, to see whether they fit such truth better.
"""

from typing import Any, NamedTuple

import numpy as np
from nuclei import CARD, USE, asked, split_of
from pages import put
from scipy import ndimage
from skimage.segmentation import expand_labels

from flowseg import labels, metrics
from flowseg.segment import load_model
from flowseg.sources.collection import Item
from flowseg.training.validation import THRESHOLDS, median_diameter

LOOSE = 0.4
GROWN = (0, 1, 2, 3)
SHOWN = THRESHOLDS.index(0.5), THRESHOLDS.index(0.75)


class Seen(NamedTuple):
    """An image: where its border is drawn, and AP at each threshold for masks grown by each of `GROWN`."""

    border: float
    aps: np.ndarray


def main() -> None:
    options = asked(__doc__ or "")
    split = split_of(options.data)
    trained = np.array([border(item) for item in split.train if item.columns["kind"] == "fluorescence"])
    model = load_model(options.model)
    seen = [look(model, item) for item in split.validation if item.columns["kind"] == "fluorescence"]
    write(seen, trained)


def border(item: Item) -> float:
    """Return how bright the border of the true masks is: 0 as the background, 1 as the inside."""
    image, truth = item.sample()
    found = truth.to_labels()
    pixels = image.pixels.astype(np.float64).mean(axis=0)
    outside = ~ndimage.binary_dilation(found > 0, iterations=6)
    background = np.median(pixels[outside]) if outside.any() else pixels.min()
    inside, edge = (np.median(pixels[mask]) for mask in (found > 0, labels.outline_mask(found)))
    return float((edge - background) / max(inside - background, 1e-9))


def look(model: Any, item: Item) -> Seen:
    image, truth = item.sample()
    found = model.segment(image, diameter=median_diameter(truth)).labels
    grown = [expand_labels(found, pixels) if pixels else found for pixels in GROWN]
    return Seen(border(item), np.array([metrics.average_precision(truth, each, THRESHOLDS).ap for each in grown]))


def write(seen: list[Seen], trained: np.ndarray) -> None:
    loose = np.array([one.border < LOOSE for one in seen])
    aps = np.array([one.aps for one in seen])[..., SHOWN]
    rows = []
    for name, chosen in ((f"drawn around the nuclei ({loose.sum()})", loose), (f"others ({(~loose).sum()})", ~loose)):
        cells = [f"{at50:.3f} / {at75:.3f}" for at50, at75 in aps[chosen].mean(axis=0)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    part = (trained < LOOSE).sum()
    table = "\n".join(rows)
    text = f"""## Where fluorescence is lost

`benchmarks/borders.py`: of {len(trained)} fluorescence images to train on, {part} are drawn so far out that the border
of their masks is nearly as dark as the background, and so are {loose.sum()} of the {len(seen)} held back. Others of the
same look are drawn on the slope: which way an image was drawn hardly shows in it, and the model draws all on the
slope. AP at IoU 0.5 / 0.75 of its masks as they are, and grown by some pixels:

| images | as they are | {" | ".join(f"grown by {pixels}" for pixels in GROWN[1:])} |
|{"---|" * (1 + len(GROWN))}
{table}
"""
    print(text)
    put(text, CARD, USE)


if __name__ == "__main__":
    main()
