"""Image and labels move together, and flows are those of the labels that came out."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flowseg.augment import NOTHING, AugmentOptions, Crop, Source, crop
from flowseg.errors import OptionError
from flowseg.flows import masks_to_directions, masks_to_flows
from flowseg.kernels.distance import inner_distances
from flowseg.kernels.warp import warp
from tests.shapes import solid_cells

STILL = (np.empty((2, 0, 0), np.float32),)


def source(labels: np.ndarray, planes: np.ndarray | None = None) -> Source:
    planes = labels[None].astype(np.float32) if planes is None else planes
    count = 0 if planes.dtype == np.float32 else int(planes.max()) + 1
    return Source(planes, np.tile(np.arange(count, dtype=np.float32), (len(planes), 1)), labels)


def moved(planes: np.ndarray, labels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    out = np.empty((len(planes), *shape), np.float32), np.empty(shape, np.int32), np.empty(shape, bool)
    warp(planes, np.empty((len(planes), 0), np.float32), labels, matrix, *STILL, *out)
    return out


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0, 6.3), st.floats(0.3, 3))
def test_warping_is_that_of_scipy(seed: int, angle: float, zoom: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(2, 30, 2)
    planes = rng.random((2, height, width), np.float32)
    labels = rng.integers(0, 9, (height, width), np.int32)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    matrix = np.hstack([turn, rng.uniform(-5, 10, (2, 1))])
    image, found, inside = moved(planes, labels, matrix, (17, 23))
    places = np.einsum("ij,jyx->iyx", matrix, np.array([*np.mgrid[:17, :23], np.ones((17, 23))]))
    nearest = np.floor(places + 0.5).astype(int)
    within = (nearest >= 0).all(0) & (nearest[0] < height) & (nearest[1] < width)
    assert (inside == within).all()
    assert (found == np.where(within, labels[nearest[0] % height, nearest[1] % width], 0)).all()
    for plane, out in zip(planes, image, strict=True):
        wanted = ndimage.map_coordinates(plane.astype(float), places, order=1, mode="nearest")
        np.testing.assert_allclose(out, np.where(within, wanted, 0), atol=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("to_field", [masks_to_flows, masks_to_directions])
def test_the_flow_of_a_turned_mask_is_the_turned_flow(turns: int, to_field: object) -> None:
    labels = solid_cells(64, 16, seed=2)
    field = to_field(labels)
    turned = to_field(np.rot90(labels, turns).copy())
    back = np.rot90(turned, -turns, axes=(1, 2))
    angle = turns * math.pi / 2  # np.rot90 turns rows into columns: the vectors turn along
    dy = math.cos(angle) * back[0] + math.sin(angle) * back[1]
    dx = -math.sin(angle) * back[0] + math.cos(angle) * back[1]
    away = np.hypot(dy - field[0], dx - field[1])
    assert np.mean(away[labels > 0] < 1e-3) > 0.97  # the pixel where heat enters may differ where two are as near
    unturned = np.hypot(back[0] - field[0], back[1] - field[1])
    assert np.mean(unturned[labels > 0] < 1e-3) < 0.5  # precomputed and turned as an image is another field


def test_flows_are_computed_after_the_crop_is_made() -> None:
    labels = np.zeros((80, 80), np.int32)
    labels[10:70, 30:44] = 1
    rng = np.random.default_rng(0)
    for _ in range(20):
        made = crop(source(labels), 64, 1.0, rng, AugmentOptions())
        flows = masks_to_flows(made.labels)
        there = made.labels > 0
        rows, columns = np.nonzero(there)
        if len(rows) < 300:
            continue
        toward = np.array([rows.mean() - rows, columns.mean() - columns])
        assert np.mean((toward * flows[:, there]).sum(0) > 0) > 0.95


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.4, 1.0, 2.2]), st.booleans())
def test_labels_move_with_their_image(seed: int, zoom: float, elastic: bool) -> None:
    labels = solid_cells(90, 24, seed=seed % 7)
    options = AugmentOptions(elastic=2.0 * elastic, contrast=0, brightness=0, gamma=0, noise=0)
    made = crop(source(labels), 48, zoom, np.random.default_rng(seed), options)
    assert set(np.unique(made.labels)) <= set(np.unique(labels))
    # The image is the labels, read between pixels: equal wherever the four pixels around agree.
    pure = np.isclose(made.image[0] % 1, 0) & (made.image[0] > 0)
    inner = ndimage.minimum_filter(made.labels, 5) == ndimage.maximum_filter(made.labels, 5)
    both = pure & inner & (made.labels > 0)
    assert (made.image[0][both] == made.labels[both]).all()
    assert both.any() or zoom < 1 or elastic or not (inner & (made.labels > 0)).any()


def test_the_same_generator_makes_the_same_crop() -> None:
    labels = solid_cells(90, 6, seed=1)
    options = AugmentOptions(elastic=2, blur=1, drop=0.5, invert=0.5)
    planes = np.random.default_rng(1).integers(0, 255, (2, 90, 90)).astype(np.uint8)
    first, second = (crop(source(labels, planes), 40, 1.0, np.random.default_rng(5), options) for _ in range(2))
    assert (first.image == second.image).all()
    assert (first.labels == second.labels).all()
    other = crop(source(labels, planes), 40, 1.0, np.random.default_rng(6), options)
    assert (first.image != other.image).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (7, 3), (300, 20)])
def test_images_of_any_shape_give_crops(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.int32)
    for seed in range(5):
        made = crop(source(labels), 32, 1.0, np.random.default_rng(seed), AugmentOptions())
        assert made.image.shape == (1, 32, 32)
        assert np.isfinite(made.image).all()
        assert (made.image[0][made.labels == 0] == 0).all()
        assert made.labels.any()


def test_nothing_changes_nothing_and_cuts_anywhere() -> None:
    labels = np.arange(1, 101, dtype=np.int32).reshape(10, 10)
    whole = crop(source(labels), 10, 1.0, np.random.default_rng(0), NOTHING)
    assert (whole.labels == labels).all()
    assert (whole.image[0] == labels).all()
    parts = [crop(source(labels), 4, 1.0, np.random.default_rng(seed), NOTHING).labels for seed in range(900)]
    assert all((np.diff(part, axis=1) == 1).all() and (np.diff(part, axis=0) == 10).all() for part in parts)
    assert set(np.unique(parts)) == set(labels.ravel().tolist())


def test_inversion_and_brightness_leave_the_outside_alone() -> None:
    planes = np.full((1, 8, 8), 0.25, np.float32)
    options = replace(NOTHING, invert=1)
    made = crop(source(np.ones((8, 8), np.int32), planes), 16, 1.0, np.random.default_rng(0), options)
    assert (made.image[0][made.labels > 0] == 0.75).all()
    assert (made.image[0][made.labels == 0] == 0).all()


def crops_of(labels: np.ndarray, planes: np.ndarray | None = None, count: int = 80, **changed: object) -> list[Crop]:
    """Return crops of a whole square image in which one thing changes."""
    options = replace(NOTHING, **changed)  # type: ignore[arg-type]
    side = len(labels)
    return [crop(source(labels, planes), side, 1.0, np.random.default_rng(seed), options) for seed in range(count)]


def test_half_of_the_crops_are_mirrored() -> None:
    labels = np.arange(1, 65, dtype=np.int32).reshape(8, 8)
    mirrored = [(made.labels == labels[:, ::-1]).all() for made in crops_of(labels, flip=True)]
    assert 20 < sum(mirrored) < 60
    for made, other in zip(crops_of(labels, flip=True), mirrored, strict=True):
        assert (made.labels == (labels[:, ::-1] if other else labels)).all()
        assert (made.image[0] == made.labels).all()


def test_crops_are_turned_by_any_angle() -> None:
    labels = np.zeros((61, 61), np.int32)
    labels[28:33, 48:53] = 1  # 20 pixels to the right of the middle
    places = np.array([np.argwhere(made.labels).mean(axis=0) - 30 for made in crops_of(labels, rotate=True)])
    np.testing.assert_allclose(np.hypot(*places.T), 20, atol=0.5)
    angles = np.sort(np.arctan2(*places.T))
    assert np.diff(angles, append=angles[0] + 2 * np.pi).max() < 0.8


def test_crops_are_as_often_larger_as_smaller() -> None:
    labels = (np.hypot(*(np.mgrid[:101, :101] - 50)) < 20).astype(np.int32)
    zooms = np.sqrt([np.count_nonzero(made.labels) / np.count_nonzero(labels) for made in crops_of(labels, scale=1.0)])
    assert 0.48 < zooms.min() < 0.6
    assert 1.7 < zooms.max() < 2.05
    assert abs(np.log(zooms).mean()) < 0.15


@pytest.mark.parametrize("stored", [True, False], ids=["numbers", "floats"])
@pytest.mark.parametrize("name", ["contrast", "brightness", "gamma"])
def test_intensities_change_as_much_as_they_may(name: str, stored: bool) -> None:
    planes = np.random.default_rng(0).integers(1, 256, (1, 32, 32)).astype(np.uint8)
    level = np.linspace(0, 1, 256, dtype=np.float32)
    labels = np.ones((32, 32), np.int32)
    given = (
        Source(planes, level[None], labels) if stored else Source(level[planes], np.empty((1, 0), np.float32), labels)
    )
    options = replace(NOTHING, **{name: 0.5})
    drawn = []
    for seed in range(80):
        image, before = crop(given, 32, 1.0, np.random.default_rng(seed), options).image, level[planes]
        if name == "brightness":
            drawn.append(float((image - before).mean()))
            wanted = before + drawn[-1]
        elif name == "contrast":
            drawn.append(float(image.sum() / before.sum()))
            wanted = before * drawn[-1]
        else:
            drawn.append(float(np.log(image[before < 1]).sum() / np.log(before[before < 1]).sum()))
            wanted = before ** drawn[-1]
        np.testing.assert_allclose(image, wanted, atol=1e-4)
    low, high = (-0.5, 0.5) if name == "brightness" else (1 / 1.5, 1.5)
    assert low < min(drawn) < low + 0.1
    assert high - 0.1 < max(drawn) < high


def test_channels_but_the_first_are_dropped() -> None:
    planes = np.ones((3, 16, 16), np.float32)
    images = [made.image for made in crops_of(np.ones((16, 16), np.int32), planes, drop=0.5)]
    gone = np.array([[not plane.any() for plane in image] for image in images])
    assert not gone[:, 0].any()
    assert (gone.sum(axis=1) <= 1).all()
    assert 20 < gone.any(axis=1).sum() < 60
    assert gone[:, 1].any()
    assert gone[:, 2].any()


@pytest.mark.parametrize(("name", "sign"), [("blur", -1), ("noise", 1)])
def test_a_quarter_of_the_crops_is_blurred_or_noisy(name: str, sign: int) -> None:
    planes = np.random.default_rng(0).random((1, 64, 64), np.float32)
    changes = [
        sign * (made.image.std() - planes.std())
        for made in crops_of(np.ones((64, 64), np.int32), planes, **{name: 1.0})
    ]
    assert min(changes) >= 0
    assert 8 < sum(change > 0 for change in changes) < 34


def test_an_empty_channel_stays_empty() -> None:
    planes = np.stack([np.random.default_rng(0).integers(0, 255, (40, 40)), np.zeros((40, 40))]).astype(np.uint8)
    levels = np.stack([np.linspace(0, 1, 256), np.zeros(256)]).astype(np.float32)
    labels = np.zeros((40, 40), np.int32)
    floats = Source(levels[[[[0]], [[1]]], planes], np.empty((2, 0), np.float32), labels)
    options = AugmentOptions(colour=0.5, noise=0.5, blur=1.0, invert=0.5)
    for made in (Source(planes, levels, labels), floats):
        crops = [crop(made, 32, 1.0, np.random.default_rng(seed), options).image for seed in range(40)]
        assert all(image[0].any() and not image[1].any() for image in crops)


def test_colours_change_each_channel_by_itself() -> None:
    labels = solid_cells(80, 20, seed=1)
    planes = np.random.default_rng(0).random((1, 80, 80), np.float32).repeat(3, 0)
    made = crop(source(labels, planes), 64, 1.0, np.random.default_rng(1), replace(NOTHING, colour=0.4))
    there = made.image[0] != 0
    for other in made.image[1:]:
        slope, shift = np.polyfit(made.image[0][there], other[there], 1)
        assert np.abs(slope * made.image[0][there] + shift - other[there]).max() < 1e-4
        assert abs(slope - 1) > 1e-3
        assert abs(shift) > 1e-4


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_inner_distances_are_those_of_each_instance_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 4, rng.integers(1, 7, 2))
    labels = np.ascontiguousarray(np.kron(small, np.ones(rng.integers(1, 6, 2), int)), np.int32)
    wanted = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        wanted += ndimage.distance_transform_edt(np.pad(labels == label, 1))[1:-1, 1:-1]
    np.testing.assert_allclose(inner_distances(labels), wanted, atol=1e-5)


def test_directions_are_unit_vectors_away_from_the_border() -> None:
    labels = solid_cells(80, 18, seed=3)
    field = masks_to_directions(labels)
    length = np.hypot(*field)
    assert np.isin(np.round(length, 4), (0, 1)).all()
    assert (length[labels == 0] == 0).all()
    assert length[labels > 0].mean() > 0.9


def test_wrong_options_are_refused() -> None:
    for wrong in ({"scale": -1}, {"invert": 2}, {"noise": float("nan")}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            AugmentOptions(**wrong)


@pytest.mark.parametrize(
    ("name", "value"), [("flip", "no"), ("rotate", 1.5), ("scale", "much"), ("noise", float("nan"))]
)
def test_values_of_another_kind_are_refused(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{name} is .*; wanted"):
        AugmentOptions(**{name: value})  # type: ignore[arg-type]
