"""What the header of an image file says."""

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowseg import images


class Header(NamedTuple):
    """An image file before it is decoded.

    Attributes
    ----------
    path
        The file.
    shape
        Size of each axis as stored.
    axes
        A letter for each axis: T, Z, C, Y, X, S (colour samples); any other letter is an axis the file does not name.
    dtype
        Type of the pixels when decoded.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]

    @property
    def says_axes(self) -> bool:
        """Whether each axis that is longer than 1 has a name."""
        return all(size == 1 or letter in images.AXES for letter, size in zip(self.axes, self.shape, strict=True))

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(height, width) of a plane; where an axis has no name, as far as the shape tells."""
        if not self.says_axes and images.has_channels_last(self.shape, self.axes):
            return self.shape[0], self.shape[1]
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return sizes.get("Y", 1), sizes.get("X", 1)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all planes take when decoded."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def plane_nbytes(self) -> int:
        """Bytes of memory that one plane with all its channels takes."""
        kept = [size for letter, size in zip(self.axes, self.shape, strict=True) if letter not in "TZ"]
        return prod(kept) * self.dtype.itemsize
