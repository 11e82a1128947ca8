"""Label images: what is in them, and how to put them in order."""

import numpy as np
import numpy.typing as npt

from flowseg import arrays, threads
from flowseg.arrays import Labels
from flowseg.kernels import regions

# Below this many pixels in boxes, threads cost more than they bring.
_SERIAL_PIXELS = 256 * 256


def clean(labels: npt.ArrayLike, min_size: int = 15) -> Labels:
    """Fill the holes of instances, drop those of fewer than ``min_size`` pixels, and number the rest 1..n.

    What lies in a hole becomes part of the instance around it. Numbers follow the first pixels in reading order.
    """
    image = arrays.as_labels(labels).image.copy()
    boxes, areas = regions.boxes_and_areas(image)
    kept = fill_and_drop_small(image, boxes, areas, areas > 0, min_size)
    regions.renumber_in_reading_order(image, kept)
    return image


def fill_and_drop_small(
    image: Labels,
    boxes: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int64],
    keep: npt.NDArray[np.bool_],
    min_size: int,
) -> npt.NDArray[np.bool_]:
    """Fill holes in place; tell which of the labels to keep are still there and large enough, before and after."""
    keep = keep & (areas >= min_size)
    holed = np.zeros(len(areas), bool)
    kept_areas = np.where(keep, areas, 0)
    threads.over_ranges(
        lambda start, stop: regions.find_holes(image, boxes, kept_areas, start, stop, holed),
        _bounds(boxes, keep),
    )
    if not holed.any():
        return keep
    for label in np.flatnonzero(holed):
        regions.fill_holes(image, int(label), boxes[label])
    _, areas = regions.boxes_and_areas(image)
    left = np.zeros(len(keep), np.int64)
    left[: len(areas)] = areas
    return keep & (left >= max(min_size, 1))


def _bounds(boxes: npt.NDArray[np.int32], keep: npt.NDArray[np.bool_]) -> list[int]:
    """Split labels 1..n into ranges of nearly equal work."""
    size = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    pixels = np.where(keep, size[:, 0] * size[:, 1], 0.0)[1:]
    if pixels.sum() < _SERIAL_PIXELS:
        return [1, len(boxes)]
    return [1 + bound for bound in threads.cost_bounds(pixels, 4 * threads.count())]
