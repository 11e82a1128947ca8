"""The instances of one image, each kept as runs of pixels, so that they may overlap and a thousand cost little."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, threads
from flowseg.errors import InputError
from flowseg.kernels import run_shapes, runs
from flowseg.words import many

Int64s = npt.NDArray[np.int64]

MAX_PIXELS = 2**56  # below this no sum of pixel numbers wraps


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

    The arrays are copies and read-only, so that what was checked when it was built stays right.

    Examples
    --------
    >>> import numpy as np
    >>> instances = Instances.from_masks([np.eye(3), np.ones((3, 3))], shape=(3, 3))
    >>> len(instances), instances.areas().tolist()
    (2, [3, 9])
    """

    shape: tuple[int, int]
    starts: Int64s
    lengths: Int64s
    offsets: Int64s

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        for name in ("starts", "lengths", "offsets"):
            object.__setattr__(self, name, _read_only(getattr(self, name), name))
        _check_fit(self)
        _check_runs(self)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Instances({many(len(self), 'instance')}, {height} x {width} pixels)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Be built again where it is unpickled: arrays that travel alone may be written to."""
        return Instances, (self.shape, self.starts, self.lengths, self.offsets)

    @classmethod
    def from_masks(cls, masks: Iterable[npt.ArrayLike], shape: Sequence[int]) -> "Instances":
        """Take one mask (height, width) an instance, as booleans or zeros and ones."""
        size = as_shape(shape)
        starts, lengths, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [0]
        for number, given in enumerate(masks, start=1):
            mask = arrays.as_mask(given, f"mask {number}")
            arrays.check_same_shape(mask.shape, size, f"mask {number} and the image")
            edges = _edges(mask)
            starts.append(edges[0::2])
            lengths.append(edges[1::2] - edges[0::2])
            offsets.append(offsets[-1] + len(edges) // 2)
        return cls(size, np.concatenate(starts), np.concatenate(lengths), np.array(offsets, np.int64))

    @classmethod
    def from_labels(cls, labels: npt.ArrayLike) -> "Instances":
        """Take the instances of a label image (height, width), in ascending order of label; gaps are left out.

        Examples
        --------
        >>> Instances.from_labels([[0, 7, 7], [3, 0, 7]]).areas().tolist()
        [1, 3]
        """
        return from_labels(labels).instances

    def to_labels(self) -> arrays.Labels:
        """Return the label image (height, width) int32 in which instance k has label k + 1.

        Raises
        ------
        InputError
            Two instances share a pixel; the text names them, counted from 1.

        Examples
        --------
        >>> Instances.from_labels([[0, 7, 7], [3, 0, 7]]).to_labels().tolist()
        [[0, 2, 2], [1, 0, 2]]
        """
        labels, overlap = self._painted()
        if overlap is not None:
            raise InputError(
                f"instances {overlap.first + 1} and {overlap.second + 1} (counted from 1) both hold the pixel "
                f"{overlap.pixel} (row, column); wanted instances that do not overlap: "
                "make them so with overlaps.resolve_overlaps"
            )
        return labels

    def find_overlap(self) -> "Overlap | None":
        """Return one pair of instances that share a pixel, or None where no two do."""
        return self._painted()[1]

    def transposed(self) -> "Instances":
        """Return the instances of the transposed image: their runs are the runs down the columns of this one.

        Examples
        --------
        >>> Instances.from_labels([[1, 1], [0, 0], [0, 2]]).transposed().to_labels().tolist()
        [[1, 0, 0], [1, 0, 2]]
        """
        height, width = self.shape
        segments, bounds = runs.split_at_line_ends(self.starts, self.lengths, self.offsets, width)
        return Instances((width, height), *runs.transpose(segments, bounds, width, height))

    def pieces(self) -> "Instances":
        """Return every piece as an instance of its own, those of one instance after another.

        Pixels of a piece touch at least at corners.

        Examples
        --------
        >>> Instances.from_labels([[1, 0, 1, 1], [1, 0, 0, 0]]).pieces().to_labels().tolist()
        [[1, 0, 2, 2], [1, 0, 0, 0]]
        """
        return to_pieces(self).instances

    def areas(self) -> Int64s:
        """Return the number of pixels of each instance, (n,)."""
        total = np.concatenate([[0], np.cumsum(self.lengths)])
        return np.asarray(np.diff(total[self.offsets]), np.int64)

    def diameters(self) -> npt.NDArray[np.float64]:
        """Return the diameter in pixels of a disc of the area of each instance, (n,); 0 where it has no pixels.

        >>> Instances.from_labels([[5, 5], [5, 5]]).diameters().round(3).tolist()
        [2.257]
        """
        return np.asarray(2 * np.sqrt(self.areas() / np.pi))

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Return the mask of one instance, (height, width); -1 is the last."""
        place = range(len(self))[index]
        mask = np.zeros(self.shape, bool)
        flat = mask.ravel()
        for run in range(self.offsets[place], self.offsets[place + 1]):
            flat[self.starts[run] : self.starts[run] + self.lengths[run]] = True
        return mask

    def _painted(self) -> "tuple[arrays.Labels, Overlap | None]":
        labels = np.zeros(self.shape, np.int32)
        first, second, pixel = map(int, runs.paint(self.starts, self.lengths, self.offsets, labels.ravel()))
        if first < 0:
            return labels, None
        return labels, Overlap(first, second, divmod(pixel, self.shape[1]))


