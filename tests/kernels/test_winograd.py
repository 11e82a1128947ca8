"""Winograd's convolution is a convolution: beside torch's in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from flowseg.kernels import pixelwise, winograd


def wanted(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, weight: np.ndarray, grow: int) -> np.ndarray:
    cut = np.maximum(x * scale + shift[:, None, None], 0).astype(np.float64)
    large = torch.from_numpy(cut.repeat(grow, 1).repeat(grow, 2)).permute(0, 3, 1, 2)
    return functional.conv2d(large, torch.from_numpy(weight).double(), padding=1).permute(0, 2, 3, 1).numpy()


@settings(max_examples=60)
@given(
    st.integers(1, 3), st.integers(1, 19), st.integers(1, 19), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from([1, 2]), st.booleans(), st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**31),
)  # fmt: skip
def test_it_is_a_convolution(
    count: int,
    height: int,
    width: int,
    channels: int,
    outputs: int,
    grow: int,
    add: bool,
    most: int,
    cut: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, height, width, channels)).astype(np.float32)
    scale, shift = (
        rng.uniform(0.5, 2, channels).astype(np.float32),
        rng.normal(size=(count, channels)).astype(np.float32),
    )
    weight = rng.normal(size=(outputs, channels, 3, 3)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    before = rng.normal(size=(count, height * grow, width * grow, outputs)).astype(np.float32)
    result = before.copy()
    tiles = count * winograd.tiles(height * grow, width * grow)
    ready = winograd.transformed(weight)
    for start, stop in ((0, min(cut, tiles)), (min(cut, tiles), tiles)):
        winograd.convolve(x, scale, shift, grow, ready, bias, add, result, start, stop, most)
    expected = wanted(x, scale, shift, weight, grow) + bias + (before if add else 0)
    np.testing.assert_allclose(result, expected, atol=1.5e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("grow", [1, 2])
@pytest.mark.parametrize("most", [3, 100])
def test_projecting(grow: int, most: int) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(2, 5, 7, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    result = np.empty((2, 5 * grow, 7 * grow, 4), np.float32)
    pixelwise.project(x, weights, bias, grow, result, 0, 10, most)
    np.testing.assert_allclose(result, (x @ weights + bias).repeat(grow, 1).repeat(grow, 2), atol=1e-5)


def test_halving() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
    result = np.empty((2, 3, 4, 3), np.float32)
    pixelwise.halve(x, result, 0, 6)
    assert (result == x.reshape(2, 3, 2, 4, 2, 3).max((2, 4))).all()
