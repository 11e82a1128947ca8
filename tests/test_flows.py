"""Labels to flows, against the definition written out slowly, and by its properties."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flowseg import FlowsegError, masks_to_flows
from tests.shapes import label_images, largest_pieces, solid_cells

Flows = npt.NDArray[np.float64]
EIGHT = np.ones((3, 3))


def reference_flows(labels: npt.NDArray[np.integer]) -> Flows:
    """Write the definition out with padded arrays: for each instance heat its centre, spread, take differences."""
    flows = np.zeros((2, *labels.shape))
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        ys, xs = np.nonzero(mask)
        steps = 2 * (np.ptp(ys) + 3 + np.ptp(xs) + 3)
        centre = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
        pieces, count = ndimage.label(mask, EIGHT)
        main = pieces[ys[centre], xs[centre]]
        flows += reference_piece(pieces == main, (ys[centre], xs[centre]), steps)
        for piece in set(range(1, count + 1)) - {main}:
            ys_, xs_ = np.nonzero(pieces == piece)
            own = np.argmin((ys_ - ys_.mean()) ** 2 + (xs_ - xs_.mean()) ** 2)
            steps_ = 2 * (np.ptp(ys_) + 3 + np.ptp(xs_) + 3)
            flows += reference_piece(pieces == piece, (ys_[own], xs_[own]), steps_)
    return flows


def reference_piece(mask: npt.NDArray[np.bool_], centre: tuple[int, int], steps: int) -> Flows:
    heat = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2))
    inside = np.pad(mask, 1)
    shifts = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    for _ in range(steps):
        heat[centre[0] + 1, centre[1] + 1] += 1
        total = np.zeros_like(heat)
        for dy, dx in shifts:
            total = total + np.roll(heat, (-dy, -dx), (0, 1))
        heat = np.where(inside, 1 / 9 * total, 0)
    dy, dx = heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]
    flow = np.stack([dy, dx]) * mask
    return flow / (1e-60 + np.sqrt((flow**2).sum(0)))


@settings(max_examples=150)
@given(label_images())
def test_flows_follow_the_definition(labels: npt.NDArray[np.int32]) -> None:
    np.testing.assert_allclose(masks_to_flows(labels), reference_flows(labels), atol=1e-5)


@pytest.mark.parametrize("diameter", [6, 12, 40])
def test_flows_of_cells_follow_the_definition(diameter: int) -> None:
    labels = solid_cells(96, diameter, seed=diameter)
    assert labels.max() > 3
    np.testing.assert_allclose(masks_to_flows(labels), reference_flows(labels), atol=1e-5)


@settings(max_examples=100)
@given(label_images())
def test_flows_are_unit_vectors_inside_and_nothing_outside(labels: npt.NDArray[np.int32]) -> None:
    flows = masks_to_flows(labels)
    length = np.sqrt((flows.astype(np.float64) ** 2).sum(0))
    assert flows.dtype == np.float32
    assert np.isfinite(flows).all()
    assert (length[labels == 0] == 0).all()
    assert ((np.abs(length - 1) < 1e-5) | (length == 0)).all()


@settings(max_examples=60)
@given(label_images(), st.sampled_from(["flip", "mirror", "turn"]))
def test_the_flow_of_a_turned_mask_is_the_turned_flow(labels: npt.NDArray[np.int32], how: str) -> None:
    flows = masks_to_flows(labels)
    if how == "flip":
        turned, wanted = labels[::-1], flows[:, ::-1] * np.array([-1, 1])[:, None, None]
    elif how == "mirror":
        turned, wanted = labels[:, ::-1], flows[:, :, ::-1] * np.array([1, -1])[:, None, None]
    else:
        turned, wanted = labels.T, flows[::-1].transpose(0, 2, 1)
    for label in np.unique(labels[labels > 0]):
        mask = turned == label
        if has_one_centre(mask):
            got = masks_to_flows(mask)[:, mask]
            steady = level_pixels(mask)
            np.testing.assert_allclose(got[:, ~steady], wanted[:, mask][:, ~steady], atol=1e-4)


def has_one_centre(mask: npt.NDArray[np.bool_]) -> bool:
    """Tell whether the mask is in one piece and one pixel alone is nearest its mean."""
    ys, xs = np.nonzero(mask)
    distances = np.sort((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
    return ndimage.label(mask, EIGHT)[1] == 1 and (len(ys) == 1 or distances[1] - distances[0] > 1e-9)


def level_pixels(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell where heat is level in the definition up to rounding, so that the direction there means nothing."""
    ys, xs = np.nonzero(mask)
    centre = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
    heat = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2))
    for _ in range(2 * (np.ptp(ys) + 3 + np.ptp(xs) + 3)):
        heat[ys[centre] + 1, xs[centre] + 1] += 1
        heat = ndimage.uniform_filter(heat, 3, mode="constant") * np.pad(mask, 1)
    dy, dx = heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]
    return (np.hypot(dy, dx) < 1e-9 * heat[1:-1, 1:-1])[mask]


