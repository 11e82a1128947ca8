"""An image to a flow field and a map of cell probability: resized, in tiles, turned, by one network or several."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flowseg import images, tiles
from flowseg.arrays import Floats
from flowseg.engines import Engine
from flowseg.errors import InputError, OptionError
from flowseg.model_config import FLOW_SCALE

_OUTPUTS = 3  # maps: dy, dx, probability
_MULTIPLE = 16  # sides that the network is given are multiples of this, as in Cellpose, or of its stride
_MARGIN = 8  # pixels of nothing around the image, at least
_SMALL_TILE = 528  # side of the largest tile of a large image: larger ones take memory and hardly less time
_ROOM = 500_000_000  # bytes that larger tiles of a smaller image may fill, with its maps: what that large image takes
_OVERLAP = 128  # pixels that such tiles share: a third of it is as far as what a network sees matters
_STYLE_SIDE = 384  # the style of an image in tiles is measured on crops of this side,
_STYLE_CROPS = 4  # of so many at least, and so many that they cover an eighth of the image
_STYLE_PART = 8
_ACTIVATIONS = 160  # numbers that the network holds for a pixel of a tile
_MAPS = (2 + 4 + 4) * 4  # bytes of what goes in and comes out for a pixel of the image at the network's scale


@dataclass(frozen=True)
class How:
    """How an image is predicted.

    Attributes
    ----------
    scale
        Factor by which the image is resized for the network.
    tile
        Side of tiles, as Cellpose cuts them, each with its own style. None: the fewest tiles, with one style for the
        whole image, so that no seam shows.
    overlap
        Part of such a tile that it shares with its neighbours.
    tta
        Predict the image in all eight positions (turned and mirrored) and take the mean.
    stride
        What sides have to be multiples of, for networks halve them: `flowseg.model_config.Architecture.stride`.
    """

    scale: float = 1.0
    tile: int | None = None
    overlap: float = 0.1
    tta: bool = False
    stride: int = 8

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile % self.stride:
            larger = math.ceil(self.tile / self.stride) * self.stride
            raise OptionError(
                f"tile is {self.tile}; wanted a multiple of {self.stride}, such as {larger}, for the network halves it "
                f"{self.stride.bit_length() - 1} times"
            )

    @property
    def multiple(self) -> int:
        """What the sides of an image are made multiples of."""
        return max(_MULTIPLE, self.stride)


class Prediction(NamedTuple):
    """What the networks say about an image.

    Attributes
    ----------
    flows
        (2, H, W) float32: (dy, dx), unit vectors inside cells.
    cellprob
        (H, W) float32: logit of cell probability.
    style
        (S,) float32: style of the image, as the first network sees it.
    """

    flows: Floats
    cellprob: Floats
    style: Floats


def predict(engines: Sequence[Engine], planes: Floats, how: How) -> Prediction:
    """Run networks on one image and average what they say.

    Parameters
    ----------
    engines
        One or more networks that take the same channels.
    planes
        (C, H, W) float32, normalised.
    """
    height, width = planes.shape[1:]
    if height == 0 or width == 0:
        raise InputError(f"the image has shape {planes.shape}; wanted at least one pixel")
    resized = _resized(planes, how.scale)
    maps, style = _mean_of_positions(engines, resized, how)
    if resized.shape != planes.shape:
        maps = images.resize(maps, (height, width))
    maps[:2] /= FLOW_SCALE
    return Prediction(maps[:2], maps[2], style)


def measure_style(engine: Engine, planes: Floats, how: How) -> Floats:
    """Return the style of an image (S,), as `predict` gives it, without the work for flows."""
    frame = _Frame(_resized(planes, how.scale), how.multiple)
    grid = _grid(how, frame.height, frame.width)
    if how.tile is None and len(grid) > 1:
        return _whole_style(engine, frame, how.multiple)
    batches = (_cut(frame, grid, corners) for corners in _batches(grid, engine.batch_pixels))
    return _unit(np.sum([_unit(style) for batch in batches for style in engine.styles(batch)], axis=0))


def _resized(planes: Floats, scale: float) -> Floats:
    height, width = planes.shape[1:]
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    return planes if size == (height, width) else images.resize(planes, size)


def _mean_of_positions(engines: Sequence[Engine], planes: Floats, how: How) -> tuple[Floats, Floats]:
    """Predict the image in one or all eight positions with every network; return the mean, and the first style."""
    total, style, count = None, None, 0
    for turns, mirrored in _positions(how.tta):
        placed = np.ascontiguousarray(_placed(planes, turns, mirrored))
        for engine in engines:
            maps, its_style = _in_tiles(engine, placed, how)
            maps = _placed_back(maps, turns, mirrored)
            total = maps if total is None else total + maps
            style = its_style if style is None else style
            count += 1
    assert total is not None
    assert style is not None
    return np.ascontiguousarray(total if count == 1 else total / np.float32(count)), style


def _positions(all_eight: bool) -> Iterator[tuple[int, bool]]:
    return ((turns, mirrored) for turns in range(4 if all_eight else 1) for mirrored in (False, True)[: 1 + all_eight])


def _placed(planes: Floats, turns: int, mirrored: bool) -> Floats:
    turned = np.rot90(planes, turns, axes=(1, 2))
    return turned[:, :, ::-1] if mirrored else turned


def _placed_back(maps: Floats, turns: int, mirrored: bool) -> Floats:
    """Put maps (dy, dx, probability) of an image that was placed back, and turn the vectors with them."""
    if not turns and not mirrored:
        return maps
    dy, dx, rest = maps[0], maps[1], list(maps[2:])
    if mirrored:
        dy, dx, rest = dy[:, ::-1], -dx[:, ::-1], [each[:, ::-1] for each in rest]
    for _ in range(turns):
        dy, dx = np.rot90(dx, -1), -np.rot90(dy, -1)
        rest = [np.rot90(each, -1) for each in rest]
    return np.stack([dy, dx, *rest])


def _in_tiles(engine: Engine, planes: Floats, how: How) -> tuple[Floats, Floats]:
    """Predict an image of the network's own size; return maps (outputs, H, W) and the style."""
    frame = _Frame(planes, how.multiple)
    height, width = frame.height, frame.width
    grid = _grid(how, height, width)
    style = _whole_style(engine, frame, how.multiple) if how.tile is None and len(grid) > 1 else None
    weights = tiles.soft_weights(grid) if how.tile is not None else tiles.inner_weights(grid, _OVERLAP)
    blend, styles = tiles.Blend(weights, _OUTPUTS, frame.window), []
    for corners in _batches(grid, engine.batch_pixels):
        batch = engine.run(_cut(frame, grid, corners), style)
        for (row, column), maps in zip(corners, batch.maps, strict=True):
            blend.add(row, column, maps)
        styles.append(batch.styles)
    return blend.image, _unit(np.concatenate(styles).sum(axis=0))


