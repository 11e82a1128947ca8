"""Items of a data set become training batches: cut, changed, and only then given their flows.

Crop number n of a run is always the same, whoever makes it: all that is random in it is drawn from a generator of its
own, seeded by the run's seed and n. So the number of workers changes nothing, and a run goes on after any stop.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import augment, channels, checks, labels, machine, overlaps, threads
from flowseg.arrays import Floats, Labels
from flowseg.augment import AugmentOptions, Source
from flowseg.channels import ChannelChoice
from flowseg.errors import OptionError
from flowseg.kernels import targets
from flowseg.model_config import FLOW_SCALE, ModelConfig
from flowseg.normalize import Normalization, ends, has_contrast, normalize
from flowseg.sources.collection import Item

LEAST_DIAMETER = 5.0
"""Pixels: smaller medians are not trusted to say how far an image is to be enlarged."""

_WHERE_UNKNOWN = 3 << 28  # bytes to keep: all of Sartorius

_AHEAD = 2  # batches made before they are asked for, beside those that workers are at

TARGETS: dict[str, Callable[[Labels, float, Floats], None]] = {
    "diffusion": targets.by_diffusion,
    "distance": targets.by_distance,
}


Empty = Callable[[tuple[int, ...]], Floats]


def _floats(shape: tuple[int, ...]) -> Floats:
    return np.empty(shape, np.float32)


@dataclass(frozen=True)
class CropOptions:
    """How crops are made of items.

    Attributes
    ----------
    size
        Side of a crop in pixels.
    rescale
        ``"image"``: each image is resized so that its median diameter becomes the model's; ``"data"``: all by the same
        factor, that of the median of all images; ``"none"``: not at all.
    target
        ``"diffusion"``: Cellpose's flows; ``"distance"``: the gradient of the distance to the border.
    weight
        ``"none"``, or ``"area"``: flows of an instance count by one over the root of its area.
    balance
        A column of the items, such as ``cell_type``, whose groups are to be drawn more evenly than they are large.
        Empty: all items are drawn equally often.
    evenness
        1: groups are drawn equally often; 0: as often as they are large; between: a group counts by its size to the
        power ``1 - evenness``.
    axes
        Axes of TIFF files that do not say theirs.
    cache_bytes
        Images kept decoded, at most; of data sets that are larger, the rest is read again each time, by the workers.
        None: a quarter of the memory at hand.
    augment
        What is changed at random.
    """

    size: int = 224
    rescale: str = "image"
    target: str = "diffusion"
    weight: str = "none"
    balance: str = ""
    evenness: float = 1.0
    axes: str | None = None
    cache_bytes: int | None = None
    augment: AugmentOptions = field(default_factory=AugmentOptions)

    def __post_init__(self) -> None:
        checks.plain(self)
        checks.whole("the crop size", self.size, 16, 4096)
        checks.one_of("rescale", self.rescale, ("image", "data", "none"))
        checks.one_of("target", self.target, tuple(TARGETS))
        checks.one_of("weight", self.weight, ("none", "area"))
        checks.text("balance", self.balance)
        checks.number("evenness", self.evenness, 0, 1)
        if self.evenness != 1 and not self.balance:
            raise OptionError(f"evenness is {self.evenness!r}, and nothing is balanced: name a column to balance by")


class Batch(NamedTuple):
    """Crops for the network.

    Attributes
    ----------
    images
        (N, C, S, S) float32.
    targets
        (N, 3, S, S) float32: flow along y and x, five times a unit vector, and 1 inside instances.
    weights
        (N, S, S) float32 of the flow loss, or None where all pixels count alike.
    """

    images: Floats
    targets: Floats
    weights: Floats | None


class Crops:
    """All the crops of a data set, by number.

    Parameters
    ----------
    items
        Images with instances.
    config
        The model's: diameter, channels, percentiles.
    options
        How crops are made.
    choice
        Channels of the images, where they are not clear.
    seed
        Of all that is random.
    diameter
        Median diameter of the data, for ``rescale="data"``; None measures it, which reads all items.
    """

    def __init__(
        self,
        items: Sequence[Item],
        config: ModelConfig,
        options: CropOptions | None = None,
        choice: ChannelChoice | None = None,
        seed: int = 0,
        diameter: float | None = None,
    ) -> None:
        if not items:
            raise OptionError("there are no images to train on; wanted at least one")
        self.items = list(items)
        self.options = options or CropOptions()
        self._config, self._choice, self._seed = config, choice or ChannelChoice(), seed
        self._diameter = diameter
        self._groups = _groups(self.items, self.options.balance)
        sizes = np.array([len(group) for group in self._groups or [[0]]]) ** (1 - self.options.evenness)
        self._group_bounds = np.cumsum(sizes / sizes.sum())
        self._kept = _Kept(_room() if self.options.cache_bytes is None else self.options.cache_bytes)
        self._orders: dict[int, npt.NDArray[np.int64]] = {}

    def __len__(self) -> int:
        """Return how many crops show each image once."""
        return len(self.items)

    def crop(self, number: int, out: Floats | None = None) -> augment.Crop:
        """Make one crop; its image in ``out``, where that is given."""
        rng = np.random.Generator(np.random.SFC64([self._seed, 1, number]))
        source, zoom = self._source(self._drawn_item(number, rng))
        return augment.crop(source, self.options.size, zoom, rng, self.options.augment, out)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Make a batch of the crops of these numbers, in this thread."""
        batch = self._empty(len(numbers), _floats)
        for place, number in enumerate(numbers):
            self._fill(batch, place, number)
        return batch

    def batches(
        self, numbers: Sequence[Sequence[int]], workers: int = 1, empty: Empty = _floats, give_way: bool = False
    ) -> Iterator[Batch]:
        """Make batches in order, by threads that work ahead of who asks; at least one.

        An error in a worker is raised here, at the batch it belongs to.

        Parameters
        ----------
        numbers
            Of the crops of each batch.
        workers
            Threads.
        empty
            Makes the arrays of a batch, float32, of a shape: such as in memory that a GPU reads fast.
        give_way
            Work when others leave a processor: the network, where it learns on them too, waits for its slowest thread.
        """
        first = threads.give_way if give_way else None
        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="flowseg-crops", initializer=first) as pool:
            waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
            ahead = _AHEAD + -(-workers // max(1, len(numbers[0]) if numbers else 1))
            try:
                for turn in range(len(numbers) + ahead):
                    if turn < len(numbers):
                        asked = numbers[turn]
                        batch = self._empty(len(asked), empty)
                        bounds = pairwise(threads.blocks(len(asked), max(1, len(asked) // workers)))
                        jobs = [pool.submit(self._fill_alone, batch, asked, *places) for places in bounds]
                        waiting.append((batch, jobs))
                    if turn >= ahead:
                        yield _made(*waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _empty(self, count: int, empty: Empty) -> Batch:
        sides = (self.options.size, self.options.size)
        images = empty((count, self._config.architecture.channels, *sides))
        weights = empty((count, *sides)) if self.options.weight == "area" else None
        return Batch(images, empty((count, 3, *sides)), weights)

    def _fill(self, batch: Batch, place: int, number: int) -> None:
        """Make one crop, its target and its weights, at its place in a batch."""
        made = self.crop(number, batch.images[place])
        TARGETS[self.options.target](made.labels, FLOW_SCALE, batch.targets[place])
        if batch.weights is not None:
            batch.weights[place] = _area_weights(made.labels)

    def _fill_alone(self, batch: Batch, numbers: Sequence[int], start: int, stop: int) -> None:
        with threads.alone():
            for place in range(start, stop):
                self._fill(batch, place, numbers[place])

    def diameter(self, index: int) -> float:
        """Return the median diameter of an item's instances in pixels; 0 where it has none."""
        return self._kept.get(index, self._read)[1]

    def _drawn_item(self, number: int, rng: np.random.Generator) -> int:
        """Return the item of a crop: each once in a round, in an order of the round's own; or balanced, by chance."""
        if self._groups is not None:
            group = np.searchsorted(self._group_bounds, rng.random(), side="right")
            chosen = self._groups[min(int(group), len(self._groups) - 1)]
            return chosen[rng.integers(len(chosen))]
        turn, place = divmod(number, len(self.items))
        return int(self._order(turn)[place])

    def _order(self, turn: int) -> npt.NDArray[np.int64]:
        order = self._orders.get(turn)
        if order is None:
            order = np.random.Generator(np.random.SFC64([self._seed, 2, turn])).permutation(len(self.items))
            self._orders = {kept: self._orders[kept] for kept in self._orders if kept == turn - 1} | {turn: order}
        return order

    def _source(self, index: int) -> tuple[Source, float]:
        source, diameter = self._kept.get(index, self._read)
        if self.options.rescale == "none":
            return source, 1.0
        if self.options.rescale == "data" or not diameter:
            diameter = self._data_diameter()
        return source, self._config.diameter_mean / max(diameter, LEAST_DIAMETER)

    def _data_diameter(self) -> float:
        if self._diameter is None:
            measured = [one for one in map(self.diameter, range(len(self.items))) if one]
            self._diameter = float(np.median(measured)) if measured else self._config.diameter_mean
        return self._diameter

    def _read(self, index: int) -> tuple[Source, float]:
        return read_source(self.items[index], self._config, self.options.axes, self._choice)


def _made(batch: Batch, jobs: Sequence[Future[None]]) -> Batch:
    for job in jobs:
        job.result()
    return batch


def read_source(
    item: Item, config: ModelConfig, axes: str | None = None, choice: ChannelChoice | None = None
) -> tuple[Source, float]:
    """Read an item as crops are cut from it, and the median diameter of its instances (0 where there are none)."""
    image, instances = item.sample(axes)
    architecture = config.architecture
    chosen = channels.for_network(image, choice or ChannelChoice(), config.channel_names, architecture.channels)
    found = overlaps.resolve_overlaps(instances).labels
    kind = np.int16 if found.max(initial=0) < 2**15 else np.int32
    diameters = labels.diameters(found)
    planes, levels = _levelled(chosen.planes, config.normalisation)
    source = Source(planes, levels, found.astype(kind))
    return source, float(np.median(diameters)) if len(diameters) else 0.0


def is_seen(planes: npt.NDArray[Any], config: ModelConfig) -> bool:
    """Whether a network sees anything in its channels: one without contrast between percentiles becomes zeros."""
    return any(has_contrast(low, high) for low, high in ends(channels.segmented(planes), config.normalisation))


def _levelled(planes: npt.NDArray[Any], percentiles: tuple[float, float]) -> tuple[npt.NDArray[Any], Floats]:
    """Return planes as small as they can be kept, and what each number in them becomes."""
    count = len(planes)
    planes = channels.distinct(planes)
    done = normalize(planes, Normalization(percentiles))
    if planes.dtype not in (np.uint8, np.uint16):
        return np.ascontiguousarray(done.planes), np.empty((count, 0), np.float32)
    flat, low, high = (np.array(one, np.float32)[:, None] for one in (done.flat, done.low, done.high))
    numbers = np.arange(int(planes.max(initial=0)) + 1, dtype=np.float32)
    levels = (1 - flat) * (numbers - low) / (high - low + flat)  # a channel without contrast is 0
    return planes.copy(), np.repeat(levels, count // len(planes), axis=0)  # a copy: a view's whole may be larger


def _groups(items: Sequence[Item], column: str) -> list[list[int]] | None:
    if not column:
        return None
    if not any(column in item.columns for item in items):
        known = sorted({name for item in items for name in item.columns})
        raise OptionError(f"balance is {column!r}, which no item has; there are {', '.join(known) or 'no columns'}")
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.columns.get(column, ""), []).append(index)
    return [groups[name] for name in sorted(groups)]


def _area_weights(found: Labels) -> Floats:
    """Return one over the root of each instance's area, relative to that of a median one; 1 in the background."""
    areas = np.bincount(found.ravel()).astype(np.float32)
    areas[0] = 0
    there = areas > 0
    if not there.any():
        return np.ones(found.shape, np.float32)
    weights = np.ones(len(areas), np.float32)
    weights[there] = np.sqrt(np.median(areas[there]) / areas[there])
    return np.asarray(weights[found], np.float32)


def _room() -> int:
    """Return how many bytes to keep: processes that torchrun started on this machine share what it has."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return machine.memory().at_hand // (4 * processes) or _WHERE_UNKNOWN


class _Kept:
    """Items read before, up to a number of bytes; for many threads at once.

    What was read first stays. Every round shows each item once, so what was read last comes again latest: to make room
    for it would throw out what is wanted sooner.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._sources: dict[int, tuple[Source, float]] = {}
        self._lock = threading.Lock()

    def get(self, index: int, read: Callable[[int], tuple[Source, float]]) -> tuple[Source, float]:
        kept = self._sources.get(index)
        if kept is not None:
            return kept
        made = read(index)  # two threads may read the same item: none waits for the other
        with self._lock:
            fits = self._bytes + _bytes(made[0]) <= self._most or not self._sources
            if fits and index not in self._sources:
                self._sources[index] = made
                self._bytes += _bytes(made[0])
        return made


def _bytes(source: Source) -> int:
    return int(source.planes.nbytes + source.levels.nbytes + source.labels.nbytes)
