"""Flows and cell probability to labels: follow the flows to their sinks, grow instances there, drop the doubtful."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, labels, threads
from flowseg import flows as own_flows
from flowseg.arrays import Floats, Labels
from flowseg.errors import InputError
from flowseg.kernels import basins, euler, regions, sinks
from flowseg.options import MaskOptions

_ROWS = 64  # rows of the image that a thread takes at a time
_APART = 0.4  # flows that part by less, on average where two basins meet, are of one instance


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
        (2, H, W) real numbers: (dy, dx), unit vectors inside cells. A Cellpose network predicts five times that:
        divide by 5, or else nothing is found.
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
    found = find_candidates(flows, cellprob, options, measure=options.flow_threshold != 0)
    return _filtered(found.image, found, options.flow_threshold, options.min_size)


class Candidates(NamedTuple):
    """Instances before the filters of flow error and size, with what those filters look at.

    Attributes
    ----------
    image
        (H, W) int32 labels, in no order.
    boxes, areas
        As `regions.boxes_and_areas` gives them.
    fitting
        (n + 1,) by label: there, and not too large.
    errors
        (n + 1,) flow errors of the fitting ones, as `flows.flow_errors` gives them.
    foreground
        Pixels above the probability threshold.
    """

    image: Labels
    boxes: Labels
    areas: npt.NDArray[np.int64]
    fitting: npt.NDArray[np.bool_]
    errors: npt.NDArray[np.float64]
    foreground: int

    def passing(self, flow_threshold: float, min_size: int) -> npt.NDArray[np.bool_]:
        """Tell, by label, which pass the filters as they are, before holes are filled."""
        consistent = self.errors <= flow_threshold if flow_threshold != 0 else True
        return np.asarray(self.fitting & consistent & (self.areas >= min_size))

    def masks(self, flow_threshold: float, min_size: int) -> Masks:
        """Return what `find_masks` finds with these filters; the candidates stay as they are."""
        return _filtered(self.image.copy(), self, flow_threshold, min_size)


def find_candidates(
    flows: npt.ArrayLike, cellprob: npt.ArrayLike, options: MaskOptions, *, measure: bool = True
) -> Candidates:
    """Follow the flows and measure what is found, so that filters can be tried one after another at no cost.

    Parameters
    ----------
    flows, cellprob
        As in `flows_to_masks`.
    options
        The flow threshold and the smallest size are not used.
    measure
        Compute the flow errors; otherwise they are 0.
    """
    field = arrays.as_flows(flows)
    probability = arrays.as_probability(cellprob, field.shape[1:])
    if probability.size > arrays.MAX_LABEL:
        raise InputError(f"the image has {probability.size} pixels; at most {arrays.MAX_LABEL} fit in one piece")
    ends = _follow(field, probability, options)
    image, foreground = _gather(ends) if options.target == "diffusion" else _gather_lines(ends, field)
    boxes, areas = regions.boxes_and_areas(image)
    fitting = (areas > 0) & (areas <= options.max_size_fraction * image.size)
    errors = np.zeros(len(areas))
    if measure:
        errors = own_flows.flow_errors(image, field, boxes, np.where(fitting, areas, 0), options.target)
    return Candidates(image, boxes, areas, fitting, errors, foreground)


def _filtered(image: Labels, found: Candidates, flow_threshold: float, min_size: int) -> Masks:
    """Filter candidates, fill holes and number the rest, in place in ``image``, which holds the candidates."""
    consistent = found.passing(flow_threshold, 0)
    kept = labels.fill_and_drop_small(image, found.boxes, found.areas, consistent, min_size)
    steps = (found.areas > 0, found.fitting, consistent, kept)
    there, fitting, agreeing, left = (int(np.count_nonzero(flags)) for flags in steps)
    regions.renumber_in_reading_order(image, kept)
    return Masks(image, found.foreground, there, there - fitting, fitting - agreeing, agreeing - left)


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
    _assign(ends, seeds)
    return ends, points


def _gather_lines(ends: Labels, flows: Floats) -> tuple[Labels, int]:
    """Turn ends on the middle lines of instances into labels, in place, and count them.

    A line has pixels where points gather from all of a stretch, and so falls into several basins; where instances
    touch, the flows of two basins part, and within one they do not.
    """
    counts, seeds = np.zeros(ends.shape, np.int32), np.zeros(ends.shape, np.int32)
    points = sinks.count_ends(ends, counts)
    count = basins.number_lines(counts, seeds)
    _assign(ends, seeds)
    contacts = basins.count_contacts(ends)
    pairs, apart = np.empty((contacts, 2), np.int32), np.empty(contacts, np.float32)
    basins.find_contacts(ends, flows, pairs, apart)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, apart = pairs[order], apart[order]
    first = np.flatnonzero(np.any(pairs[1:] != pairs[:-1], axis=1)) + 1 if contacts else np.empty(0, np.int64)
    starts = np.concatenate([np.zeros(min(contacts, 1), np.int64), first])
    lengths = np.diff(np.append(starts, contacts))
    together = np.add.reduceat(apart, starts) < _APART * lengths if contacts else np.empty(0, np.bool_)
    np.take(basins.joined(pairs[starts[together]], count), ends, out=ends)
    return ends, points


def _assign(ends: Labels, seeds: Labels) -> None:
    """Replace, in place, each end by the seed that it lies in."""
    rows = threads.blocks(len(ends), _ROWS)
    threads.over_ranges(lambda a, b: sinks.assign_rows(ends, seeds, a, b), rows)
