"""Comparisons against the metrics of single images, and against plain loops over masks."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg import metrics
from flowseg.errors import InputError, OptionError
from flowseg.evaluate import ImageScore, compare
from flowseg.evaluate.comparison import overlaps_of
from flowseg.instances import Instances
from tests.evaluate.data import collection, item, random_masks, shaken
from tests.shapes import solid_cells

LEVELS = metrics.KAGGLE_THRESHOLDS


def some(count: int = 5) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # type: ignore[type-arg]
    truths = {f"im{k}": solid_cells(80, 16, seed=k) for k in range(count)}
    preds = {name: np.roll(labels, k, axis=0) for k, (name, labels) in enumerate(truths.items())}
    return truths, preds


def by_name(images: tuple[ImageScore, ...]) -> dict[str, ImageScore]:
    return {image.name: image for image in images}


def test_label_images_by_name_are_compared_like_data_sets(tmp_path: Path) -> None:
    truths, preds = some(3)
    scores = compare(collection(**preds), collection(**truths))
    masks = {name: Instances.from_labels(labels) for name, labels in truths.items()}
    stacks = {name: [labels == k for k in range(1, labels.max() + 1)] for name, labels in truths.items()}
    found = {name: SimpleNamespace(labels=labels) for name, labels in preds.items()}
    for side in (truths, masks, stacks):
        assert compare(found, side).to_dict() == scores.to_dict()
    for name, labels in truths.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", labels)
    assert compare(preds, tmp_path).overall == compare(preds, str(tmp_path)).overall == scores.overall
    with pytest.raises(InputError, match="one side is list"):
        compare(preds, list(truths.values()))  # type: ignore[arg-type]


def test_a_notebook_shows_scores_the_worst_first() -> None:
    truths, preds = some(3)
    scores = compare(preds, truths)
    shown = scores._repr_html_()
    places = [shown.index(f">{image.name}<") for image in scores.images]
    assert places == sorted(places)
    assert f"{scores.overall.ap50:.3f}" in shown
    assert f"{scores.overall.ap50:.3f}" in repr(scores)
    assert len(repr(scores)) < 80


def test_each_image_has_the_scores_of_metrics() -> None:
    truths, preds = some()
    scores = compare(collection(**preds), collection(**truths))
    for name, image in by_name(scores.images).items():
        ap = metrics.average_precision(truths[name], preds[name], LEVELS)
        match = metrics.match(truths[name], preds[name], 0.5)
        assert image.ap == pytest.approx(ap.ap)
        assert (image.tp, image.fp, image.fn) == tuple(tuple(row.tolist()) for row in ap[1:])
        assert (image.f1, image.pq) == (match.f1, match.panoptic_quality)
        assert image.kaggle_map == metrics.kaggle_map([truths[name]], [preds[name]])
        assert (image.ap50, image.ap75) == (image.ap[0], image.ap[5])
        assert (image.truths, image.predicted) == (truths[name].max(), preds[name].max())
    assert len(scores.images) == 5


def test_means_and_pooled_scores() -> None:
    truths, preds = some()
    truths["none"] = preds["none"] = np.zeros((9, 9), np.int32)
    scores = compare(collection(**preds), collection(**truths))
    overall, images = scores.overall, scores.images
    assert overall.images == 6
    assert overall.map == pytest.approx(np.mean([image.map for image in images]))
    assert overall.kaggle_map == pytest.approx(metrics.kaggle_map(list(truths.values()), list(preds.values())))
    assert overall.ap[0] == pytest.approx(overall.ap50)
    # pooled: all images as one image
    whole = [
        np.concatenate([labels + 1000 * k * (labels > 0) for k, labels in enumerate(side)])
        for side in (list(truths.values())[:5], list(preds.values())[:5])
    ]
    one = metrics.match(*whole, 0.5)
    assert overall.pooled_f1 == pytest.approx(one.f1)
    assert overall.pooled_pq == pytest.approx(one.panoptic_quality)
    assert overall.pooled_ap == pytest.approx(metrics.average_precision(*whole, LEVELS).ap)
    assert overall.pooled_map == pytest.approx(np.mean(overall.pooled_ap))
    assert by_name(images)["none"].map == 1.0


def test_worst_images_come_first() -> None:
    truths, preds = some()
    scores = compare(collection(**preds), collection(**truths))
    maps = [image.map for image in scores.images]
    assert maps == sorted(maps)
    assert scores.images[-1].name == "im0"


def test_groups_of_a_column() -> None:
    truths, preds = some(4)
    columns = [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}, {}]
    truth = collection(*(item(name, labels, own) for (name, labels), own in zip(truths.items(), columns, strict=True)))
    scores = compare(collection(**preds), truth, group_by="kind")
    assert {name: group.images for name, group in scores.groups.items()} == {"a": 2, "b": 1, "(without)": 1}
    images = by_name(scores.images)
    assert scores.groups["a"].map == pytest.approx((images["im0"].map + images["im2"].map) / 2)
    assert images["im1"].group == "b"
    assert compare(collection(**preds), truth).groups == {}
    with pytest.raises(InputError, match=r"no column 'sort' to group by; it has kind"):
        compare(collection(**preds), truth, group_by="sort")


def test_names_of_one_side() -> None:
    labels = np.array([[1, 1, 0, 2]])
    preds, truths = collection(a=labels, b=labels), collection(b=labels, c=labels, d=labels)
    with pytest.raises(InputError, match=r"without a prediction \(2\): c, d\n.*without truth \(1\): a"):
        compare(preds, truths)
    skipped = compare(preds, truths, missing="skip")
    assert [image.name for image in skipped.images] == ["b"]
    assert (skipped.missing_predictions, skipped.missing_truths) == (("c", "d"), ("a",))
    empty = compare(preds, truths, missing="empty")
    assert {image.name: (image.tp[0], image.fp[0], image.fn[0]) for image in empty.images} == {
        "a": (0, 2, 0),
        "b": (2, 0, 0),
        "c": (0, 0, 2),
        "d": (0, 0, 2),
    }
    with pytest.raises(OptionError, match="missing is 'zero'"):
        compare(preds, truths, missing="zero")
    with pytest.raises(InputError, match="no image in common"):
        compare(collection(a=labels), collection(c=labels), missing="skip")


def test_shapes_that_differ_are_told_by_name() -> None:
    with pytest.raises(InputError, match=r"truth and prediction of b have shapes \(1, 3\) and \(1, 2\)"):
        compare(collection(b=[[1, 1]]), collection(b=[[1, 1, 1]]))


def test_predictions_that_overlap_are_refused_by_name() -> None:
    truth = Instances.from_masks([[[1, 1, 0]], [[0, 1, 1]]], (1, 3))
    preds = collection(bad=truth, good=truth.mask(0).astype(int), worse=truth)
    truths = collection(bad=truth, good=truth, worse=truth)
    with pytest.raises(InputError, match=r"2 of 3 images(.|\n)*bad: instances 1 and 2(.|\n)*worse") as raised:
        compare(preds, truths)
    assert "good" not in str(raised.value)
    scores = by_name(compare(preds, truths, allow_overlap=True).images)
    assert scores["bad"].tp == (2,) * 10
    assert scores["good"].fn == (1,) * 10


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_overlaps_of_instances_that_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_masks(rng, 24, 6)
    pred = shaken(truth, rng)
    found = overlaps_of(truth, pred, allow_overlap=True)
    assert isinstance(found, metrics.Overlaps)
    wanted = {
        (t + 1, p + 1): int((truth.mask(t) & pred.mask(p)).sum())
        for t in range(len(truth))
        for p in range(len(pred))
        if (truth.mask(t) & pred.mask(p)).any()
    }
    pairs = zip(found.truth_labels[found.truth].tolist(), found.pred_labels[found.pred].tolist(), strict=True)
    assert dict(zip(pairs, found.intersection.tolist(), strict=True)) == wanted
    assert found.pred_areas.tolist() == pred.areas().tolist()
    order = list(zip(found.truth.tolist(), found.pred.tolist(), strict=True))
    assert order == sorted(order)


def test_empty_instances_count_for_nothing() -> None:
    pred = Instances.from_masks([[[1, 1, 0]], [[0, 0, 0]], [[0, 1, 1]]], (1, 3))
    image = compare(collection(a=pred), collection(a=[[1, 1, 0]]), allow_overlap=True).images[0]
    assert (image.predicted, image.tp[0], image.fp[0]) == (2, 1, 1)


def test_intervals_hold_the_mean_and_repeat() -> None:
    truths, preds = some(8)
    pair = collection(**preds), collection(**truths)
    first, second = (compare(*pair, rng=np.random.default_rng(1), resamples=300).overall for _ in range(2))
    assert first == second
    for name, (low, high) in first.intervals.items():
        assert low < getattr(first, name) < high, name
    assert compare(*pair).overall.intervals == {}
    assert (
        compare(
            collection(im0=preds["im0"]), collection(im0=truths["im0"]), rng=np.random.default_rng(1)
        ).overall.intervals
        == {}
    )


def test_intervals_are_as_wide_as_theory_says() -> None:
    """Half of the images score 1 and half 0: the mean of n has a standard error of 0.5 / sqrt(n)."""
    labels, none = np.array([[1, 1]]), np.array([[0, 0]])
    truths = {f"{k:03d}": labels for k in range(400)}
    preds = {name: labels if k % 2 else none for k, name in enumerate(truths)}
    low, high = compare(
        collection(**preds), collection(**truths), rng=np.random.default_rng(0), resamples=4000
    ).overall.intervals["map"]
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.004)


def test_threads_make_no_difference_and_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    truths, preds = some(7)
    results = []
    for count in ("1", "4"):
        monkeypatch.setenv("FLOWSEG_THREADS", count)
        told: list[tuple[int, int]] = []
        results.append(
            compare(collection(**preds), collection(**truths), progress=lambda *now: told.append(now))  # noqa: B023
        )
        assert told == [(k, 7) for k in range(1, 8)]
    assert results[0] == results[1]


def test_scores_survive_json() -> None:
    truths, preds = some(2)
    values = compare(collection(**preds), collection(**truths), rng=np.random.default_rng(1)).to_dict()
    back = json.loads(json.dumps(values, allow_nan=False))
    assert back["overall"]["map"] == values["overall"]["map"]
    assert back["images"][0]["map"] == pytest.approx(np.mean(back["images"][0]["ap"]))
    nothing_to_find = compare(collection(item("a", [[1, 1]], scores=(0.5,))), collection(a=[[0, 0]])).to_dict()
    assert json.loads(json.dumps(nothing_to_find, allow_nan=False))["coco"][0]["map"] is None


def test_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="a has 1 predicted instance and 2 scores"):
        compare(collection(item("a", [[1, 1]], scores=(0.5, 0.4))), collection(a=[[1, 1]]))
