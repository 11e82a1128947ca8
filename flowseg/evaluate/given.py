"""Both sides of a comparison, however they are given: a data set, its path, or arrays by name."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flowseg.errors import InputError
from flowseg.sources.collection import Collection, Item
from flowseg.sources.data_sets import open_collection
from flowseg.sources.memory import instances_of

Side = Collection | str | os.PathLike[str] | Mapping[str, Any]


def opened(given: Side, like: Collection | None = None) -> Collection:
    """Return a side as a collection; ``like`` is the other, which may say how large images are.

    Examples
    --------
    >>> import numpy as np
    >>> [item.name for item in opened({"a": np.eye(3, dtype=int), "b": np.zeros((3, 3), int)})]
    ['a', 'b']
    """
    if isinstance(given, Collection):
        return given
    if isinstance(given, Mapping):
        wrong = next((name for name in given if not isinstance(name, str)), None)
        if wrong is not None:
            raise InputError(f"an image is called {wrong!r}; wanted names, as texts")
        # of what `segment` returned, its labels
        masks: dict[str, Any] = {name: getattr(found, "labels", found) for name, found in given.items()}
        items = tuple(Item(name, None, partial(instances_of, found)) for name, found in sorted(masks.items()))
        return Collection(Path("arrays"), "arrays", items)
    if isinstance(given, str | os.PathLike):
        collection = open_collection(Path(given), expect_labels=True, like=like)
        collection.require_sound()
        return collection
    raise InputError(f"one side is {type(given).__name__}; wanted a data set, its path, or label images by name")
