"""What a data set holds, and what looks wrong in it: sizes, diameters, overlaps, suspicious masks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import threads
from flowseg.errors import FlowsegError, OptionError
from flowseg.instances import Instances, LabelInstances
from flowseg.json_values import plain
from flowseg.kernels import layers, run_shapes, runs
from flowseg.sources import image_files
from flowseg.sources.collection import Collection, Item, spread
from flowseg.words import many

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

TINY = 15  # pixels: below the usual smallest size of a result
MOST = 0.5  # of an image
_WORST = 5
_MOST_GROUPS = 8
_ENOUGH = 5  # instances, to say something of most of them

#: What makes a mask suspicious: name, what it says, and whether the largest value is the worst.
SUSPICIONS: dict[str, tuple[str, bool]] = {
    "pieces": ("in several pieces", True),
    "holes": ("with holes", True),
    "tiny": (f"of fewer than {TINY} pixels", False),
    "border": ("touching the border of the image", True),
    "large": (f"covering more than {MOST:.0%} of the image", True),
    "hidden": ("with no pixel that is theirs alone", True),
    "twice": ("the same as another", True),
}


class Spread(NamedTuple):
    """The middle and the ends of some numbers; NaN where there are none."""

    median: float
    low: float
    high: float


class Suspect(NamedTuple):
    """One mask: its image, its number there, and how bad it is (pieces, holes, pixels, a share).

    The number is that in a label image, or the place among the masks counted from 1.
    """

    image: str
    instance: int
    value: float


@dataclass(frozen=True)
class Suspicion:
    """All masks that are suspicious in one way; ``worst`` names some."""

    count: int
    worst: tuple[Suspect, ...]


@dataclass(frozen=True)
class Group:
    """Images that agree in a column, or all.

    Attributes
    ----------
    images, instances
        How many.
    per_image
        Instances an image: median, 5 % and 95 %.
    diameter
        In pixels, of discs of the same area: median, 5 % and 95 %.
    overlapping
        Instances that share a pixel with another.
    shared
        Share of the pixels of instances that belong to several.
    """

    images: int
    instances: int
    per_image: Spread
    diameter: Spread
    overlapping: int
    shared: float


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    root, format
        The data set and how it is stored.
    images
        How many it has; ``looked_at`` of them were read.
    problems
        What cannot be used, in words.
    shapes, types
        Images by height x width, and by type and channels; only of those that have an image file.
    empty
        Names of images without instances.
    whole
        All images that were read.
    groups
        For each column with a few different values, a group for each value.
    suspicions
        By name of `SUSPICIONS`.
    notes
        What is likely wrong with the data set as a whole, in words.
    """

    root: str
    format: str
    images: int
    looked_at: int
    problems: tuple[str, ...]
    shapes: dict[str, int]
    types: dict[str, int]
    empty: tuple[str, ...]
    whole: Group
    groups: dict[str, dict[str, Group]]
    suspicions: dict[str, Suspicion]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, for JSON; what is not a number is None."""
        values = plain(asdict(self))
        assert isinstance(values, dict)
        return values


class Looked(NamedTuple):
    """What is kept of one image; arrays have one entry an instance.

    Attributes
    ----------
    item, shape
        The image.
    numbers
        Of the instances; see `Suspect`.
    areas, shared
        Pixels of each instance, and those that it shares with others.
    covered, contested
        Pixels of the image inside instances, and inside several.
    marks
        By name of `SUSPICIONS`, how bad each instance is in that way.
    """

    item: Item
    shape: tuple[int, int]
    numbers: Indices
    areas: Indices
    shared: Indices
    covered: int
    contested: int
    marks: dict[str, Floats]

    def suspects(self, name: str) -> Indices:
        """Return the places of the instances that are suspicious in a way."""
        values = self.marks[name]
        return np.flatnonzero(values > 0 if SUSPICIONS[name][1] else values < np.inf)


def sampled(collection: Collection, limit: int | None) -> list[Item]:
    """Return so many items, evenly over the collection; all where there is no limit."""
    if limit is not None and limit < 1:
        raise OptionError(f"limit is {limit}; wanted at least 1 image")
    return spread(collection.items, len(collection) if limit is None else limit)


def inspect(
    collection: Collection,
    limit: int | None = None,
    tell: Callable[[object], None] = lambda item: None,
) -> Report:
    """Read the instances of a collection, of images the headers alone, and say what is there.

    Parameters
    ----------
    collection
        Of any source.
    limit
        Read so many images only, evenly over the collection.
    tell
        Called after each image.

    Examples
    --------
    >>> from flowseg.sources.data_sets import open_collection            # doctest: +SKIP
    >>> inspect(open_collection("train.csv")).whole.diameter.median      # doctest: +SKIP
    17.4
    """
    items = sampled(collection, limit)
    looked: list[Looked] = []
    problems = list(collection.problems)
    headers: list[image_files.Header] = []
    for item, (header, found) in zip(items, threads.mapped(_read, items), strict=True):
        headers += [] if header is None else [header]
        if isinstance(found, Looked):
            looked.append(found)
        else:
            problems.append(found)
        tell(item)
    return Report(
        root=str(collection.root),
        format=collection.format,
        images=len(collection),
        looked_at=len(looked),
        problems=tuple(problems),
        shapes=_counted(f"{one.shape[0]} x {one.shape[1]}" for one in looked),
        types=_counted(_type_of(header) for header in headers),
        empty=tuple(one.item.name for one in looked if not len(one.areas)),
        whole=_group(looked),
        groups=_groups(looked),
        suspicions={name: _suspicion(looked, name) for name in SUSPICIONS},
        notes=(*collection.notes, *_notes(looked, collection.format)),
    )


def _read(item: Item) -> tuple[image_files.Header | None, Looked | str]:
    """Return the header of an image, if it can be read, and its instances, or what is wrong."""
    header = None
    try:
        header = None if item.path is None else image_files.probe(item.path)
        return header, look_at(item)
    except (FlowsegError, OSError) as error:
        return header, str(error) if item.name in str(error) else f"{item.name}: {error}"


def look_at(item: Item, found: LabelInstances | None = None) -> Looked:
    """Measure the instances of one image, which are read unless they are given."""
    instances, numbers = item.labelled() if found is None else found
    height, width = instances.shape
    areas = instances.areas()
    segments, bounds = runs.split_at_line_ends(instances.starts, instances.lengths, instances.offsets, max(width, 1))
    pieces, holes, border = run_shapes.measure(segments, bounds, height, width)
    depth = np.zeros(height * width, np.int32)
    order = np.arange(len(instances))
    layers.lay(instances.starts, instances.lengths, instances.offsets, order, np.zeros_like(depth), depth)
    shared = layers.shared_pixels(instances.starts, instances.lengths, instances.offsets, depth)
    there = areas > 0
    share = areas / max(height * width, 1)
    marks = {
        "pieces": np.where(pieces > 1, pieces, 0),
        "holes": holes,
        "tiny": np.where(areas < TINY, areas, np.inf),
        "border": border,
        "large": np.where(share > MOST, share, 0),
        "hidden": np.where(there & (shared == areas), areas, 0),
        "twice": _twice(instances),
    }
    return Looked(
        item,
        instances.shape,
        numbers,
        areas,
        shared,
        int(np.count_nonzero(depth)),
        int(np.count_nonzero(depth > 1)),
        {name: np.asarray(values, np.float64) for name, values in marks.items()},
    )


def _twice(instances: Instances) -> Indices:
    """Return, for each instance that repeats an earlier one, the pixels of it; else 0."""
    seen: set[bytes] = set()
    found = np.zeros(len(instances), np.int64)
    areas = instances.areas()
    for index in range(len(instances)):
        own = slice(instances.offsets[index], instances.offsets[index + 1])
        key = instances.starts[own].tobytes() + instances.lengths[own].tobytes()
        if key in seen:
            found[index] = areas[index]
        seen.add(key)
    return found


def _counted(texts: Any) -> dict[str, int]:
    return dict(Counter(texts).most_common())


def _type_of(header: image_files.Header) -> str:
    """Return type and channels in words."""
    sizes = dict(zip(header.axes, header.shape, strict=True))
    if "S" in sizes:
        return f"{header.dtype}, {'RGBA' if sizes['S'] == 4 else 'RGB' if sizes['S'] == 3 else 'grey and alpha'}"
    if not header.says_axes:
        return f"{header.dtype}, {' x '.join(map(str, header.shape))}, axes not said (--axes)"
    planes = "".join(f", {size} along {axis}" for axis, size in sizes.items() if axis not in "CYX" and size > 1)
    return f"{header.dtype}, {many(sizes.get('C', 1), 'channel')}{planes}"


def _spread(numbers: npt.ArrayLike) -> Spread:
    values = np.asarray(numbers, np.float64)
    if not values.size:
        return Spread(float("nan"), float("nan"), float("nan"))
    return Spread(*(float(value) for value in np.percentile(values, (50, 5, 95))))


def _group(looked: Sequence[Looked]) -> Group:
    areas = np.concatenate([np.zeros(0, np.int64), *(one.areas for one in looked)])
    covered = sum(one.covered for one in looked)
    return Group(
        images=len(looked),
        instances=len(areas),
        per_image=_spread([len(one.areas) for one in looked]),
        diameter=_spread(2 * np.sqrt(areas[areas > 0] / np.pi)),
        overlapping=sum(int(np.count_nonzero(one.shared)) for one in looked),
        shared=sum(one.contested for one in looked) / covered if covered else 0.0,
    )


def _groups(looked: Sequence[Looked]) -> dict[str, dict[str, Group]]:
    """Return the groups of every column that sorts images into a few kinds, by words and not by numbers."""
    found = {}
    for column in sorted({name for one in looked for name in one.item.columns}):
        members: dict[str, list[Looked]] = {}
        for one in looked:
            members.setdefault(one.item.columns.get(column, ""), []).append(one)
        few = 2 <= len(members) <= min(_MOST_GROUPS, len(looked) // 2)
        if few and not all(_is_number(value) for value in members):
            found[column] = {value: _group(members[value]) for value in sorted(members)}
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _suspicion(looked: Sequence[Looked], name: str) -> Suspicion:
    largest = SUSPICIONS[name][1]
    suspects = []
    for one in looked:
        values = one.marks[name]
        for index in one.suspects(name):
            suspects.append(Suspect(one.item.name, int(one.numbers[index]), float(values[index])))
    suspects.sort(key=lambda suspect: (-suspect.value if largest else suspect.value, suspect.image, suspect.instance))
    return Suspicion(len(suspects), tuple(suspects[:_WORST]))


def _are_torn(looked: Sequence[Looked]) -> bool:
    """Whether most instances are in several pieces, as those of run lengths are that were read in the wrong order."""
    pieces = np.concatenate([np.zeros(0), *(one.marks["pieces"] for one in looked)])
    return len(pieces) >= _ENOUGH and float(np.mean(pieces > 0)) > 1 / 2


def _notes(looked: Sequence[Looked], kind: str) -> list[str]:
    """Say what is likely wrong with the data set as a whole."""
    notes = []
    if kind == "kaggle" and _are_torn(looked):
        notes.append(
            "most masks are in several pieces: if the table counts pixels the other way than its columns say, along "
            "rows or down columns, say which (--order row, --order column)"
        )
    single = [one for one in looked if len(one.areas) == 1 and one.marks["pieces"][0] >= 5]
    if single:
        notes.append(
            f"{many(len(single), 'image has', 'images have')} one instance in five or more pieces, such as "
            f"{single[0].item.name}: if these are masks of all cells together, label each piece first (flowseg convert "
            "DATA OUT --to labels --pieces)"
        )
    alone = sum(one.item.path is None for one in looked)
    if alone:
        items = many(alone, "item has", "items have")
        notes.append(f"{items} instances but no image: these can be evaluated and converted, not trained on")
    return notes
