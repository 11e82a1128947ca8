"""Pictures show what they are given, of any type and shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import rgb_to_hsv

from flowseg import plots
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


@settings(deadline=None, max_examples=30)
@given(st.floats(-3.1, 3.1), st.floats(0.1, 1))
def test_the_hue_of_flows_is_their_direction(angle: float, length: float) -> None:
    flows = length * np.array([np.sin(angle), np.cos(angle)]).reshape(2, 1, 1)
    hue = rgb_to_hsv(plots.flow_colours(flows)[0, 0] / 255)[0]
    assert np.angle(np.exp(1j * (2 * np.pi * hue - angle))) == pytest.approx(0, abs=0.25)


def test_neighbouring_labels_have_colours_of_their_own() -> None:
    colours = plots.label_colours(np.arange(60, dtype=np.int32)[None])[0].astype(int)
    assert (colours[0] == 0).all()
    assert np.abs(np.diff(colours[1:], axis=0)).sum(axis=1).min() > 100


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (40, 3), (3, 40)])
def test_an_overview_of_any_shape(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.int32)
    figure = plots.overview(np.zeros((2, *shape)) if min(shape) else None, labels, np.zeros((2, *shape), np.float32))
    assert len(figure.axes) == 4


def test_outlines_and_truth_are_drawn() -> None:
    labels = solid_cells(60, 16, seed=1)
    figure = plots.overview(np.zeros((1, 60, 60)), labels, truth=np.roll(labels, 20, axis=0))
    drawn = figure.axes[1].images[0].get_array()
    colours = {tuple(colour) for colour in np.asarray(drawn).reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), plots.FOUND, plots.TRUTH}
    assert plots.figure_png(figure).startswith(b"\x89PNG")
