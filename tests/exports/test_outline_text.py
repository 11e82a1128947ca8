"""Outlines as text: read and filled again they are instances without holes; the peer writes the same."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from skimage.draw import polygon

from flowseg import labels as label_images_of
from flowseg.exports import outline_text
from tests.shapes import label_images, solid_cells


def drawn(text: str, shape: tuple[int, int]) -> list[npt.NDArray[np.bool_]]:
    masks = []
    for line in text.splitlines():
        x, y = np.array(line.split(","), int).reshape(-1, 2).T
        mask = np.zeros(shape, bool)
        mask[polygon(y, x, shape)] = True
        mask[y, x] = True
        masks.append(mask)
    return masks


def test_filled_again_they_are_solid_cells() -> None:
    cells = solid_cells(150, 18, seed=4)
    masks = drawn(outline_text.encode(cells), cells.shape)
    assert len(masks) == cells.max() > 20
    for label, mask in enumerate(masks, start=1):
        assert (mask == (cells == label)).all()


@given(label_images())
def test_a_line_an_instance_of_its_own_pixels(image: npt.NDArray[np.int32]) -> None:
    lines = outline_text.encode(image).splitlines()
    values = np.unique(image[image > 0])
    assert len(lines) == len(values)
    for line, value in zip(lines, values, strict=True):
        x, y = np.array(line.split(","), int).reshape(-1, 2).T
        assert (image[y, x] == value).all()
        assert label_images_of.outline_mask(image)[y, x].all()


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_the_peer_writes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("cellpose")
    from cellpose import io, utils

    cells = solid_cells(150, 18, seed=4)
    io.outlines_to_text(str(tmp_path / "a"), utils.outlines_list(cells))
    assert (tmp_path / "a_cp_outlines.txt").read_text() == outline_text.encode(cells)
