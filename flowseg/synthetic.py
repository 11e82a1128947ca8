"""Neurons as a phase-contrast microscope shows them, with the truth: data to try things on, as Sartorius' is laid out.

Three kinds: ``shsy5y``, long thin bodies in dense clusters; ``cort``, small round bodies with neurites; ``astro``,
large and irregular. Neighbours overlap a little. The same seed gives the same images, one by one.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from flowseg import files, rle
from flowseg.errors import OptionError
from flowseg.instances import Instances

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

KINDS = ("cort", "shsy5y", "astro")
SHAPE = (520, 704)
COLUMNS = (
    *("id", "annotation", "width", "height", "cell_type", "plate_time", "sample_date", "sample_id"),
    "elapsed_timedelta",
)

_MARGIN = 3  # pixels around a cell in its box
_LEAST_VISIBLE = 24  # pixels of a cell that is cut off by the border
_TRIES = 6  # places tried for each cell
_MAY_OVERLAP = {"cort": 0.15, "shsy5y": 0.3, "astro": 0.25}  # of a new cell, at most
_A_MEGAPIXEL = {"cort": (60.0, 160.0), "shsy5y": (450.0, 900.0), "astro": (90.0, 240.0)}  # cells, from and to


class Neurons(NamedTuple):
    """An image (H, W) uint8, and its cells; they may overlap."""

    image: npt.NDArray[np.uint8]
    instances: Instances


class Written(NamedTuple):
    """What `write_sartorius` wrote.

    Attributes
    ----------
    train
        The table of the training images, ``train.csv``; they are in ``train/`` beside it.
    test
        The folder of the test images.
    truth
        The table of the test images, in a folder of its own.
    """

    train: Path
    test: Path
    truth: Path


class _Limb(NamedTuple):
    """A part of a cell: a line of points (K, 2), y and x, and how far the cell reaches around each."""

    points: Floats
    reach: Floats


class _Cell(NamedTuple):
    """One cell: its box in the image, and how deep inside it each pixel of the box is (0 outside)."""

    box: tuple[slice, slice]
    depth: Floats

    @property
    def mask(self) -> Bools:
        return self.depth > 0


def neurons(rng: np.random.Generator, kind: str, shape: tuple[int, int] = SHAPE) -> Neurons:
    """Make one image.

    Parameters
    ----------
    rng
        Where all that is random comes from.
    kind
        One of `KINDS`.
    shape
        (height, width) in pixels.

    Examples
    --------
    >>> made = neurons(np.random.default_rng(1), "cort", (120, 160))
    >>> made.image.shape, made.image.dtype.name, len(made.instances) > 0
    ((120, 160), 'uint8', True)
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; wanted one of {', '.join(KINDS)}")
    if min(shape) < 32:
        raise OptionError(f"shape is {shape}; wanted at least 32 pixels each way")
    bend = [_smooth(rng, shape, 6.0) * 1.6 for _ in range(2)]
    low, high = (bound * shape[0] * shape[1] / 1e6 for bound in _A_MEGAPIXEL[kind])
    wanted = max(1, round(rng.uniform(low, high)))
    cells = _placed(rng, kind, shape, wanted, bend)
    return Neurons(_picture(rng, kind, shape, cells), Instances.from_masks(_masks(cells, shape), shape))


