"""Images with their instances, whatever the files look like: what training, evaluation and conversion read.

Each reader of a kind of data set makes a `Collection`: quick to make, for pixels are read when they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowseg import arrays
from flowseg.errors import InputError
from flowseg.images import Image
from flowseg.instances import Instances, LabelInstances
from flowseg.sources import image_files
from flowseg.words import many

GROUP_COLUMNS = ("cell_type", "kind")
"""Columns that say what the cells of an image are, in the order in which they are looked for."""

_MOST_TOLD = 20


class Category(NamedTuple):
    """A kind of instances, as a data set has it: name, own number, and what it belongs to, where that is said."""

    name: str
    number: int | str
    supercategory: str | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """One image and its instances, read when asked for.

    Attributes
    ----------
    name
        Its id in the collection: unique, and safe as the name of a file, below folders where it has some (``a/x``).
    path
        The image file; None where there are instances alone, as in a submission.
    load
        Reads the instances, with their numbers where they have some; a plain function of the module or a
        `functools.partial` of one, so that it can be sent to another process.
    columns
        What else is known about the image, by name: ``{"cell_type": "cort"}``.
    scores
        A confidence for each instance, or None where there are none.
    categories
        The category of each instance, None where it has none; or None where there are none at all.
    """

    name: str
    path: Path | None
    load: Callable[[], Instances | LabelInstances] = field(repr=False)
    columns: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[float, ...] | None = field(default=None, repr=False)
    categories: tuple[Category | None, ...] | None = field(default=None, repr=False)

    def image(self, axes: str | None = None, plane: str | None = None) -> Image:
        """Read the image.

        Raises
        ------
        InputError
            There is none, or it cannot be read.
        """
        if self.path is None:
            raise InputError(f"{self.name} has instances but no image")
        return image_files.read(self.path, axes=axes, plane=plane)

    def instances(self) -> Instances:
        """Read the instances; they may overlap."""
        return self.labelled().instances

    def labelled(self) -> LabelInstances:
        """Read the instances, and the number of each: that in its label image, which may have gaps, or else 1 to n."""
        found = self.load()
        return found if isinstance(found, LabelInstances) else LabelInstances(found, np.arange(1, len(found) + 1))

    def sample(self, axes: str | None = None) -> tuple[Image, Instances]:
        """Read both, and check that they are of one shape."""
        image, instances = self.image(axes), self.instances()
        arrays.check_same_shape(instances.shape, image.shape, f"the masks of {self.name} and its image")
        return image, instances


@dataclass(frozen=True, eq=False)
class Collection:
    """The items of a data set, in order of name.

    Attributes
    ----------
    root
        The file or folder it was read from.
    format
        How it is stored, a name of `flowseg.sources.data_sets`.
    items
        What can be used.
    problems
        What cannot, in words: a missing image, masks without an image, a row that cannot be read.
    notes
        What may be meant so, in words: images that a table does not name.
    categories
        Those that the data set lists, in its order, whether or not an instance is of them.
    """

    root: Path
    format: str
    items: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()

    def __repr__(self) -> str:
        problems = f", {many(len(self.problems), 'problem')}" if self.problems else ""
        return f"Collection({self.root}, {self.format}, {many(len(self.items), 'image')}{problems})"

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]

    def require_sound(self) -> None:
        """Raise one error that lists all problems, or that nothing was found."""
        if self.problems:
            raise InputError(listed_problems(str(self.root), self.problems))
        if not self.items:
            raise InputError(f"{self.root} has no image with masks in the format {self.format}")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return so many items, evenly from the first to the last; all, where there are no more."""
    if most >= len(items):
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, most).round()]


def listed_problems(where: str, problems: Sequence[str]) -> str:
    """Return problems as one text, a line each.

    >>> print(listed_problems("cells", ["a.png is empty"]))
    cells has 1 problem:
      - a.png is empty
    """
    told = "".join(f"\n  - {problem}" for problem in problems[:_MOST_TOLD])
    more = len(problems) - _MOST_TOLD
    return f"{where} has {many(len(problems), 'problem')}:{told}" + (f"\n  and {more} more" if more > 0 else "")
