"""What went wrong with each instance: missed, spurious, split, merged.

The rule:

- A predicted instance is a *part* of a true one if more than half of its pixels lie in the true one, and it covers at
  least a tenth of the true one. A true instance with two parts or more is *split*.
- The same with the sides changed: a true instance is a part of a predicted one if more than half of its pixels lie in
  it, and it covers at least a tenth of it. A predicted instance with two parts or more is *merged*.
- Instances that are matched at IoU 0.5, or are split or merged, or a part of what is, are neither missed nor spurious.
  Of the others a true instance is *missed* and a predicted one is *spurious*.

A split instance can be matched all the same, if one of its parts covers most of it. Where true instances overlap, one
that lies within another can make a good prediction of the outer one look merged.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import metrics

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_LEAST_COVER = 10  # one part in so many


class Errors(NamedTuple):
    """Flags by position in `metrics.Overlaps`: of true instances (n,) and of predicted ones (m,).

    Attributes
    ----------
    split, missed
        True instances.
    merged, spurious
        Predicted instances.
    """

    split: Flags
    missed: Flags
    merged: Flags
    spurious: Flags


def find_errors(found: metrics.Overlaps, matched: metrics.Matching) -> Errors:
    """Tell, by the rule of this module, what went wrong with each instance.

    Examples
    --------
    >>> truth, pred = [[1, 1, 1, 1, 0, 2, 3]], [[1, 1, 2, 2, 0, 0, 0]]
    >>> errors = find_errors(metrics.overlaps(truth, pred), metrics.match(truth, pred))
    >>> errors.split.tolist(), errors.missed.tolist()
    ([True, False, False], [False, True, True])
    """
    n_truth, n_pred = len(found.truth_labels), len(found.pred_labels)
    truth_area, pred_area = found.truth_areas[found.truth], found.pred_areas[found.pred]
    in_truth = (2 * found.intersection > pred_area) & (_LEAST_COVER * found.intersection >= truth_area)
    in_pred = (2 * found.intersection > truth_area) & (_LEAST_COVER * found.intersection >= pred_area)
    split = np.bincount(found.truth[in_truth], minlength=n_truth) > 1
    merged = np.bincount(found.pred[in_pred], minlength=n_pred) > 1
    missed = ~(split | np.isin(found.truth_labels, matched.truth))
    spurious = ~(merged | np.isin(found.pred_labels, matched.pred))
    spurious[found.pred[in_truth & split[found.truth]]] = False
    missed[found.truth[in_pred & merged[found.pred]]] = False
    return Errors(split, missed, merged, spurious)
