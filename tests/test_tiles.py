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


@settings(max_examples=40)
@given(st.integers(16, 120), st.integers(16, 120), st.integers(16, 64))
def test_tiles_of_an_image_blend_into_the_image(height: int, width: int, tile: int) -> None:
    image = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    grid = tiles.fixed_grid(height, width, tile, 0.2)
    window = slice(height // 9, height - height // 7), slice(width // 5, width)
    for weights in (tiles.soft_weights(grid), tiles.inner_weights(grid, 3)):
        blend, tall, wide = tiles.Blend(weights, 3, window), grid.tile_height, grid.tile_width
        for row, column in grid.corners():
            blend.add(row, column, image[:, row : row + tall, column : column + wide])
        np.testing.assert_allclose(blend.image, image[(slice(None), *window)], atol=1e-5)


@pytest.mark.parametrize("side", [16, 100, 224, 225, 1088])
def test_a_soft_tile_weighs_less_toward_its_edges(side: int) -> None:
    profile = tiles._soft_profile(side, max(224, side))
    np.testing.assert_allclose(profile, profile[::-1], rtol=1e-5)
    assert (np.diff(profile[: side // 2]) >= 0).all()
    assert profile.min() > 0


@given(SIDES, SIDES, st.integers(16, 400), st.floats(0, 0.5))
def test_soft_weights_are_cellposes(height: int, width: int, tile: int, overlap: float) -> None:
    grid = tiles.fixed_grid(height, width, tile, overlap)
    weights = tiles.soft_weights(grid)
    total = np.zeros((height, width))
    side = max(224, grid.tile_height, grid.tile_width)
    down, along = (tiles._soft_profile(length, side) for length in (grid.tile_height, grid.tile_width))
    for row, column in grid.corners():
        total[row : row + grid.tile_height, column : column + grid.tile_width] += down[:, None] * along
    for row, column in grid.corners():
        wanted = down[:, None] * along / total[row : row + grid.tile_height, column : column + grid.tile_width]
        np.testing.assert_allclose(weights.down[row][:, None] * weights.along[column], wanted, rtol=1e-4)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(16, 30))
def test_inner_weights_leave_no_pixel_out_and_no_inner_edge_in(rows: int, columns: int, largest: int) -> None:
    grid = tiles.fewest_grid(16 * rows, 16 * columns, 16 * largest, 48, 16)
    weights = tiles.inner_weights(grid, 48)
    for profiles, tile, length in (
        (weights.down, grid.tile_height, grid.height),
        (weights.along, grid.tile_width, grid.width),
    ):
        total = np.zeros(length)
        for start, profile in profiles.items():
            total[start : start + tile] += profile
            assert start == 0 or (profile[:15] == 0).all()
            assert start + tile == length or (profile[-15:] == 0).all()
        np.testing.assert_allclose(total, 1, atol=1e-5)


def test_bad_tiles_are_refused() -> None:
    with pytest.raises(FlowsegError, match="tile is 8"):
        tiles.fixed_grid(100, 100, 8, 0.1)
    with pytest.raises(FlowsegError, match=r"overlap is 0\.7"):
        tiles.fixed_grid(100, 100, 64, 0.7)
