import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg.kernels import png


def filtered(pixels: np.ndarray, filters: list[int], step: int) -> np.ndarray:
    """Filter rows as the PNG specification says, one byte at a time."""
    rows = np.zeros((len(pixels), pixels.shape[1] + 1), np.uint8)
    for y, kind in enumerate(filters):
        rows[y, 0] = kind
        for x, value in enumerate(pixels[y].tolist()):
            a = int(pixels[y, x - step]) if x >= step else 0
            b = int(pixels[y - 1, x]) if y else 0
            c = int(pixels[y - 1, x - step]) if y and x >= step else 0
            paeth = min([a, b, c], key=lambda each: (abs(a + b - c - each), [a, b, c].index(each)))
            rows[y, x + 1] = (value - [0, a, b, (a + b) // 2, paeth][kind]) % 256
    return rows


@settings(max_examples=60)
@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.sampled_from([2, 4, 6, 8]))
def test_filters_are_undone(data: st.DataObject, height: int, width: int, step: int) -> None:
    raw = data.draw(st.binary(min_size=height * width * step, max_size=height * width * step))
    pixels = np.frombuffer(raw, np.uint8).reshape(height, width * step)
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    np.testing.assert_array_equal(png.unfiltered(filtered(pixels, filters, step), step), pixels)