def _grid(how: How, height: int, width: int) -> tiles.Grid:
    """Lay the tiles that were asked for, or as few as there is room for: most images are one, and so is their style."""
    if how.tile is not None:
        return tiles.fixed_grid(height, width, how.tile, how.overlap)
    return tiles.fewest_grid(height, width, _largest_tile(height, width), _OVERLAP, how.multiple)


def _largest_tile(height: int, width: int) -> int:
    room = max(0, _ROOM - 2 * _MAPS * height * width)
    return max(_SMALL_TILE, int(math.sqrt(room / (4 * _ACTIVATIONS))))


def _whole_style(engine: Engine, frame: "_Frame", multiple: int) -> Floats:
    """Measure one style for an image in tiles, on crops spread over it: the same for every tile, so no seams."""
    side = _STYLE_SIDE
    height, width = frame.height, frame.width
    wanted = max(_STYLE_CROPS, math.ceil(height * width / (_STYLE_PART * side * side)))
    down = max(1, round(math.sqrt(wanted * height / width)))
    grid = [
        np.linspace(0, max(0, length - side), count).astype(int) // multiple * multiple
        for length, count in ((height, down), (width, math.ceil(wanted / down)))
    ]
    sides = min(side, height), min(side, width)
    crops = (frame.crop(row, column, *sides) for row in grid[0].tolist() for column in grid[1].tolist())
    pooled = [engine.styles(crop[None]) for crop in crops]
    return _unit(np.concatenate(pooled).mean(axis=0))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.sqrt(np.sum(vector.astype(np.float64) ** 2))), 1e-12), np.float32)


class _Frame:
    """An image framed with zeros, as Cellpose frames it; the frame is never held, only crops of it are made.

    Attributes
    ----------
    height, width
        With the frame: multiples of what the network wants.
    window
        Where the image itself is.
    """

    def __init__(self, planes: Floats, multiple: int) -> None:
        self._planes = planes
        sides, window = [], []
        for length in planes.shape[1:]:
            missing = -(length + 2 * _MARGIN) % multiple
            before = _MARGIN + missing // 2
            sides.append(length + 2 * _MARGIN + missing)
            window.append(slice(before, before + length))
        self.height, self.width = sides
        self.window = window[0], window[1]

    def crop(self, row: int, column: int, height: int, width: int) -> Floats:
        """Return (C, height, width) whose first pixel is at (row, column) of the framed image."""
        out = np.zeros((len(self._planes), height, width), np.float32)
        top, left = row - self.window[0].start, column - self.window[1].start
        image = self._planes[:, max(top, 0) : top + height, max(left, 0) : left + width]
        down, along = max(-top, 0), max(-left, 0)
        out[:, down : down + image.shape[1], along : along + image.shape[2]] = image
        return out


def _batches(grid: tiles.Grid, pixels: int) -> Iterator[list[tuple[int, int]]]:
    corners = list(grid.corners())
    size = max(1, pixels // (grid.tile_height * grid.tile_width))
    return (corners[start : start + size] for start in range(0, len(corners), size))


def _cut(frame: _Frame, grid: tiles.Grid, corners: Sequence[tuple[int, int]]) -> Floats:
    return np.stack([frame.crop(row, column, grid.tile_height, grid.tile_width) for row, column in corners])


def estimate_bytes(shape: tuple[int, int], how: How, bytes_a_value: int = 4) -> int:
    """Return about how many bytes an image (height, width) will take at its peak, beside the network's weights."""
    height, width = (math.ceil(side * how.scale) + 2 * how.multiple for side in shape)
    tile = how.tile or _largest_tile(height, width)
    activations = _ACTIVATIONS * bytes_a_value * min(tile, height) * min(tile, width)
    maps = _MAPS * height * width
    original = (2 + 3 + 3 + 2) * 4 * shape[0] * shape[1]
    return activations + maps + original
