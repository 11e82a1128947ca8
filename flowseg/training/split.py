"""Parts of a data set for training and validation: by image, by group, with every kind in both."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flowseg import checks
from flowseg.errors import OptionError
from flowseg.sources.collection import Item
from flowseg.words import many

#: How much is held back where nothing else is asked for.
USUAL_PART = 0.15

_NEAR = 0.02
_MOST_FOLDS = 20


class Split(NamedTuple):
    """Items to train on and items to validate on."""

    train: list[Item]
    validation: list[Item]


def in_both(split: Split) -> list[str]:
    """Return the names of images to validate on whose files are trained on, too."""
    trained = {item.path.resolve() for item in split.train if item.path is not None}
    return [item.name for item in split.validation if item.path is not None and item.path.resolve() in trained]


def held_out(items: Sequence[Item], part: float, seed: int, *, group: str = "", stratify: str = "") -> Split:
    """Hold back a part of the items for validation.

    Parameters
    ----------
    items
        Of one data set.
    part
        How much of them, 0 to less than 1.
    seed
        The same seed gives the same parts, in whatever order the items come.
    group
        A column: items that agree in it stay together (slices of one plate).
    stratify
        A column: each of its values is spread over both parts.

    Examples
    --------
    >>> items = [Item(name, None, list) for name in "abcdefgh"]
    >>> split = held_out(items, 0.25, seed=1)
    >>> len(split.train), len(split.validation)
    (6, 2)
    """
    checks.part("the part held back", part)
    if part == 0:
        return Split(list(items), [])
    count = len(set(_values(items, group) if group else [item.name for item in items]))
    if count < 2:
        what = f"group of {group}" if group else "image"
        raise OptionError(
            f"there is {'one' if count else 'no'} {what}, and a part is to be held back to validate on: give images "
            "for that (val=, --val DIR), or hold back none (val_part=0, --val-part 0)"
        )
    taken, folds = _ratio(part, count)
    places = np.array(_places(items, folds, seed, group, stratify))
    back = np.flatnonzero(np.bincount(places, minlength=folds) > 0)
    if group and taken == 1:  # groups are of many sizes: the fold that is nearest the part
        sizes = np.bincount(places, minlength=folds)[back]
        back = back[[int(np.abs(sizes / len(items) - part).argmin())]]
    held = np.isin(places, back[:taken])
    return Split(
        [item for item, out in zip(items, held, strict=True) if not out],
        [item for item, out in zip(items, held, strict=True) if out],
    )


def _ratio(part: float, count: int) -> tuple[int, int]:
    """Return how many of how many folds are nearest a part, with one of them if that will do."""
    folds = max(2, round(1 / part))
    if abs(1 / folds - part) <= _NEAR:
        return 1, folds
    most = min(count, _MOST_FOLDS)
    ratios = [(taken, folds) for folds in range(2, most + 1) for taken in range(1, folds)]
    return min(ratios, key=lambda ratio: (round(abs(ratio[0] / ratio[1] - part), 6), ratio[1]))


def fold(items: Sequence[Item], folds: int, number: int, seed: int, *, group: str = "", stratify: str = "") -> Split:
    """Return fold ``number`` (from 0) of ``folds``: each item is in the validation part of exactly one.

    Parameters are those of `held_out`.

    Examples
    --------
    >>> items = [Item(name, None, list) for name in "abcd"]
    >>> parts = [fold(items, 2, number, seed=1).validation for number in range(2)]
    >>> sorted(item.name for part in parts for item in part)
    ['a', 'b', 'c', 'd']
    """
    if folds < 2 or not 0 <= number < folds:
        raise OptionError(f"fold {number} of {folds}; wanted at least 2 folds, counted from 0")
    places = _places(items, folds, seed, group, stratify)
    split = Split(
        [item for item, place in zip(items, places, strict=True) if place != number],
        [item for item, place in zip(items, places, strict=True) if place == number],
    )
    if not split.train or not split.validation:
        raise OptionError(
            many(len(items), "image")
            + (f" in {many(len(set(_values(items, group))), 'group')} of {group}" if group else "")
            + f" cannot be split in {folds} parts: one is empty"
        )
    return split


def _places(items: Sequence[Item], folds: int, seed: int, group: str, stratify: str) -> list[int]:
    """Deal groups out to folds like cards: stratum by stratum, always to the fold that has least of it."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(_values(items, group) if group else [item.name for item in items]):
        members.setdefault(name, []).append(index)
    kinds = _values(items, stratify) if stratify else [""] * len(items)
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    main = {name: _most_common([kinds[index] for index in members[name]]) for name in names}
    have = {kind: np.zeros(folds) for kind in set(kinds)}
    total = np.zeros(folds)
    places = [0] * len(items)
    for name in sorted(names, key=lambda one: (-len(members[one]), main[one])):
        place = int(np.lexsort((np.arange(folds), total, have[main[name]]))[0])
        for index in members[name]:
            places[index] = place
            have[kinds[index]][place] += 1
            total[place] += 1
    return places


def _most_common(kinds: Sequence[str]) -> str:
    return max(sorted(set(kinds)), key=kinds.count)


def _values(items: Sequence[Item], column: str) -> list[str]:
    missing = next((item.name for item in items if column not in item.columns), None)
    if missing is not None:
        known = sorted({name for item in items for name in item.columns})
        raise OptionError(f"{missing} has no column {column!r}; there are {', '.join(known) or 'none'}")
    return [item.columns[column] for item in items]