class Overlap(NamedTuple):
    """Two instances (indices from 0, first < second) and a pixel (row, column) that both hold."""

    first: int
    second: int
    pixel: tuple[int, int]


class LabelInstances(NamedTuple):
    """The instances of a label image, and the label that each had there: (n,) int64, ascending."""

    instances: Instances
    values: Int64s


def from_labels(labels: npt.ArrayLike) -> LabelInstances:
    """Find the runs of all instances of a label image (height, width) in one pass; labels may have gaps.

    Examples
    --------
    >>> from_labels([[0, 7, 7], [3, 0, 7]]).values.tolist()
    [3, 7]
    """
    image, values = arrays.as_labels(labels)
    flat = image.ravel()
    starts, lengths = _scanned(flat)
    starts, lengths, bounds = runs.group(flat, starts, lengths, len(values) - 1)
    present = np.flatnonzero(np.diff(bounds))
    offsets = np.append(bounds[present], len(starts))
    return LabelInstances(Instances(_two(image.shape), starts, lengths, offsets), values[present])


class Pieces(NamedTuple):
    """Pieces as instances, and the instance (from 0) that each is of: (n,) int64, ascending."""

    instances: Instances
    owners: Int64s


def to_pieces(instances: Instances) -> Pieces:
    """Make every piece an instance of its own; see `Instances.pieces`.

    Examples
    --------
    >>> to_pieces(Instances.from_labels([[1, 0, 1, 0, 2]])).owners.tolist()
    [0, 0, 1]
    """
    width = max(as_instances(instances).shape[1], 1)
    segments, bounds = runs.split_at_line_ends(instances.starts, instances.lengths, instances.offsets, width)
    piece = run_shapes.owners(segments, bounds)
    _, firsts, pieces = np.unique(piece, return_index=True, return_inverse=True)
    order = np.argsort(firsts[pieces.reshape(-1)], kind="stable")
    starts, lengths = (segments[0] * width + segments[1])[order], (segments[2] - segments[1])[order]
    piece = piece[order]
    new = np.ones(len(order), bool)  # runs that were cut at the end of a line are one again
    new[1:] = (piece[1:] != piece[:-1]) | (starts[1:] != starts[:-1] + lengths[:-1])
    at = np.flatnonzero(new)
    changes = np.flatnonzero(np.diff(piece[at])) + 1
    offsets = np.concatenate([[0], changes, [len(at)]]) if len(at) else np.zeros(1, np.int64)
    found = Instances(instances.shape, starts[at], np.add.reduceat(lengths, at) if len(at) else lengths, offsets)
    return Pieces(found, np.searchsorted(bounds, np.sort(firsts), side="right") - 1)


