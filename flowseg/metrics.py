"""How well predicted instances agree with true ones: IoU, matching, average precision, panoptic quality."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, checks, threads
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.kernels import overlap

Indices = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Truth = npt.ArrayLike | Instances

KAGGLE_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

_SERIAL_PIXELS = 2**19  # a thread for fewer pixels costs more than it brings


class Overlaps(NamedTuple):
    """All pairs of a true and a predicted instance that share a pixel.

    Attributes
    ----------
    truth_labels, pred_labels
        (n,), (m,) int64: labels of the instances; true instances given as runs are 1..n.
    truth_areas, pred_areas
        (n,), (m,) int64: their pixels.
    truth, pred
        (k,) int64: positions in ``truth_labels`` and ``pred_labels`` of the pairs, sorted by truth, then by pred.
    intersection
        (k,) int64: pixels that a pair shares, at least 1.
    """

    truth_labels: Indices
    pred_labels: Indices
    truth_areas: Indices
    pred_areas: Indices
    truth: Indices
    pred: Indices
    intersection: Indices

    @property
    def union(self) -> Indices:
        """(k,) int64: pixels that a pair covers together."""
        return np.asarray(self.truth_areas[self.truth] + self.pred_areas[self.pred] - self.intersection)

    @property
    def iou(self) -> Doubles:
        """(k,) float64: intersection over union of each pair."""
        return np.asarray(self.intersection / self.union, np.float64)


class AveragePrecision(NamedTuple):
    """Average precision TP / (TP + FP + FN) and its counts, one for each threshold (or images x thresholds)."""

    ap: Doubles
    tp: Indices
    fp: Indices
    fn: Indices


class Matching(NamedTuple):
    """True and predicted instances matched one to one at one IoU threshold.

    Attributes
    ----------
    tp, fp, fn
        Matched pairs, predicted instances left over, true instances left over.
    precision, recall, f1, average_precision
        tp/(tp+fp), tp/(tp+fn), 2tp/(2tp+fp+fn), tp/(tp+fp+fn); 1 where there is nothing to find and nothing found.
    mean_matched_iou
        Mean IoU of matched pairs; 0 without any.
    mean_true_iou
        Sum of the IoU of matched pairs over the number of true instances; 0 without any.
    panoptic_quality
        Sum of the IoU of matched pairs over tp + fp/2 + fn/2.
    truth, pred, iou
        Labels and IoU of the matched pairs.
    """

    threshold: float
    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    mean_matched_iou: float
    mean_true_iou: float
    panoptic_quality: float
    truth: Indices
    pred: Indices
    iou: Doubles


def overlaps(truth: Truth, pred: npt.ArrayLike) -> Overlaps:
    """Find all pairs of instances that share a pixel, in one pass.

    Parameters
    ----------
    truth
        (H, W) label image, or `Instances`, which may overlap one another.
    pred
        (H, W) label image.

    Examples
    --------
    >>> found = overlaps([[1, 1, 2]], [[0, 5, 5]])
    >>> found.pred_labels.tolist(), found.intersection.tolist(), found.union.tolist()
    ([5], [1, 1], [3, 2])
    """
    image = arrays.as_labels(pred, "pred")
    if isinstance(truth, Instances):
        arrays.check_same_shape(truth.shape, image.image.shape, "truth and pred")
        keys, counts = overlap.count_runs(truth.starts, truth.lengths, truth.offsets, image.image, 0, len(truth))
        truth_values, truth_areas = np.arange(len(truth) + 1), np.concatenate([[0], truth.areas()])
        pred_areas = np.bincount(image.image.ravel(), minlength=len(image.values))
    else:
        first = arrays.as_labels(truth, "truth")
        arrays.check_same_shape(first.image.shape, image.image.shape, "truth and pred")
        keys, counts = _count(first.image, image.image)
        truth_values = first.values
        truth_areas = _sums(keys >> 32, counts, len(truth_values))
        pred_areas = _sums(keys & 0xFFFFFFFF, counts, len(image.values))
    return _overlaps(keys, counts, truth_values, image.values, truth_areas, pred_areas)


def _count(first: arrays.Labels, second: arrays.Labels) -> tuple[Indices, Indices]:
    """Count the pixels of pairs of labels on threads; a pair may come several times."""
    parts: list[tuple[Indices, Indices]] = []
    parts_wanted = min(threads.count(), first.size // _SERIAL_PIXELS + 1)
    bounds = threads.even_bounds(len(first), parts_wanted)
    threads.over_ranges(lambda a, b: parts.append(overlap.count_rows(first, second, a, b)), bounds)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([keys for keys, _ in parts]), np.concatenate([counts for _, counts in parts])


def _sums(groups: Indices, counts: Indices, length: int) -> Indices:
    return np.bincount(groups, counts, minlength=length).astype(np.int64)


def _overlaps(
    keys: Indices,
    counts: Indices,
    truth_values: Indices,
    pred_values: Indices,
    truth_areas: Indices,
    pred_areas: Indices,
) -> Overlaps:
    """Merge equal pairs, drop those with background, and name instances by position among those that exist."""
    keys, group = np.unique(keys, return_inverse=True)
    shared = _sums(group, counts, len(keys))
    truth, pred = keys >> 32, keys & 0xFFFFFFFF
    both = (truth > 0) & (pred > 0)
    there_truth, there_pred = truth_areas > 0, pred_areas > 0
    there_truth[0] = there_pred[0] = False
    return Overlaps(
        truth_values[there_truth],
        pred_values[there_pred],
        truth_areas[there_truth],
        pred_areas[there_pred],
        (np.cumsum(there_truth) - 1)[truth[both]],
        (np.cumsum(there_pred) - 1)[pred[both]],
        shared[both],
    )


def average_precision(
    truth: Truth | Sequence[Truth],
    pred: npt.ArrayLike | Sequence[npt.ArrayLike],
    thresholds: npt.ArrayLike = (0.5, 0.75, 0.9),
) -> AveragePrecision:
    """Return the average precision TP / (TP + FP + FN) at each IoU threshold; a match is an IoU of at least that.

    Instances are matched one to one, as many as possible. An image with nothing to find in which nothing is found
    scores 1, so that it does not lower a mean over images.

    Parameters
    ----------
    truth, pred
        Label images (H, W); truth may be `Instances` that overlap. Or a list of each.
    thresholds
        IoU thresholds above 0 and at most 1.

    Returns
    -------
    AveragePrecision
        Arrays over thresholds; for lists, over images and thresholds.

    Examples
    --------
    >>> average_precision([[1, 1, 0, 2]], [[1, 1, 1, 0]], thresholds=0.5).ap.tolist()
    [0.5]
    """
    limits = _checked(thresholds)
    if not isinstance(truth, list | tuple) or not isinstance(pred, list | tuple) or _is_nested(truth):
        return precision_of(overlaps(truth, pred), limits)  # type: ignore[arg-type]
    _check_lengths(truth, pred)
    scores = [precision_of(overlaps(one, other), limits) for one, other in zip(truth, pred, strict=True)]
    if not scores:
        counts = np.zeros((0, len(limits)), np.int64)
        return AveragePrecision(counts.astype(np.float64), counts, counts, counts)
    return AveragePrecision(*map(np.stack, zip(*scores, strict=True)))


def _is_nested(image: Sequence[object]) -> bool:
    """Tell an image written as lists of numbers from a list of images."""
    return len(image) > 0 and isinstance(image[0], list | tuple) and np.ndim(image[0]) != 2


def precision_of(found: Overlaps, thresholds: Doubles) -> AveragePrecision:
    """Return the average precision of instances whose overlaps are known, one for each threshold."""
    iou = found.iou
    tp = np.array([most_matches(found, iou >= threshold) for threshold in thresholds], np.int64)
    fp, fn = len(found.pred_labels) - tp, len(found.truth_labels) - tp
    return AveragePrecision(_ratio(tp, tp + fp + fn), tp, fp, fn)


def _ratio(part: Indices, whole: Indices) -> Doubles:
    """Divide; 1 where there is nothing at all."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def most_matches(found: Overlaps, good: npt.NDArray[np.bool_]) -> int:
    """Return how many of the good pairs can be matched one to one."""
    truth, pred = found.truth[good], found.pred[good]
    if one_to_one(truth, pred):
        return len(truth)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_array((np.ones(len(truth), np.int8), (truth, pred)))
    return int((maximum_bipartite_matching(graph) >= 0).sum())


