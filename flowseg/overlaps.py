"""Overlapping instances to one label image, by a rule that can be chosen, with an account of what was changed.

Annotators' masks overlap, have holes, and consist of several pieces. A label image has one instance a pixel. The rule:

1. Each instance is mended by itself, if wanted: holes filled, stray pieces dropped.
2. A contested pixel goes to the smaller instance (or the larger, the first, the last): small cells on top of large ones
   stay whole, and the large ones lose little.
3. An instance is lost only if every pixel of it is contested and goes to others, or if what is left is under
   ``min_size``; the account names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import labels
from flowseg.arrays import Labels
from flowseg.instances import Instances, as_instances
from flowseg.kernels import layers, run_shapes, runs
from flowseg.options import OverlapOptions
from flowseg.words import many

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Account:
    """What was changed; arrays have one entry an instance, in the order they were given.

    Attributes
    ----------
    contested_pixels
        Pixels that more than one instance claimed.
    lost_pixels
        (n,) pixels that went to other instances.
    filled_pixels, dropped_pixels
        (n,) pixels added to fill holes, and taken away with stray pieces.
    hidden, too_small
        Instances (from 0) that are gone: under others entirely (or empty from the start), or under ``min_size``.
    """

    contested_pixels: int
    lost_pixels: Indices
    filled_pixels: Indices
    dropped_pixels: Indices
    hidden: tuple[int, ...]
    too_small: tuple[int, ...]

    def __str__(self) -> str:
        parts = [
            f"{many(self.contested_pixels, 'contested pixel')}, "
            f"{many(int(np.count_nonzero(self.lost_pixels)), 'instance')} lost some",
            f"holes filled in {np.count_nonzero(self.filled_pixels)}",
            f"stray pieces dropped from {np.count_nonzero(self.dropped_pixels)}",
            f"{len(self.hidden)} hidden entirely",
            f"{len(self.too_small)} too small",
        ]
        return f"{many(len(self.lost_pixels), 'instance')}: " + ", ".join(parts)


class Resolved(NamedTuple):
    """A label image (H, W) int32, in which instance k is k + 1 if it is still there, and the account of changes."""

    labels: Labels
    account: Account


def resolve_overlaps(instances: Instances, options: OverlapOptions | None = None) -> Resolved:
    """Turn instances that may overlap into one label image; the rule is that of this module.

    Examples
    --------
    >>> import numpy as np
    >>> pair = Instances.from_masks([[[1, 1, 1, 1]], [[0, 1, 0, 0]]], (1, 4))
    >>> result = resolve_overlaps(pair)
    >>> result.labels.tolist(), result.account.lost_pixels.tolist()
    ([[1, 2, 1, 1]], [1, 0])
    """
    options = options or OverlapOptions()
    mended, filled, dropped = _mended(as_instances(instances), options)
    areas = mended.areas()
    image, depth = np.zeros(mended.shape, np.int32), np.zeros(mended.shape, np.int32)
    order = _order(areas, options.contested_to)
    layers.lay(mended.starts, mended.lengths, mended.offsets, order, image.ravel(), depth.ravel())
    visible = np.bincount(image.ravel(), minlength=len(mended) + 1)[1:]
    hidden, small = visible == 0, (visible > 0) & (visible < options.min_size)
    image[np.concatenate([[False], small])[image]] = 0
    contested = int(np.count_nonzero(depth > 1))
    gone = tuple(tuple(int(k) for k in np.flatnonzero(flags)) for flags in (hidden, small))
    return Resolved(image, Account(contested, areas - visible, filled, dropped, *gone))


def _order(areas: Indices, contested_to: str) -> Indices:
    """Return the instances from the bottom layer to the top; of equal areas the first given is on top."""
    given = np.arange(len(areas))
    if contested_to == "last":
        return given
    if contested_to == "first":
        return given[::-1].copy()
    sign = -1 if contested_to == "smaller" else 1
    return np.lexsort((-given, sign * areas))


def _mended(instances: Instances, options: OverlapOptions) -> tuple[Instances, Indices, Indices]:
    """Fill holes and drop stray pieces of each instance by itself; tell the pixels added and taken away."""
    filled, dropped = np.zeros(len(instances), np.int64), np.zeros(len(instances), np.int64)
    if not options.fill_holes and not options.largest_piece:
        return instances, filled, dropped
    odd = _odd(instances, options)
    if not odd.any():
        return instances, filled, dropped
    starts, lengths = (np.split(given, instances.offsets[1:-1]) for given in (instances.starts, instances.lengths))
    for k in np.flatnonzero(odd):
        starts[k], lengths[k], filled[k], dropped[k] = _mended_one(starts[k], lengths[k], instances.shape[1], options)
    offsets = np.cumsum([0, *map(len, starts)], dtype=np.int64)
    return Instances(instances.shape, np.concatenate(starts), np.concatenate(lengths), offsets), filled, dropped


def _odd(instances: Instances, options: OverlapOptions) -> npt.NDArray[np.bool_]:
    """Tell which instances have what is to be mended: in annotations few, and mending takes each by itself."""
    height, width = instances.shape
    segments, bounds = runs.split_at_line_ends(instances.starts, instances.lengths, instances.offsets, max(width, 1))
    pieces, holes, _ = run_shapes.measure(segments, bounds, height, width)
    return np.asarray((options.largest_piece & (pieces > 1)) | (options.fill_holes & (holes > 0)))


def _mended_one(
    starts: Indices, lengths: Indices, width: int, options: OverlapOptions
) -> tuple[Indices, Indices, int, int]:
    """Return the runs of one instance after mending, and the pixels added and taken away."""
    crop, corner = _drawn(starts, lengths, width)
    area = int(lengths.sum())
    if options.largest_piece:
        crop = labels.largest_piece(crop)
    dropped = area - int(np.count_nonzero(crop))
    if options.fill_holes:
        crop = labels.fill_holes(crop)
    filled = int(np.count_nonzero(crop)) - (area - dropped)
    return *_runs(crop, corner, width), filled, dropped


def _drawn(starts: Indices, lengths: Indices, width: int) -> tuple[Labels, tuple[int, int]]:
    """Draw one instance as 1 into the smallest box of whole rows and columns that holds it."""
    rows = slice(starts[0] // width, (starts[-1] + lengths[-1] - 1) // width + 1)
    flat = np.zeros((rows.stop - rows.start) * width, np.int32)
    for start, length in zip(starts - rows.start * width, lengths, strict=True):
        flat[start : start + length] = 1
    strip = flat.reshape(-1, width)
    columns = np.flatnonzero(strip.any(axis=0))
    return np.ascontiguousarray(strip[:, columns[0] : columns[-1] + 1]), (int(rows.start), int(columns[0]))


def _runs(crop: Labels, corner: tuple[int, int], width: int) -> tuple[Indices, Indices]:
    """Return the runs, in the image, of an instance drawn into a box."""
    edges = np.diff(crop > 0, prepend=False, append=False, axis=1)
    rows, columns = np.nonzero(edges)
    flat = (rows + corner[0]) * width + columns + corner[1]
    starts, ends = flat[0::2], flat[1::2]
    apart = np.concatenate([[True], starts[1:] != ends[:-1]])  # a run may go on in the next row
    return starts[apart], ends[np.concatenate([apart[1:], [True]])] - starts[apart]


class Layer(NamedTuple):
    """Some instances that do not overlap one another.

    Attributes
    ----------
    members
        (m,) the instances, from 0, ascending.
    labels
        (H, W) int32: 1..m in the order of ``members``.
    """

    members: Indices
    labels: Labels


def split_into_layers(instances: Instances) -> Iterator[Layer]:
    """Split instances that may overlap into layers that do not, each instance into the first that has room.

    There is at least one. One at a time is held: of hundreds of detections on one spot each is a layer of its own.

    Examples
    --------
    >>> pair = Instances.from_masks([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 0, 0, 1]]], (1, 4))
    >>> [(layer.members.tolist(), layer.labels.tolist()) for layer in split_into_layers(pair)]
    [([0, 2], [[1, 1, 0, 2]]), ([1], [[0, 1, 1, 0]])]
    """
    return _layers(as_instances(instances))


def _layers(instances: Instances) -> Iterator[Layer]:
    if instances.find_overlap() is None:
        yield Layer(np.arange(len(instances)), instances.to_labels())
        return
    left = list(range(len(instances)))
    while left:
        image = np.zeros(instances.shape, np.int32)
        flat = image.ravel()
        members: list[int] = []
        waiting: list[int] = []
        for index in left:
            pixels = _pixels(instances, index)
            if flat[pixels].any():
                waiting.append(index)
            else:
                members.append(index)
                flat[pixels] = len(members)
        yield Layer(np.array(members, np.int64), image)
        left = waiting


def _pixels(instances: Instances, index: int) -> Indices:
    """Return the pixels of one instance, counted row by row."""
    own = slice(instances.offsets[index], instances.offsets[index + 1])
    lengths = instances.lengths[own]
    steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.asarray(np.repeat(instances.starts[own], lengths) + steps)
