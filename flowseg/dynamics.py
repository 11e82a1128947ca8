"""Flows and cell probability to labels: follow the flows to their sinks, grow instances there, drop the doubtful."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, labels, threads
from flowseg import flows as own_flows
from flowseg.arrays import Floats, Labels
from flowseg.errors import InputError
from flowseg.kernels import euler, regions, sinks
from flowseg.options import MaskOptions

_ROWS = 64  # rows of the image that a thread takes at a time


class Masks(NamedTuple):
    """Instances found, and how many candidates each filter took away.

    Attributes
    ----------
    labels
        (H, W) int32, 0 for background, 1..n in reading order of their first pixels.
    foreground
        Pixels above the probability threshold.
    candidates
        Instances before any filter.
    too_large, inconsistent, too_small
        Instances dropped for their size, for flows that do not agree with their shape, and for `min_size`.
    """

    labels: Labels
    foreground: int
    candidates: int
    too_large: int
    inconsistent: int
    too_small: int


def flows_to_masks(
    flows: npt.ArrayLike,
    cellprob: npt.ArrayLike,
    *,
    cellprob_threshold: float = 0.0,
    flow_threshold: float = 0.4,
    niter: int = 200,
    min_size: int = 15,
    max_size_fraction: float = 0.4,
) -> Labels:
    """Return the instances that a flow field and a map of cell probability describe.

    Parameters
    ----------
    flows
        (2, H, W) real numbers: (dy, dx), unit vectors inside cells. A Cellpose network predicts five times that.
    cellprob
        (H, W) logits.
    cellprob_threshold, flow_threshold, niter, min_size, max_size_fraction
        See `flowseg.options.MaskOptions`.

    Returns
    -------
    labels
        (H, W) int32, 0 for background, 1..n for instances.

    Examples
    --------
    >>> import numpy as np, flowseg
    >>> labels = np.kron([[0, 1], [2, 0]], np.ones((9, 9), int))
    >>> found = flowseg.flows_to_masks(flowseg.masks_to_flows(labels), np.where(labels > 0, 5.0, -5.0))
    >>> bool((found == labels).all())
    True
    """
    options = MaskOptions(cellprob_threshold, flow_threshold, niter, min_size, max_size_fraction)
    return find_masks(flows, cellprob, options).labels


def find_masks(flows: npt.ArrayLike, cellprob: npt.ArrayLike, options: MaskOptions) -> Masks:
    """Do what `flows_to_masks` does and tell what each filter took away."""
    field = arrays.as_flows(flows)
    probability = arrays.as_probability(cellprob, field.shape[1:])
    if probability.size > arrays.MAX_LABEL:
        raise InputError(f"the image has {probability.size} pixels; at most {arrays.MAX_LABEL} fit in one piece")
    image, foreground = _gather(_follow(field, probability, options))
    boxes, areas = regions.boxes_and_areas(image)
    candidates = areas > 0
    fitting = candidates & (areas <= options.max_size_fraction * image.size)
    consistent = fitting & _agrees(image, boxes, np.where(fitting, areas, 0), field, options.flow_threshold)
    kept = labels.fill_and_drop_small(image, boxes, areas, consistent, options.min_size)
    counts = [int(np.count_nonzero(flags)) for flags in (candidates, fitting, consistent, kept)]
    regions.renumber_in_reading_order(image, kept)
    return Masks(image, foreground, counts[0], counts[0] - counts[1], counts[1] - counts[2], counts[2] - counts[3])


def _follow(flows: Floats, cellprob: Floats, options: MaskOptions) -> Labels:
    """Return (H, W): the flat index of the pixel that each foreground pixel ends in, -1 elsewhere."""
    height, width = cellprob.shape
    threshold = float(options.cellprob_threshold)
    field = np.empty((height, width, 2), np.float32)
    ends = np.empty((height, width), np.int32)
    rows = threads.blocks(height, _ROWS)
    threads.over_ranges(lambda a, b: euler.mask_flows_of_rows(flows, cellprob, threshold, a, b, field), rows)
    threads.over_ranges(
        lambda a, b: euler.follow_rows(field, cellprob, threshold, int(options.niter), a, b, ends), rows
    )
    return ends


def _gather(ends: Labels) -> tuple[Labels, int]:
    """Turn ends into labels, in place, and count them: seeds grow from the peaks of the histogram of ends."""
    counts, seeds = np.zeros(ends.shape, np.int32), np.zeros(ends.shape, np.int32)
    points = sinks.count_ends(ends, counts)
    peaks = sinks.find_peaks(counts, points)
    peaks = peaks[np.argsort(counts.ravel()[peaks], kind="stable")]
    sinks.grow_seeds(counts, peaks, seeds)
    rows = threads.blocks(len(ends), _ROWS)
    threads.over_ranges(lambda a, b: sinks.assign_rows(ends, seeds, a, b), rows)
    return ends, points


def _agrees(
    image: Labels, boxes: Labels, areas: npt.NDArray[np.int64], flows: Floats, threshold: float
) -> npt.NDArray[np.bool_]:
    """Tell, by label, whether an instance's own flows agree with the flows that it was found from."""
    if threshold == 0:
        return np.ones(len(areas), bool)
    return own_flows.flow_errors(image, flows, boxes, areas) <= threshold