def one_to_one(truth: Indices, pred: Indices) -> bool:
    """Tell whether no instance is in two of these pairs."""
    return all(np.bincount(side).max(initial=0) <= 1 for side in (truth, pred))


def match(truth: Truth, pred: npt.ArrayLike, threshold: float = 0.5) -> Matching:
    """Match instances one to one: as many pairs of at least the threshold as possible, then the highest sum of IoU.

    As StarDist has it, the sum is that of all instances put side by side, those below the threshold too.

    Examples
    --------
    >>> result = match([[1, 1, 0, 2]], [[3, 3, 3, 0]])
    >>> result.tp, result.fp, result.fn, result.truth.tolist(), result.pred.tolist()
    (1, 0, 1, [1], [3])
    """
    checks.number("threshold", threshold, 0, 1)
    return match_of(overlaps(truth, pred), float(_checked(threshold)[0]))


def match_of(found: Overlaps, limit: float) -> Matching:
    """Match instances whose overlaps are known, as `match` does."""
    pairs = _best_pairs(found, limit)
    iou = found.iou[pairs]
    tp, n_truth, n_pred = len(pairs), len(found.truth_labels), len(found.pred_labels)
    fp, fn, total = n_pred - tp, n_truth - tp, float(iou.sum())
    empty = n_truth == 0 and n_pred == 0

    def share(part: float, whole: float) -> float:
        return part / whole if whole else float(empty)

    return Matching(
        limit,
        tp,
        fp,
        fn,
        precision=share(tp, n_pred),
        recall=share(tp, n_truth),
        f1=share(2 * tp, 2 * tp + fp + fn),
        average_precision=share(tp, tp + fp + fn),
        mean_matched_iou=total / tp if tp else 0.0,
        mean_true_iou=total / n_truth if n_truth else 0.0,
        panoptic_quality=share(total, tp + fp / 2 + fn / 2),
        truth=found.truth_labels[found.truth[pairs]],
        pred=found.pred_labels[found.pred[pairs]],
        iou=iou,
    )


