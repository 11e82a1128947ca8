"""Images and masks that are in memory already, as items of a data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import images
from flowseg.errors import InputError
from flowseg.images import Image
from flowseg.instances import Instances
from flowseg.sources.collection import Item


@dataclass(frozen=True)
class HeldItem(Item):
    """An item whose image is held in memory."""

    held: Image | None = field(default=None, repr=False)

    def image(self, axes: str | None = None, plane: str | None = None) -> Image:
        """Return the image."""
        if self.held is None:
            raise InputError(f"{self.name} has instances but no image")
        return self.held


def items(pairs: Iterable[Sequence[Any]], axes: str | None = None) -> list[Item]:
    """Return an item for each pair.

    Parameters
    ----------
    pairs
        (image, masks): an image as `flowseg.images.from_array` takes it; masks as a label image (H, W), as a stack of
        masks (n, H, W) that may overlap, or as `flowseg.instances.Instances`.
    axes
        What the axes of the images are, where the shape does not tell.

    Examples
    --------
    >>> [item.name for item in items([(np.zeros((8, 8)), np.ones((8, 8), int))] * 2)]
    ['image000', 'image001']
    """
    return [_item(number, pair, axes) for number, pair in enumerate(pairs)]


def _item(number: int, pair: Sequence[Any], axes: str | None) -> Item:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise InputError(
            f"image {number} is {type(pair).__name__}; wanted a pair (image, masks), or in place of all pairs the path "
            "of a data set, such as that of a table (a DataFrame becomes one with to_csv)"
        )
    image, masks = pair
    name = f"image{number:03d}"
    held = image if isinstance(image, Image) else images.from_array(image, axes, path=Path(name))
    return HeldItem(name, None, partial(instances_of, masks, held.shape), held=held)


def instances_of(masks: Instances | npt.ArrayLike, shape: tuple[int, int] | None = None) -> Instances:
    """Return the instances of a label image (H, W), or of a stack of masks (n, H, W) for an image of a shape.

    >>> instances_of([[0, 7], [3, 7]]).areas().tolist(), instances_of([[[1, 1]], [[0, 1]]]).areas().tolist()
    ([1, 2], [2, 1])
    """
    if isinstance(masks, Instances):
        return masks
    array = np.asarray(masks)
    return Instances.from_masks(array, shape or array.shape[1:]) if array.ndim == 3 else Instances.from_labels(array)
