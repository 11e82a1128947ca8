"""Parts are by image, keep groups together and kinds apart evenly, and do not depend on the order of the items."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowseg.errors import OptionError
from flowseg.instances import Instances
from flowseg.sources.collection import Item
from flowseg.training import fold, held_out


def named(count: int, kinds: int = 2, plates: int = 5) -> list[Item]:
    nothing = partial(Instances.from_masks, [], (4, 4))
    return [
        Item(f"{number:04d}", None, nothing, {"kind": str(number % kinds), "plate": str(number % plates)})
        for number in range(count)
    ]


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


@given(st.integers(2, 60), st.integers(2, 6), st.integers(0, 99))
def test_each_item_is_held_out_once(count: int, folds: int, seed: int) -> None:
    if count < folds:
        return
    items = named(count)
    splits = [fold(items, folds, number, seed) for number in range(folds)]
    assert sorted(name for split in splits for name in names(split.validation)) == names(items)
    for split in splits:
        assert sorted(names(split.train) + names(split.validation)) == names(items)
        assert abs(len(split.validation) - count / folds) <= 1


@given(st.integers(10, 60), st.integers(0, 99), st.sampled_from(["", "plate"]))
def test_the_order_of_items_does_not_matter(count: int, seed: int, group: str) -> None:
    items = named(count)  # plates are of both kinds
    forward = held_out(items, 0.2, seed, stratify="kind", group=group)
    backward = held_out(items[::-1], 0.2, seed, stratify="kind", group=group)
    assert set(names(forward.validation)) == set(names(backward.validation))


def test_groups_stay_together_and_kinds_are_spread() -> None:
    items = named(60, kinds=3, plates=20)
    split = held_out(items, 0.25, 1, group="plate")
    assert not {item.columns["plate"] for item in split.train} & {item.columns["plate"] for item in split.validation}
    split = held_out(items, 0.25, 1, stratify="kind")
    counts = [sum(item.columns["kind"] == kind for item in split.validation) for kind in "012"]
    assert counts == [5, 5, 5]


def test_seeds_differ() -> None:
    items = named(60)
    assert len({tuple(names(held_out(items, 0.2, seed).validation)) for seed in range(5)}) == 5


def test_what_cannot_be_split_is_refused() -> None:
    items = named(10, plates=1)
    for part in (1.0, -0.1, float("nan"), "half"):
        with pytest.raises(OptionError, match=r"part held back is \S+; wanted a number from 0 to less than 1"):
            held_out(items, part, 0)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="fold 2 of 2; wanted at least 2 folds, counted from 0"):
        fold(items, 2, 2, 0)
    with pytest.raises(OptionError, match="2 images cannot be split in 5 parts: one is empty"):
        fold(items[:2], 5, 4, 0)
    with pytest.raises(OptionError, match="in 1 group of plate"):
        fold(items, 2, 0, 0, group="plate")
    with pytest.raises(OptionError, match="no column 'day'; there are kind, plate"):
        fold(items, 2, 0, 0, stratify="day")
    assert held_out(items, 0, 0).validation == []


@pytest.mark.parametrize("part", [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.75])
def test_the_part_held_back_is_the_part_asked_for(part: float) -> None:
    split = held_out(named(60), part, 0)
    assert len(split.validation) / 60 == pytest.approx(part, abs=0.03)


@given(st.integers(2, 9), st.sampled_from([0.02, 0.15, 0.3, 0.45, 0.7, 0.95]))
def test_few_images_leave_some_for_both(count: int, part: float) -> None:
    split = held_out(named(count), part, 0)
    assert split.train
    assert split.validation


def test_of_groups_of_many_sizes_the_nearest_is_held_back() -> None:
    items = [*named(50, plates=1), *(item for item in named(160, plates=16) if item.columns["plate"] != "0")]
    assert len(held_out(items, 0.05, 0, group="plate").validation) == 10  # not the plate of 50


def test_one_image_cannot_be_split_and_the_text_says_what_to_do() -> None:
    with pytest.raises(OptionError, match=r"there is one image.*--val DIR\).*--val-part 0"):
        held_out(named(1), 0.15, 0)
    with pytest.raises(OptionError, match="there is one group of plate"):
        held_out(named(9, plates=1), 0.15, 0, group="plate")
    assert len(held_out(named(1), 0, 0).train) == 1
