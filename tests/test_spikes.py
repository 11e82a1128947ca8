"""Hot and dead pixels are found, and nothing that a lens could have drawn."""

import numpy as np
import pytest
from scipy import ndimage

from flowseg import spikes


def smooth(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (60, 70))
    return (ndimage.gaussian_filter(noise, 3) * 10).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_as_many_as_were_put_in_are_taken_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = smooth(seed)
    broken = plane.copy()
    y, x = (4 * rng.permutation(15)[:10], 4 * rng.permutation(17)[:10])  # at borders too, none beside another
    broken[y, x] = np.where(np.arange(10) % 2, 90, -90)
    broken[y[0], x[0] + 1] = 90  # two that touch
    assert spikes.clean(broken) == 11
    np.testing.assert_allclose(broken, plane, atol=1)


@pytest.mark.parametrize("sign", [1, -1])
def test_spots_of_a_microscope_and_edges_stay(sign: int) -> None:
    y, x = np.ogrid[:21, :21]
    spot = 40 * np.exp(-((y - 10) ** 2 + (x - 10) ** 2) * np.log(2))  # as wide as two pixels at half its height
    edge = np.zeros((21, 21))
    edge[5:15, 5:15] = 40
    for plane in (smooth(1), spot, edge):
        signed = (sign * plane).astype(np.float32)
        kept = signed.copy()
        assert spikes.clean(kept) == 0
        np.testing.assert_array_equal(kept, signed)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_images_of_all_sizes(shape: tuple[int, int]) -> None:
    plane = np.full(shape, 7, np.float32)
    assert spikes.clean(plane) == 0
