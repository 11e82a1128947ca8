"""COCO's mean average precision, equal to ``pycocotools.cocoeval.COCOeval`` for masks of one category."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import metrics
from flowseg.evaluate.records import CocoScore

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# As COCO computes them: some are not the nearest numbers to 0.55, 0.6, ...
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)


class Detected(NamedTuple):
    """The predicted instances of one image, the highest score first.

    Attributes
    ----------
    scores
        (m,)
    matched
        (10, m) whether each was matched at each threshold.
    truths
        True instances in the image.
    """

    scores: Doubles
    matched: Flags
    truths: int


def detect(found: metrics.Overlaps, scores: Sequence[float], truths: int) -> Detected:
    """Match the predicted instances of one image in order of score, each to the best true one that is left.

    Parameters
    ----------
    found
        Overlaps in which labels are the instances of both sides counted from 1.
    scores
        Of all predicted instances.
    truths
        How many true instances there are, empty ones too.
    """
    given = np.asarray(scores, np.float64)
    order = np.argsort(-given, kind="stable")
    matched = np.zeros((len(THRESHOLDS), len(given)), bool)
    pred, truth, iou = found.pred_labels[found.pred] - 1, found.truth_labels[found.truth] - 1, found.iou
    good = iou >= THRESHOLDS[0]
    by_pred = np.argsort(pred[good], kind="stable")
    pred, truth, iou = pred[good][by_pred], truth[good][by_pred], iou[good][by_pred]
    bounds = np.searchsorted(pred, np.arange(len(given) + 1))
    for level, threshold in enumerate(THRESHOLDS):
        free = np.ones(truths, bool)
        for place, instance in enumerate(order):
            own = slice(bounds[instance], bounds[instance + 1])
            values = np.where(free[truth[own]] & (iou[own] >= threshold), iou[own], 0.0)
            if values.any():
                last = len(values) - 1 - int(values[::-1].argmax())  # of equals COCO takes the last
                free[truth[own][last]], matched[level, place] = False, True
    return Detected(given[order], matched, truths)


def score(images: Sequence[Detected], most_detections: int | None = 100) -> CocoScore:
    """Return the mean over recalls 0, 0.01, ... 1 of the best precision at that recall or beyond; NaN without truth."""
    truths = sum(image.truths for image in images)
    if not truths:
        return CocoScore(float("nan"), float("nan"), float("nan"), most_detections)
    scores = np.concatenate([np.zeros(0), *(image.scores[:most_detections] for image in images)])
    none = np.zeros((len(THRESHOLDS), 0), bool)
    matched = np.concatenate([none, *(image.matched[:, :most_detections] for image in images)], axis=1)
    matched = matched[:, np.argsort(-scores, kind="stable")]
    levels = [_area(row, truths) for row in matched]
    return CocoScore(float(np.mean(levels)), levels[0], levels[5], most_detections)


def _area(matched: Flags, truths: int) -> float:
    tp = np.cumsum(matched, dtype=np.float64)
    precision = tp / (np.arange(1, len(tp) + 1) + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(tp / truths, RECALLS, side="left")
    return float(np.append(best, 0.0)[np.minimum(places, len(best))].mean())
