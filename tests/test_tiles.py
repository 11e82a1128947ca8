"""Tiles cover the image, weigh what they should, and come together again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg import FlowsegError, tiles

SIDES = st.integers(16, 900)


@given(SIDES, SIDES, st.integers(16, 400), st.floats(0, 0.5))
def test_fixed_tiles_cover_the_image(height: int, width: int, tile: int, overlap: float) -> None:
    covers(tiles.fixed_grid(height, width, tile, overlap))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 30))
def test_the_fewest_tiles_cover_the_image_and_overlap(rows: int, columns: int, largest: int) -> None:
    grid = tiles.fewest_grid(16 * rows, 16 * columns, 16 * largest, 48, 16)
    covers(grid)
    assert max(grid.tile_height, grid.tile_width) <= 16 * largest
    assert grid.tile_height % 16 == grid.tile_width % 16 == 0
    for starts, tile in ((grid.rows, grid.tile_height), (grid.columns, grid.tile_width)):
        assert len(starts) == 1 or (tile - np.diff(starts)).min() >= 48
        assert all(start % 16 == 0 for start in starts)


def covers(grid: tiles.Grid) -> None:
    depth = np.zeros((grid.height, grid.width), int)
    for row, column in grid.corners():
        assert row + grid.tile_height <= grid.height
        assert column + grid.tile_width <= grid.width
        depth[row : row + grid.tile_height, column : column + grid.tile_width] += 1
    assert depth.min() >= 1
    assert len(grid) == len(list(grid.corners()))


@settings(deadline=None, max_examples=40)
@given(st.integers(16, 120), st.integers(16, 120), st.integers(16, 64))
def test_tiles_of_an_image_blend_into_the_image(height: int, width: int, tile: int) -> None:
    image = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    grid = tiles.fixed_grid(height, width, tile, 0.2)
    blend, tall, wide = tiles.Blend(grid, 3), grid.tile_height, grid.tile_width
    for row, column in grid.corners():
        blend.add(row, column, image[:, row : row + tall, column : column + wide], tiles.taper(tall, wide))
    np.testing.assert_allclose(blend.result(), image, atol=1e-5)


@pytest.mark.parametrize("side", [16, 100, 224, 225, 1088])
def test_weights_are_symmetric_and_fall_toward_the_edges(side: int) -> None:
    weight = tiles.taper(side, side)
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-5)
    np.testing.assert_allclose(weight, weight.T, rtol=1e-5)
    middle = weight[side // 2]
    assert (np.diff(middle[: side // 2]) >= 0).all()
    assert weight.min() > 0


@given(st.integers(1, 80), st.integers(1, 80), st.integers(16, 30))
def test_inner_weights_leave_no_pixel_out_and_no_inner_edge_in(rows: int, columns: int, largest: int) -> None:
    grid = tiles.fewest_grid(16 * rows, 16 * columns, 16 * largest, 48, 16)
    total = np.zeros((grid.height, grid.width))
    for row, column in grid.corners():
        weights = tiles.inner_weights(grid, row, column, 48)
        total[row : row + grid.tile_height, column : column + grid.tile_width] += weights
        assert row == 0 or (weights[:15] == 0).all()
        assert row + grid.tile_height == grid.height or (weights[-15:] == 0).all()
        assert column == 0 or (weights[:, :15] == 0).all()
    assert total.min() > 0.1


def test_bad_tiles_are_refused() -> None:
    with pytest.raises(FlowsegError, match="tile is 8"):
        tiles.fixed_grid(100, 100, 8, 0.1)
    with pytest.raises(FlowsegError, match=r"overlap is 0\.7"):
        tiles.fixed_grid(100, 100, 64, 0.7)