def test_neighbours_do_not_leak_into_one_another() -> None:
    labels = solid_cells(80, 14, seed=3, gap=0.0)
    together = masks_to_flows(labels)
    for label in range(1, labels.max() + 1):
        alone = masks_to_flows(labels == label)
        assert (alone[:, labels == label] == together[:, labels == label]).all()


@settings(max_examples=60)
@given(label_images(), st.permutations(range(1, 5)))
def test_names_of_labels_do_not_matter(labels: npt.NDArray[np.int32], names: list[int]) -> None:
    renamed = np.array([0, *names])[labels]
    assert (masks_to_flows(labels) == masks_to_flows(renamed)).all()


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", ">i2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_any_integer_type_and_layout(dtype: str) -> None:
    labels = solid_cells(60, 15, seed=1)
    wanted = masks_to_flows(labels)
    assert (masks_to_flows(labels.astype(dtype)) == wanted).all()
    assert (masks_to_flows(np.asfortranarray(labels.astype(dtype))) == wanted).all()
    wide = np.zeros((60, 120), dtype)
    wide[:, ::2] = labels
    frozen = wide[:, ::2]
    frozen.flags.writeable = False
    assert (masks_to_flows(frozen) == wanted).all()


def test_large_labels_with_gaps() -> None:
    labels = solid_cells(60, 15, seed=1)
    names = np.linspace(2**31 - 1 - labels.max() * 1000, 2**31 - 1, labels.max() + 1).astype(np.int64)
    names[0] = 0
    assert (masks_to_flows(names[labels]) == masks_to_flows(labels)).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 9), (9, 1), (30, 40)])
def test_empty_and_full_images(shape: tuple[int, int]) -> None:
    assert masks_to_flows(np.zeros(shape, int)).shape == (2, *shape)
    full = np.ones(shape, int)
    np.testing.assert_allclose(masks_to_flows(full), reference_flows(full), atol=1e-5)


def test_a_stray_piece_flows_toward_its_own_centre() -> None:
    labels = np.zeros((20, 60), int)
    labels[2:12, 2:12] = 1
    labels[14:19, 50:55] = 1
    flows = masks_to_flows(labels)
    ys, xs = np.mgrid[14:19, 50:55]
    toward = np.stack([16 - ys, 52 - xs])
    assert (np.sum(toward * flows[:, 14:19, 50:55], 0)[(ys != 16) | (xs != 52)] > 0).all()


def test_a_ragged_instance_follows_the_definition() -> None:
    labels = np.zeros((70, 70), int)
    labels[np.arange(70), np.arange(70)] = 1  # a diagonal: few pixels in a large box
    labels[5:8, 60:63] = 1
    np.testing.assert_allclose(masks_to_flows(labels), reference_flows(labels), atol=1e-5)


def test_a_mask_of_all_cells_flows_to_each_cell() -> None:
    """A binary mask, given for labels by mistake, is one large instance in many pieces."""
    cells = np.kron(np.ones((8, 8), int), np.pad(np.ones((31, 31), int), 1))
    assert cells.size > 2**16
    np.testing.assert_allclose(masks_to_flows(cells), reference_flows(cells), atol=1e-5)


def test_scattered_pixels_of_one_label_are_quick_and_defined() -> None:
    labels = (np.random.default_rng(0).random((300, 300)) < 0.1).astype(int)
    flows = masks_to_flows(labels)
    assert np.isfinite(flows).all()
    assert (flows[:, labels == 0] == 0).all()


def test_the_result_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = solid_cells(300, 20, seed=5)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("FLOWSEG_THREADS", threads)
        results.append(masks_to_flows(labels))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_nothing_is_modified() -> None:
    labels = largest_pieces(solid_cells(60, 12, seed=2))
    before = labels.copy()
    masks_to_flows(labels)
    assert (labels == before).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(5, int), r"shape \(5,\).*two-dimensional"),
        (np.zeros((2, 3, 4), int), r"shape \(2, 3, 4\)"),
        (np.full((3, 3), 0.5), r"0\.5, a fraction"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.full((3, 3), -2), "-2"),
        (np.full((3, 3), 2**31), "2147483648"),
        (np.full((3, 3), "a"), "wanted integers"),
    ],
)
def test_bad_labels_are_refused(labels: npt.NDArray[np.generic], message: str) -> None:
    with pytest.raises(FlowsegError, match=message):
        masks_to_flows(labels)
