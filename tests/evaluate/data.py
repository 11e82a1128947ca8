"""Collections made of arrays."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowseg.instances import Instances
from flowseg.sources.collection import Collection, Item

Given = npt.ArrayLike | Instances


def _load(given: Given) -> Instances:
    return given if isinstance(given, Instances) else Instances.from_labels(given)


def item(
    name: str,
    given: Given,
    columns: Mapping[str, str] | None = None,
    scores: tuple[float, ...] | None = None,
    path: Path | None = None,
) -> Item:
    return Item(name, path, partial(_load, given), columns or {}, scores)


def collection(*items: Item, **images: Given) -> Collection:
    return Collection(Path("somewhere"), "arrays", (*items, *(item(name, given) for name, given in images.items())))


def random_masks(rng: np.random.Generator, side: int, most: int) -> Instances:
    """Boxes that overlap one another, all of at least one pixel."""
    masks = []
    for _ in range(rng.integers(0, most + 1)):
        mask = np.zeros((side, side), bool)
        y, x = rng.integers(0, side - 2, 2)
        height, width = rng.integers(1, 9, 2)
        mask[y : y + height, x : x + width] = True
        masks.append(mask)
    return Instances.from_masks(masks, (side, side))


def shaken(given: Instances, rng: np.random.Generator) -> Instances:
    """Some of the instances, moved a little, and some others."""
    masks = [np.roll(given.mask(k), rng.integers(-1, 2, 2), (0, 1)) for k in range(len(given)) if rng.random() < 0.8]
    others = random_masks(rng, given.shape[0], 3)
    return Instances.from_masks([*masks, *(others.mask(k) for k in range(len(others)))], given.shape)
