"""ImageJ ROIs, read back with roifile and filled."""

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from roifile import ROI_TYPE, ImagejRoi, roiread

from flowseg.errors import InputError
from flowseg.exports import roi_zip
from flowseg.instances import Instances, from_labels
from tests.filling import filled
from tests.shapes import label_images, solid_cells


def rois(data: bytes) -> dict[str, ImagejRoi]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()}


@settings(max_examples=100)
@given(label_images(12, 2))
def test_filled_again_they_are_the_instances(labels: npt.NDArray[np.int32]) -> None:
    instances, values = from_labels(labels)
    found = rois(roi_zip.encode(instances, values))
    assert list(found) == [f"{value:04}.roi" for value in values]
    for (name, roi), value in zip(found.items(), values, strict=True):
        mask = labels == value
        assert f"{roi.name}.roi" == name
        assert (filled(roi.coordinates(multi=True), mask.shape) == mask).all()
        ys, xs = np.nonzero(mask)
        assert (roi.top, roi.left, roi.bottom, roi.right) == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)


def test_solid_cells_are_traced_polygons_of_whole_numbers() -> None:
    labels = solid_cells(120, 20, seed=2)
    labels = np.where(np.isin(labels, [1, 3]), labels, 0)
    for roi in rois(roi_zip.encode(*from_labels(labels))).values():
        assert roi.roitype == ROI_TYPE.TRACED
        assert roi.subpixel_coordinates is None


def test_pieces_and_holes_are_one_composite() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[1:6, 1:6], labels[3, 3], labels[8, 8] = 1, 0, 1
    (roi,) = rois(roi_zip.encode(Instances.from_labels(labels))).values()
    assert roi.composite
    assert len(roi.coordinates(multi=True)) == 3


@pytest.mark.parametrize("corner", [(0, 32_760), (0, 40_000), (40_000, 0), (0, 60_530), (0, 70_000)])
@pytest.mark.parametrize("holed", [False, True])
def test_large_images_keep_their_places(corner: tuple[int, int], holed: bool) -> None:
    """Places beyond 16 bits with a sign, which ImageJ wraps, and beyond what it can wrap."""
    block = np.ones((5, 5), bool)
    block[2, 2] = not holed
    y, x = corner
    shape = (y + 20, x + 20)
    first = np.flatnonzero(block.ravel()) // 5 + y, np.flatnonzero(block.ravel()) % 5 + x
    starts = np.sort(first[0].astype(np.int64) * shape[1] + first[1])
    joins = np.concatenate([[True], np.diff(starts) > 1])
    begins = np.flatnonzero(joins)
    lengths = np.diff(np.append(begins, len(starts)))
    instances = Instances(shape, starts[joins], lengths, np.array([0, len(lengths)]))
    (roi,) = rois(roi_zip.encode(instances)).values()
    rings = [np.asarray(ring) - [x, y] for ring in roi.coordinates(multi=True)]
    assert (filled(rings, (5, 5)) == block).all()


def test_a_shape_wider_than_a_box_can_be() -> None:
    labels = np.zeros((3, 40_000), np.int32)
    labels[1, 10:-10], labels[2, 20] = 1, 1
    (roi,) = rois(roi_zip.encode(Instances.from_labels(labels))).values()
    assert (filled(roi.coordinates(multi=True), labels.shape) == labels).all()


def test_the_file_opens_by_name_and_is_the_same_each_time(tmp_path: Path) -> None:
    data = roi_zip.encode(*from_labels([[1, 2, 0], [0, 2, 70_000]]))
    path = tmp_path / "a_rois.zip"
    path.write_bytes(data)
    assert [roi.name for roi in roiread(path)] == ["00001", "00002", "70000"]
    assert data == roi_zip.encode(*from_labels([[1, 2, 0], [0, 2, 70_000]]))


def test_nothing_is_an_empty_archive() -> None:
    assert rois(roi_zip.encode(Instances.from_masks([np.zeros((2, 2))], (2, 2)))) == {}


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="wanted one for each of 2"):
        roi_zip.encode(Instances.from_labels([[1, 2]]), [1])
