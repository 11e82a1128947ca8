"""Boundaries: filled again they are the instances; as polygons they are valid; as many pieces as there are."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from scipy import ndimage
from shapely import Polygon

from flowseg import boundaries
from flowseg.instances import Instances
from tests.shapes import label_images

FEW_COLOURS = label_images(12, 2)


def filled(rings: list[npt.NDArray[np.int32]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Fill by parity: every upright side turns all pixels to its right over."""
    mask = np.zeros(shape, bool)
    for ring in rings:
        for (y0, x0), (y1, x1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x0 == x1:
                mask[min(y0, y1) : max(y0, y1), x0:] ^= True
    return mask


@settings(max_examples=150)
@given(FEW_COLOURS)
def test_filled_again_they_are_the_instances(labels: npt.NDArray[np.int32]) -> None:
    instances = Instances.from_labels(labels)
    found = boundaries.trace(instances)
    for index in range(len(instances)):
        mask = instances.mask(index)
        pieces = found.of(index)
        sides = ndimage.label(mask)[0]
        assert len(pieces) == sides.max()
        for piece in pieces:
            drawn = filled(piece, mask.shape)
            assert len(set(sides[drawn])) == 1
            polygon = Polygon(piece[0], piece[1:])
            assert polygon.is_valid
            assert polygon.area == drawn.sum()
        assert (filled([ring for piece in pieces for ring in piece], mask.shape) == mask).all()


@settings(max_examples=50)
@given(FEW_COLOURS)
def test_corners_are_where_a_boundary_turns_and_the_inside_is_to_the_right(labels: npt.NDArray[np.int32]) -> None:
    found = boundaries.trace(Instances.from_labels(labels))
    assert len(found.points) == found.rings[-1]
    for instance in range(len(found.offsets) - 1):
        for piece in found.of(instance):
            for place, ring in enumerate(piece):
                assert ring.dtype == np.int32
                way = np.roll(ring, -1, axis=0) - ring
                assert (np.count_nonzero(way, axis=1) == 1).all()
                assert ((way * np.roll(way, 1, axis=0)).sum(axis=1) == 0).all()
                y, x = ring.astype(int).T
                doubled = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()
                assert (doubled > 0) == (place == 0)


def test_overlapping_instances_are_traced_each_by_itself() -> None:
    rng = np.random.default_rng(3)
    masks = rng.random((40, 30, 200)) < 0.5
    found = boundaries.trace(Instances.from_masks(masks, (30, 200)))
    for index, mask in enumerate(masks):
        assert (filled([ring for piece in found.of(index) for ring in piece], mask.shape) == mask).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 3)])
def test_no_instances_have_no_boundaries(shape: tuple[int, int]) -> None:
    found = boundaries.trace(Instances.from_labels(np.zeros(shape, int)))
    assert found.points.shape == (0, 2)
    assert found.offsets.tolist() == [0]


def test_empty_instances_have_no_pieces() -> None:
    found = boundaries.trace(Instances.from_masks([np.zeros((2, 2)), np.ones((2, 2)), np.zeros((2, 2))], (2, 2)))
    assert [len(found.of(index)) for index in range(3)] == [0, 1, 0]
