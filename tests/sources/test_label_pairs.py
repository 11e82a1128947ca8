"""Images and their label images: which belong together, and what a label image is."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from flowseg.errors import InputError
from flowseg.sources.data_sets import open_collection
from tests.shapes import solid_cells
from tests.sources.data import by_name, label_image, picture, same, write_table


@pytest.mark.parametrize("suffix", ["_masks", "_labels", "_cp_masks", "_mask"])
def test_pairs_in_one_folder(tmp_path: Path, suffix: str) -> None:
    truth = {}
    for number in range(3):
        picture(tmp_path / f"im{number}.png", seed=number)
        truth[f"im{number}"] = label_image(tmp_path / f"im{number}{suffix}.tif", seed=number)
    data = open_collection(tmp_path)
    assert data.format == "pairs"
    data.require_sound()
    assert [item.name for item in data] == ["im0", "im1", "im2"]
    assert all(same(found, truth[name]) for name, found in by_name(data).items())
    assert data[1].sample()[0].shape == (20, 30)


@pytest.mark.parametrize(("folder", "end"), [("masks", ""), ("labels", "_labels"), ("masks", "_mask")])
def test_pairs_in_two_folders(tmp_path: Path, folder: str, end: str) -> None:
    picture(tmp_path / "images/a.b.png")
    truth = label_image(tmp_path / folder / f"a.b{end}.tif")
    data = open_collection(tmp_path)
    data.require_sound()
    assert same(by_name(data)["a.b"], truth)
    apart = open_collection(tmp_path / "images", masks=tmp_path / folder)
    assert same(by_name(apart)["a.b"], truth)


def test_a_suffix_of_ones_own(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    truth = label_image(tmp_path / "a-gt.tif")
    with pytest.raises(InputError, match=r"no data set that is known \(it holds .png, .tif\)(.|\n)*pairs: images"):
        open_collection(tmp_path)
    assert same(by_name(open_collection(tmp_path, mask_suffix="-gt"))["a"], truth)


def test_all_that_is_wrong_with_pairs_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "alone.png")
    picture(tmp_path / "small.png", (5, 5))
    label_image(tmp_path / "small_masks.tif")
    label_image(tmp_path / "orphan_masks.tif")
    picture(tmp_path / "good.png")
    label_image(tmp_path / "good_masks.tif")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    label_image(tmp_path / "torn_masks.tif")
    data = open_collection(tmp_path)
    with pytest.raises(InputError) as error:
        data.require_sound()
    text = str(error.value)
    assert "4 problems" in text
    assert "alone.png has no masks alone_masks" in text
    assert "orphan_masks.tif has no image orphan" in text
    assert "small: the image has 5 x 5 pixels (height x width), its masks 20 x 30" in text
    assert "torn.png" in text


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((4, 4), 0.5, np.float32), "a fraction; wanted whole"),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "3 channels that differ"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    picture(tmp_path / "a.png", (4, 4))
    tifffile.imwrite(tmp_path / "a_masks.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    with pytest.raises(InputError, match=message):
        open_collection(tmp_path)[0].instances()


def test_whole_floats_and_equal_channels_are_labels(tmp_path: Path) -> None:
    labels = solid_cells(20, 8, seed=0)
    picture(tmp_path / "a.png", (20, 20))
    tifffile.imwrite(tmp_path / "a_masks.tif", labels.astype(np.float32))
    assert same(open_collection(tmp_path)[0].instances(), labels)
    rgb = np.repeat((labels % 200).astype(np.uint8)[..., None], 3, axis=2)
    tifffile.imwrite(tmp_path / "a_masks.tif", rgb, photometric="rgb")
    assert same(open_collection(tmp_path)[0].instances(), labels)


def test_label_images_of_every_kind(tmp_path: Path) -> None:
    labels = solid_cells(30, 8, seed=2)
    picture(tmp_path / "a.png", labels.shape)
    for dtype in (np.uint8, np.uint16, np.uint32, np.int32, np.float32):
        tifffile.imwrite(tmp_path / "a_masks.tif", labels.astype(dtype))
        assert same(open_collection(tmp_path)[0].instances(), labels), dtype
    (tmp_path / "a_masks.tif").unlink()
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "a_masks.png")
    assert same(open_collection(tmp_path)[0].instances(), labels)
    indexed = Image.fromarray(labels.astype(np.uint8), "L").convert("P")
    indexed.putdata(labels.ravel().tolist())
    indexed.putpalette([0, 0, 0] * 256)  # colours say nothing
    indexed.save(tmp_path / "a_masks.png")
    assert same(open_collection(tmp_path)[0].instances(), labels)
    (tmp_path / "a_masks.png").unlink()
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "a_masks.jpg")
    with pytest.raises(InputError, match=r"a_masks\.jpg is a JPEG, which changes the numbers of labels"):
        open_collection(tmp_path)[0].instances()


def test_names_that_could_be_of_several_images(tmp_path: Path) -> None:
    picture(tmp_path / "a_img.png")
    label_image(tmp_path / "a_masks.tif")
    picture(tmp_path / "b.png")
    label_image(tmp_path / "b_masks.tif")
    label_image(tmp_path / "b_cp_masks.tif")
    picture(tmp_path / "c.png")
    picture(tmp_path / "c.bmp")
    label_image(tmp_path / "c.png_labels.tif")
    picture(tmp_path / "d.png")
    picture(tmp_path / "d.bmp")
    label_image(tmp_path / "d_masks.tif")
    data = open_collection(tmp_path)
    assert [(item.name, item.path and item.path.name) for item in data] == [("a", "a_img.png"), ("c.png", "c.png")]
    assert [problem.split(":")[0] for problem in data.problems] == [
        "b has 2 label images, b_cp_masks.tif and b_masks.tif",
        "d_masks.tif could belong to d.bmp and d.png",
        "c.bmp has no masks c_masks",
    ]


def test_a_folder_called_masks_holds_label_images(tmp_path: Path) -> None:
    truth = label_image(tmp_path / "masks/a.tif")
    data = open_collection(tmp_path / "masks")
    assert [(item.name, item.path) for item in data] == [("a", None)]
    assert same(data[0].instances(), truth)
    picture(tmp_path / "elsewhere/a.png")
    assert open_collection(tmp_path / "masks", images=tmp_path / "elsewhere")[0].path == tmp_path / "elsewhere/a.png"


def test_label_images_alone_are_known_where_they_are_expected(tmp_path: Path) -> None:
    for name in ("b", "a"):
        label_image(tmp_path / "truth" / f"{name}.tif")
    with pytest.raises(InputError, match="no data set that is known"):
        open_collection(tmp_path / "truth")
    for found in (
        open_collection(tmp_path / "truth", expect_labels=True),
        open_collection(tmp_path / "truth", "labels"),
    ):
        assert [item.name for item in found] == ["a", "b"]
        assert all(item.path is None and len(item.instances()) > 0 for item in found)
    picture(tmp_path / "seen" / "a.png")
    with_images = open_collection(tmp_path / "truth", "labels", images=tmp_path / "seen")
    assert [item.name for item in with_images] == ["a"]
    assert with_images.problems == ("b.tif has no image b",)


def test_channels_may_come_last_where_a_file_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, axes in (("a", "YXC"), ("b", "CYX")):
        pixels = np.zeros((20, 30, 2) if axes == "YXC" else (2, 20, 30), np.uint16)
        tifffile.imwrite(tmp_path / f"images/{name}.tif", pixels, photometric="minisblack")
        label_image(tmp_path / f"masks/{name}.tif")
        write_table(tmp_path / f"{name}.csv", ["id", "annotation"], [[name, "1 3"]])
        data = open_collection(tmp_path / f"{name}.csv", images=tmp_path / "images")
        assert data[0].instances().shape == data[0].image(axes).shape == (20, 30)
    (tmp_path / "images/c.tif").write_bytes((tmp_path / "images/a.tif").read_bytes())
    label_image(tmp_path / "masks/c.tif", (21, 30))
    data = open_collection(tmp_path, "pairs")
    assert data.problems == ("c: the image has 20 x 30 pixels (height x width), its masks 21 x 30",)
    assert [item.name for item in data] == ["a", "b"]


def test_an_ending_that_is_not_known_is_guessed_in_words(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"cell{number}.png")
        label_image(tmp_path / f"cell{number}-gt.tif")
    with pytest.raises(InputError, match=r"if cell\d and cell\d-gt are pairs, say --mask-suffix=-gt"):
        open_collection(tmp_path)
    assert len(open_collection(tmp_path, mask_suffix="-gt")) == 3
    for path in tmp_path.glob("*-gt.tif"):
        path.unlink()
    picture(tmp_path / "cell10.png")  # which begins as cell1 does, and is no mask
    with pytest.raises(InputError) as told:
        open_collection(tmp_path)
    assert "--mask-suffix" not in str(told.value)


def test_drawn_results_are_not_label_images(tmp_path: Path) -> None:
    for folder in ("images", "results"):
        (tmp_path / folder).mkdir()
    labels = solid_cells(30, 8, seed=1).astype(np.uint16)
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(tmp_path / "images/a.png")
    tifffile.imwrite(tmp_path / "results/a_labels.tif", labels)
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "results/a_overlay.png")
    data = open_collection(tmp_path / "results", images=tmp_path / "images")
    data.require_sound()
    assert [item.name for item in data] == ["a"]
