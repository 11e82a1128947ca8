"""Tiles of an image: where they lie, how they weigh where they overlap, and how they are put together again."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flowseg.arrays import Floats
from flowseg.errors import OptionError

_MARGIN = 20.0  # pixels from a tile's edge where its weight falls to a half
_SOFTNESS = 7.5  # how softly, in pixels


@dataclass(frozen=True)
class Grid:
    """Tiles of one size that cover an image.

    Attributes
    ----------
    height, width
        Of the image in pixels.
    tile_height, tile_width
        Of every tile; never larger than the image.
    rows, columns
        First row and first column of the tiles, ascending.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def corners(self) -> Iterator[tuple[int, int]]:
        """Return the first row and column of each tile, in reading order."""
        return ((row, column) for row in self.rows for column in self.columns)


def fixed_grid(height: int, width: int, tile: int, overlap: float) -> Grid:
    """Lay tiles as Cellpose does: of side ``tile``, as many as cover the image with the overlap, evenly spread."""
    if tile < 16:
        raise OptionError(f"tile is {tile}; wanted at least 16 pixels")
    if not 0 <= overlap <= 0.5:
        raise OptionError(f"overlap is {overlap}; wanted a part of the tile from 0 to 0.5")
    overlap = max(overlap, 0.05)
    sides = [_even_starts(length, tile, math.ceil((1 + 2 * overlap) * length / tile)) for length in (height, width)]
    return Grid(height, width, min(tile, height), min(tile, width), *sides)


def fewest_grid(height: int, width: int, largest: int, overlap: int, multiple: int) -> Grid:
    """Lay the fewest tiles of at most ``largest`` a side that overlap by ``overlap`` pixels, all as small as that lets.

    Nothing is computed twice but the overlap. Sides and corners of tiles are multiples of ``multiple``, as the image's
    sides must be, so that a network that halves the image does so in step everywhere.
    """
    tile_height, rows = _fewest(height, largest, overlap, multiple)
    tile_width, columns = _fewest(width, largest, overlap, multiple)
    return Grid(height, width, tile_height, tile_width, rows, columns)


def _fewest(length: int, largest: int, overlap: int, multiple: int) -> tuple[int, tuple[int, ...]]:
    if length <= largest:
        return length, (0,)
    count = math.ceil((length - overlap) / (largest - overlap))
    tile = math.ceil((length + (count - 1) * overlap) / count / multiple) * multiple
    return tile, tuple(start // multiple * multiple for start in _even_starts(length, tile, count))


def _even_starts(length: int, tile: int, count: int) -> tuple[int, ...]:
    if length <= tile:
        return (0,)
    return tuple(int(start) for start in np.linspace(0, length - tile, count))


class Weights(NamedTuple):
    """How much each tile counts: the product of a profile down and one along; over all tiles they sum to 1.

    Attributes
    ----------
    down, along
        The profile (tile height,) of the tiles that start at a row; (tile width,) of those that start at a column.
    """

    down: dict[int, Floats]
    along: dict[int, Floats]


def soft_weights(grid: Grid) -> Weights:
    """Weigh the middle of each tile most, falling softly toward its edges: Cellpose's weights for its tiles."""
    sides = max(224, grid.tile_height, grid.tile_width)
    return _weights(grid, lambda start, tile, length: _soft_profile(tile, sides))


def inner_weights(grid: Grid, overlap: int) -> Weights:
    """Give no weight to pixels where a tile saw no further than its edge.

    Of an edge inside the image the outer third of the overlap weighs nothing, the inner third as much as the middle of
    the tile, with a slope between. Edges of the image itself are not cut.
    """
    return _weights(grid, lambda start, tile, length: _cut_profile(start, tile, length, overlap))


def _weights(grid: Grid, profile: Callable[[int, int, int], Floats]) -> Weights:
    down = {start: profile(start, grid.tile_height, grid.height) for start in grid.rows}
    along = {start: profile(start, grid.tile_width, grid.width) for start in grid.columns}
    return Weights(_normalised(down, grid.height), _normalised(along, grid.width))


def _normalised(profiles: dict[int, Floats], length: int) -> dict[int, Floats]:
    """Scale profiles so that they sum to 1 everywhere along a side."""
    total = np.zeros(length)
    for start, profile in profiles.items():
        total[start : start + len(profile)] += profile
    return {
        start: np.asarray(profile / total[start : start + len(profile)], np.float32)
        for start, profile in profiles.items()
    }


def _soft_profile(length: int, side: int) -> Floats:
    distance = np.abs(np.arange(side) - (side - 1) / 2)
    profile = 1 / (1 + np.exp((distance - (side / 2 - _MARGIN)) / _SOFTNESS))
    return np.asarray(profile[side // 2 - length // 2 : side // 2 + length // 2 + length % 2], np.float32)


def _cut_profile(start: int, tile: int, length: int, overlap: int) -> Floats:
    slope = np.clip(3 * (np.arange(tile) + 0.5) / overlap - 1, 0, 1)
    profile = np.ones(tile)
    if start > 0:
        profile = np.minimum(profile, slope)
    if start + tile < length:
        profile = np.minimum(profile, slope[::-1])
    return np.asarray(profile, np.float32)


class Blend:
    """Put tiles together: where they overlap, their weighted mean; and only a window of the image.

    >>> grid = fixed_grid(300, 224, tile=224, overlap=0.1)
    >>> blend = Blend(soft_weights(grid), channels=1, window=(slice(8, 292), slice(8, 216)))
    >>> for row, column in grid.corners():
    ...     blend.add(row, column, np.ones((1, 224, 224), np.float32))
    >>> blend.image.shape, bool(np.allclose(blend.image, 1))
    ((1, 284, 208), True)
    """

    def __init__(self, weights: Weights, channels: int, window: tuple[slice, slice]) -> None:
        self._weights, self._window = weights, window
        self.image = np.zeros((channels, *(side.stop - side.start for side in window)), np.float32)

    def add(self, row: int, column: int, values: Floats) -> None:
        """Add a tile (channels, h, w) whose first pixel is at (row, column)."""
        (inner_rows, rows), (inner_columns, columns) = (
            _shared(start, length, side)
            for start, length, side in zip((row, column), values.shape[1:], self._window, strict=True)
        )
        weights = self._weights.down[row][inner_rows, None] * self._weights.along[column][inner_columns]
        for plane, value in zip(self.image, values, strict=True):
            plane[rows, columns] += value[inner_rows, inner_columns] * weights


def _shared(start: int, length: int, window: slice) -> tuple[slice, slice]:
    """Return the part of a tile that lies in a window, counted in the tile and in the window."""
    first, last = max(start, window.start), max(min(start + length, window.stop), max(start, window.start))
    return slice(first - start, last - start), slice(first - window.start, last - window.start)
