"""Thresholds chosen quickly are those that trying each by itself would choose."""

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flowseg import masks_to_flows, metrics
from flowseg.dynamics import find_candidates, find_masks
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.options import MaskOptions
from flowseg.tune import Choice, Predicted, Tuned, _choice, _Grid, tune
from tests.shapes import label_images, logits, solid_cells

CELLPROBS, FLOWS, SIZES = (-1.0, 0.0, 1.5), (0.1, 0.4, 0.0), (0, 9, 40)


def noisy(labels: npt.NDArray[np.int32], seed: int, noise: float, group: str = "") -> Predicted:
    rng = np.random.default_rng(seed)
    flows = masks_to_flows(labels) + rng.normal(0, noise, (2, *labels.shape)).astype(np.float32)
    cellprob = logits(labels, 2) + rng.normal(0, noise * 3, labels.shape).astype(np.float32)
    return Predicted(flows, cellprob, Instances.from_labels(labels), group)


def nested() -> npt.NDArray[np.int32]:
    """A ring with background in it, and a ring with a cell in it."""
    labels = np.zeros((60, 120), np.int32)
    away = [np.hypot(*(np.mgrid[:60, :120] - np.array([[[30]], [[x]]]))) for x in (30, 90)]
    labels[(away[0] < 24) & (away[0] > 3)] = 1
    labels[(away[1] < 26) & (away[1] > 13)] = 2
    labels[away[1] < 9] = 3
    return labels


def slow(one: Predicted, point: Thresholds, options: MaskOptions) -> float:
    own = MaskOptions(
        point.cellprob_threshold,
        point.flow_threshold,
        one.niter or options.niter,
        point.min_size,
        options.max_size_fraction,
    )
    found = find_masks(one.flows, one.cellprob, own).labels
    return float(metrics.average_precision(one.truth, found, tuple(np.arange(50, 95, 5) / 100)).ap.mean())


def tuned(*images: Predicted, least_gain: float = 0.002) -> Tuned:
    return tune(
        iter(images), cellprobs=CELLPROBS, flows=FLOWS, min_sizes=SIZES, defaults=OPTIONS, least_gain=least_gain
    )


