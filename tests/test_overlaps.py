"""Overlapping instances to one label image: the rule, and the account of what it changed."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from flowseg import FlowsegError, overlaps
from flowseg.instances import Instances
from flowseg.options import OverlapOptions
from flowseg.overlaps import resolve_overlaps, split_into_layers

Masks = npt.NDArray[np.bool_]


def stacks(most: int = 5) -> st.SearchStrategy[Masks]:
    shape = st.tuples(st.integers(0, most), st.integers(1, 9), st.integers(1, 9))
    return hnp.arrays(bool, shape)


def instances_of(masks: Masks) -> Instances:
    return Instances.from_masks(list(masks), masks.shape[1:])


@settings(max_examples=200)
@given(stacks(), st.sampled_from(["smaller", "larger", "first", "last"]))
def test_contested_pixels_go_where_the_rule_says(masks: Masks, contested_to: str) -> None:
    image, account = resolve_overlaps(instances_of(masks), OverlapOptions(contested_to))
    areas = masks.sum((1, 2))
    for y, x in np.ndindex(image.shape):
        claims = [k for k in range(len(masks)) if masks[k, y, x]]
        if not claims:
            assert image[y, x] == 0
            continue
        winner = {
            "smaller": min(claims, key=lambda k: (areas[k], k)),
            "larger": min(claims, key=lambda k: (-areas[k], k)),
            "first": claims[0],
            "last": claims[-1],
        }[contested_to]
        assert image[y, x] == winner + 1
    assert account.contested_pixels == np.sum(masks.sum(0) > 1)
    assert account.lost_pixels.tolist() == [np.sum(mask & (image != k + 1)) for k, mask in enumerate(masks)]
    assert set(account.hidden) == set(range(len(masks))) - {k - 1 for k in np.unique(image) if k}
    assert not account.filled_pixels.any()
    assert not account.dropped_pixels.any()


@settings(max_examples=100)
@given(stacks(), st.booleans(), st.booleans())
def test_instances_are_mended_first(masks: Masks, fill: bool, largest: bool) -> None:
    kept = masks.copy()
    for k, mask in enumerate(masks):
        pieces, count = ndimage.label(mask, np.ones((3, 3)))
        if largest and count:
            kept[k] = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    wanted = np.array([ndimage.binary_fill_holes(mask) if fill else mask for mask in kept]).reshape(masks.shape)
    mended = resolve_overlaps(instances_of(masks), OverlapOptions(fill_holes=fill, largest_piece=largest))
    plain = resolve_overlaps(instances_of(wanted))
    assert (mended.labels == plain.labels).all()
    before, left, after = (each.sum((1, 2)) for each in (masks, kept, wanted))
    assert mended.account.dropped_pixels.tolist() == (before - left).tolist()
    assert mended.account.filled_pixels.tolist() == (after - left).tolist()


@settings(max_examples=60)
@given(stacks(), st.randoms())
def test_order_matters_only_between_equal_areas(masks: Masks, random: object) -> None:
    areas = masks.sum((1, 2))
    if len(set(areas)) < len(areas):
        return
    order = np.random.default_rng(len(masks)).permutation(len(masks))
    first = resolve_overlaps(instances_of(masks)).labels
    second = resolve_overlaps(instances_of(masks[order])).labels
    names = np.concatenate([[0], order + 1])
    assert (first == names[second]).all()


def test_small_remains_are_dropped_and_named() -> None:
    masks = np.zeros((3, 6, 6), bool)
    masks[0, :3], masks[1, :3, :5], masks[2, 5, 5] = True, True, True
    image, account = resolve_overlaps(instances_of(masks), OverlapOptions(min_size=4))
    assert (account.too_small, account.hidden) == ((0, 2), ())
    assert np.unique(image).tolist() == [0, 2]
    assert "2 too small" in str(account)


def test_an_image_of_many_instances_is_quick_and_small() -> None:
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:520, :704]
    masks = [np.hypot(yy - rng.uniform(0, 520), xx - rng.uniform(0, 704)) < rng.uniform(5, 30) for _ in range(300)]
    result = resolve_overlaps(Instances.from_masks(masks, (520, 704)), OverlapOptions(fill_holes=True))
    assert len(np.unique(result.labels)) - 1 == 300 - len(result.account.hidden)


def test_only_what_is_odd_is_mended_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time takes a thousand times longer than to look at all, and most are as they should be."""
    mended: list[int] = []
    mend = overlaps._mended_one

    def counted(starts: npt.NDArray[np.int64], *more: object) -> object:
        mended.append(int(starts[0]))
        return mend(starts, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(overlaps, "_mended_one", counted)
    cells = np.zeros((9, 90), np.int32)
    for number in range(10):
        cells[2:7, 9 * number + 2 : 9 * number + 7] = number + 1
    cells[4, 4] = 0  # a hole
    cells[0, 17] = 2  # a stray piece
    both = OverlapOptions(fill_holes=True, largest_piece=True)
    account = resolve_overlaps(Instances.from_labels(cells), both).account
    assert mended == [2 * 90 + 2, 17]
    assert (account.filled_pixels.tolist(), account.dropped_pixels.tolist()) == ([1] + [0] * 9, [0, 1] + [0] * 8)


def test_one_layer_is_held_at_a_time() -> None:
    """As label images of their own, hundreds of detections on one spot took gigabytes."""
    pile = Instances((200, 200), np.zeros(30, int), np.ones(30, int), np.arange(31))
    tracemalloc.start()
    assert sum(layer.members.tolist() == [number] for number, layer in enumerate(split_into_layers(pile))) == 30
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * 4 * 200 * 200


def test_bad_options_are_refused() -> None:
    with pytest.raises(FlowsegError, match="contested_to is 'nearest'; wanted one of smaller"):
        OverlapOptions(contested_to="nearest")
    with pytest.raises(FlowsegError, match="fill_holes is 'no'; wanted true or false"):
        OverlapOptions(fill_holes="no")  # type: ignore[arg-type]