def panoptic_quality(truth: Truth, pred: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Return the panoptic quality: the sum of the IoU of matched pairs over TP + FP/2 + FN/2.

    >>> panoptic_quality([[1, 1, 1, 1]], [[1, 1, 1, 0]])
    0.75
    """
    return match(truth, pred, threshold).panoptic_quality


def _best_pairs(found: Overlaps, threshold: float) -> Indices:
    """Return the positions of the matched pairs; see `match`."""
    iou = found.iou
    good = iou >= threshold
    if one_to_one(found.truth[good], found.pred[good]):
        return np.flatnonzero(good)
    from scipy.sparse import csr_array, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n_truth, n_pred = len(found.truth_labels), len(found.pred_labels)
    gain = good + iou / (2 * min(n_truth, n_pred))
    # Every true instance may also take a stand-in of its own that gains nothing, so a full matching always exists.
    costs = csr_array((2 - gain, (found.truth, found.pred)), shape=(n_truth, n_pred))
    stand_ins = csr_array((np.full(n_truth, 2.0), (np.arange(n_truth), np.arange(n_truth))))
    chosen = min_weight_full_bipartite_matching(hstack([costs, stand_ins]).tocsr())[1]
    return np.flatnonzero(good & (chosen[found.truth] == found.pred))


def kaggle_map(truths: Sequence[Truth], preds: Sequence[Truth]) -> float:
    """Return Kaggle's mean average precision, as in Sartorius and the Data Science Bowl of 2018.

    The mean over images of the mean over thresholds 0.50, 0.55, ... 0.95 of TP / (TP + FP + FN), where a match is
    an IoU *above* the threshold, one to one. Areas are compared as whole numbers, so that an IoU of exactly 0.55 is
    never above 0.55.

    Parameters
    ----------
    truths
        For each image a label image (H, W), or `Instances`, which may overlap.
    preds
        For each image a label image, or `Instances` that do not overlap.

    Examples
    --------
    >>> round(kaggle_map([[[1, 1, 1, 1]]], [[[1, 1, 1, 0]]]), 3)
    0.5
    """
    _check_lengths(truths, preds)
    if len(truths) == 0:
        raise InputError("there are no images to score; wanted at least one true and one predicted image")
    return float(np.mean([_kaggle_score(truth, pred) for truth, pred in zip(truths, preds, strict=True)]))


def _kaggle_score(truth: Truth, pred: Truth) -> float:
    return kaggle_score_of(overlaps(truth, pred.to_labels() if isinstance(pred, Instances) else pred))


def kaggle_score_of(found: Overlaps) -> float:
    """Return the score of one image whose overlaps are known: the mean over thresholds, as in `kaggle_map`."""
    twentieths, union = 20 * found.intersection, found.union
    scores = []
    for threshold in range(10, 20):
        tp = most_matches(found, twentieths > threshold * union)
        whole = len(found.truth_labels) + len(found.pred_labels) - tp
        scores.append(tp / whole if whole else 1.0)
    return float(np.mean(scores))


def _checked(thresholds: npt.ArrayLike) -> Doubles:
    try:
        values = np.atleast_1d(np.asarray(thresholds, np.float64))
    except (TypeError, ValueError):
        raise OptionError(f"thresholds is {checks.short(thresholds)}; wanted numbers above 0, at most 1") from None
    wrong = values[~((values > 0) & (values <= 1))]
    if values.ndim != 1 or len(wrong):
        raise OptionError(
            f"an IoU threshold is {wrong[0] if len(wrong) else values}; wanted numbers above 0, at most 1"
        )
    return values


def _check_lengths(truth: Sequence[object], pred: Sequence[object]) -> None:
    if len(truth) != len(pred):
        raise InputError(f"{len(truth)} true and {len(pred)} predicted images; wanted the same number of each")
