"""Choose the thresholds that turn flows into instances, on images with known instances.

For each probability threshold the flows are followed once; every flow threshold and smallest size is then a filter on
the instances found, whose overlaps with the truth are counted once. Images are taken one at a time.

What is chosen is not simply the best that was tried: of many tries on few images one is always best by luck. All that
is behind the best by no more than ``least_gain``, or one standard error of the paired difference, counts as equally
good, and of those what is nearest the defaults is taken; for a group, what is nearest the choice for all images. It
is taken only where its gain is more than chance gives one time in ten (`benchmarks/choices.py` compares these rules).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from flowseg import dynamics, metrics, threads
from flowseg.arrays import Floats
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.kernels import regions
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.options import MaskOptions

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

IOU = np.arange(50, 95, 5) / 100
"""Thresholds of IoU, 0.5 to 0.9, over which AP is averaged."""

CELLPROBS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
FLOWS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2, 0.0)
MIN_SIZES = (5, 15, 25, 40, 60, 100)
_SURE = 0.9  # that a gain is no luck
_MOST_BESIDE = 2**24  # pixels of one image, once for each probability: more are taken one after another, for memory


class Predicted(NamedTuple):
    """What a network said of one image, at the size of the truth.

    Attributes
    ----------
    flows
        (2, H, W) in units of a unit vector, as `flows_to_masks` takes them.
    cellprob
        (H, W) logits.
    truth
        What is there; may overlap.
    group
        The group of images that it belongs to; empty: none.
    niter
        Steps to follow the flows for; None: as in ``defaults``.
    """

    flows: Floats
    cellprob: Floats
    truth: Instances
    group: str = ""
    niter: int | None = None


class Tried(NamedTuple):
    """The score of one choice: mean AP over IoU 0.5 to 0.9 in steps of 0.05, mean over images; and by group."""

    thresholds: Thresholds
    score: float
    by_group: Mapping[str, float]


class Choice(NamedTuple):
    """What is best for some images.

    Attributes
    ----------
    thresholds
        What was chosen.
    score, default_score, best_score
        Mean AP with it, with the defaults, and the best of all that was tried (by luck, in part).
    images
        How many images that was measured on.
    """

    thresholds: Thresholds
    score: float
    default_score: float
    best_score: float
    images: int


@dataclass(frozen=True)
class Tuned:
    """What was chosen and what was tried.

    Attributes
    ----------
    overall
        The choice for all images.
    groups
        The choice for each group; that for all where a group gains nothing by its own.
    table
        All that was tried, best first.
    precisions
        AP of each image at each of `IOU`, with the choice for all images.
    """

    overall: Choice
    groups: Mapping[str, Choice]
    table: tuple[Tried, ...] = field(repr=False)
    precisions: tuple[tuple[float, ...], ...] = field(repr=False)

    @property
    def group_thresholds(self) -> dict[str, Thresholds]:
        """Thresholds of the groups that gain by their own, as `ModelConfig` takes them."""
        best = self.overall.thresholds
        return {name: one.thresholds for name, one in self.groups.items() if one.thresholds != best}

    def applied_to(self, config: ModelConfig) -> ModelConfig:
        """Return a model's config with what was chosen, overall and for groups; diameters stay as they are."""
        overall = replace(self.overall.thresholds, diameter=config.diameter)
        groups = {
            name: replace(one.thresholds, diameter=config.for_group(name).diameter) for name, one in self.groups.items()
        }
        own = {name: thresholds for name, thresholds in groups.items() if thresholds != overall}
        return replace(config, **asdict(overall), group_thresholds=own)


