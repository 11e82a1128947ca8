"""Polygons drawn pixel by pixel as pycocotools draws them."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from flowseg.sources.coco_json import read_segmentations

# pycocotools was built against an older NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

near = st.floats(-12, 50, allow_nan=False) | st.integers(-4, 40).map(float) | st.integers(-20, 80).map(lambda n: n / 2)
polygon = st.lists(st.tuples(near, near), min_size=3, max_size=12).map(
    lambda corners: [v for xy in corners for v in xy]
)


@settings(max_examples=400)
@given(st.lists(polygon, min_size=1, max_size=3), st.integers(8, 40), st.integers(8, 40))
@example([[0.0, 0.0, 20.0, 0.0, 20.0, 20.0, 0.0, 20.0]], 20, 20)
@example([[5.0, 5.0, 5.0, 5.0, 9.0, 9.0]], 20, 20)
@example([[1.0, 1.0, 8.0, 8.0, 8.0, 1.0, 1.0, 8.0]], 10, 10)
@example([[3.0, 3.0, 9.0, 3.0, 9.0, 9.0], [6.0, 3.0, 12.0, 3.0, 6.0, 9.0]], 15, 15)
def test_equal_to_pycocotools(polygons: list[list[float]], height: int, width: int) -> None:
    wanted = pycoco.decode(pycoco.merge(pycoco.frPyObjects(polygons, height, width)))
    found = read_segmentations([polygons], (height, width)).mask(0)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("seed", range(3))
def test_equal_on_outlines_of_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(30):
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 200)))
        radius = rng.uniform(5, 90) * (1 + rng.normal(0, 0.1, len(turns)))
        points = np.stack([rng.uniform(0, 200) + radius * np.cos(turns), rng.uniform(0, 150) + radius * np.sin(turns)])
        corners = points.T.ravel().round(2).tolist()
        wanted = pycoco.decode(pycoco.frPyObjects([corners], 150, 200))[..., 0]
        np.testing.assert_array_equal(read_segmentations([[corners]], (150, 200)).mask(0), wanted)
