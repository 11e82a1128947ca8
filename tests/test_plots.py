"""Pictures show what they are given, of any type and shape."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import rgb_to_hsv

from flowseg import plots
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.labels import outline_mask
from tests.shapes import solid_cells


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.bool_])
def test_any_image_is_seen(channels: int, kind: type) -> None:
    planes = np.random.default_rng(0).integers(0, 2 if kind is np.bool_ else 200, (channels, 30, 40)).astype(kind)
    shown = plots.seen(planes)
    assert shown.shape == (30, 40, 3)
    assert shown.dtype == np.uint8
    assert shown.max() == 255
    assert shown.min() < 128


def test_what_is_not_finite_is_black() -> None:
    plane = np.full((1, 20, 20), 5.0)
    plane[0, :10] = 9
    plane[0, 3, 3], plane[0, 4, 4] = np.nan, np.inf
    shown = plots.seen(plane)
    assert shown[3, 3].tolist() == [0, 0, 0]
    assert shown[0, 0, 0] > shown[15, 0, 0]


@settings(max_examples=30)
@given(st.floats(-3.1, 3.1), st.floats(0.1, 1))
def test_the_hue_of_flows_is_their_direction(angle: float, length: float) -> None:
    flows = length * np.array([np.sin(angle), np.cos(angle)]).reshape(2, 1, 1)
    hue = rgb_to_hsv(plots.flow_colours(flows)[0, 0] / 255)[0]
    assert np.angle(np.exp(1j * (2 * np.pi * hue - angle))) == pytest.approx(0, abs=0.25)


def test_neighbouring_labels_have_colours_of_their_own() -> None:
    colours = plots.label_colours(np.arange(60, dtype=np.int32)[None])[0].astype(int)
    assert (colours[0] == 0).all()
    assert np.abs(np.diff(colours[1:], axis=0)).sum(axis=1).min() > 100


@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (3, 40)])
def test_an_overview_of_any_shape(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.int32)
    figure = plots.overview(np.zeros(shape), labels, np.zeros((2, *shape), np.float32))
    assert len(figure.axes) == 4
    assert plots.figure_png(figure).startswith(b"\x89PNG")


def test_an_overview_without_pixels() -> None:
    figure = plots.overview(None, np.zeros((0, 0), np.int32))
    assert [axis.get_title() for axis in figure.axes] == ["image", "outlines (0)", "labels"]
    assert plots.figure_png(figure).startswith(b"\x89PNG")


def drawn_in(axis: Axes) -> dict[tuple[int, ...], list[set[tuple[int, int]]]]:
    """Return the points (y, x) of the lines drawn, by colour."""
    lines = {}
    for part in axis.collections:
        colour = tuple(round(255 * value) for value in part.get_colors()[0][:3])
        lines[colour] = [{(int(y), int(x)) for x, y in path.vertices} for path in part.get_paths()]
    return lines


def test_outlines_and_truth_are_drawn() -> None:
    labels = solid_cells(60, 16, seed=1)
    truth = np.roll(labels, 20, axis=0)
    figure = plots.overview(np.zeros((60, 60)), labels, truth=truth, panels="outlines")
    (axis,) = figure.axes
    lines = drawn_in(axis)
    for colour, image in ((plots.FOUND, labels), (plots.TRUTH, truth)):
        assert set().union(*lines[colour]) == set(zip(*map(list, np.nonzero(outline_mask(image))), strict=True))
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["true", "found"]


def test_instances_that_overlap_are_drawn_whole() -> None:
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 2:12, 2:12], masks[1, 8:18, 8:18] = True, True
    both = Instances.from_masks(masks, (20, 20))
    figure = plots.overview(None, both, truth=both, panels=("outlines", "labels"))
    lines = drawn_in(figure.axes[0])
    for colour in (plots.FOUND, plots.TRUTH):
        assert lines[colour] == [set(zip(*map(list, np.nonzero(outline_mask(mask))), strict=True)) for mask in masks]
    assert figure.axes[0].get_title() == "outlines (2)"


def test_panels_and_a_region_are_chosen() -> None:
    labels = solid_cells(60, 16, seed=1)
    figure = plots.overview(labels, labels, panels=("labels", "image"), region=(10, 20, 40, 60))
    assert [axis.get_title() for axis in figure.axes] == ["labels", "image"]
    assert figure.axes[0].get_xlim() == (19.5, 59.5)
    assert figure.axes[0].get_ylim() == (39.5, 9.5)
    with pytest.raises(OptionError, match=r"panels is 'flows'; wanted some of image, outlines, labels"):
        plots.overview(None, labels, panels="flows")
    with pytest.raises(OptionError, match="panels is"):
        plots.overview(None, labels, panels=[])
    with pytest.raises(InputError, match="shape"):
        plots.overview(np.zeros((60, 61)), labels)
    with pytest.raises(InputError, match="shape"):
        plots.overview(None, labels, truth=labels[1:])
    with pytest.raises(InputError, match="the flows and the labels"):
        plots.overview(None, labels, np.zeros((2, 60, 61), np.float32))
    with pytest.raises(InputError, match=r"cellprob has shape .*wanted that of the image"):
        plots.overview(None, labels, cellprob=np.zeros((61, 60), np.float32))


def test_outlines_of_a_thumbnail_are_seen() -> None:
    labels = np.kron([[1, 0], [0, 2]], np.ones((400, 400), np.int32)).astype(np.int32)
    small = plots.outlined_thumbnail(np.zeros((800, 800, 3), np.uint8), labels, 80)
    assert small.shape == (80, 80, 3)
    assert (small == plots.FOUND).all(axis=2).sum() == 2 * (4 * 40 - 4)


def test_curves_of_a_file_and_without_validation() -> None:
    text = "crops,train_loss,validation_loss,ap50,map,lr\n8,2.0,nan,nan,nan,0.001\n16,1.5,nan,nan,nan,0.0005\n"
    figure = plots.training_curves(list(csv.DictReader(text.splitlines())))
    assert figure.axes[0].lines[0].get_ydata().tolist() == [2.0, 1.5]
    assert figure.axes[1].texts[0].get_text() == "no validation images"


@pytest.mark.parametrize("region", [(0, 0, 5), (5, 5, 0, 0), (0, 0, 9, 8), (-1, 0, 4, 4)])
def test_a_part_that_is_none_is_refused(region: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"wanted \(y0, x0, y1, x1\) within 8 x 8 pixels"):
        plots.overview(None, np.eye(8, dtype=np.int32), region=region)  # type: ignore[arg-type]


def test_scores_of_zero_stand_at_the_foot_of_their_curve() -> None:
    rows = [
        {"crops": crops, "train_loss": 1.0, "validation_loss": 1.0, "ap50": 0.0, "map": 0.0, "lr": 0.1}
        for crops in (1, 2)
    ]
    assert plots.training_curves(rows).axes[1].get_ylim() == (0, 1)


def test_flows_with_a_third_plane_are_refused_and_not_written_to() -> None:
    labels, flows = solid_cells(60, 16, seed=1), np.ones((3, 60, 60), np.float32)
    with pytest.raises(InputError, match=r"flows has shape \(3, 60, 60\); wanted \(2, height, width\)"):
        plots.overview(None, labels, flows)
    assert plots.flow_colours(flows).shape == (60, 60, 3)
    assert (flows == 1).all()
