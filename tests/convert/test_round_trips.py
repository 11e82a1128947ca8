"""What is converted is read by the package itself as what it was, from one format to the next and back."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from flowseg import cli
from flowseg.convert import Conversion, convert
from flowseg.overlaps import resolve_overlaps
from flowseg.sources.collection import Collection
from flowseg.sources.data_sets import open_collection
from tests.convert.collections import masks_of, overlapping


def same(one: Collection, other: Collection) -> bool:
    first, second = masks_of(one), masks_of(other)
    return list(first) == list(second) and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_kaggle_to_coco_to_kaggle(tmp_path: Path, order: str, form: str) -> None:
    given, images = overlapping(tmp_path), tmp_path / "images"
    names = [tmp_path / name for name in ("1.csv", "2.json", "3.csv")]
    convert(given, Conversion(names[0], order=order))  # type: ignore[arg-type]
    convert(open_collection(names[0], images=images), Conversion(names[1], form=form))  # type: ignore[arg-type]
    convert(open_collection(names[1], images=images), Conversion(names[2], order=order))  # type: ignore[arg-type]
    assert same(open_collection(names[1], images=images), given)
    assert names[2].read_text() == names[0].read_text()


@pytest.mark.parametrize("order", ["row", "column"])
def test_kaggle_to_masks_to_kaggle(tmp_path: Path, order: str) -> None:
    given = overlapping(tmp_path)
    tables = [tmp_path / name for name in ("1.csv", "2.csv")]
    convert(given, Conversion(tables[0], order=order))  # type: ignore[arg-type]
    first = open_collection(tables[0], images=tmp_path / "images")
    first.require_sound()
    assert same(first, given)
    assert [item.columns["cell_type"] for item in first] == ["cort", "astro", "shsy5y"]
    convert(first, Conversion(tmp_path / "folders", "masks", copy_images=True))
    second = open_collection(tmp_path / "folders")
    second.require_sound()
    assert second.format == "folders"
    assert same(second, given)
    convert(first, Conversion(tables[1], order=order))  # type: ignore[arg-type]
    assert tables[1].read_text() == tables[0].read_text()


@pytest.mark.parametrize("copy_images", [False, True])
def test_labels_are_read_with_and_without_their_images(tmp_path: Path, copy_images: bool) -> None:
    given, out = overlapping(tmp_path), tmp_path / "out"
    convert(given, Conversion(out, "labels", copy_images=copy_images))
    read = open_collection(out)
    read.require_sound()
    assert [item.name for item in read] == [item.name for item in given]
    for one, item in zip(read, given, strict=True):
        expected = resolve_overlaps(item.instances()).labels
        assert (one.instances().to_labels() == expected).all()
        assert (one.path is not None) == copy_images


@pytest.mark.parametrize("source", ["labels", "seg"])
def test_numbers_of_label_images_are_kept(tmp_path: Path, source: str) -> None:
    labels = np.zeros((12, 15), np.int32)
    for number, place in ((9, 0), (70_000, 4), (2**31 - 1, 8)):
        labels[place : place + 3, 2:6] = labels[place, 9] = number
    if source == "seg":
        np.save(tmp_path / "a_seg.npy", {"masks": labels})
    else:
        tifffile.imwrite(tmp_path / "a_labels.tif", labels)
    given, out, numbers = open_collection(tmp_path), tmp_path / "out", [9, 70_000, 2**31 - 1]
    for to in ("labels", "masks", "rois", "geojson"):
        convert(given, Conversion(out, to))
    assert (tifffile.imread(out / "a_labels.tif") == labels).all()
    assert sorted(int(path.stem) for path in (out / "a/masks").iterdir()) == numbers
    with zipfile.ZipFile(out / "a_rois.zip") as rois:
        assert [int(Path(name).stem) for name in rois.namelist()] == numbers
    features = json.loads((out / "a.geojson").read_text())["features"]
    assert [int(one["properties"]["name"]) for one in features] == numbers
    convert(given, Conversion(out / "a.json"))
    assert [one["label"] for one in json.loads((out / "a.json").read_text())["annotations"]] == numbers
    convert(given, Conversion(out / "a.csv", "table"))
    assert [int(line.split(",")[1]) for line in (out / "a.csv").read_text().splitlines()[1:]] == numbers
    convert(given, Conversion(out / "pieces", "labels", pieces=True))
    assert np.unique(tifffile.imread(out / "pieces/a_labels.tif")).tolist() == list(range(7))
    convert(given, Conversion(out / "cellpose", "seg"))  # a list of all up to the highest is in it
    assert np.load(out / "cellpose/a_seg.npy", allow_pickle=True).item()["masks"].max() == 3


def test_the_command_reads_and_writes_what_the_names_say(tmp_path: Path) -> None:
    given = overlapping(tmp_path)
    convert(given, Conversion(tmp_path / "train.csv"))
    for arguments in (
        ["train.csv", "data", "--to", "masks", "--images", "images", "--copy-images"],
        ["data", "bowl.csv", "--order", "column"],
        ["bowl.csv", "rois", "--to", "rois", "--images", "images"],
    ):
        paths = [str(tmp_path / each) if (tmp_path / each).exists() else each for each in arguments]
        paths[1] = str(tmp_path / arguments[1])
        result = CliRunner().invoke(cli.main, ["convert", *paths])
        assert result.exit_code == 0, result.output
        assert result.output.startswith("6 instances of 3 images to ")
    assert same(open_collection(tmp_path / "bowl.csv"), given)
    assert sorted(path.name for path in (tmp_path / "rois").iterdir()) == ["a_rois.zip", "b,1_rois.zip", "c_rois.zip"]
