"""Label images put in order, against scipy, fill_voids and scikit-image, and by properties."""

import math
from collections.abc import Callable

import fill_voids
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import relabel_sequential

from flowseg import FlowsegError, labels
from tests.shapes import label_images, solid_cells

Image = npt.NDArray[np.int32]
EIGHT = np.ones((3, 3))


def reference_clean(image: Image, min_size: int) -> Image:
    """Follow Cellpose's recipe step by step: drop small, fill each in order of label, drop small again."""
    image = image.copy()
    for _ in range(2):
        counts = np.bincount(image.ravel())
        image[np.isin(image, np.flatnonzero(counts < min_size))] = 0
        for label, box in enumerate(ndimage.find_objects(image) if image.size else [], start=1):
            if box is not None:
                image[box][fill_voids.fill(image[box] == label).astype(bool)] = label
    return image


def same_partition(first: Image, second: Image) -> bool:
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return bool(((pairs > 0).all(0) | (pairs == 0).all(0)).all()) and all(
        len(np.unique(side)) == pairs.shape[1] for side in pairs
    )


@settings(max_examples=150)
@given(label_images(), st.integers(0, 12))
def test_clean_follows_the_recipe(image: Image, min_size: int) -> None:
    before = image.copy()
    cleaned = labels.clean(image, min_size)
    assert same_partition(cleaned, reference_clean(image, min_size))
    assert (image == before).all()
    assert set(np.unique(cleaned)) - {0} == set(range(1, cleaned.max(initial=0) + 1))


@settings(max_examples=150)
@given(label_images())
def test_holes_are_filled_as_scipy_fills_them(image: Image) -> None:
    filled = labels.fill_holes(image)
    for label in np.unique(image[image > 0]):
        alone = np.where(image == label, 7, 0)
        assert ((labels.fill_holes(alone) > 0) == ndimage.binary_fill_holes(image == label)).all()
    assert (labels.fill_holes(filled) == filled).all()
    assert set(np.unique(filled)) <= set(np.unique(image))


def test_what_lies_in_a_hole_goes_to_the_outermost() -> None:
    image = np.zeros((11, 11), int)
    for label, margin in ((5, 0), (2, 2), (9, 4)):
        image[margin : 11 - margin, margin : 11 - margin] = label
        image[margin + 1 : 10 - margin, margin + 1 : 10 - margin] = 0
    assert (labels.fill_holes(image) == 5).all()


@settings(max_examples=100)
@given(label_images(most=9))
def test_relabel_is_that_of_skimage(image: Image) -> None:
    wanted = relabel_sequential(image)[0] if image.size else image
    assert (labels.relabel(image) == wanted).all()
    assert (labels.relabel(image.astype(np.int64) * 1_000_003) == wanted).all()


@settings(max_examples=100)
@given(label_images(), st.integers(0, 9))
def test_areas_diameters_and_small_ones(image: Image, min_size: int) -> None:
    found, counts = np.unique(image[image > 0], return_counts=True)
    assert labels.areas(image) == dict(zip(found.tolist(), counts.tolist(), strict=True))
    np.testing.assert_allclose(labels.diameters(image), 2 * np.sqrt(counts / np.pi))
    median = np.median(counts**0.5) / (np.pi**0.5 / 2) if len(counts) else 0.0  # as Cellpose writes it
    assert labels.median_diameter(image) == pytest.approx(median)
    assert (labels.remove_small(image, min_size) == np.where(np.isin(image, found[counts >= min_size]), image, 0)).all()


@settings(max_examples=100)
@given(label_images())
def test_pieces_are_those_of_scipy(image: Image) -> None:
    counts, largest = labels.count_pieces(image), labels.largest_piece(image)
    assert set(counts) == set(np.unique(image[image > 0]))
    for label in counts:
        pieces, count = ndimage.label(image == label, EIGHT)
        sizes = np.bincount(pieces.ravel())[1:]
        assert counts[label] == count
        assert ((largest == label) == (pieces == sizes.argmax() + 1)).all()


