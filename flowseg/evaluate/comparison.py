"""Compare predictions with truth, image by image, on threads."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from flowseg import arrays, files, metrics, overlaps, threads
from flowseg.errors import InputError, OptionError
from flowseg.evaluate import coco
from flowseg.evaluate.errors import find_errors
from flowseg.evaluate.given import Side, opened
from flowseg.evaluate.records import CocoScore, ImageScore, Scores
from flowseg.evaluate.summary import summarise
from flowseg.instances import Instances, Overlap
from flowseg.sources.collection import Collection, Item
from flowseg.sources.spellings import spellings
from flowseg.words import many

_MOST_TOLD = 20


def compare(
    predictions: Side,
    truths: Side,
    *,
    group_by: str | None = None,
    missing: str = "error",
    allow_overlap: bool = False,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Scores:
    """Score predictions against truth; images are matched by name or file, and one of each is in memory a thread.

    Parameters
    ----------
    predictions, truths
        Data sets, their paths, or label images by name: ``{"a": labels}``, of a prediction also what ``segment``
        returned. True instances may overlap one another; classes are not looked at.
    group_by
        A column of the truth.
    missing
        What to do about names that only one side has: ``"error"``; ``"empty"``: that side has no instances there;
        ``"skip"``: leave such images out.
    allow_overlap
        Score predicted instances that overlap one another, too. Otherwise they are refused, as Kaggle does.
    rng
        Draws the resamples for confidence intervals; None: no intervals.
    resamples
        How many.
    progress
        Told the images done and all.

    Raises
    ------
    InputError
        Names that only one side has, or predictions that overlap, listed by name; an image whose sides differ in shape.

    Examples
    --------
    >>> scores = compare({"a": [[1, 1, 1, 0, 2, 2]]}, {"a": [[1, 1, 1, 0, 0, 2]]})
    >>> scores.overall.ap50, round(scores.overall.map, 3), scores.images[0].tp[:2]
    (1.0, 0.4, (2, 1))
    """
    truth = opened(truths)
    pairs = match_names(opened(predictions, truth), truth, missing)
    groups = _groups(pairs.both, group_by)
    scored = _scored(pairs.both, groups, allow_overlap, progress)
    images = [one.score for one in scored]
    by_group = {
        name: summarise(name, [image for image in images if image.group == name], rng, resamples)
        for name in sorted(set(groups))
        if group_by is not None
    }
    return Scores(
        summarise("", images, rng, resamples),
        by_group,
        tuple(sorted(images, key=lambda image: (image.map, image.f1, image.name))),
        _coco([one.detected for one in scored]),
        pairs.without_prediction,
        pairs.without_truth,
    )


class Pair(NamedTuple):
    """One image on both sides; None where a side does not have it."""

    name: str
    prediction: Item | None
    truth: Item | None

    @property
    def pictured(self) -> Item | None:
        """The side that knows where the image lies, the true one first; None where neither does."""
        return next((one for one in (self.truth, self.prediction) if one is not None and one.path is not None), None)

    def load(self) -> tuple[Instances, Instances]:
        """Read predicted and true instances; a side that is not there has none."""
        pred = None if self.prediction is None else self.prediction.instances()
        truth = None if self.truth is None else self.truth.instances()
        if pred is None or truth is None:
            there = pred if truth is None else truth
            none = Instances.from_masks([], there.shape if there is not None else (0, 0))
            return pred or none, truth or none
        arrays.check_same_shape(truth.shape, pred.shape, f"truth and prediction of {self.name}")
        return pred, truth


class Pairs(NamedTuple):
    """Images to compare, and names that only one side has."""

    both: tuple[Pair, ...]
    without_prediction: tuple[str, ...]
    without_truth: tuple[str, ...]


def match_names(predictions: Collection, truths: Collection, missing: str = "error") -> Pairs:
    """Match the images of both sides by name, or by their file where names have none in common; see `compare`."""
    if missing not in ("error", "empty", "skip"):
        raise OptionError(f"missing is {missing!r}; wanted error, empty or skip")
    second = {item.name: item for item in truths}
    first = _by_name_of_truth(predictions, truths)
    no_prediction, no_truth = sorted(set(second) - set(first)), sorted(set(first) - set(second))
    if missing == "error" and (no_prediction or no_truth):
        raise InputError(
            "images are matched by name, and some are on one side alone:"
            + _listed(f"in the truth {truths.root}, without a prediction", no_prediction)
            + _listed(f"in the predictions {predictions.root}, without truth", no_truth)
            + '\nleave them out with missing="skip" (--missing skip), or count them as empty with missing="empty"'
        )
    names = sorted(set(first) | set(second)) if missing == "empty" else sorted(set(first) & set(second))
    if not names:
        raise InputError(f"{predictions.root} and {truths.root} have no image in common")
    both = tuple(Pair(name, first.get(name), second.get(name)) for name in names)
    return Pairs(both, tuple(no_prediction), tuple(no_truth))


def _by_name_of_truth(predictions: Collection, truths: Collection) -> dict[str, Item]:
    """Return predictions by the names that the truth has for their images.

    Names may differ in how accents are written; or in more, as those of COCO files have no folders, where both sides
    know the file of the image.
    """
    same = {item.name for item in truths} & {item.name for item in predictions}
    left = {item.name: item.path for item in truths if item.name not in same}
    of_file = {files.real(path): name for name, path in left.items() if path is not None}
    found = {}
    for item in predictions:
        name = next((each for each in spellings(item.name) if each in left), item.name)
        if name not in same and name not in left and item.path is not None:
            name = of_file.get(files.real(item.path), name)
        found[name] = item
    return found


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return f"\n  {what} ({len(names)}): {', '.join(names[:_MOST_TOLD])}{more}"


def _groups(pairs: Iterable[Pair], column: str | None) -> list[str]:
    """Return the group of each image; images without a value are in a group of that name."""
    if column is None:
        return ["" for _ in pairs]
    columns = [pair.truth.columns if pair.truth is not None else {} for pair in pairs]
    if not any(column in own for own in columns):
        known = ", ".join(sorted({name for own in columns for name in own})) or "none at all"
        raise InputError(f"the truth has no column {column!r} to group by; it has {known}")
    return [own.get(column) or "(without)" for own in columns]


class _Scored(NamedTuple):
    score: ImageScore
    detected: coco.Detected | None


def _scored(
    pairs: Sequence[Pair], groups: Sequence[str], allow_overlap: bool, progress: Callable[[int, int], object]
) -> list[_Scored]:
    """Score images on threads; what overlaps is told of all images at once, any other error at once."""
    done: dict[int, _Scored] = {}
    refused: dict[str, Overlap] = {}
    seen, failed = 0, False
    lock = threading.Lock()

    def work(start: int, stop: int) -> None:
        nonlocal seen, failed
        for number in range(start, stop):
            if failed:
                return
            pair = pairs[number]
            try:
                with threads.alone():
                    one = score_pair(pair, groups[number], allow_overlap)
            except BaseException:
                failed = True
                raise
            with lock:
                if isinstance(one, Overlap):
                    refused[pair.name] = one
                else:
                    done[number] = one
                seen += 1
                progress(seen, len(pairs))

    threads.over_ranges(work, threads.blocks(len(pairs), 1))
    if refused:
        raise InputError(_refusal(refused, len(pairs)))
    return [done[number] for number in range(len(pairs))]


def _refusal(refused: dict[str, Overlap], total: int) -> str:
    told = "".join(
        f"\n  {name}: instances {one.first + 1} and {one.second + 1} both hold the pixel {one.pixel} (row, column)"
        for name, one in sorted(refused.items())[:_MOST_TOLD]
    )
    more = f"\n  and {len(refused) - _MOST_TOLD} more" if len(refused) > _MOST_TOLD else ""
    return (
        f"predicted instances overlap in {len(refused)} of {total} images, which a submission must not:{told}{more}\n"
        "score them all the same with allow_overlap=True (--allow-overlap)"
    )


def score_pair(pair: Pair, group: str, allow_overlap: bool) -> "_Scored | Overlap":
    """Score one image, or return a pair of predicted instances that overlap."""
    pred, truth = pair.load()
    found = overlaps_of(truth, pred, allow_overlap)
    if isinstance(found, Overlap):
        return found
    scores = pair.prediction.scores if pair.prediction is not None else ()
    if scores is not None and len(scores) != len(pred):
        raise InputError(f"{pair.name} has {many(len(pred), 'predicted instance')} and {many(len(scores), 'score')}")
    detected = None if scores is None else coco.detect(found, scores, len(truth))
    return _Scored(_image_score(pair.name, group, found), detected)


def overlaps_of(truth: Instances, pred: Instances, allow_overlap: bool) -> metrics.Overlaps | Overlap:
    """Find the pairs that share pixels; of predictions that overlap, in layers, or tell a pair that does."""
    overlap = pred.find_overlap()
    if overlap is None:
        return metrics.overlaps(truth, pred.to_labels())
    if not allow_overlap:
        return overlap
    parts, owners = [], []
    for layer in overlaps.split_into_layers(pred):
        part = metrics.overlaps(truth, layer.labels)
        parts.append(part)
        owners.append(layer.members[part.pred_labels - 1][part.pred])
    areas = pred.areas()
    there = np.flatnonzero(areas > 0)
    truths = np.concatenate([part.truth for part in parts])
    preds = np.searchsorted(there, np.concatenate(owners))
    order = np.lexsort((preds, truths))
    shared = np.concatenate([part.intersection for part in parts])
    return metrics.Overlaps(
        parts[0].truth_labels,
        there + 1,
        parts[0].truth_areas,
        areas[there],
        truths[order],
        preds[order],
        shared[order],
    )


def _image_score(name: str, group: str, found: metrics.Overlaps) -> ImageScore:
    precision = metrics.precision_of(found, np.array(metrics.KAGGLE_THRESHOLDS))
    matched = metrics.match_of(found, 0.5)
    wrong = find_errors(found, matched)
    return ImageScore(
        name=name,
        group=group,
        truths=len(found.truth_labels),
        predicted=len(found.pred_labels),
        ap=tuple(precision.ap.tolist()),
        tp=tuple(precision.tp.tolist()),
        fp=tuple(precision.fp.tolist()),
        fn=tuple(precision.fn.tolist()),
        f1=matched.f1,
        pq=matched.panoptic_quality,
        matched_iou=float(matched.iou.sum()),
        kaggle_map=metrics.kaggle_score_of(found),
        splits=int(wrong.split.sum()),
        merges=int(wrong.merged.sum()),
    )


def _coco(images: Sequence[coco.Detected | None]) -> tuple[CocoScore, ...]:
    """Return COCO's scores where all predictions have scores and there are instances at all."""
    known = [image for image in images if image is not None]
    if len(known) < len(images) or not any(len(image.scores) for image in known):
        return ()
    return coco.score(known, 100), coco.score(known, None)
