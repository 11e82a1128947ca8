"""One image on its way from a collection to files."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from flowseg import arrays, measure, overlaps
from flowseg.arrays import Labels
from flowseg.errors import InputError
from flowseg.instances import Instances, to_pieces
from flowseg.options import OverlapOptions
from flowseg.sources.collection import GROUP_COLUMNS, Item

Table = dict[str, measure.Column]
_Value = TypeVar("_Value")


class _Parts(NamedTuple):
    """What is written of an image: instances, the number of each, and the place of what it is a piece of."""

    instances: Instances
    values: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]


class Entry:
    """What is read of an image and made of it once, and forgotten when it is written."""

    def __init__(
        self,
        item: Item,
        overlap: OverlapOptions,
        pieces: bool = False,
        with_image: bool = False,
        axes: str | None = None,
        plane: str | None = None,
    ) -> None:
        self.item, self._overlap, self._pieces, self._with_image = item, overlap, pieces, with_image
        self._axes, self._plane = axes, plane
        self.called = ""
        path = PurePosixPath(item.name)
        if not item.name or path.is_absolute() or ".." in path.parts:
            raise InputError(f"an image is called {item.name!r}; wanted a name that stays in the folder of results")
        if any("\ud800" <= letter <= "\udfff" for letter in item.name):
            raise InputError(f"an image is called {item.name!r}, which is not in UTF-8: rename the file")

    @property
    def name(self) -> str:
        """Name in the collection."""
        return self.item.name

    @property
    def file_name(self) -> str:
        """Name of the image file, as it is ``called`` if that is set; or of the item, where there is none."""
        if self.called:
            return self.called
        return (Path(self.name).parent / self.item.path.name).as_posix() if self.item.path else self.name

    @property
    def instances(self) -> Instances:
        """The instances, as they are, or their pieces."""
        return self._parts.instances

    @property
    def values(self) -> npt.NDArray[np.int64]:
        """The number of each instance, ascending: that in its label image, where it has one; of pieces, 1 to n."""
        return self._parts.values

    def of_each(self, values: Sequence[_Value] | None) -> list[_Value] | None:
        """Return what is said of each instance of the item for each that is written: pieces have that of the whole."""
        if values is None or not self._pieces:
            return None if values is None else list(values)
        return [values[owner] for owner in self._parts.owners]

    @property
    def classes(self) -> list[str]:
        """What each instance is: its category, or the group of its image where it has none; "" where that has none."""
        columns = self.item.columns
        group = next((columns[name] for name in GROUP_COLUMNS if name in columns), "")
        kinds = self.of_each(self.item.categories) or [None] * len(self.instances)
        return [group if kind is None else kind.name for kind in kinds]

    @cached_property
    def _parts(self) -> _Parts:
        found, values = self.item.labelled()
        if not self._pieces:
            return _Parts(found, values, np.arange(len(found)))
        pieces, owners = to_pieces(found)
        return _Parts(pieces, np.arange(1, len(pieces) + 1), owners)

    @cached_property
    def resolved(self) -> overlaps.Resolved:
        """One label image of the instances, and what that changed."""
        return overlaps.resolve_overlaps(self.instances, self._overlap)

    @property
    def labels(self) -> Labels:
        """One label image of the instances, 1 to n."""
        return self.resolved.labels

    @property
    def numbered(self) -> Labels:
        """The same with their own numbers."""
        return np.append(0, self.values).astype(np.int32)[self.labels]

    @cached_property
    def planes(self) -> npt.NDArray[Any]:
        """The pixels of the image, (C, H, W); of the shape of the instances."""
        image = self.item.image(self._axes, self._plane)
        arrays.check_same_shape(self.instances.shape, image.shape, f"the masks of {self.name} and its image")
        return image.pixels

    @cached_property
    def table(self) -> Table:
        """Measurements of the instances that have pixels, each whole; with intensities where there is an image."""
        found = _measured(self.instances, self.planes if self.item.path else None)
        return {**found, "label": self.values[found["label"] - 1]}

    def read(self) -> None:
        """Read what the format needs, so that what cannot be read is known before anything is written."""
        _ = self.instances
        if self._with_image and self.item.path is not None:
            _ = self.planes

    def contested(self) -> tuple[int, int]:
        """Return how many pixels one of several instances got, and how many instances were left with none."""
        if "resolved" not in self.__dict__:
            return 0, 0
        account = self.resolved.account
        covered = np.count_nonzero(self.instances.areas()[list(account.hidden)])
        return account.contested_pixels, int(covered)

    def forget(self) -> None:
        """Let go of what was read and made."""
        for kept in ("_parts", "resolved", "planes", "table"):
            self.__dict__.pop(kept, None)


def _measured(found: Instances, planes: npt.NDArray[Any] | None) -> Table:
    """Measure each instance whole: those that overlap in label images of their own."""
    parts = []
    for layer in overlaps.split_into_layers(found):
        part = measure.measure(layer.labels, planes)
        part["label"] = layer.members[part["label"] - 1] + 1
        parts.append(part)
    order = np.argsort(np.concatenate([part["label"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
