"""One mask a file: what is one instance, and what is none."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from flowseg.errors import InputError
from flowseg.sources import mask_folders
from flowseg.sources.data_sets import open_collection
from tests.shapes import solid_cells
from tests.sources.data import by_name, picture, same


def test_one_mask_a_file(tmp_path: Path) -> None:
    labels = {name: solid_cells(30, 9, seed=seed)[:20] for seed, name in enumerate(("x1", "x2"))}
    for name, truth in labels.items():
        picture(tmp_path / name / "images" / f"{name}.png")
        (tmp_path / name / "masks").mkdir()
        for label in np.unique(truth[truth > 0]):
            Image.fromarray(((truth == label) * 255).astype(np.uint8)).save(tmp_path / name / f"masks/{label:04d}.png")
    data = open_collection(tmp_path)
    assert data.format == "folders"
    data.require_sound()
    assert all(same(found, labels[name]) for name, found in by_name(data).items())
    (tmp_path / "x1/images/x1.png").unlink()
    picture(tmp_path / "x2/images/x2.png", (7, 7))
    with pytest.raises(InputError, match=r"2 problems(.|\n)*has 0 images; wanted one(.|\n)*x2: the image has 7 x 7"):
        open_collection(tmp_path).require_sound()


def test_one_image_with_a_file_an_instance(tmp_path: Path) -> None:
    folder = tmp_path / "stage1/x"
    picture(folder / "images/x.png")
    picture(folder / "masks/1.png")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "masks/0.png")
    for path in (folder, folder.parent, tmp_path):
        data = open_collection(path)
        assert (data.format, [item.name for item in data]) == ("folders", ["x"])
    assert len(data[0].instances()) == 1  # an empty mask is no instance


def test_a_label_image_is_not_one_instance(tmp_path: Path) -> None:
    picture(tmp_path / "a/images/a.png")
    (tmp_path / "a/masks").mkdir()
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 2:5], labels[8:12, 8:12] = 1, 2
    Image.fromarray(labels).save(tmp_path / "a/masks/x.png")
    Image.fromarray((labels > 0).astype(np.uint8)).save(tmp_path / "a/masks/y.png")
    Image.fromarray(labels * 90).save(tmp_path / "a/masks/z.png")
    data = open_collection(tmp_path, "folders")
    with pytest.raises(
        InputError, match=r"x\.png holds 2 numbers up to 2, as label images do; wanted a file an instance"
    ):
        data[0].instances()
    (tmp_path / "a/masks/x.png").unlink()
    assert len(data[0].instances()) == 2
    Image.fromarray(labels).save(tmp_path / "a/masks/x.jpg")
    with pytest.raises(InputError, match="is a JPEG"):
        data[0].instances()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 3], "holds 2 numbers up to 3"),  # one was deleted
        (list(range(301)), "holds 300 numbers up to 300"),
        ([-1, 0, 7], "holds 2 numbers up to 7"),
        ([0, 7], ""),
        ([0, 80, 160, 255], ""),  # a soft border
        ([0, 20000, 65535], ""),
    ],
)
def test_one_instance_has_one_number_or_a_soft_border(tmp_path: Path, values: list[int], message: str) -> None:
    picture(tmp_path / "a/images/a.png")
    (tmp_path / "a/masks").mkdir()
    pixels = np.resize(values, (20, 30)).astype(np.int32)
    tifffile.imwrite(tmp_path / "a/masks/x.tif", pixels)
    (item,) = open_collection(tmp_path, "folders")
    if not message:
        assert item.instances().areas().tolist() == [np.count_nonzero(pixels)]
        return
    with pytest.raises(InputError, match=message):
        item.instances()


def test_all_masks_of_an_image_that_are_wrong_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "a/images/a.png")
    for number in range(7):
        picture(tmp_path / f"a/masks/{number}.png", (20, 30) if number == 0 else (9, 9))
    (tmp_path / "a/masks/1.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"1\.png is not a TIFF.*; \S*2\.png has 9 x 9 pixels.*5\.png.*; and 1 more$"):
        open_collection(tmp_path, "folders")[0].instances()


def test_a_mask_is_neither_inside_nor_outside_where_it_is_nan(tmp_path: Path) -> None:
    picture(tmp_path / "a/images/a.png")
    (tmp_path / "a/masks").mkdir()
    pixels = np.full((20, 30), np.nan, np.float32)
    pixels[3:9, 3:9] = 255
    tifffile.imwrite(tmp_path / "a/masks/x.tif", pixels)
    with pytest.raises(InputError, match=r"x\.tif holds NaN, as ImageJ may put outside; wanted 0 outside the instance"):
        open_collection(tmp_path, "folders")[0].instances()


def test_one_mask_is_in_memory_at_a_time(tmp_path: Path) -> None:
    folder, shape = tmp_path / "a" / "masks", (256, 256)
    folder.mkdir(parents=True)
    for number in range(24):
        mask = np.zeros(shape, np.uint8)
        mask[number * 10 : number * 10 + 9] = 255
        Image.fromarray(mask).save(folder / f"{number}.png")
    mask_folders.load(folder, shape)
    tracemalloc.start()
    found = mask_folders.load(folder, shape)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 24
    assert most < 12 * shape[0] * shape[1]


def test_masks_without_an_image_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / f"images/{name}.png")
        picture(tmp_path / name / "masks/1.png")
    picture(tmp_path / "c/masks/1.png")
    data = open_collection(tmp_path)
    assert [item.name for item in data] == ["a", "b"]
    assert data.problems == (f"c has no image: looked for {tmp_path / 'c/images'}",)
