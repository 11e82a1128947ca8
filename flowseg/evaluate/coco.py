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
    place = np.argsort(order)[pred]
    good = np.flatnonzero(iou >= THRESHOLDS[0])
    best = good[np.lexsort((-truth[good], -iou[good], place[good]))]  # of equals COCO takes the last
    pairs = list(zip(place[best].tolist(), truth[best].tolist(), iou[best].tolist(), strict=True))
    for row, threshold in zip(matched, THRESHOLDS.tolist(), strict=True):
        taken: set[int] = set()
        for at, instance, value in pairs:
            if value >= threshold and not row[at] and instance not in taken:
                row[at] = True
                taken.add(instance)
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
