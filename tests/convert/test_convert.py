"""Any collection to any format, read by readers that share nothing with the package."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tifffile
from PIL import Image
from roifile import ImagejRoi

from flowseg.convert import FORMATS, Conversion, convert
from flowseg.errors import InputError, OptionError
from flowseg.measure import measure
from flowseg.options import OverlapOptions
from flowseg.overlaps import resolve_overlaps
from flowseg.rle import Order
from flowseg.sources.collection import Category
from tests.convert.collections import collection, item, masks_of, overlapping, read_coco, read_kaggle
from tests.filling import filled

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def same(one: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> bool:
    return list(one) == list(other) and all(
        len(one[name]) == len(other[name]) and all((a == b).all() for a, b in zip(one[name], other[name], strict=True))
        for name in one
    )


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_kaggle_to_coco_to_kaggle(tmp_path: Path, order: Order, form: str) -> None:
    first, second, between = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "a.json"
    given = overlapping(tmp_path)
    told = convert(given, Conversion(first, order=order))
    assert [tuple(one) for one in told] == [("a", 4, 0, 0), ("b,1", 0, 0, 0), ("c", 2, 0, 0)]
    kaggle = read_kaggle(first.read_text())
    assert same(masks_of(kaggle), masks_of(given))
    convert(kaggle, Conversion(between, form=form))  # type: ignore[arg-type]
    coco = read_coco(between.read_text())
    assert same(masks_of(coco), masks_of(given))
    convert(coco, Conversion(second, order=order))
    assert second.read_text() == first.read_text()


@pytest.mark.parametrize(
    ("order", "header"),
    [("row", "id,annotation,width,height,cell_type"), ("column", "ImageId,EncodedPixels,Height,Width,cell_type")],
)
def test_kaggle_columns_are_kept_and_no_column_comes_twice(tmp_path: Path, order: Order, header: str) -> None:
    convert(overlapping(tmp_path), Conversion(tmp_path / "t.csv", order=order))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == header
    assert len(lines) == 1 + 4 + 1 + 2
    size = "7,5" if order == "row" else "5,7"
    assert lines[5] == f'"b,1",,{size},astro'


def test_labels_tell_what_was_contested(tmp_path: Path) -> None:
    given = overlapping(tmp_path)
    out = tmp_path / "out"
    told = convert(given, Conversion(out, "labels"))
    for one, entry in zip(told, given, strict=True):
        resolved = resolve_overlaps(entry.instances())
        assert (tifffile.imread(out / f"{entry.name}_labels.tif") == resolved.labels).all()
        depth = np.sum(masks_of(given)[entry.name], axis=0)
        assert one.contested == (depth > 1).sum()
    assert told[0].contested > 0
    assert sorted(path.name for path in out.iterdir()) == ["a_labels.tif", "b,1_labels.tif", "c_labels.tif"]


def test_instances_that_are_covered_are_told(tmp_path: Path) -> None:
    pair = collection([item("a", [[[1, 1, 1]], [[0, 1, 0]], [[0, 0, 0]]])])
    (kept,) = convert(pair, Conversion(tmp_path / "s", "labels"))
    assert (kept.contested, kept.gone) == (1, 0)
    (lost,) = convert(pair, Conversion(tmp_path / "l", "labels", overlap=OverlapOptions("larger")))
    assert (lost.contested, lost.gone) == (1, 1)


def test_masks_are_one_file_an_instance_beside_the_image(tmp_path: Path) -> None:
    given = overlapping(tmp_path)
    out = tmp_path / "out"
    convert(given, Conversion(out, "masks", copy_images=True))
    for name, masks in masks_of(given).items():
        paths = sorted((out / name / "masks").iterdir())
        assert [path.name for path in paths] == [f"{k + 1:04}.png" for k in range(len(masks))]
        for path, mask in zip(paths, masks, strict=True):
            assert (pixels_of(path) == 255 * mask).all()
        copy = out / name / "images" / f"{name}.png"
        assert copy.read_bytes() == (tmp_path / "images" / f"{name}.png").read_bytes()
    fewer = collection([item("a", np.ones((1, 3, 3)))])
    (out / "a" / "masks" / "mine.png").touch()
    convert(fewer, Conversion(out, "masks", overwrite=True))
    assert sorted(path.name for path in (out / "a" / "masks").iterdir()) == ["0001.png", "mine.png"]


def test_rois_and_geojson_keep_overlaps(tmp_path: Path) -> None:
    given = overlapping(tmp_path)
    convert(given, Conversion(tmp_path / "out", "rois"))
    convert(given, Conversion(tmp_path / "out", "geojson"))
    for name, masks in masks_of(given).items():
        with zipfile.ZipFile(tmp_path / "out" / f"{name}_rois.zip") as archive:
            rois = [ImagejRoi.frombytes(archive.read(each)) for each in archive.namelist()]
        features = json.loads((tmp_path / "out" / f"{name}.geojson").read_text())["features"]
        assert len(rois) == len(features) == len(masks)
        pixels = pixels_of(tmp_path / "images" / f"{name}.png")
        for roi, feature, mask in zip(rois, features, masks, strict=True):
            assert (filled(roi.coordinates(multi=True), mask.shape) == mask).all()
            measured = feature["properties"]["measurements"]
            assert measured["area"] == mask.sum()
            assert measured["mean_intensity_0"] == pytest.approx(pixels[mask].mean())


@pytest.mark.parametrize("to", ["table", "parquet"])
def test_measurements_are_of_whole_instances(tmp_path: Path, to: str) -> None:
    given = overlapping(tmp_path, with_images=False)
    out = tmp_path / ("t.csv" if to == "table" else "t.parquet")
    convert(given, Conversion(out, to))
    if to == "table":
        header, *lines = out.read_text().replace('"b,1"', "b").splitlines()
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    else:
        rows = pyarrow.parquet.read_table(io.BytesIO(out.read_bytes())).to_pylist()
    expected = [(name, k + 1, measure(mask)) for name, masks in masks_of(given).items() for k, mask in enumerate(masks)]
    assert [(row["image"], int(row["label"])) for row in rows] == [(name, k) for name, k, _ in expected]
    for row, (_, _, table) in zip(rows, expected, strict=True):
        for column in ("area", "centroid_x", "perimeter", "eccentricity", "bbox_y1"):
            assert float(row[column]) == pytest.approx(table[column][0], rel=1e-5, abs=1e-6)


def test_empty_instances_go_through_every_format(tmp_path: Path) -> None:
    for number, masks in enumerate(([[[0, 0]], [[1, 0]], [[0, 0]]], [[[0, 0]]], np.zeros((0, 1, 2)))):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.zeros((1, 2), np.uint8)).save(path)
        given = collection([item("a", masks, path)])
        for to in FORMATS:
            out = tmp_path / "out" / str(number) / (f"{to}.x" if FORMATS[to].whole else to)
            assert convert(given, Conversion(out, to))[0].name == "a"
            assert out.exists()
    features = json.loads((tmp_path / "out/0/geojson/a.geojson").read_text())["features"]
    assert [(one["properties"]["name"], one["properties"]["measurements"]["area"]) for one in features] == [("2", 1)]


def test_cellpose_outlines_and_overlays(tmp_path: Path) -> None:
    given = collection([item("c", [np.eye(9)[::-1] + np.eye(9) > 0, np.eye(9) * 0 + 1], tmp_path / "x.png")])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.png")
    for to in ("seg", "outlines", "overlay"):
        (one,) = convert(given, Conversion(tmp_path / "out", to))
        assert one.contested == 17
    kept = np.load(tmp_path / "out/c_seg.npy", allow_pickle=True).item()
    assert kept["filename"] == str(tmp_path / "x.png")
    assert (np.bincount(kept["masks"].ravel()) == [0, 17, 64]).all()
    assert (tmp_path / "out/c_cp_outlines.txt").read_text().count("\n") == 2
    assert pixels_of(tmp_path / "out/c_overlay.png").shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("x.csv", "kaggle"),
        ("x.json", "coco"),
        ("x.geojson", "geojson"),
        ("X.ZIP", "rois"),
        ("x.tif", "labels"),
        ("x.tiff", "labels"),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, name: str, to: str) -> None:
    conversion = Conversion(tmp_path / name)
    assert conversion.to == to
    convert(collection([item("a", np.ones((1, 2, 2)))]), conversion)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("out", ["x.jpg", "X.JPEG", "folder"])
def test_overlays_are_jpeg_too(tmp_path: Path, out: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    to = "" if "." in out else "overlay-jpeg"
    mask = np.zeros((1, 9, 9))
    mask[0, 2:7, 2:7] = 1
    convert(collection([item("a", mask, tmp_path / "a.png")]), Conversion(tmp_path / out, to))
    with Image.open(tmp_path / out if "." in out else tmp_path / out / "a_overlay.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (9, 9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"out": Path("out")}, "does not say what to make: end it in .csv"),
        ({"out": Path("out.csv"), "to": "omero"}, "wanted one of kaggle, coco"),
        ({"out": Path("out.csv"), "order": "z"}, "wanted row or column"),
        ({"out": Path("out.json"), "form": "points"}, "wanted rle or polygons"),
        ({"out": Path("out.json"), "copy_images": True}, "is one file"),
        ({"out": Path("x.json"), "to": "kaggle"}, "ends in .json, as coco does; --to kaggle makes .csv"),
        (
            {"out": Path("x.jpg"), "to": "overlay"},
            "ends in .jpg, as overlay-jpeg does; --to overlay makes a folder or .png",
        ),
        ({"out": Path("out.json"), "order": "column"}, "coco has no use for an order of run lengths"),
        ({"out": Path("out.csv"), "form": "polygons"}, "kaggle has no use for polygons"),
        ({"out": Path("out.csv"), "overlap": OverlapOptions("larger")}, "no use for a word on contested pixels"),
        ({"out": Path("out"), "to": "labels", "axes": "YX"}, "labels has no use for axes of images"),
        ({"out": Path("out.json"), "plane": "Z=3"}, "coco has no use for a plane of images"),
        ({"out": Path("x.png"), "to": "masks"}, "ends in .png, as overlay does; --to masks makes a folder"),
    ],
)
def test_what_cannot_be_made_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Conversion(**settings)  # type: ignore[arg-type]


def test_one_file_for_several_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is one file and .* has 3 images: name a folder, with --to rois"):
        convert(overlapping(tmp_path), Conversion(tmp_path / "x.zip"))


def test_nothing_there_is_replaced_unasked_and_nothing_read_ever(tmp_path: Path) -> None:
    given = overlapping(tmp_path)
    (tmp_path / "out").mkdir()
    there = tmp_path / "out" / "c_labels.tif"
    there.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        convert(given, Conversion(tmp_path / "out", "labels"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c_labels.tif"]
    convert(given, Conversion(tmp_path / "out", "labels", overwrite=True))
    assert there.read_bytes() != b"mine"
    root = tmp_path / "root.csv"
    root.write_text("x")
    with pytest.raises(InputError, match="would be replaced while it is read"):
        convert(collection([item("a", np.ones((1, 2, 2)))], root), Conversion(root, overwrite=True))
    with pytest.raises(InputError, match="would be replaced while it is read"):
        convert(given, Conversion(tmp_path / "images", "labels", copy_images=True, overwrite=True))
    (tmp_path / "plain").touch()
    with pytest.raises(InputError, match="is a file; wanted a folder"):
        convert(given, Conversion(tmp_path / "plain", "labels"))


@pytest.mark.parametrize("name", ["../a", "/a", "x/../../a", ""])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="stays in the folder"):
        convert(collection([item(name, np.ones((1, 2, 2)))]), Conversion(tmp_path, "labels"))


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    for names in (("a", "a"), ("a", "a_labels")):
        items = []
        for place, name in enumerate(names):
            path = tmp_path / str(place) / f"{name}.tif"
            path.parent.mkdir(exist_ok=True)
            tifffile.imwrite(path, np.zeros((4, 5), np.uint8))
            items.append(item(name, np.ones((1, 4, 5)), path))
        with pytest.raises(InputError, match=r"a_labels\.tif would be made twice"):
            convert(collection(items), Conversion(tmp_path / "out", "labels", copy_images=True))


def test_a_name_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in UTF-8: rename"):
        convert(collection([item("latin\udcff", np.ones((1, 2, 2)))]), Conversion(tmp_path, "geojson"))


def test_what_needs_an_image_says_so(tmp_path: Path) -> None:
    bare = collection([item("a", np.ones((1, 2, 2)))])
    with pytest.raises(InputError, match="a has instances but no image"):
        convert(bare, Conversion(tmp_path, "overlay"))
    with pytest.raises(InputError, match="a has no image to copy"):
        convert(bare, Conversion(tmp_path, "labels", copy_images=True))
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="the masks of a and its image have shapes"):
        convert(collection([item("a", np.ones((1, 2, 2)), tmp_path / "x.png")]), Conversion(tmp_path / "o", "overlay"))


def test_a_failure_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    def broken() -> None:
        raise InputError("row 7 cannot be read")

    given = overlapping(tmp_path)
    bad = item("z", np.ones((1, 2, 2)))
    object.__setattr__(bad, "load", broken)
    out = tmp_path / "out"
    for name in ("x.csv", "x.json", "x.parquet"):
        with pytest.raises(InputError, match="row 7"):
            convert(collection([*given, bad]), Conversion(out / name))
    assert list(out.iterdir()) == []


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no image with instances"):
        convert(collection([]), Conversion(tmp_path / "x.csv"))


def test_images_are_let_go_when_they_are_written(tmp_path: Path) -> None:
    from flowseg.convert._entry import Entry

    seen: list[Entry] = []
    before = Entry.forget

    def spy(entry: Entry) -> None:
        before(entry)
        seen.append(entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "forget", spy)
        for name in ("x.csv", "x.json", "x.parquet", "folder"):
            convert(overlapping(tmp_path), Conversion(tmp_path / "o" / name, "" if "." in name else "overlay"))
    assert len(seen) == 12
    kept = {"item", "_overlap", "_pieces", "_with_image", "_axes", "_plane", "called"}
    assert all(set(vars(entry)) == kept for entry in seen)


def test_a_plane_of_a_stack_is_measured(tmp_path: Path) -> None:
    stack = np.arange(2 * 6 * 9, dtype=np.uint16).reshape(2, 6, 9)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata=None)
    one = collection([item("a", np.ones((1, 6, 9), bool), tmp_path / "a.tif")])
    with pytest.raises(InputError, match="axes"):
        convert(one, Conversion(tmp_path / "t.parquet"))
    convert(one, Conversion(tmp_path / "t.parquet", axes="ZYX", plane="Z=1"))
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert table["mean_intensity_0"].to_pylist() == [stack[1].mean()]


def test_masks_of_more_than_four_digits_are_replaced_too(tmp_path: Path) -> None:
    folder = tmp_path / "out/a/masks"
    folder.mkdir(parents=True)
    for name in ("0001.png", "0002.png", "10001.png", "mine.png"):
        (folder / name).write_bytes(b"")
    one = collection([item("a", np.ones((1, 6, 9), bool))])
    convert(one, Conversion(tmp_path / "out", "masks", overwrite=True))
    assert sorted(path.name for path in folder.iterdir()) == ["0001.png", "mine.png"]


def test_geojson_says_what_each_cell_is(tmp_path: Path) -> None:
    masks = np.eye(3)[:, None]  # three cells of a pixel
    kinds = (Category("nucleus", 7), None, Category("cell", 2, "whole"))
    items = [item("a", masks), item("b", masks, cell_type="cort"), item("c", masks, kind="neuron")]
    items += [replace(item("d", masks), categories=kinds), replace(item("e", masks, kind="glia"), categories=kinds)]
    convert(collection(items), Conversion(tmp_path / "out", "geojson"))

    def classes(name: str) -> list[str | None]:
        found = json.loads((tmp_path / f"out/{name}.geojson").read_text())["features"]
        return [one["properties"].get("classification", {}).get("name") for one in found]

    assert [classes(name) for name in "abcde"] == [
        *([None] * 3, ["cort"] * 3, ["neuron"] * 3),
        *(["nucleus", None, "cell"], ["nucleus", "glia", "cell"]),
    ]
