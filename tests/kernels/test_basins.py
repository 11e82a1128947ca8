"""Flows that lead to middle lines: basins along a line are joined, those of touching instances are not."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flowseg import metrics
from flowseg.dynamics import find_masks
from flowseg.flows import flow_errors, masks_to_directions
from flowseg.kernels import basins, regions
from flowseg.options import MaskOptions
from tests.shapes import logits, solid_cells

ALONG_LINES = MaskOptions(target="distance", max_size_fraction=1)


@pytest.mark.parametrize("seed", range(5))
def test_lines_are_connected_groups_of_ends(seed: int) -> None:
    counts = (np.random.default_rng(seed).random((30, 40)) > 0.8).astype(np.int32)
    seeds = np.zeros_like(counts)
    count = basins.number_lines(counts, seeds)
    wanted, number = ndimage.label(counts, np.ones((3, 3)))
    assert count == number
    assert len(np.unique(np.stack([seeds, wanted]).reshape(2, -1), axis=1).T) == number + 1


@pytest.mark.parametrize("seed", range(5))
def test_joined_are_connected_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.sort(rng.integers(1, 41, (25, 2)), axis=1).astype(np.int32)
    found = basins.joined(pairs, 40)
    graph = coo_matrix((np.ones(25), pairs.T), shape=(41, 41))
    wanted = connected_components(graph, directed=False)[1]
    assert all((found == found[label]).tolist() == (wanted == wanted[label]).tolist() for label in range(41))
    assert (found <= np.arange(41)).all()


def test_contacts_are_those_of_neighbouring_pixels() -> None:
    labels = np.array([[1, 1, 2], [0, 3, 2]], np.int32)
    flows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert basins.count_contacts(labels) == 3
    pairs, apart = np.zeros((3, 2), np.int32), np.zeros(3, np.float32)
    basins.find_contacts(labels, flows, pairs, apart)
    assert sorted(zip(*pairs.T.tolist(), apart.tolist(), strict=True)) == [(1, 2, 1.0), (1, 3, 3.0), (2, 3, 1.0)]


def stripes(length: int) -> npt.NDArray[np.int32]:
    """Long instances side by side, thicker and thinner along the way, without a pixel between them."""
    across, along = np.mgrid[:60, :length]
    border = 20 + 4 * np.sin(along / 9)
    return np.where(across < border, 1, np.where(across < border + 20, 2, 3)).astype(np.int32)


@pytest.mark.parametrize(
    ("labels", "least"),
    [
        (solid_cells(200, 14, seed=1), 0.85),  # thin corners are left over
        (solid_cells(200, 25, seed=2), 0.9),
        (solid_cells(260, 70, seed=3), 0.99),
        (stripes(150), 0.99),
    ],
)
def test_instances_come_back_from_directions(labels: npt.NDArray[np.int32], least: float) -> None:
    field = masks_to_directions(labels)
    joined, apart = (
        metrics.average_precision(labels, find_masks(field, logits(labels), how).labels, 0.5).ap[0]
        for how in (ALONG_LINES, replace(ALONG_LINES, target="diffusion"))
    )
    assert joined > least
    assert joined > 2 * apart


def test_directions_with_noise_still_lead_to_instances() -> None:
    labels = solid_cells(300, 25, seed=4)
    noise = np.random.default_rng(0).normal(0, 0.3, (2, *labels.shape))
    field = (masks_to_directions(labels) + ndimage.gaussian_filter(noise, (0, 0.7, 0.7))).astype(np.float32)
    found = find_masks(field, logits(labels), MaskOptions(target="distance")).labels
    assert metrics.average_precision(labels, found, 0.5).ap[0] > 0.8


def test_nothing_leads_to_nothing() -> None:
    found = find_masks(np.zeros((2, 9, 9), np.float32), np.full((9, 9), -5.0, np.float32), ALONG_LINES)
    assert found.labels.max() == 0
    assert found.candidates == 0


def test_errors_are_measured_against_directions() -> None:
    labels = solid_cells(80, 20, seed=5)
    boxes, areas = regions.boxes_and_areas(labels)
    field = masks_to_directions(labels)
    assert flow_errors(labels, field, boxes, areas, "distance").max() == 0
    areas[1] = 0
    errors = flow_errors(labels, np.zeros_like(field), boxes, areas, "distance")
    of_two = np.square(field[:, labels == 2]).sum(axis=0).mean()
    assert errors[1] == 0
    assert errors[2] == pytest.approx(of_two, rel=1e-5)