def tune(
    predictions: Iterable[Predicted],
    *,
    cellprobs: Iterable[float] = CELLPROBS,
    flows: Iterable[float] = FLOWS,
    min_sizes: Iterable[int] = MIN_SIZES,
    defaults: MaskOptions | None = None,
    least_gain: float = 0.002,
) -> Tuned:
    """Choose thresholds by mean AP over IoU 0.5 to 0.9.

    Parameters
    ----------
    predictions
        Images with truth; taken one at a time and not kept.
    cellprobs, flows, min_sizes
        What to try; the defaults are tried in any case. A flow threshold of 0 keeps all.
    defaults
        Thresholds that are kept unless others are better; its ``max_size_fraction`` and ``target`` are used throughout.
    least_gain
        Differences in mean AP up to this are nothing.

    Examples
    --------
    >>> import flowseg
    >>> labels = np.kron([[0, 1], [2, 0]], np.ones((9, 9), int))
    >>> cellprob = np.where(labels > 0, -0.7, -5.0)                     # a network that is too careful
    >>> sure = Predicted(flowseg.masks_to_flows(labels), cellprob, Instances.from_labels(labels))
    >>> chosen = tune([sure] * 3).overall
    >>> chosen.thresholds.cellprob_threshold, chosen.default_score, chosen.score
    (-1.0, 0.0, 1.0)
    """
    defaults = defaults or MaskOptions()
    if not least_gain >= 0:
        raise OptionError(f"least_gain is {least_gain}; wanted 0 or more")
    start = Thresholds(defaults.cellprob_threshold, defaults.flow_threshold, defaults.min_size)
    grid = _Grid.of(cellprobs, flows, min_sizes, start)
    found, names = [], []
    for one in predictions:
        found.append(_precisions(one, grid, defaults))
        names.append(one.group)
    if not found:
        raise InputError("there are no images to choose thresholds on; wanted at least one")
    return _tuned(np.stack(found), names, grid, start, least_gain)


class _Grid(NamedTuple):
    """All values to try, in order, and all combinations of them."""

    cellprobs: tuple[float, ...]
    flows: tuple[float, ...]
    min_sizes: tuple[int, ...]
    points: tuple[Thresholds, ...]

    @classmethod
    def of(
        cls, cellprobs: Iterable[float], flows: Iterable[float], min_sizes: Iterable[int], start: Thresholds
    ) -> "_Grid":
        """Sort what is to be tried, with the defaults among it; no flow threshold (0) is the most liberal."""
        first = tuple(sorted({*map(float, cellprobs), float(start.cellprob_threshold)}))
        second = tuple(sorted({*map(float, flows), float(start.flow_threshold)}, key=lambda flow: flow or np.inf))
        third = tuple(sorted({*min_sizes, start.min_size}))
        return cls(first, second, third, tuple(Thresholds(*point) for point in product(first, second, third)))

    def steps_from(self, start: Thresholds) -> Doubles:
        """Return, for each point, how many steps of the grid it is away."""
        places = np.array(list(product(*(range(len(axis)) for axis in self[:3]))))
        return np.asarray(np.abs(places - places[self.points.index(start)]).sum(axis=1), np.float64)


def _precisions(one: Predicted, grid: _Grid, defaults: MaskOptions) -> Doubles:
    """Return AP, (points of the grid, `IOU`), of one image; each probability has a thread, unless that takes much."""
    tries = list(product(grid.flows, grid.min_sizes))
    aps = np.zeros((len(grid.cellprobs), len(tries), len(IOU)))

    def score(start: int, stop: int) -> None:
        for place in range(start, stop):
            options = replace(defaults, cellprob_threshold=grid.cellprobs[place], niter=one.niter or defaults.niter)
            found = dynamics.find_candidates(one.flows, one.cellprob, options)
            aps[place] = _filtered_precisions(found, one.truth, tries)

    def score_alone(start: int, stop: int) -> None:
        with threads.alone():
            score(start, stop)

    if len(aps) * one.cellprob.size > _MOST_BESIDE:
        score(0, len(aps))
    else:
        threads.over_ranges(score_alone, range(len(aps) + 1))
    return aps.reshape(-1, len(IOU))


def _filtered_precisions(found: dynamics.Candidates, truth: Instances, tries: list[tuple[float, int]]) -> Doubles:
    """Return AP, (tries, `IOU`), of candidates after each pair of filters.

    Holes are filled once. Only those with other candidates in them are filled anew for each set of such holes, for
    what is in the image then depends on which instances are kept.
    """
    passing = np.stack([found.passing(flow, size) for flow, size in tries])
    least = np.array([max(size, 1) for _, size in tries])[:, None]
    filled = _filled(found)
    nests, which = np.unique(passing[:, filled.nests], axis=0, return_inverse=True)
    aps = np.zeros((len(tries), len(IOU)))
    for number, kept_nests in enumerate(nests):
        rows = np.flatnonzero(which.reshape(-1) == number)
        image = filled.image.copy()
        for label in filled.nests[kept_nests]:
            regions.fill_holes(image, int(label), found.boxes[label])
        overlaps = metrics.overlaps(truth, image)
        kept = passing[np.ix_(rows, overlaps.pred_labels)] & (overlaps.pred_areas >= least[rows])
        aps[rows] = _ap(overlaps, kept)
    return aps


