"""A little data set for trainings: bright discs on noise, drawn anew from a seed."""

from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from flowseg.instances import Instances
from flowseg.sources.collection import Item
from tests.shapes import solid_cells


def items(folder: Path, count: int, side: int = 64, diameter: int = 16) -> list[Item]:
    folder.mkdir(exist_ok=True)
    made = []
    for number in range(count):
        labels = solid_cells(side, diameter, seed=number)
        rng = np.random.default_rng(number)
        image = (labels > 0) * (80 + 60 * rng.random(labels.max() + 1)[labels]) + rng.normal(20, 5, labels.shape)
        path = folder / f"{number:03d}.tif"
        tifffile.imwrite(path, image.clip(0, 255).astype(np.uint8))
        columns = {"kind": "even" if number % 2 == 0 else "odd", "plate": str(number // 3)}
        made.append(Item(f"{number:03d}", path, partial(Instances.from_labels, labels), columns))
    return made
