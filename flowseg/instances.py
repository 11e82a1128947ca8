"""The instances of one image, each kept as runs of pixels, so that they may overlap and a thousand cost little."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.errors import InputError


@dataclass(frozen=True, eq=False)
class Instances:
    """Instances of one image as runs along its rows; they may overlap.

    Attributes
    ----------
    shape
        (height, width) of the image.
    starts
        (R,) int64: first pixel of each run, counted row by row from 0.
    lengths
        (R,) int64: pixels in each run, at least 1; runs go on from one row into the next.
    offsets
        (n + 1,) int64: the runs of instance k are ``offsets[k]:offsets[k + 1]``, ascending and apart.

    Examples
    --------
    >>> import numpy as np
    >>> instances = Instances.from_masks([np.eye(3), np.ones((3, 3))], shape=(3, 3))
    >>> len(instances), instances.areas().tolist()
    (2, [3, 9])
    """

    shape: tuple[int, int]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.lengths) or len(self.offsets) == 0 or self.offsets[-1] != len(self.starts):
            raise InputError(
                f"{len(self.starts)} starts, {len(self.lengths)} lengths and offsets up to "
                f"{self.offsets[-1] if len(self.offsets) else 'nothing'} do not fit together"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_masks(cls, masks: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> "Instances":
        """Take one mask (height, width) an instance, as booleans or zeros and ones."""
        starts, lengths, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [0]
        for number, given in enumerate(masks, start=1):
            mask = arrays.as_mask(given, f"mask {number}")
            arrays.check_same_shape(mask.shape, shape, f"mask {number} and the image")
            edges = np.flatnonzero(np.diff(mask.ravel().view(np.int8), prepend=0, append=0))
            starts.append(edges[0::2])
            lengths.append(edges[1::2] - edges[0::2])
            offsets.append(offsets[-1] + len(edges) // 2)
        return cls(shape, np.concatenate(starts), np.concatenate(lengths), np.array(offsets, np.int64))

    def areas(self) -> npt.NDArray[np.int64]:
        """Return the number of pixels of each instance, (n,)."""
        total = np.concatenate([[0], np.cumsum(self.lengths)])
        return np.asarray(np.diff(total[self.offsets]), np.int64)

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Return the mask of one instance, (height, width)."""
        mask = np.zeros(self.shape, bool)
        flat = mask.ravel()
        for run in range(self.offsets[index], self.offsets[index + 1]):
            flat[self.starts[run] : self.starts[run] + self.lengths[run]] = True
        return mask
