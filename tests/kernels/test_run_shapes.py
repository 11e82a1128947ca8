"""Pieces, holes and border pixels, beside scipy's."""

import numpy as np
from hypothesis import given, settings
from scipy import ndimage

from flowseg.instances import Instances
from flowseg.kernels import run_shapes, runs
from tests.shapes import label_images


def measured(instances: Instances) -> np.ndarray:
    height, width = instances.shape
    split = runs.split_at_line_ends(instances.starts, instances.lengths, instances.offsets, max(width, 1))
    return run_shapes.measure(*split, height, width)


@settings(max_examples=200)
@given(label_images())
def test_equal_to_scipy(labels: np.ndarray) -> None:
    values = [value for value in np.unique(labels) if value]
    masks = [labels == value for value in values] + [labels > 0] * bool(values)  # the last one overlaps all others
    found = measured(Instances.from_masks(masks, labels.shape))
    assert found.shape == (3, len(masks))
    for index, mask in enumerate(masks):
        outside = np.pad(~mask, 1, constant_values=True)
        edge = mask.copy()
        edge[1:-1, 1:-1] = False
        assert found[0, index] == ndimage.label(mask, np.ones((3, 3)))[1]
        assert found[1, index] == ndimage.label(outside)[1] - 1
        assert found[2, index] == edge.sum()
