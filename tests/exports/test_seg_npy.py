"""Cellpose's files: read by numpy as Cellpose does; in Cellpose's own loader where it is installed."""

import io
import pickletools
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from flowseg import flows
from flowseg.errors import InputError
from flowseg.exports import seg_npy
from tests.shapes import label_images, logits, solid_cells


def read(data: bytes) -> dict[str, Any]:
    kept = np.load(io.BytesIO(data), allow_pickle=True).item()
    assert isinstance(kept, dict)
    return kept


@given(label_images(), st.sampled_from([1, 1000, 70_000]))
def test_labels_are_read_as_they_were(labels: npt.NDArray[np.int32], factor: int) -> None:
    kept = read(seg_npy.encode(labels * factor))
    assert (kept["masks"] == labels * factor).all()
    assert kept["masks"].dtype == (np.uint16 if labels.max(initial=0) * factor < 65_535 else np.uint32)
    assert kept["outlines"].dtype == kept["masks"].dtype
    assert (kept["outlines"][kept["outlines"] > 0] == (labels * factor)[kept["outlines"] > 0]).all()
    assert len(kept["ismanual"]) == labels.max(initial=0) * factor


def test_flows_are_those_that_the_sliders_work_on() -> None:
    labels = solid_cells(60, 15, seed=1)
    field = flows.masks_to_flows(labels)
    kept = read(seg_npy.encode(labels, flows=field, cellprob=logits(labels), diameter=17.5, filename="/x/a.tif"))
    picture, sure, _, _, numbers = kept["flows"]
    assert picture.shape == (1, 60, 60, 3)
    assert (picture.any(axis=-1)[0] == field.any(axis=0)).all()
    assert ((sure[0] > 127) == (labels > 0)).all()
    np.testing.assert_allclose(numbers[:2], 5 * field)
    assert (kept["est_diam"], kept["filename"]) == (17.5, "/x/a.tif")


def test_every_numpy_can_open_it() -> None:
    """numpy 2 pickles arrays under a name that older ones do not know; Cellpose is used with such."""
    stream = io.BytesIO(seg_npy.encode([[0, 7]]))
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    names = {argument for code, argument, _ in pickletools.genops(stream.read()) if code.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def test_flows_of_another_image_are_refused() -> None:
    with pytest.raises(InputError, match="wanted two images of the same size"):
        seg_npy.encode(
            np.zeros((4, 4), int), flows=np.zeros((2, 4, 5), np.float32), cellprob=np.zeros((4, 5), np.float32)
        )


def test_nothing_but_plain_values_and_arrays_is_kept() -> None:
    """So that a reader that runs nothing can open it."""
    labels = solid_cells(40, 12, seed=1)
    kept = read(seg_npy.encode(labels, flows=flows.masks_to_flows(labels), cellprob=logits(labels)))
    plain = [*(value for key, value in kept.items() if key != "flows"), *kept["flows"]]
    assert {type(value) for value in plain} == {np.ndarray, list, str, float}
    assert all(value.dtype.kind in "bufi" for value in plain if isinstance(value, np.ndarray))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("with_flows", [False, True])
def test_cellpose_loads_it(tmp_path: Path, with_flows: bool) -> None:
    pytest.importorskip("cellpose")
    from cellpose.gui import io as gui_io

    labels = solid_cells(80, 15, seed=1)
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(np.uint16))
    also: dict[str, Any] = {"flows": flows.masks_to_flows(labels), "cellprob": logits(labels)} if with_flows else {}
    (tmp_path / "a_seg.npy").write_bytes(seg_npy.encode(labels, filename="/gone/a.tif", diameter=15.0, **also))
    parent = MagicMock()
    del parent.stack_filtered
    parent.load_3D, parent.NZ, parent.restore, parent.ncells = False, 1, None, 0
    parent.colormap = np.zeros((1000, 4), np.uint8)
    gui_io._load_seg(parent, filename=str(tmp_path / "a_seg.npy"))
    assert parent.loaded
    assert parent.filename == str(tmp_path / "a.tif")
    assert (parent.cellpix[0] == labels).all()
    assert parent.ncells == labels.max()
    assert parent.diameter == 15.0
    if with_flows:
        assert parent.recompute_masks
        np.testing.assert_allclose(parent.flows[4][:2], 5 * also["flows"])
