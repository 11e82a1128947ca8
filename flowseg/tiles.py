"""Tiles of an image: where they lie, how they weigh where they overlap, and how they are put together again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

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


def taper(height: int, width: int) -> Floats:
    """Return the weight of each pixel of a tile (height, width): nearly 1 inside, falling softly toward the edges.

    The same as Cellpose's for tiles of 224 pixels and less.
    """
    down, along = (_soft_profile(length, max(224, height, width)) for length in (height, width))
    return np.asarray(down[:, None] * along, np.float32)


def _soft_profile(length: int, side: int) -> Floats:
    distance = np.abs(np.arange(side) - (side - 1) / 2)
    profile = 1 / (1 + np.exp((distance - (side / 2 - _MARGIN)) / _SOFTNESS))
    return np.asarray(profile[side // 2 - length // 2 : side // 2 + length // 2 + length % 2], np.float32)


def inner_weights(grid: Grid, row: int, column: int, overlap: int) -> Floats:
    """Return the weight of each pixel of the tile at (row, column): nothing where it saw no further than its edge.

    Of an edge inside the image the outer third of the overlap weighs nothing, the inner third as much as the middle of
    the tile, with a slope between. Edges of the image itself are not cut.
    """
    down = _cut_profile(row, grid.tile_height, grid.height, overlap)
    along = _cut_profile(column, grid.tile_width, grid.width, overlap)
    return np.asarray(down[:, None] * along, np.float32)


def _cut_profile(start: int, tile: int, length: int, overlap: int) -> Floats:
    slope = np.clip(3 * (np.arange(tile) + 0.5) / overlap - 1, 0, 1)
    profile = np.ones(tile)
    if start > 0:
        profile = np.minimum(profile, slope)
    if start + tile < length:
        profile = np.minimum(profile, slope[::-1])
    return np.asarray(profile, np.float32)


class Blend:
    """Put tiles together: where they overlap, their weighted mean.

    >>> grid = fixed_grid(300, 224, tile=224, overlap=0.1)
    >>> blend = Blend(grid, channels=1)
    >>> for row, column in grid.corners():
    ...     blend.add(row, column, np.ones((1, 224, 224), np.float32), taper(224, 224))
    >>> bool(np.allclose(blend.result(), 1))
    True
    """

    def __init__(self, grid: Grid, channels: int) -> None:
        self._sum = np.zeros((channels, grid.height, grid.width), np.float32)
        self._weight = np.zeros((grid.height, grid.width), np.float32)

    def add(self, row: int, column: int, values: Floats, weights: Floats) -> None:
        """Add a tile (channels, h, w) with weights (h, w), whose first pixel is at (row, column)."""
        window = (slice(row, row + values.shape[1]), slice(column, column + values.shape[2]))
        self._sum[(slice(None), *window)] += values * weights
        self._weight[window] += weights

    def result(self) -> Floats:
        """Return the image (channels, height, width); call once, when all tiles are there."""
        self._sum /= self._weight
        return self._sum