def as_instances(given: object) -> Instances:
    """Check that instances came, not the labels or masks that they are made of."""
    if not isinstance(given, Instances):
        raise InputError(
            f"instances is {type(given).__name__}; wanted Instances: Instances.from_labels(labels) of a label image, "
            "Instances.from_masks(masks, shape) of masks"
        )
    return given


def as_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Check an image's (height, width)."""
    try:
        height, width = (operator.index(side) for side in shape)
    except (TypeError, ValueError):
        raise InputError(f"shape is {shape!r}; wanted two whole numbers (height, width)") from None
    if min(height, width) < 0 or height * width > MAX_PIXELS:
        raise InputError(f"shape is {shape!r}; wanted (height, width) of an image, not negative, not beyond memory")
    return height, width


def _two(shape: tuple[Any, ...]) -> tuple[int, int]:
    height, width = shape
    return height, width


def _edges(mask: npt.NDArray[np.bool_]) -> Int64s:
    """Return where runs of a mask begin and end, by turns; booleans are compared many at a time, and counted fast."""
    framed = np.zeros(mask.size + 2, bool)
    framed[1:-1] = mask.ravel()
    return np.flatnonzero(framed[1:] != framed[:-1])


def _scanned(flat: arrays.Labels) -> tuple[Int64s, Int64s]:
    """Find the runs of a flat label image in order, on threads; each range has its own part of the buffers."""
    bounds = threads.even_bounds(flat.size, min(threads.count(), flat.size // 2**18 + 1))
    parts: dict[int, tuple[Int64s, Int64s]] = {}

    def scan_range(start: int, stop: int) -> None:
        parts[start] = _scanned_range(flat, start, stop)

    threads.over_ranges(scan_range, bounds)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    ordered = [parts[start] for start in sorted(parts)]
    return np.concatenate([part[0] for part in ordered]), np.concatenate([part[1] for part in ordered])


def _scanned_range(flat: arrays.Labels, start: int, stop: int) -> tuple[Int64s, Int64s]:
    room = (stop - start) // 16 + 64  # cells have long runs; noise is scanned again with the room it needs
    while True:
        starts, lengths = np.empty(room, np.int64), np.empty(room, np.int64)
        found = runs.scan(flat, start, stop, starts, lengths)
        if found <= room:
            return starts[:found], lengths[:found]
        room = found


def _read_only(given: npt.ArrayLike, name: str) -> Int64s:
    array = np.asarray(given)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} has shape {array.shape} and type {array.dtype}; wanted a list of whole numbers")
    own = np.array(array, np.int64)
    own.flags.writeable = False
    return own


def _check_fit(instances: Instances) -> None:
    starts, lengths, offsets = instances.starts, instances.lengths, instances.offsets
    fits = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(starts) == len(lengths)
    if not fits or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{len(starts)} starts, {len(lengths)} lengths and offsets up to "
            f"{offsets[-1] if len(offsets) else 'nothing'} do not fit together"
        )


def _check_runs(instances: Instances) -> None:
    """Raise unless runs are inside the image, and ascending and apart within each instance: kernels trust them."""
    starts, lengths, offsets = instances.starts, instances.lengths, instances.offsets
    if len(starts) == 0:
        return
    height, width = instances.shape
    if starts.min() < 0 or lengths.min() < 1 or (starts > height * width - lengths).any():
        raise InputError(f"runs leave the image of {height} x {width} pixels, or have no length")
    apart = starts[1:] > starts[:-1] + lengths[:-1]
    inner = offsets[(offsets > 0) & (offsets < len(starts))]
    apart[inner - 1] = True  # where one instance ends and another begins
    if not apart.all():
        run = int(np.argmin(apart)) + 1
        owner = int(np.searchsorted(offsets, run, side="right"))
        raise InputError(
            f"instance {owner} (counted from 1) has a run that starts at {starts[run]} where the one before ends at "
            f"{starts[run - 1] + lengths[run - 1]}; wanted runs that ascend with a gap between"
        )