def write_sartorius(
    folder: Path, count: int, seed: int = 0, *, test: int | None = None, shape: tuple[int, int] = SHAPE
) -> Written:
    """Write training images with a table as Sartorius' has it, and test images with the truth apart.

    Parameters
    ----------
    folder
        Made where it is not there: ``train/``, ``train.csv``, ``test/`` and ``truth/test.csv``.
    count
        Training images; kinds take turns.
    seed
        Of all that is random.
    test
        Test images; None: one for five of training, at least one of each kind.
    shape
        (height, width) of all images.

    Returns
    -------
    Written
        Where the parts are.

    Examples
    --------
    >>> import tempfile
    >>> written = write_sartorius(Path(tempfile.mkdtemp()), 3, test=0, shape=(64, 80))
    >>> len(list((written.train.parent / "train").iterdir()))
    3
    """
    if count < 1 or (test is not None and test < 0):
        raise OptionError(f"{count} training and {test} test images; wanted at least 1 and 0")
    tested = max(len(KINDS), count // 5) if test is None else test
    written = Written(folder / "train.csv", folder / "test", folder / "truth" / "test.csv")
    _write_part(folder / "train", written.train, range(count), seed, shape)
    _write_part(written.test, written.truth, range(count, count + tested), seed, shape)
    return written


def _write_part(images: Path, table: Path, numbers: range, seed: int, shape: tuple[int, int]) -> None:
    for place in (images, table.parent):
        place.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        name = rng.bytes(6).hex()
        made = neurons(rng, kind, shape)
        buffer = io.BytesIO()
        Image.fromarray(made.image).save(buffer, "PNG")
        files.write_whole(images / f"{name}.png", buffer.getvalue())
        about = _about(rng, kind)
        for annotation in rle.encode_instances(made.instances):
            writer.writerow([name, annotation, shape[1], shape[0], kind, *about])
    files.write_whole(table, text.getvalue().encode())


def _about(rng: np.random.Generator, kind: str) -> tuple[str, str, str, str]:
    """Return plate_time, sample_date, sample_id and elapsed_timedelta, as Sartorius writes them."""
    hour, minute, day = int(rng.integers(0, 24)), int(rng.choice([0, 30])), int(rng.integers(1, 29))
    well = f"{'ABCDEFGH'[int(rng.integers(8))]}{int(rng.integers(1, 13))}-{int(rng.integers(1, 5))}"
    sample = f"{kind}[synthetic]_{well}_Vessel-{int(rng.integers(100, 999))}_Ph_{int(rng.integers(1, 5))}"
    return f"{hour}h{minute:02d}m00s", f"2019-06-{day:02d}", sample, f"0 days {hour:02d}:{minute:02d}:00"


# ------------------------------------------------------------------------------------------------------- cells


def _placed(
    rng: np.random.Generator, kind: str, shape: tuple[int, int], wanted: int, bend: list[Floats]
) -> list[_Cell]:
    """Put cells where they do not cover one another too much."""
    taken = np.zeros(shape, bool)
    centres = _centres(rng, kind, shape, wanted)
    cells = []
    for _ in range(wanted):
        for _ in range(_TRIES):
            cell = _drawn(_LIMBS[kind](rng, next(centres)), shape, bend)
            area = np.count_nonzero(cell.mask)
            if area < _LEAST_VISIBLE:
                continue
            if np.count_nonzero(cell.mask & taken[cell.box]) <= _MAY_OVERLAP[kind] * rng.random() ** 2 * area:
                taken[cell.box] |= cell.mask
                cells.append(cell)
                break
    return cells


def _centres(rng: np.random.Generator, kind: str, shape: tuple[int, int], wanted: int) -> Iterator[Floats]:
    """Yield places for cells: anywhere, or most of them in clusters."""
    hubs = rng.uniform((0, 0), shape, (max(1, wanted // 25), 2))
    while True:
        if kind == "shsy5y" and rng.random() < 0.8:
            yield rng.normal(hubs[rng.integers(len(hubs))], 45.0)
        else:
            yield rng.uniform((0, 0), shape)


def _long(rng: np.random.Generator, centre: Floats) -> list[_Limb]:
    """Return a bent spindle that runs out into thin ends."""
    length, width, way = rng.uniform(22, 58), rng.uniform(4.0, 6.5), rng.uniform(0, np.pi)
    along = np.linspace(-1, 1, 13)
    across = rng.uniform(-0.25, 0.25) * (1 - along**2) + 0.06 * np.sin(along * 4 + rng.uniform(0, 6))
    points = centre + length / 2 * _turned(np.stack([across, along], 1), way)
    body = np.clip(1 - (along / rng.uniform(0.55, 0.85)) ** 2, 0, None) ** 0.6
    return [_Limb(points, np.maximum(width * body, rng.uniform(0.8, 1.4)))]


def _round(rng: np.random.Generator, centre: Floats) -> list[_Limb]:
    """Return a small body with some neurites."""
    radius = rng.uniform(5.5, 8.5)
    stretch = _turned(np.array([[0.0, -1.0], [0.0, 1.0]]) * rng.uniform(0, 0.45) * radius, rng.uniform(0, np.pi))
    limbs = [_Limb(centre + stretch, np.full(2, radius))]
    for way in rng.uniform(0, 2 * np.pi, rng.integers(0, 4)):
        limbs.append(_process(rng, centre, way, radius + rng.uniform(6, 34), (2.6, 0.9), 0.5))
    return limbs


def _wide(rng: np.random.Generator, centre: Floats) -> list[_Limb]:
    """Return a flat body that spreads into arms."""
    radius = rng.uniform(8, 15)
    limbs = [_Limb(centre[None] + np.zeros((2, 2)), np.full(2, radius))]
    count = int(rng.integers(3, 7))
    for way in (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * np.pi / count + rng.uniform(0, 6):
        reach = (radius * rng.uniform(0.55, 0.9), rng.uniform(1.0, 2.5))
        limbs.append(_process(rng, centre, way, radius * rng.uniform(1.4, 3.4), reach, 0.35))
    return limbs


def _process(
    rng: np.random.Generator, start: Floats, way: float, length: float, reach: tuple[float, float], bent: float
) -> _Limb:
    """Return an arm that leaves a body and grows thinner."""
    along = np.linspace(0, 1, 9)
    across = rng.normal(0, bent) * along**2 + rng.normal(0, bent / 4) * np.sin(along * 6)
    points = start + length * _turned(np.stack([across, along], 1), way)
    return _Limb(points, reach[0] + (reach[1] - reach[0]) * along**0.6)


_LIMBS = {"cort": _round, "shsy5y": _long, "astro": _wide}


def _turned(points: Floats, way: float) -> Floats:
    """Turn points (K, 2) so that those along x go the given way."""
    sine, cosine = np.sin(way), np.cos(way)
    return np.asarray(points @ np.array([[cosine, -sine], [sine, cosine]]))


def _drawn(limbs: list[_Limb], shape: tuple[int, int], bend: list[Floats]) -> _Cell:
    """Draw a cell into its box, its border made uneven by a field that all cells share."""
    every = np.concatenate([limb.points for limb in limbs])
    most = max(float(limb.reach.max()) for limb in limbs) + _MARGIN
    low = np.clip(np.floor(every.min(axis=0) - most).astype(int), 0, shape)
    high = np.clip(np.ceil(every.max(axis=0) + most).astype(int) + 1, low, shape)
    box = slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
    grid = [axis + field[box] for axis, field in zip(np.mgrid[box], bend, strict=True)]
    depth = np.zeros(grid[0].shape)
    for limb in limbs:
        depth = np.maximum(depth, _depth(limb, grid))
    return _Cell(box, _largest_piece(depth))


def _depth(limb: _Limb, grid: list[Floats]) -> Floats:
    """Return how far inside a limb each point of a grid, its y and x, is; negative outside."""
    deepest = np.full(grid[0].shape, -np.inf)
    pairs = zip(limb.points[:-1], limb.points[1:], limb.reach[:-1], limb.reach[1:], strict=True)
    for start, end, reach, next_reach in pairs:
        way = end - start
        down, right = grid[0] - start[0], grid[1] - start[1]
        part = ((down * way[0] + right * way[1]) / max(float(way @ way), 1e-9)).clip(0, 1)
        down -= part * way[0]
        right -= part * way[1]
        np.maximum(deepest, reach + (next_reach - reach) * part - np.sqrt(down * down + right * right), out=deepest)
    return deepest


def _largest_piece(depth: Floats) -> Floats:
    """Keep the largest piece, without holes: arms may come back to the body, and be cut off by the border."""
    pieces, count = ndimage.label(depth > 0)
    if count == 0:
        return depth
    own = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return np.where(ndimage.binary_fill_holes(own), np.maximum(depth, 0.3), 0.0)


def _masks(cells: list[_Cell], shape: tuple[int, int]) -> Iterator[Bools]:
    for cell in cells:
        mask = np.zeros(shape, bool)
        mask[cell.box] = cell.mask
        yield mask


# ----------------------------------------------------------------------------------------------------- picture


def _picture(rng: np.random.Generator, kind: str, shape: tuple[int, int], cells: list[_Cell]) -> npt.NDArray[np.uint8]:
    """Show cells as phase contrast does: thick parts bright, flat parts dark, a bright halo around, uneven light."""
    thick, inside = np.zeros(shape), np.zeros(shape)
    for cell in cells:
        height = rng.uniform(0.7, 1.3) * np.sqrt(cell.depth / (4 + cell.depth.max(initial=0)))
        thick[cell.box] += height
        inside[cell.box] = np.maximum(inside[cell.box], cell.mask)
    bright, dark = {"cort": (62.0, 26.0), "shsy5y": (58.0, 24.0), "astro": (34.0, 14.0)}[kind]
    near, far = ndimage.gaussian_filter(thick, 0.9), ndimage.gaussian_filter(thick, 5.0)
    rim = ndimage.gaussian_filter(inside, 1.0) - ndimage.gaussian_filter(inside, 3.0)
    outside = np.maximum(-rim, 0)
    grains = inside * _smooth(rng, shape, 1.2) * (7.0 if kind != "astro" else 9.0)
    light = _smooth(rng, shape, 90.0) * 4 + _smooth(rng, shape, 9.0) * 1.5
    light += 127 - light.mean()  # of wide hills, a small image sees one height, which says nothing
    picture = light + bright * (near - far) - dark * np.maximum(rim, 0) + 34 * outside + grains
    picture += ndimage.gaussian_filter(rng.normal(size=shape), 0.6) * 4.5
    return np.asarray(picture.clip(0, 255).round().astype(np.uint8))


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Return a field of random hills of a size, with a standard deviation of 1."""
    step = max(1, int(sigma / 3))  # made small and enlarged: wide hills would take long
    small = tuple(-(-side // step) + 2 for side in shape)
    field = ndimage.gaussian_filter(rng.normal(size=small), sigma / step, mode="wrap")
    field = ndimage.zoom(field, step, order=1) if step > 1 else field
    field = field[: shape[0], : shape[1]]
    return np.asarray(field / max(float(field.std()), 1e-9))