class _Filled(NamedTuple):
    """Candidates with their holes filled, but for the ``nests``: labels whose holes hold other candidates."""

    image: npt.NDArray[np.int32]
    nests: npt.NDArray[np.int64]


def _filled(found: dynamics.Candidates) -> _Filled:
    """Fill the holes that hold nothing but background; that changes no other candidate."""
    counts = np.where(found.fitting, found.areas, 0)
    holed = np.zeros(len(counts), bool)
    regions.find_holes(found.image, found.boxes, counts, 1, len(counts), holed)
    image, nests = found.image.copy(), []
    for label in np.flatnonzero(holed):
        y0, x0, y1, x1 = found.boxes[label]
        before = image[y0:y1, x0:x1].copy()
        regions.fill_holes(image, int(label), found.boxes[label])
        written = image[y0:y1, x0:x1] != before
        if before[written].any():
            image[y0:y1, x0:x1] = before
            nests.append(int(label))
    return _Filled(image, np.array(nests, np.int64))


def _ap(overlaps: metrics.Overlaps, kept: Flags) -> Doubles:
    """Return AP at each of `IOU` for each set (row) of predicted instances that are kept."""
    iou = overlaps.iou
    good = iou >= IOU[0]
    truth, pred, iou = overlaps.truth[good], overlaps.pred[good], iou[good]
    whole = len(overlaps.truth_labels) + kept.sum(axis=1)[:, None]
    if metrics.one_to_one(truth, pred):
        matched = kept[:, pred].astype(np.int64) @ (iou[:, None] >= IOU).astype(np.int64)
    else:
        near = metrics.Overlaps(*overlaps[:4], truth, pred, overlaps.intersection[good])
        rows, which = np.unique(kept, axis=0, return_inverse=True)
        counts = np.array([[metrics.most_matches(near, row[pred] & (iou >= limit)) for limit in IOU] for row in rows])
        matched = counts[which.reshape(-1)]
    union = whole - matched
    return np.asarray(np.where(union > 0, matched / np.maximum(union, 1), 1.0))


def _tuned(aps: Doubles, names: list[str], grid: _Grid, start: Thresholds, least_gain: float) -> Tuned:
    """Choose for all images and for each group. ``aps``: (images, points, `IOU`)."""
    scores = aps.mean(axis=2)
    overall = _choice(scores, grid, start, start, least_gain)
    members = {name: np.array([own == name for own in names]) for name in sorted(set(names)) if name}
    groups = {name: _choice(scores[own], grid, overall.thresholds, start, least_gain) for name, own in members.items()}
    means = {name: scores[own].mean(axis=0) for name, own in members.items()}
    mean, steps = scores.mean(axis=0), grid.steps_from(start)
    table = tuple(
        Tried(grid.points[at], float(mean[at]), {name: float(own[at]) for name, own in means.items()})
        for at in np.lexsort((steps, -mean))
    )
    at_choice = aps[:, grid.points.index(overall.thresholds)]
    return Tuned(overall, groups, table, tuple(tuple(image) for image in at_choice.tolist()))


def _choice(scores: Doubles, grid: _Grid, prior: Thresholds, start: Thresholds, least_gain: float) -> Choice:
    """Return the point nearest ``prior`` among those as good as the best, or ``prior``, if that may be but luck."""
    mean, best = scores.mean(axis=0), int(scores.mean(axis=0).argmax())
    behind = scores[:, [best]] - scores
    error = behind.std(axis=0, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.full(len(mean), np.inf)
    as_good = behind.mean(axis=0) <= np.maximum(least_gain, error)
    steps = grid.steps_from(prior)
    chosen = int(np.lexsort((-mean, np.where(as_good, steps, np.inf)))[0])
    default, before = grid.points.index(start), grid.points.index(prior)
    if not is_gain(scores[:, chosen] - scores[:, before], least_gain):
        chosen = before
    return Choice(grid.points[chosen], float(mean[chosen]), float(mean[default]), float(mean[best]), len(scores))


def is_gain(gains: Doubles, least: float) -> bool:
    """Tell whether images gain more than ``least``, and than chance gives one time in ten; one alone tells nothing."""
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > max(least, error * special.stdtrit(len(gains) - 1, _SURE)))
