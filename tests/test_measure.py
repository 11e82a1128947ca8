"""Measurements, against scikit-image's regionprops."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from skimage.measure import regionprops

from flowseg import FlowsegError, flows
from flowseg.measure import measure
from tests.shapes import label_images, logits, solid_cells


def check(image: npt.NDArray[np.int32]) -> None:
    rng = np.random.default_rng(0)
    planes = rng.uniform(size=(2, *image.shape))
    cellprob = rng.normal(size=image.shape).astype(np.float32)
    table = measure(image, planes, cellprob)
    regions = regionprops(image, np.moveaxis(planes, 0, 2)) if image.size else []
    assert table["label"].tolist() == [region.label for region in regions]
    for row, region in enumerate(regions):
        assert (table["centroid_y"][row], table["centroid_x"][row]) == pytest.approx(region.centroid)
        assert table["area"][row] == region.area
        assert tuple(table[f"bbox_{name}"][row] for name in ("y0", "x0", "y1", "x1")) == region.bbox
        assert table["diameter"][row] == pytest.approx(region.equivalent_diameter_area)
        assert table["perimeter"][row] == pytest.approx(region.perimeter)
        assert table["eccentricity"][row] == pytest.approx(region.eccentricity, abs=1e-5)
        for number in range(2):
            assert table[f"mean_intensity_{number}"][row] == pytest.approx(region.intensity_mean[number])
        sure = 1 / (1 + np.exp(-cellprob[image == region.label]))
        assert table["mean_probability"][row] == pytest.approx(sure.mean())


@settings(max_examples=80)
@given(label_images())
def test_measurements_are_those_of_skimage(image: npt.NDArray[np.int32]) -> None:
    check(image)


def test_measurements_of_cells_are_those_of_skimage() -> None:
    check(solid_cells(150, 20, seed=1, gap=0))


def test_a_round_cell_is_round_wherever_it_lies() -> None:
    disc = np.hypot(*np.mgrid[-5.5:6, -5.5:6]) < 6
    image = np.zeros((12, 40_012), np.int32)
    image[:, 40_000:] = disc
    far, near = measure(image), measure(disc.astype(np.int32))
    assert far["eccentricity"] == near["eccentricity"] == 0
    assert (far["centroid_y"], far["centroid_x"] - 40_000) == (near["centroid_y"], near["centroid_x"])


def test_the_flow_error_is_small_for_own_flows_and_large_for_turned_ones() -> None:
    image = solid_cells(100, 25, seed=1)
    own = flows.masks_to_flows(image)
    assert measure(image, cellprob=logits(image), predicted=own)["flow_error"].max() < 1e-6
    assert measure(image, predicted=-own)["flow_error"].min() > 1


def test_lists_and_tensors_are_measured_too() -> None:
    image = np.array([[0, 3, 3], [0, 3, 3]])
    planes = np.arange(6.0).reshape(1, 2, 3)
    wanted = measure(image, planes, planes[0], np.zeros((2, 2, 3)))
    for kind in (np.ndarray.tolist, torch.tensor):
        found = measure(kind(image), kind(planes), kind(planes[0]), kind(np.zeros((2, 2, 3))))
        assert {name: column.tolist() for name, column in found.items()} == {
            name: column.tolist() for name, column in wanted.items()
        }


def test_probability_has_no_logit_too_large() -> None:
    assert measure([[1, 2]], cellprob=[[-1e4, 1e4]])["mean_probability"] == pytest.approx([0, 1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"planes": np.zeros((9, 9))}, r"planes have shape \(9, 9\) .*wanted \(channels, height, width\)"),
        ({"planes": np.zeros((9, 9, 3))}, r"planes have shape \(9, 9, 3\)"),
        ({"planes": np.zeros((1, 9, 9), complex)}, "planes have type complex128"),
        ({"cellprob": np.zeros((9, 8))}, r"cellprob has shape \(9, 8\); wanted that of the image, \(9, 9\)"),
        ({"predicted": np.zeros((2, 3, 3))}, r"the flows and the labels have shapes \(3, 3\) and \(9, 9\)"),
        ({"target": "distances"}, "target is 'distances'; wanted one of diffusion, distance"),
    ],
)
def test_what_does_not_fit_the_labels_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(FlowsegError, match=says):
        measure(np.ones((9, 9), int), **given)
