"""What a comparison says, as frozen records that JSON can hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flowseg import notebook
from flowseg.json_values import plain
from flowseg.metrics import KAGGLE_THRESHOLDS as THRESHOLDS
from flowseg.words import many

# Means over images, by name, that have confidence intervals.
MEANS = ("map", "ap50", "ap75", "f1", "pq", "kaggle_map")

# What a notebook shows of them.
_SHOWN = {"ap50": "AP at IoU 0.5", "map": "mean AP", "pq": "panoptic quality"}


@dataclass(frozen=True)
class ImageScore:
    """The score of one image.

    Attributes
    ----------
    name, group
        The image, and the value of the column that images are grouped by; empty: none.
    truths, predicted
        Instances that are there, and that were found.
    ap, tp, fp, fn
        Average precision TP / (TP + FP + FN) and its counts at IoU 0.50, 0.55, ... 0.95; a match is an IoU of at least
        that. An image with nothing to find in which nothing is found scores 1.
    f1, pq
        2TP / (2TP + FP + FN) and panoptic quality at IoU 0.5.
    matched_iou
        Sum of the IoU of matched pairs at IoU 0.5.
    kaggle_map
        The score of Sartorius and DSB 2018: as the mean of ``ap``, but a match is an IoU *above* the threshold.
    splits, merges
        True instances that were cut in pieces, and predicted instances that join several: see `evaluate.errors`.
    """

    name: str
    group: str
    truths: int
    predicted: int
    ap: tuple[float, ...]
    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]
    f1: float
    pq: float
    matched_iou: float
    kaggle_map: float
    splits: int
    merges: int

    @property
    def map(self) -> float:
        """Mean of ``ap``, IoU 0.50 to 0.95."""
        return sum(self.ap) / len(self.ap)

    @property
    def ap50(self) -> float:
        """Average precision at IoU 0.5."""
        return self.ap[0]

    @property
    def ap75(self) -> float:
        """Average precision at IoU 0.75."""
        return self.ap[THRESHOLDS.index(0.75)]


@dataclass(frozen=True)
class Summary:
    """The score of some images.

    Attributes
    ----------
    group
        Which images; empty: all.
    images, truths, predicted, splits, merges
        How many.
    ap
        Means over images at IoU 0.50 to 0.95.
    map, ap50, ap75, f1, pq, kaggle_map
        Means over images of what `ImageScore` has.
    pooled_ap, pooled_map, pooled_f1, pooled_pq
        The same as if all instances were in one image: images with many instances weigh more.
    intervals
        95 % confidence intervals (low, high) of means over images, by name: percentiles of bootstrap resamples of the
        images. Empty where no generator was given, or for one image.
    """

    group: str
    images: int
    truths: int
    predicted: int
    splits: int
    merges: int
    ap: tuple[float, ...]
    map: float
    ap50: float
    ap75: float
    f1: float
    pq: float
    kaggle_map: float
    pooled_ap: tuple[float, ...]
    pooled_map: float
    pooled_f1: float
    pooled_pq: float
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class CocoScore:
    """COCO's mean average precision, where predictions have scores; all instances are of one category.

    Attributes
    ----------
    map, ap50, ap75
        Area under the curve of precision over recall: mean over IoU 0.50 to 0.95, at 0.5, at 0.75.
    most_detections
        Only so many instances an image count, those of the highest scores; None: all.
    """

    map: float
    ap50: float
    ap75: float
    most_detections: int | None


@dataclass(frozen=True)
class Scores:
    """All that a comparison says.

    Attributes
    ----------
    overall
        All images.
    groups
        By the value of the column they are grouped by.
    images
        Each image, the worst (by ``map``) first.
    coco
        COCO's scores, of 100 instances an image as COCO has it and of all; empty without scores.
    missing_predictions, missing_truths
        Names that only one side has, where that was allowed.
    """

    overall: Summary
    groups: Mapping[str, Summary]
    images: tuple[ImageScore, ...]
    coco: tuple[CocoScore, ...] = ()
    missing_predictions: tuple[str, ...] = ()
    missing_truths: tuple[str, ...] = ()

    def __repr__(self) -> str:
        overall = self.overall
        return f"Scores({many(overall.images, 'image')}, AP at IoU 0.5 {overall.ap50:.3f}, mean AP {overall.map:.3f})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: means over the images, and each image, the worst first."""
        facts = {
            "images": str(self.overall.images),
            "true": str(self.overall.truths),
            "found": str(self.overall.predicted),
            **{shown: f"{getattr(self.overall, name):.3f}" for name, shown in _SHOWN.items()},
        }
        rows: dict[str, list[Any]] = {
            "image": [image.name for image in self.images],
            "true": [image.truths for image in self.images],
            "found": [image.predicted for image in self.images],
            **{shown: [f"{getattr(one, name):.3f}" for one in self.images] for name, shown in _SHOWN.items()},
            "split": [image.splits for image in self.images],
            "merged": [image.merges for image in self.images],
        }
        return notebook.card("Scores, the worst image first", facts, [notebook.table(rows)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold; what is not a number is None."""
        images = [{**asdict(image), "map": image.map} for image in self.images]
        values = plain({**asdict(self), "images": images, "thresholds": THRESHOLDS})
        assert isinstance(values, dict)
        return values
