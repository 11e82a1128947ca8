"""Regions of a label image: boxes, areas, holes, renumbering."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@kernel
def measure_rows(image: Ints, start: int, stop: int, boxes: Ints, areas: Indices) -> None:
    """Add rows ``start`` to ``stop`` to the boxes (y0, x0, y1, x1), half-open, and the areas of all labels."""
    width = image.shape[1]
    for y in range(start, stop):
        row = image[y]
        x = 0
        while x < width:
            label = row[x]
            first = x
            x += 1
            if label == 0:
                continue
            while x < width and row[x] == label:
                x += 1
            box = boxes[label]
            box[0], box[1] = min(box[0], y), min(box[1], first)
            box[2], box[3] = max(box[2], y + 1), max(box[3], x)
            areas[label] += x - first


@kernel
def measured(image: Ints, largest: int) -> tuple[Ints, Indices]:
    """Return what `boxes_and_areas` does, for labels 0 to ``largest``."""
    boxes, areas = np.zeros((largest + 1, 4), np.int32), np.zeros(largest + 1, np.int64)
    boxes[:, 0], boxes[:, 1] = image.shape
    measure_rows(image, 0, len(image), boxes, areas)
    for label in range(largest + 1):
        if areas[label] == 0:
            boxes[label] = 0
    return boxes, areas


def boxes_and_areas(image: Ints) -> tuple[Ints, Indices]:
    """Return the boxes (n + 1, 4) as y0, x0, y1, x1, half-open, and the areas (n + 1,) of labels 0..n in one pass.

    The background has no box and no area; a label that is not there has an area of 0.
    """
    return measured(image, int(image.max(initial=0)))


@kernel
def find_holes(image: Ints, boxes: Ints, areas: Indices, start: int, stop: int, holed: Flags) -> None:
    """Tell, for labels ``start`` to ``stop``, whether background is shut in by the instance."""
    largest = 1
    for label in range(start, stop):
        y0, x0, y1, x1 = boxes[label]
        largest = max(largest, (y1 - y0 + 2) * (x1 - x0 + 2))
    open_, stack = np.empty(largest, np.bool_), np.empty(largest, np.int64)
    for label in range(start, stop):
        if areas[label] > 0:
            y0, x0, y1, x1 = boxes[label]
            size = (y1 - y0 + 2) * (x1 - x0 + 2)
            holed[label] = _flood(image, label, boxes[label], open_, stack) + areas[label] < size


@kernel
def fill_holes(image: Ints, label: int, box: Ints) -> int:
    """Write the label, in place, over all that the instance shuts in; return how many pixels that changed."""
    y0, x0, y1, x1 = box
    width = x1 - x0 + 2
    open_ = np.empty((y1 - y0 + 2) * width, np.bool_)
    _flood(image, label, box, open_, np.empty(len(open_), np.int64))
    changed = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if image[y, x] != label and not open_[(y - y0 + 1) * width + x - x0 + 1]:
                image[y, x] = label
                changed += 1
    return changed


@kernel
def _flood(image: Ints, label: int, box: Ints, open_: Flags, stack: Indices) -> int:
    """Mark what can be reached, by steps along the axes, from outside the instance's box widened by one pixel.

    Return how many pixels of the widened box that is.
    """
    y0, x0, y1, x1 = box
    height, width = y1 - y0 + 2, x1 - x0 + 2
    open_[: height * width] = False
    open_[0], stack[0], depth, reached = True, 0, 1, 1
    while depth > 0:
        depth -= 1
        y, x = stack[depth] // width, stack[depth] % width
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if v < 0 or u < 0 or v >= height or u >= width or open_[v * width + u]:
                continue
            inside = 0 < v < height - 1 and 0 < u < width - 1
            if inside and image[y0 + v - 1, x0 + u - 1] == label:
                continue
            open_[v * width + u], stack[depth] = True, v * width + u
            depth, reached = depth + 1, reached + 1
    return reached


@kernel
def flood_piece(image: Ints, label: int, box: Ints, seed: int, seen: Flags, stack: Indices) -> int:
    """Mark the piece that holds the pixel ``seed`` (flat) of the instance's box as seen and return its size."""
    y0, x0, y1, x1 = box
    width = x1 - x0
    seen[seed], stack[0], depth, size = True, seed, 1, 1
    while depth > 0:
        depth -= 1
        y, x = stack[depth] // width, stack[depth] % width
        for v in range(max(y - 1, 0), min(y + 2, y1 - y0)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                at = v * width + u
                if not seen[at] and image[y0 + v, x0 + u] == label:
                    seen[at], stack[depth] = True, at
                    depth += 1
                    size += 1
    return size


@kernel
def renumber_in_reading_order(image: Ints, keep: Flags) -> int:
    """Give the labels to keep the numbers 1..n by their first pixels, in place, the others 0; return n."""
    numbers = np.zeros(len(keep), np.int32)
    found = 0
    for y in range(image.shape[0]):
        row = image[y]
        for x in range(len(row)):
            label = row[x]
            if label == 0:
                continue
            if numbers[label] == 0 and keep[label]:
                found += 1
                numbers[label] = found
            row[x] = numbers[label]
    return found
