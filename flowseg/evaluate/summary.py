"""Scores of images become those of groups: means, pooled counts, confidence intervals."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flowseg.evaluate.records import MEANS, ImageScore, Summary

_AT_ONCE = 2**22  # numbers drawn at once


def summarise(group: str, images: Sequence[ImageScore], rng: np.random.Generator | None, resamples: int) -> Summary:
    """Return the score of some images, at least one."""
    values = np.array([[getattr(image, name) for name in MEANS] for image in images])
    means = dict(zip(MEANS, values.mean(axis=0).tolist(), strict=True))
    tp, fp, fn = (np.array([getattr(image, name) for image in images]).sum(axis=0) for name in ("tp", "fp", "fn"))
    pooled = _ratio(tp, tp + fp + fn)
    matched = np.array([sum(image.matched_iou for image in images)])
    return Summary(
        group=group,
        images=len(images),
        truths=sum(image.truths for image in images),
        predicted=sum(image.predicted for image in images),
        splits=sum(image.splits for image in images),
        merges=sum(image.merges for image in images),
        ap=tuple(np.mean([image.ap for image in images], axis=0).tolist()),
        **means,
        pooled_ap=tuple(pooled.tolist()),
        pooled_map=float(pooled.mean()),
        pooled_f1=float(_ratio(2 * tp, 2 * tp + fp + fn)[0]),
        pooled_pq=float(_ratio(matched, (tp + fp / 2 + fn / 2)[:1])[0]),
        intervals=_intervals(values, rng, resamples),
    )


def _ratio(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Divide; 1 where there is nothing at all."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)


def _intervals(
    values: npt.NDArray[np.float64], rng: np.random.Generator | None, resamples: int
) -> dict[str, tuple[float, float]]:
    """Return, for each column, where the middle 95 % of the means of resampled rows lie."""
    count = len(values)
    if rng is None or count < 2 or resamples < 1:
        return {}
    at_once = max(1, _AT_ONCE // count)
    shares = np.full(count, 1 / count)
    means = [
        rng.multinomial(count, shares, min(at_once, resamples - begin)) @ values / count
        for begin in range(0, resamples, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5), axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(MEANS, low, high, strict=True)}
