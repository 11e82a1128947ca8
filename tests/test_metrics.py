"""Metrics, against StarDist's matching, an exhaustive matching, and exact fractions."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg import FlowsegError, metrics
from flowseg.instances import Instances
from tests.shapes import solid_cells

Labels = npt.NDArray[np.int32]
THRESHOLDS = (0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0)


@st.composite
def pairs(draw: st.DrawFn, side: int = 12, most: int = 5) -> tuple[Labels, Labels]:
    """Two label images of one shape: random, or the second a shifted, renamed first."""
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    truth = draw(hnp.arrays(np.int32, shape, elements=st.integers(0, most)))
    if draw(st.booleans()):
        return truth, draw(hnp.arrays(np.int32, shape, elements=st.integers(0, most)))
    names = np.array([0, *draw(st.permutations(range(1, most + 1)))], np.int32)
    return truth, np.roll(names[truth], draw(st.integers(-2, 2)), axis=draw(st.integers(0, 1)))


@settings(max_examples=300)
@given(pairs(), st.sampled_from(THRESHOLDS))
def test_matching_is_that_of_stardist(images: tuple[Labels, Labels], threshold: float) -> None:
    from stardist.matching import matching

    truth, pred = images
    ours = metrics.match(truth, pred, threshold)
    theirs = matching(truth, pred, thresh=threshold)
    assert (ours.tp, ours.fp, ours.fn) == (theirs.tp, theirs.fp, theirs.fn)
    if theirs.n_true + theirs.n_pred == 0:
        assert ours.average_precision == ours.precision == ours.recall == ours.f1 == ours.panoptic_quality == 1
        return
    for mine, other in [("precision",) * 2, ("recall",) * 2, ("f1",) * 2, ("average_precision", "accuracy")]:
        assert getattr(ours, mine) == pytest.approx(getattr(theirs, other), abs=1e-9)
    # StarDist keeps IoU in float32
    assert ours.panoptic_quality == pytest.approx(theirs.panoptic_quality, abs=1e-6)
    assert ours.mean_true_iou == pytest.approx(theirs.mean_true_score, abs=1e-6)
    assert ours.mean_matched_iou == pytest.approx(theirs.mean_matched_score, abs=1e-6)
    assert metrics.average_precision(truth, pred, threshold).tp.tolist() == [theirs.tp]


def test_matching_of_cells_is_that_of_stardist() -> None:
    from stardist.matching import matching

    truth = solid_cells(200, 14, seed=1, gap=0)
    pred = np.roll(solid_cells(200, 14, seed=1, gap=3), 2, axis=0)
    for threshold in THRESHOLDS:
        ours, theirs = metrics.match(truth, pred, threshold), matching(truth, pred, thresh=threshold)
        assert (ours.tp, ours.fp, ours.fn) == (theirs.tp, theirs.fp, theirs.fn)
        assert ours.mean_matched_iou == pytest.approx(theirs.mean_matched_score, abs=1e-6)


@settings(max_examples=100)
@given(pairs(side=6, most=4), st.sampled_from(THRESHOLDS))
def test_the_matching_is_the_best_of_all(images: tuple[Labels, Labels], threshold: float) -> None:
    truth, pred = images
    ours = metrics.match(truth, pred, threshold)
    iou = slow_iou(truth, pred)
    wide = np.zeros((iou.shape[0], iou.shape[1] + iou.shape[0]))
    wide[:, : iou.shape[1]] = np.where(iou >= threshold, iou, 0)
    best = max(
        (int((picked > 0).sum()), picked.sum())
        for order in permutations(range(wide.shape[1]), wide.shape[0])
        for picked in [wide[np.arange(wide.shape[0]), list(order)]]
    )
    assert ours.tp == best[0]
    assert len(set(ours.truth)) == len(set(ours.pred)) == ours.tp
    assert (ours.iou >= threshold).all()


def slow_iou(truth: Labels, pred: Labels) -> npt.NDArray[np.float64]:
    rows, columns = (np.unique(image[image > 0]) for image in (truth, pred))
    iou = np.zeros((len(rows), len(columns)))
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            iou[i, j] = np.sum((truth == a) & (pred == b)) / np.sum((truth == a) | (pred == b))
    return iou


@settings(max_examples=150)
@given(pairs())
def test_overlaps_are_those_of_every_pair(images: tuple[Labels, Labels]) -> None:
    truth, pred = images
    found = metrics.overlaps(truth, pred)
    iou = np.zeros((len(found.truth_labels), len(found.pred_labels)))
    iou[found.truth, found.pred] = found.iou
    assert (iou == slow_iou(truth, pred)).all()
    for labels, areas, image in (
        (found.truth_labels, found.truth_areas, truth),
        (found.pred_labels, found.pred_areas, pred),
    ):
        assert (labels == np.unique(image[image > 0])).all()
        assert areas.tolist() == [np.sum(image == label) for label in labels]
    as_runs = metrics.overlaps(
        Instances.from_masks([truth == label for label in found.truth_labels], truth.shape), pred
    )
    for field in ("truth_areas", "pred_labels", "pred_areas", "truth", "pred", "intersection"):
        assert (getattr(found, field) == getattr(as_runs, field)).all()


@settings(max_examples=100)
@given(st.lists(pairs(side=7), min_size=1, max_size=4))
def test_kaggle_map_is_exact(images: list[tuple[Labels, Labels]]) -> None:
    total = Fraction(0)
    for truth, pred in images:
        for step in range(10):
            limit = Fraction(1, 2) + Fraction(step, 20)
            rows, columns = (np.unique(image[image > 0]) for image in (truth, pred))
            tp = 0
            for a in rows:
                for b in columns:
                    shared = int(np.sum((truth == a) & (pred == b)))
                    tp += shared > 0 and Fraction(shared, int(np.sum((truth == a) | (pred == b)))) > limit
            whole = len(rows) + len(columns) - tp
            total += Fraction(tp, whole) if whole else 1
    truths, preds = zip(*images, strict=True)
    assert metrics.kaggle_map(truths, preds) == pytest.approx(float(total / (10 * len(images))), abs=1e-12)


def test_an_iou_at_the_threshold_is_no_match_on_kaggle() -> None:
    truth, pred = np.zeros((1, 20), int), np.zeros((1, 20), int)
    truth[0, :20], pred[0, :11] = 1, 1  # an IoU of 0.55
    assert metrics.kaggle_map([truth], [pred]) == pytest.approx(0.1)  # above 0.50 alone
    assert metrics.average_precision(truth, pred, [0.5, 0.55, 0.6]).tp.tolist() == [1, 1, 0]


def test_overlapping_truth_is_matched_one_to_one() -> None:
    masks = [np.ones((4, 5)), np.ones((4, 5)), np.eye(4, 5)]
    truth = Instances.from_masks(masks, (4, 5))
    score = metrics.average_precision(truth, np.ones((4, 5), int), 0.5)
    assert (score.tp[0], score.fp[0], score.fn[0]) == (1, 0, 2)
    assert metrics.kaggle_map([truth], [np.ones((4, 5), int)]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("truth_n", "pred_n", "ap"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0)])
def test_empty_images_are_defined(truth_n: int, pred_n: int, ap: float) -> None:
    truth, pred = np.full((3, 4), truth_n), np.full((3, 4), pred_n)
    score = metrics.average_precision(truth, pred)
    assert score.ap.tolist() == [ap] * 3
    assert metrics.kaggle_map([truth], [pred]) == ap
    assert metrics.match(truth, pred).panoptic_quality == ap
    no_pixels = np.zeros((0, 4), int)
    assert metrics.average_precision(no_pixels, no_pixels).ap.tolist() == [1.0] * 3


def test_lists_of_images_give_a_row_each() -> None:
    images = [solid_cells(60, 12, seed=seed) for seed in range(3)]
    score = metrics.average_precision(images, images[::-1], (0.5, 0.9))
    assert score.ap.shape == score.tp.shape == (3, 2)
    assert score.ap[1].tolist() == [1.0, 1.0]
    assert metrics.average_precision([], []).ap.shape == (0, 3)
    assert metrics.average_precision([[1, 1, 0]], [[1, 1, 0]]).ap.tolist() == [1.0] * 3


def test_gaps_names_and_types_do_not_matter() -> None:
    truth, pred = solid_cells(90, 12, seed=1), np.roll(solid_cells(90, 12, seed=1), 1, axis=1)
    wanted = metrics.match(truth, pred)
    far = metrics.match(truth.astype(np.uint64) * 10_000_019, (pred * 3).astype(np.uint16))
    assert (far.truth == wanted.truth * 10_000_019).all()
    assert (far.pred == wanted.pred * 3).all()
    assert (far.iou == wanted.iou).all()


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, pred = solid_cells(600, 20, seed=1), solid_cells(600, 20, seed=2)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("FLOWSEG_THREADS", threads)
        results.append(metrics.overlaps(truth, pred))
    for first, second in zip(*results, strict=True):
        assert (first == second).all()


def test_memory_grows_with_touching_pairs() -> None:
    """A dense table of 250,000 by 250,000 labels would take 500 GB."""
    truth = np.arange(1, 250_001).reshape(500, 500)
    assert metrics.average_precision(truth, truth.T[::-1].copy().T[::-1], 0.5).ap.tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.average_precision(np.zeros((3, 3), int), np.zeros((3, 4), int)), r"\(3, 3\) and \(3, 4\)"),
        (lambda: metrics.average_precision(np.zeros((3, 3)) + 0.5, np.zeros((3, 3), int)), "truth holds 0.5"),
        (lambda: metrics.average_precision(np.zeros((3, 3), int), np.zeros((3, 3), int), 0.0), "threshold is 0.0"),
        (lambda: metrics.average_precision(np.zeros((3, 3), int), np.zeros((3, 3), int), [0.5, 1.5]), "1.5"),
        (lambda: metrics.average_precision([np.zeros((3, 3), int)], []), "1 true and 0 predicted"),
        (lambda: metrics.kaggle_map([], []), "no images"),
        (lambda: metrics.average_precision([[1]], [[1]], "half"), "thresholds is 'half'; wanted numbers above 0"),
        (lambda: metrics.match([[1]], [[1]], [0.5, 0.9]), r"threshold is \[0.5, 0.9\]; wanted a number"),
        (lambda: metrics.panoptic_quality([[1]], [[1]], np.nan), "threshold is nan; wanted a number"),
        (lambda: metrics.match(np.zeros((3, 3), int), np.zeros(3, int)), "pred has shape"),
    ],
)
def test_bad_input_is_refused(call: object, message: str) -> None:
    with pytest.raises(FlowsegError, match=message):
        call()  # type: ignore[operator]