@settings(max_examples=200)
@given(label_images())
def test_outlines_go_around_every_piece(image: Image) -> None:
    traced = labels.outlines(image, all_pieces=True)
    assert [outline.label for outline in traced] == sorted(outline.label for outline in traced)
    left = {label: ndimage.label(image == label, EIGHT)[0] for label in np.unique(image[image > 0])}
    for label, points in traced:
        steps = np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1)
        assert (steps <= 1).all()
        ys, xs = points.T
        assert (image[ys, xs] == label).all()
        piece = left[label] == left[label][ys[0], xs[0]]
        assert {*zip(ys.tolist(), xs.tolist(), strict=True)} == outside_rim(piece)
        left[label][piece] = 0
    assert not any(pieces.any() for pieces in left.values())


def outside_rim(piece: npt.NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Return the pixels of a piece with a neighbour along the axes that is connected with the outside."""
    framed = np.pad(ndimage.binary_fill_holes(piece), 1)
    inner = ndimage.binary_erosion(framed)[1:-1, 1:-1]
    return {(int(y), int(x)) for y, x in np.argwhere(piece & ~inner)}


def test_outlines_give_the_longest_piece_of_each_instance() -> None:
    image = np.zeros((12, 12), np.uint16)
    image[0:2, 0:2], image[4:10, 4:10], image[0, 11] = 300, 300, 7
    single, large = labels.outlines(image)
    assert (single.label, single.points.tolist()) == (7, [[0, 11]])
    assert (large.label, len(large.points)) == (300, 20)
    assert large.points[:3].tolist() == [[4, 4], [5, 4], [6, 4]]  # down the left side first
    assert labels.outlines(np.zeros((3, 3), int)) == []


@settings(max_examples=60)
@given(label_images())
def test_the_outline_mask_holds_what_touches_others(image: Image) -> None:
    mask = labels.outline_mask(image)
    for label in np.unique(image[image > 0]):
        own = image == label
        assert (mask[own] == ~ndimage.binary_erosion(own)[own]).all()
    assert not mask[image == 0].any()


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    image = solid_cells(700, 25, seed=1)
    image[::9, ::7] = 0
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("FLOWSEG_THREADS", threads)
        outlines = np.concatenate([outline.points for outline in labels.outlines(image, all_pieces=True)])
        results.append((labels.clean(image), labels.largest_piece(image), outlines))
    for first, second in zip(*results, strict=True):
        assert (first == second).all()


@pytest.mark.parametrize("function", [labels.relabel, labels.clean, labels.areas, labels.outlines, labels.fill_holes])
def test_bad_labels_are_refused(function: object) -> None:
    with pytest.raises(FlowsegError, match="two-dimensional"):
        function(np.zeros((2, 2, 2), int))  # type: ignore[operator]
    with pytest.raises(FlowsegError, match="holds -1"):
        function(np.full((2, 2), -1))  # type: ignore[operator]


@pytest.mark.parametrize("kind", [">i4", ">i8", ">u2"])
def test_labels_of_another_byte_order(kind: str) -> None:
    image = np.zeros((9, 9), kind)
    image[1:4, 1:4], image[5:7, 5:8] = 60000, 7
    assert labels.areas(image) == labels.areas(image.astype(np.int64))


@pytest.mark.parametrize("kind", [torch.int32, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("function", [labels.clean, labels.fill_holes, labels.largest_piece])
def test_tensors_are_label_images_too(function: Callable[..., Image], kind: torch.dtype) -> None:
    image = solid_cells(60, 20, seed=1)
    image[30, 30] = 0
    given = torch.tensor(image, dtype=kind).requires_grad_(kind.is_floating_point)
    before = given.clone()
    np.testing.assert_array_equal(function(given), function(image))
    assert torch.equal(given, before)
    with pytest.raises(FlowsegError, match="Tensor that makes no array"):
        function(given.to("meta"))


@pytest.mark.parametrize("size", [math.nan, 2.5, "15", None, -2])
@pytest.mark.parametrize("function", [labels.clean, labels.remove_small])
def test_a_smallest_size_that_is_none_is_refused(function: Callable[..., Image], size: object) -> None:
    with pytest.raises(FlowsegError, match=r"min_size is .*; wanted a whole number"):
        function(np.ones((3, 3), int), size)
