"""What both codecs share: one mask as runs, rows and what errors call them, texts joined into bytes and split."""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.words import many

Int64s = npt.NDArray[np.int64]
Called = Callable[[int], str]  # row index -> what errors call it


def one_instance(mask: npt.ArrayLike) -> Instances:
    checked = arrays.as_mask(mask)
    return Instances.from_masks([checked], checked.shape)


def listed_rows(rows: Iterable[Any], names: Iterable[object] | None) -> tuple[list[Any], Called]:
    """Return the rows, and how errors call each."""
    if isinstance(rows, str | bytes | Mapping):
        raise InputError(f"rows is one {type(rows).__name__}; wanted a list, one item an instance")
    items = list(rows)
    if names is None:
        return items, lambda row: f"row {row + 1}"
    given = list(names)
    if len(given) != len(items):
        raise InputError(f"{many(len(given), 'name')} for {many(len(items), 'row')}; wanted one each")
    return items, lambda row: f"row {row + 1} ({given[row]})"


def split_texts(text: npt.NDArray[np.uint8], bounds: Int64s) -> list[str]:
    whole = text.tobytes().decode("ascii")
    return [whole[first:stop] for first, stop in pairwise(bounds.tolist())]


def joined_texts(texts: list[str]) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """Put ASCII texts one after another as bytes (with one more, as numpy takes no empty buffer)."""
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=bounds[1:])
    return np.frombuffer("".join([*texts, " "]).encode("ascii"), np.uint8), bounds


def short(word: str) -> str:
    return word if len(word) <= 30 else f"{word[:27]}..."
