"""Flows to labels: the way back, against a slow reference that follows Cellpose's recipe step by step."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flowseg import FlowsegError, flows_to_masks, masks_to_flows
from flowseg.dynamics import find_candidates, find_masks
from flowseg.flows import masks_to_directions
from flowseg.options import MaskOptions
from tests.shapes import label_images, logits, solid_cells

Array = npt.NDArray[np.float32]


def reference_masks(flows: Array, cellprob: Array, steps: int = 200) -> npt.NDArray[np.int32]:
    """Write the recipe out with scipy: all steps, float64 interpolation, histogram, seeds; no filters."""
    inside = cellprob > 0
    field = flows * inside
    points = np.stack(np.nonzero(inside)).astype(np.float64)
    limits = np.array(cellprob.shape)[:, None] - 1
    for _ in range(steps):
        move = np.stack([ndimage.map_coordinates(component, points, order=1, mode="nearest") for component in field])
        points = np.clip(points + move, 0, limits)
    ends = points.astype(int)
    counts = np.zeros(cellprob.shape, int)
    np.add.at(counts, tuple(ends), 1)
    peaks = np.argwhere((counts == ndimage.maximum_filter(counts, 5, mode="constant")) & (counts > 10))
    peaks = peaks[np.argsort(counts[tuple(peaks.T)], kind="stable")]
    seeds = np.zeros(cellprob.shape, np.int32)
    for number, (y, x) in enumerate(peaks, start=1):
        grown = np.zeros(cellprob.shape, bool)
        grown[y, x] = True
        seeds[ndimage.binary_dilation(grown, np.ones((3, 3)), iterations=5, mask=counts > 2)] = number
    labels = np.zeros(cellprob.shape, np.int32)
    labels[inside] = seeds[tuple(ends)]
    return labels


def share_of_equal_instances(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], iou: float) -> float:
    """Return TP / (TP + FP + FN) of one label image against the other; above 0.5 a match is always one to one."""
    pairs, overlap = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_counts=True)
    area_first, area_second = np.bincount(first.ravel()), np.bincount(second.ravel())
    union = area_first[pairs[0]] + area_second[pairs[1]] - overlap
    matches = int(((pairs > 0).all(0) & (overlap / union >= iou)).sum())
    total = (area_first[1:] > 0).sum() + (area_second[1:] > 0).sum() - matches
    return matches / total if total else 1.0


@pytest.mark.parametrize(("diameter", "side"), [(14, 160), (25, 200), (70, 260)])
def test_cells_come_back_from_their_flows(diameter: int, side: int) -> None:
    labels = solid_cells(side, diameter, seed=diameter)
    found = flows_to_masks(masks_to_flows(labels), logits(labels), min_size=0, max_size_fraction=1)
    assert share_of_equal_instances(labels, found, 0.9) > 0.98


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_masks_follow_the_recipe(noise: float) -> None:
    labels = solid_cells(180, 18, seed=4)
    rng = np.random.default_rng(0)
    flows = masks_to_flows(labels) + rng.normal(0, noise, (2, 180, 180)).astype(np.float32)
    cellprob = logits(labels, 3) + rng.normal(0, noise * 3, labels.shape).astype(np.float32)
    wanted = reference_masks(flows, cellprob)
    found = flows_to_masks(flows, cellprob, flow_threshold=0, min_size=0, max_size_fraction=1)
    assert share_of_equal_instances(wanted, found, 0.9) > 0.98


@settings(max_examples=60)
@given(label_images(side=20))
def test_labels_are_whole_numbers_in_reading_order(labels: npt.NDArray[np.int32]) -> None:
    found = flows_to_masks(masks_to_flows(labels), logits(labels), flow_threshold=0, min_size=0)
    assert found.dtype == np.int32
    assert found.shape == labels.shape
    assert (found[labels == 0] == 0).all() or ndimage.binary_fill_holes(found > 0)[found > 0].all()
    _, first = np.unique(found[found > 0], return_index=True)
    assert (np.diff(first) > 0).all()
    assert set(np.unique(found)) - {0} == set(range(1, found.max(initial=0) + 1))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 50))
def test_any_finite_flows_give_labels(seed: int, height: int, width: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    flows = rng.normal(0, size, (2, height, width))
    found = flows_to_masks(flows, rng.normal(0, 1, (height, width)))
    assert found.shape == (height, width)
    assert found.min() >= 0


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = solid_cells(300, 20, seed=5)
    flows = masks_to_flows(labels) + np.random.default_rng(1).normal(0, 0.3, (2, 300, 300)).astype(np.float32)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("FLOWSEG_THREADS", threads)
        results.append(flows_to_masks(flows, logits(labels)))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_nothing_is_modified() -> None:
    labels = solid_cells(90, 20, seed=5)
    flows, cellprob = masks_to_flows(labels), logits(labels)
    before = flows.copy(), cellprob.copy()
    flows.flags.writeable = cellprob.flags.writeable = False
    flows_to_masks(flows, cellprob)
    assert (flows == before[0]).all()
    assert (cellprob == before[1]).all()


def test_other_types_and_layouts_give_the_same() -> None:
    labels = solid_cells(90, 20, seed=5)
    flows, cellprob = masks_to_flows(labels), logits(labels)
    wanted = flows_to_masks(flows, cellprob)
    assert (flows_to_masks(np.asfortranarray(flows.astype(float)), cellprob.astype(float)[::1]) == wanted).all()
    assert (flows_to_masks(flows.transpose(1, 2, 0).copy().transpose(2, 0, 1), cellprob) == wanted).all()


def test_each_filter_says_what_it_took() -> None:
    labels = np.zeros((120, 120), np.int32)
    labels[2:102, 2:102] = 1  # over 0.4 of the image
    labels[106:110, 4:8] = 2  # too small
    labels[106:116, 20:32] = 3  # turned flows
    labels[106:116, 40:52] = 4
    flows = masks_to_flows(labels)
    flows[:, labels == 3] *= 0.05  # still leads to the centre in 200 steps, but is no unit vector
    masks = find_masks(flows, logits(labels), MaskOptions(min_size=20))
    assert (masks.candidates, masks.too_large, masks.inconsistent, masks.too_small) == (4, 1, 1, 1)
    assert masks.foreground == np.count_nonzero(labels)
    assert ((masks.labels > 0) == (labels == 4)).all()


@pytest.mark.parametrize("target", ["diffusion", "distance"])
def test_the_flow_threshold_is_the_mean_squared_difference(target: str) -> None:
    labels = solid_cells(120, 18, seed=2)
    flows = (masks_to_flows if target == "diffusion" else masks_to_directions)(labels)
    flows += np.random.default_rng(3).normal(0, np.linspace(0.05, 0.8, 120), flows.shape).astype(np.float32)
    how = MaskOptions(flow_threshold=0, min_size=0, max_size_fraction=1, target=target)
    found = find_candidates(flows, logits(labels), how)
    errors = {}
    for label in np.unique(found.image[found.image > 0]):
        mask = found.image == label
        alone = (masks_to_flows if target == "diffusion" else masks_to_directions)(mask)
        whole = target == "distance" or ndimage.label(mask, np.ones((3, 3)))[1] == 1
        if whole:  # what no heat reaches counts as having no flow
            errors[label] = np.square(alone - flows)[:, mask].sum(axis=0).mean()
    assert len(errors) > 10
    for label, error in errors.items():
        assert found.errors[label] == pytest.approx(error, rel=1e-5)
        assert found.passing(error * 1.0001, 0)[label]
        assert not found.passing(error * 0.9999, 0)[label]


def test_what_is_as_much_as_a_limit_says_is_kept() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[3:11, 4:14] = 1  # a fifth of the image
    flows, cellprob = masks_to_flows(labels), np.where(labels > 0, 1.5, -5)

    def kept(**options: float) -> bool:
        return bool(flows_to_masks(flows, cellprob, **options).any())  # type: ignore[arg-type]

    assert kept(max_size_fraction=0.2)
    assert not kept(max_size_fraction=0.1999)
    assert kept(min_size=80)
    assert not kept(min_size=81)
    assert kept(cellprob_threshold=1.4999)
    assert not kept(cellprob_threshold=1.5)  # a logit has to be above


def test_holes_are_filled_with_what_is_in_them() -> None:
    disc = np.hypot(*(np.mgrid[:40, :40] - 20)) < 15
    cellprob = logits(disc.astype(int))
    cellprob[24, 17] = cellprob[15, 22] = -5
    found = flows_to_masks(masks_to_flows(disc), cellprob, max_size_fraction=1, flow_threshold=0)
    assert (found == disc).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (1, 1), (1, 30), (30, 1)])
def test_small_and_empty_images(shape: tuple[int, int]) -> None:
    found = flows_to_masks(np.zeros((2, *shape)), np.full(shape, 3.0))
    assert found.shape == shape


def test_nothing_above_the_threshold() -> None:
    assert flows_to_masks(np.ones((2, 9, 9)), np.full((9, 9), -1.0)).max() == 0


@pytest.mark.parametrize(
    ("flows", "cellprob", "message"),
    [
        (np.zeros((3, 4, 4)), np.zeros((4, 4)), r"shape \(3, 4, 4\); wanted \(2, height, width\)"),
        (np.zeros((4, 4, 2)), np.zeros((4, 4)), "wanted"),
        (np.zeros((2, 4, 4)), np.zeros((4, 5)), r"\(4, 5\).*\(4, 4\)"),
        (np.full((2, 4, 4), np.nan), np.zeros((4, 4)), "flows holds NaN"),
        (np.zeros((2, 4, 4)), np.full((4, 4), -np.inf), "cellprob holds NaN or infinity"),
        (np.zeros((2, 4, 4), complex), np.zeros((4, 4)), "complex128"),
    ],
)
def test_bad_input_is_refused(flows: npt.NDArray[np.generic], cellprob: npt.NDArray[np.generic], message: str) -> None:
    with pytest.raises(FlowsegError, match=message):
        flows_to_masks(flows, cellprob)


@pytest.mark.parametrize(
    "options",
    [
        {"cellprob_threshold": np.nan},
        {"flow_threshold": -1},
        {"niter": 0},
        {"niter": 2.5},
        {"min_size": 1.5},
        {"max_size_fraction": 0},
    ],
)
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(FlowsegError, match=next(iter(options))):
        flows_to_masks(np.zeros((2, 4, 4)), np.zeros((4, 4)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1e300, -1e39])
def test_numbers_that_are_too_large_are_told_in_words(number: float) -> None:
    with pytest.raises(FlowsegError, match="flows holds NaN or infinity"):
        flows_to_masks(np.full((2, 5, 5), number), np.zeros((5, 5)))