OPTIONS = MaskOptions(min_size=15, niter=60, max_size_fraction=0.6)
CASES = [
    noisy(solid_cells(90, 18, seed=1), 1, 0.2),
    noisy(solid_cells(90, 18, seed=2), 2, 0.5)._replace(niter=20),
    noisy(nested(), 3, 0.0),
    noisy(nested(), 4, 0.3),
    Predicted(np.zeros((2, 30, 30)), np.full((30, 30), -9.0), Instances.from_masks([], (30, 30))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("one", CASES)
def test_scores_are_those_of_find_masks(one: Predicted) -> None:
    table = tuned(one).table
    assert len(table) == len(CELLPROBS) * len(FLOWS) * (len(SIZES) + 1)  # and the defaults
    for row in table:
        assert row.score == pytest.approx(slow(one, row.thresholds, OPTIONS), abs=1e-12), row


@settings(max_examples=30)
@given(label_images(side=16), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_scores_are_those_of_find_masks_whatever_the_labels(
    labels: npt.NDArray[np.int32], seed: int, noise: float
) -> None:
    one = noisy(labels, seed, noise)
    for row in tuned(one).table:
        assert row.score == pytest.approx(slow(one, row.thresholds, OPTIONS), abs=1e-12), row


@settings(max_examples=30)
@given(label_images(side=16), st.integers(0, 2**32 - 1))
def test_filtered_candidates_are_the_masks(labels: npt.NDArray[np.int32], seed: int) -> None:
    one = noisy(labels, seed, 0.3)
    found = find_candidates(one.flows, one.cellprob, MaskOptions())
    before = found.image.copy()
    for flow, size in product(FLOWS, SIZES):
        wanted = find_masks(one.flows, one.cellprob, MaskOptions(flow_threshold=flow, min_size=size))
        mine = found.masks(flow, size)
        assert (mine.labels == wanted.labels).all()
        assert mine[1:] == wanted[1:]
    assert (found.image == before).all()


def test_truth_may_overlap() -> None:
    labels = solid_cells(90, 18, seed=1)
    masks = [labels == label for label in range(1, labels.max() + 1)]
    truth = Instances.from_masks([*masks, masks[0]], labels.shape)
    one = noisy(labels, 1, 0.2)._replace(truth=truth)
    for row in tuned(one).table:
        assert row.score == pytest.approx(slow(one, row.thresholds, OPTIONS), abs=1e-12)


def test_precisions_are_those_of_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the work is shared among threads."""
    chosen = tuned(*CASES)
    for one, precisions in zip(CASES, chosen.precisions, strict=True):
        assert np.mean(precisions) == pytest.approx(slow(one, chosen.overall.thresholds, OPTIONS), abs=1e-12)
    monkeypatch.setattr("flowseg.tune._MOST_BESIDE", 0)
    assert tuned(*CASES) == chosen


def test_the_nested_case_is_one() -> None:
    """Otherwise the tests above show less than they seem to."""
    from flowseg.tune import _filled

    one = noisy(nested(), 3, 0.0)
    found = find_candidates(one.flows, one.cellprob, OPTIONS)
    filled = _filled(found)
    assert len(filled.nests) == 1
    assert ((filled.image > 0) & (found.image == 0)).sum() > 20


def test_a_shy_network_gets_a_lower_threshold() -> None:
    images = [noisy(solid_cells(90, 18, seed=seed), seed, 0.0) for seed in range(4)]
    shy = [one._replace(cellprob=one.cellprob - 2.5) for one in images]
    chosen = tuned(*shy).overall
    assert chosen.thresholds == Thresholds(-1.0, 0.4, 15)
    assert chosen.default_score < 0.1 < 0.9 < chosen.score <= chosen.best_score
    assert chosen.images == 4


def test_what_gains_nothing_keeps_the_defaults() -> None:
    images = [noisy(solid_cells(90, 18, seed=seed), seed, 0.0) for seed in range(4)]
    chosen = tuned(*images)
    assert chosen.overall.thresholds == Thresholds(0.0, 0.4, 15)
    assert chosen.overall.score == chosen.overall.default_score == chosen.overall.best_score
    assert tuned(*CASES, least_gain=1.0).overall.thresholds == Thresholds(0.0, 0.4, 15)


def test_one_image_moves_nothing() -> None:
    one = noisy(solid_cells(90, 18, seed=1), 1, 0.0)
    chosen = tuned(one._replace(cellprob=one.cellprob - 2.5)).overall
    assert chosen.thresholds == Thresholds(0.0, 0.4, 15)
    assert chosen.best_score > chosen.score + 0.5


@pytest.mark.parametrize("errors_moves", [(0.97, False), (1.03, True)])
@pytest.mark.parametrize(("count", "luck"), [(2, 3.078), (3, 1.886), (4, 1.638), (100, 1.29)])
def test_a_gain_counts_where_luck_would_give_it_less_than_one_time_in_ten(
    count: int, luck: float, errors_moves: tuple[float, bool]
) -> None:
    """``luck``: of tables of Student's t, in standard errors."""
    errors, moves = luck * errors_moves[0], errors_moves[1]
    start = Thresholds()
    grid = _Grid.of((1.0,), (0.4,), (15,), start)
    gains = np.random.default_rng(0).normal(size=count)
    gains = (gains - gains.mean()) / gains.std(ddof=1) + errors / np.sqrt(count)
    scores = np.stack([np.zeros(count), 0.1 * gains], axis=1)
    assert (_choice(scores, grid, start, start, 0.0).thresholds.cellprob_threshold == 1.0) is moves


def test_groups_have_their_own_where_they_gain() -> None:
    plain = [noisy(solid_cells(90, 18, seed=seed), seed, 0.0, "plain") for seed in range(4)]
    shy = [one._replace(cellprob=one.cellprob - 2.5, group="shy") for one in plain[:3]]
    # at -1 the plain ones would be found with a rim of what is not sure
    rim = [
        one._replace(
            cellprob=np.where(core, 2, np.minimum(one.cellprob, -0.5)).astype(np.float32),
            truth=Instances.from_labels(one.truth.to_labels() * core),
        )
        for one in plain
        for core in [ndimage.distance_transform_edt(one.cellprob > 0) > 2.5]
    ]
    chosen = tuned(*rim, *shy)
    assert set(chosen.groups) == {"plain", "shy"}
    assert chosen.groups["shy"].thresholds.cellprob_threshold == -1
    assert chosen.groups["plain"].thresholds.cellprob_threshold == 0
    assert chosen.groups["shy"].images == 3
    own = {name for name, one in chosen.groups.items() if one.thresholds != chosen.overall.thresholds}
    assert set(chosen.group_thresholds) == own != set()
    config = chosen.applied_to(ModelConfig(name="mine"))
    assert (config.name, config.thresholds) == ("mine", chosen.overall.thresholds)
    for name, one in chosen.groups.items():
        assert config.for_group(name).thresholds == one.thresholds
    for row in chosen.table:
        mean = (4 * row.by_group["plain"] + 3 * row.by_group["shy"]) / 7
        assert row.score == pytest.approx(mean)


def test_diameters_that_a_model_has_stay() -> None:
    best, other = Thresholds(-1.0, 0.4, 15), Thresholds(0.5, 0.3, 25)
    groups = {"a": other, "b": best, "c": other, "d": best}
    chosen = Tuned(Choice(best, 1, 1, 1, 9), {name: Choice(one, 1, 1, 1, 3) for name, one in groups.items()}, (), ())
    had = {"a": Thresholds(0.0, 0.4, 15, 8.0), "b": Thresholds(0.0, 0.4, 15, 9.0)}
    config = chosen.applied_to(ModelConfig(diameter=12.0, group_thresholds=had))
    assert config.thresholds == replace(best, diameter=12.0)
    assert config.group_thresholds == {
        "a": replace(other, diameter=8.0),
        "b": replace(best, diameter=9.0),
        "c": replace(other, diameter=12.0),
    }


def test_the_table_is_in_order_and_streams() -> None:
    alive = 0

    def images() -> object:
        nonlocal alive
        for one in CASES[:3]:
            alive += 1
            yield one

    stream = images()
    table = tune(stream, cellprobs=(0.0,), flows=(0.4,), min_sizes=(15, 30)).table  # type: ignore[arg-type]
    assert alive == 3
    assert [row.score for row in table] == sorted((row.score for row in table), reverse=True)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        tune([])
    with pytest.raises(OptionError, match="least_gain is -1"):
        tune(CASES, least_gain=-1)
    with pytest.raises(OptionError, match="flow_threshold is -1"):
        tune(CASES, flows=(-1.0,))
    with pytest.raises(InputError, match=r"shapes \(5, 5\) and \(90, 90\)"):
        tune([CASES[0]._replace(truth=Instances.from_masks([], (5, 5)))])


def test_what_was_tuned_is_told_without_all_that_was_tried() -> None:
    cells = solid_cells(60, 20, seed=1)
    assert len(repr(tune([noisy(cells, 1, 0.1)]))) < 400
