"""Data sets of every kind: recognised, read lazily, and all that is wrong with them told at once."""

import csv
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowseg import rle
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.sources._side_table import columns_beside, side_table
from flowseg.sources.collection import Collection
from flowseg.sources.data_sets import open_collection
from tests.shapes import solid_cells


def picture(path: Path, shape: tuple[int, int] = (20, 30), seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def label_image(path: Path, shape: tuple[int, int] = (20, 30), seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = solid_cells(max(shape), 8, seed=seed)[: shape[0], : shape[1]].astype(np.uint16)
    tifffile.imwrite(path, labels)
    return labels


def same(instances: Instances, labels: np.ndarray) -> bool:
    other = Instances.from_labels(labels)
    return len(instances) == len(other) and bool((instances.to_labels() == other.to_labels()).all())


def by_name(data: Collection) -> dict[str, Instances]:
    return {item.name: item.instances() for item in data}


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


def test_results_of_a_run_are_items_without_images(tmp_path: Path) -> None:
    truth = label_image(tmp_path / "cell_labels.tif")
    (tmp_path / "run.json").write_text("{}")
    data = open_collection(tmp_path)
    data.require_sound()
    assert data[0].path is None
    assert same(by_name(data)["cell"], truth)


def test_results_of_a_run_have_the_images_that_it_segmented(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = []
    for name in ("same", "gone", "resized"):
        label_image(out / f"{name}_labels.tif")
        lines.append(json.dumps({"name": name, "source": str(tmp_path / f"{name}.png")}))
    pixels = picture(tmp_path / "same.png")
    picture(tmp_path / "resized.png", (20, 31))
    (out / "run.jsonl").write_text("\n".join([*lines, '{"cut sho']))
    data = open_collection(out)
    data.require_sound()
    assert {item.name: item.path is not None for item in data} == {"gone": False, "resized": False, "same": True}
    assert (data[2].sample()[0].pixels == pixels).all()


def test_results_of_a_run_in_several_forms_are_one_data_set(tmp_path: Path) -> None:
    truth = label_image(tmp_path / "cell_masks.tif")
    (tmp_path / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (tmp_path / "cell_seg.npy").touch()
    with pytest.raises(InputError, match="could be pairs or coco or cellpose: say which"):
        open_collection(tmp_path)
    (tmp_path / "run.jsonl").touch()
    data = open_collection(tmp_path)
    assert data.format == "pairs"
    assert same(by_name(data)["cell"], truth)
    (tmp_path / "run.jsonl").unlink()
    (tmp_path / "cell_masks.tif").rename(tmp_path / "cell_labels.tif")  # as flowseg masks leaves them
    assert open_collection(tmp_path).format == "pairs"
    picture(tmp_path / "cell.png")  # its own folder of images: whose masks these are has to be said
    with pytest.raises(InputError, match="could be pairs or coco or cellpose: say which"):
        open_collection(tmp_path)


def test_a_suffix_of_ones_own(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    truth = label_image(tmp_path / "a-gt.tif")
    with pytest.raises(InputError, match=r"no data set that is known \(it holds .png, .tif\)(.|\n)*pairs: images"):
        open_collection(tmp_path)
    assert same(by_name(open_collection(tmp_path, mask_suffix="-gt"))["a"], truth)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"order": "row"}, r"\(read as pairs\) has no use for an order of run lengths: leave it out"),
        ({"format": "pairs", "order": "column"}, "an order of run lengths"),
        ({"format": "folders", "images": "."}, r"\(read as folders\) has no use for a folder of images"),
        ({"format": "folders", "mask_suffix": "_masks"}, "no use for an end of the names of label images"),
        ({"format": "folders", "masks": "."}, "no use for a folder of label images"),
    ],
)
def test_what_a_data_set_has_no_use_for_is_refused(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    picture(tmp_path / "pairs/a.png")
    label_image(tmp_path / "pairs/a_masks.tif")
    picture(tmp_path / "folders/a/images/a.png")
    picture(tmp_path / "folders/a/masks/0.png")
    with pytest.raises(OptionError, match=message):
        open_collection(tmp_path / said.get("format", "pairs"), **said)


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


def write_table(path: Path, header: list[str], rows: list[list[object]], **how: object) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, **how)  # type: ignore[arg-type]
        writer.writerow(header)
        writer.writerows(rows)


SARTORIUS = [
    "id",
    "annotation",
    "width",
    "height",
    "cell_type",
    "plate_time",
    "sample_date",
    "sample_id",
    "elapsed_timedelta",
]


def test_sartorius_with_masks_that_overlap(tmp_path: Path) -> None:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:10, 3:12] = masks[1, 6:15, 8:20] = True
    picture(tmp_path / "train/0030fd0e6378.png")
    about = ["cort", "11h30m00s", "2019-06-16", "cort[debris]", "0 days 11:30:00"]
    rows = [["0030fd0e6378", rle.encode(mask), 30, 20, *about] for mask in masks]
    write_table(tmp_path / "train.csv", SARTORIUS, rows)
    for path in (tmp_path / "train.csv", tmp_path):
        data = open_collection(path)
        data.require_sound()
        assert data.format == "kaggle"
        assert data[0].columns["cell_type"] == "cort"
        image, instances = data[0].sample()
        assert image.shape == (20, 30)
        assert all((instances.mask(number) == masks[number]).all() for number in range(2))
    assert pickle.loads(pickle.dumps(data[0])).instances().areas().tolist() == masks.sum((1, 2)).tolist()


@pytest.mark.parametrize("nested", [False, True])
def test_data_science_bowl_counts_down_columns(tmp_path: Path, nested: bool) -> None:
    labels = solid_cells(30, 9, seed=1)[:20]
    picture(tmp_path / ("stage1_train/abc/images/abc.png" if nested else "abc.png"))
    rows = [["abc", text] for text in rle.encode_labels(labels, order="column").values()]
    write_table(tmp_path / "stage1_train_labels.csv", ["ImageId", "EncodedPixels"], rows)
    data = open_collection(tmp_path / "stage1_train_labels.csv")
    data.require_sound()
    assert same(data[0].instances(), labels)
    other = open_collection(tmp_path / "stage1_train_labels.csv", order="row")
    assert other[0].instances().mask(0).tolist() != data[0].instances().mask(0).tolist()


def test_the_order_that_a_column_does_not_tell_is_told(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["id", "rle", "width", "height"], [["a", "1 3", 5, 4]])
    data = open_collection(tmp_path / "t.csv")
    assert data[0].instances().mask(0)[0].tolist() == [True] * 3 + [False] * 2
    (note,) = data.notes
    assert note.startswith("the column rle does not say how pixels are counted: along rows was taken")
    assert "--order column" in note
    for order in ("row", "column"):
        said = open_collection(tmp_path / "t.csv", order=order)  # type: ignore[arg-type]
        assert (said.notes, said[0].instances().mask(0)[0].sum()) == ((), 3 if order == "row" else 1)
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", "1 3", 5, 4]])
    assert open_collection(tmp_path / "t.csv").notes == ()


def test_a_submission_needs_images_for_its_sizes(tmp_path: Path) -> None:
    labels = solid_cells(30, 9, seed=1)[:20]
    rows = [["x", text] for text in rle.encode_labels(labels).values()] + [["empty", ""]]
    write_table(tmp_path / "submission.csv", ["id", "predicted"], rows)
    with pytest.raises(InputError, match=r"x, empty have no image, and submission\.csv does not say"):
        open_collection(tmp_path / "submission.csv").require_sound()
    picture(tmp_path / "elsewhere/x.png")
    picture(tmp_path / "elsewhere/empty.png")
    data = open_collection(tmp_path / "submission.csv", images=tmp_path / "elsewhere")
    data.require_sound()
    assert {name: len(found) for name, found in by_name(data).items()} == {"empty": 0, "x": len(rows) - 1}
    with pytest.raises(InputError, match="not a folder"):
        open_collection(tmp_path / "submission.csv", images=tmp_path / "nowhere")


def test_bad_rows_are_listed_with_their_lines(tmp_path: Path) -> None:
    rows = [
        ["../secret", "1 2", 5, 5],
        ["a", "1 2", "five", 5],
        ["a", "1 2"],
        ["b", "1 2", 5, 5],
        ["b", "7 2", 6, 5],
        ["c", "", 5, 5],
        ["", "1 2", 5, 5],
        ["C:\\x", "1 2", 5, 5],
    ]
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], rows)
    data = open_collection(tmp_path / "t.csv")
    assert [problem[:6] for problem in data.problems] == [f"line {line}" for line in (2, 3, 4, 6, 8, 9)]
    assert data.problems[3] == "line 6 (b): it says 5 x 6 pixels, earlier rows of the image 5 x 5"
    assert [item.name for item in data] == ["c"]
    assert len(data[0].instances()) == 0


@pytest.mark.parametrize("row", ["a,7 1,5", 'a,"7 1,5,5', '"a,7 1,5,5'])
def test_an_image_of_which_a_row_cannot_be_read_is_left_out_whole(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"id,annotation,width,height\na,1 2,5,5\n{row}\nb,1 2,5,5\n")
    data = open_collection(tmp_path / "t.csv")
    assert len(data.problems) == 1
    assert [item.name for item in data] == ["b"]


def test_a_wrong_code_names_its_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", "1 2", 5, 5], ["a", "24 9", 5, 5]])
    with pytest.raises(InputError, match=r"line 3 \(a\): run 1 \(24 9\) goes past the end"):
        open_collection(tmp_path / "t.csv").require_sound()


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    text = '\ufeffid,annotation,width,height\r\n"a","1 2",5,5\r\n\r\n"a","11 3",5,5\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode())
    data = open_collection(tmp_path / "t.csv")
    data.require_sound()
    assert data[0].instances().areas().tolist() == [2, 3]


def test_a_very_long_code_is_read_and_the_limit_stays(tmp_path: Path) -> None:
    usual = csv.field_size_limit()
    mask = np.zeros((600, 1200), bool)
    mask[:, ::2] = True
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", rle.encode(mask), 1200, 600]])
    assert (open_collection(tmp_path / "t.csv")[0].instances().mask(0) == mask).all()
    assert csv.field_size_limit() == usual


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(b"id,annotation,width,height\n" + data)
    try:
        for item in open_collection(path):
            item.instances()
    except InputError:
        pass


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


def test_what_is_unclear_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_collection(tmp_path / "none")
    with pytest.raises(InputError, match="it holds nothing"):
        open_collection(tmp_path)
    with pytest.raises(OptionError, match="format is 'zip'; wanted one of"):
        open_collection(tmp_path, "zip")
    picture(tmp_path / "a.png")
    label_image(tmp_path / "a_masks.tif")
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", "1 2", 30, 20]])
    with pytest.raises(InputError, match="could be kaggle or pairs: say which with --format"):
        open_collection(tmp_path)
    assert open_collection(tmp_path, "pairs").format == "pairs"
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"a file \.txt"):
        open_collection(tmp_path / "notes.txt")


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


def test_a_table_beside_two_folders_tells_more_of_images(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.png")
        label_image(tmp_path / f"masks/{name}.tif")
    (tmp_path / "index.csv").write_text("id,kind\na,brightfield\nc,other\n")
    assert [item.columns for item in open_collection(tmp_path)] == [{"kind": "brightfield"}, {}]


def test_a_submission_beside_results_is_passed_over(tmp_path: Path) -> None:
    label_image(tmp_path / "a_labels.tif")
    write_table(tmp_path / "submission.csv", ["id", "predicted"], [["a", "1 2"]])
    assert open_collection(tmp_path).format == "pairs"


def test_opening_decodes_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "one/x/images/x.png")
    picture(tmp_path / "one/x/masks/1.png")
    picture(tmp_path / "two/a.png")
    picture(tmp_path / "two/a_masks.png")

    def refused(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("flowseg.sources._pictures.decode", refused)
    for folder in ("one", "two"):
        data = open_collection(tmp_path / folder)
        data.require_sound()
        with pytest.raises(AssertionError, match="decoded"):
            data[0].instances()


def test_one_image_with_a_file_an_instance(tmp_path: Path) -> None:
    folder = tmp_path / "stage1/x"
    picture(folder / "images/x.png")
    picture(folder / "masks/1.png")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "masks/0.png")
    for path in (folder, folder.parent, tmp_path):
        data = open_collection(path)
        assert (data.format, [item.name for item in data]) == ("folders", ["x"])
    assert len(data[0].instances()) == 1  # an empty mask is no instance


def test_missing_images_of_a_table(tmp_path: Path) -> None:
    rows = [[name, "1 2", 30, 20] for name in ("a", "b", "c")]
    write_table(tmp_path / "train.csv", ["id", "annotation", "width", "height"], rows)
    alone = open_collection(tmp_path / "train.csv")
    alone.require_sound()
    assert [item.path for item in alone] == [None] * 3
    picture(tmp_path / "train/a.png")
    picture(tmp_path / "train/b.png", (5, 5))
    data = open_collection(tmp_path / "train.csv")
    assert [item.name for item in data] == ["a"]
    assert data.problems == (
        f"c has no image: looked for c.png and the like in {tmp_path / 'train'}",
        "b is said to have 20 x 30 pixels; the image has 5 x 5",
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a", "leads out"),
        ("/etc/passwd", "leads out"),
        ("x/../../a.png", "leads out"),
        ("./a", "leads out"),
        ("x//a", "leads out"),
        ("..", "leads out"),
        ("a\\b", "leads out"),
        ("a\0", "not printed"),
        ("a\x1b[2J", "not printed"),
        ("\udcff", "not UTF-8"),
        ("x" * 300, "300 bytes"),
    ],
)
def test_ids_that_leave_the_folder(tmp_path: Path, name: str, why: str) -> None:
    picture(tmp_path / "train/a.png")
    text = f"id,annotation,width,height\n{name},1 2,30,20\n{name},5 2,30,20\na,1 2,30,20\n"
    (tmp_path / "train.csv").write_bytes(text.encode(errors="surrogateescape"))
    data = open_collection(tmp_path / "train.csv")
    assert [item.name for item in data] == ["a"]
    assert len(data.problems) == 1
    assert data.problems[0].startswith("line 2: the id ")
    assert why in data.problems[0]


def test_ids_may_name_folders_below(tmp_path: Path) -> None:
    ids = ("train/a.png", "val/a.png", "val/b", "c.png", "train/gone.png")
    for name in ("train/a.png", "val/a.png", "val/b.png", "c.png"):
        picture(tmp_path / "images" / name)
    write_table(tmp_path / "t.csv", ["id", "annotation"], [[id_, f"{place + 1} 1"] for place, id_ in enumerate(ids)])
    wanted = {"train__a": "train/a.png", "val__a": "val/a.png", "b": "val/b.png", "c": "c.png"}
    for where in (None, tmp_path / "images"):
        data = open_collection(tmp_path / "t.csv", images=where)
        assert {item.name: item.path for item in data} == {n: tmp_path / "images" / p for n, p in wanted.items()}
        assert [int(item.instances().starts[0]) for item in data] == [2, 3, 0, 1]
        assert len(data.problems) == 1
        assert data.problems[0].startswith("train/gone.png has no image: looked for train/gone.png and the like in")


def test_a_table_for_spreadsheets_with_wrong_numbers(tmp_path: Path) -> None:
    rows = ['a;"1 2;30;20', "b;1 x;30;20", "c;1 2;30.0;20", "d;1 2;1e2;20", "e;0 2;30;20", "f;1 -2;30;20"]
    (tmp_path / "t.csv").write_text("\n".join(["id;annotation;width;height", *rows]))
    data = open_collection(tmp_path / "t.csv")
    assert [item.name for item in data] == ["c"]
    assert [problem[:6] for problem in data.problems] == [f"line {line}" for line in (2, 5, 3, 6, 7)]


@pytest.mark.slow
def test_a_table_of_the_size_of_sartorius_opens_in_seconds(tmp_path: Path) -> None:
    import time

    text = " ".join(f"{start} 11" for start in range(1, 27 * 704, 704))
    with (tmp_path / "t.csv").open("w") as file:
        file.write("id,annotation,width,height\n")
        for image in range(606):
            file.writelines(f"im{image:03d},{text},704,520\n" for _ in range(122))
    begin = time.monotonic()
    data = open_collection(tmp_path / "t.csv")
    assert len(data) == 606
    assert time.monotonic() - begin < 30


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


def test_train_and_test_in_folders_of_their_own_are_to_be_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(2):
            picture(tmp_path / part / f"images/{number}.png")
            label_image(tmp_path / part / f"masks/{number}.tif", seed=number)
    with pytest.raises(InputError, match=rf"there are data sets in it: name one, .*{'test'}, .*train;"):
        open_collection(tmp_path)
    assert open_collection(tmp_path / "train").format == "pairs"
    for number in range(2):
        (tmp_path / f"train/masks/{number}.tif").rename(tmp_path / f"train/masks/{number}_mask.tif")
    with pytest.raises(InputError, match="there are data sets in it"):
        open_collection(tmp_path)


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


def test_train_and_test_below_images_and_masks_are_to_be_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        picture(tmp_path / f"images/{part}/a.png")
        label_image(tmp_path / f"masks/{part}/a.tif")
    places = f"{tmp_path / 'masks/test'}, {tmp_path / 'masks/train'}"
    with pytest.raises(
        InputError, match=re.escape(f"there are files in {places}: name one with --masks, and --images")
    ):
        open_collection(tmp_path)
    said = {"images": tmp_path / "images/train", "masks": tmp_path / "masks/train"}
    open_collection(tmp_path, **said).require_sound()


def test_one_image_with_a_label_image_is_not_one_mask_a_file(tmp_path: Path) -> None:
    picture(tmp_path / "data/images/a.png")
    labels = label_image(tmp_path / "data/masks/a.tif")
    with pytest.raises(InputError, match=r"name one, .*data"):
        open_collection(tmp_path)
    assert same(open_collection(tmp_path / "data")[0].instances(), labels)


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


def test_a_table_without_the_columns_is_told_which_are_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,area\na,5\n")
    with pytest.raises(InputError, match="has the columns name, area; wanted id and annotation"):
        open_collection(tmp_path / "t.csv")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match="has no list of images"):
        open_collection(tmp_path / "t.json")


def test_images_that_a_table_does_not_name_are_noted(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "a_overlay"):
        picture(tmp_path / "train" / f"{name}.png")
    write_table(tmp_path / "train.csv", ["id", "annotation"], [["a", "1 3"], ["b", ""]])
    data = open_collection(tmp_path)
    assert data.problems == ()
    (note,) = data.notes
    assert note.startswith(f"1 image in {tmp_path / 'train'} left out, without a row in train.csv: c.png")
    for last in ([""], ["1 3", "too much"]):  # a row that cannot be read, and is told, names its image too
        write_table(tmp_path / "train.csv", ["id", "annotation"], [["a", "1 3"], ["b", ""], ["c", *last]])
        assert open_collection(tmp_path).notes == ()


def test_ids_that_differ_in_their_ending_are_images_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    labels = {name: solid_cells(40, 12, seed=seed) for seed, name in enumerate(("x.png", "x.tif", "y.tif", "z"))}
    rows = [(name, text) for name, one in labels.items() for text in rle.encode_labels(one).values()]
    with (tmp_path / "submission.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "predicted"), *rows])
    for name in ("x.png", "x.tif", "y.tif.png", "z.png"):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "images" / name)
    data = open_collection(tmp_path / "submission.csv", images=tmp_path / "images")
    data.require_sound()
    found = {item.name: item.instances().to_labels() for item in data}
    assert found.keys() == labels.keys()
    for name, one in labels.items():
        assert np.array_equal(found[name] > 0, one > 0), name
    (tmp_path / "images/y.tif.png").rename(tmp_path / "images/y.png")
    named = [item.name for item in open_collection(tmp_path / "submission.csv", images=tmp_path / "images")]
    assert named == ["x.png", "x.tif", "y", "z"]


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


def test_folders_that_nobody_looks_into_are_told(tmp_path: Path) -> None:
    for place in ("", "day2/"):
        picture(tmp_path / f"beside/{place}a.png")
        label_image(tmp_path / f"beside/{place}a_masks.tif")
        picture(tmp_path / f"apart/images/{place}a.png")
        label_image(tmp_path / f"apart/masks/{place}a.tif")
        label_image(tmp_path / f"alone/{place}a.tif")
    picture(tmp_path / "beside/pictures/of_a_run.png")
    for name, below in (("beside", "day2"), ("apart", "images/day2"), ("alone", "day2")):
        data = open_collection(tmp_path / name, expect_labels=True)
        assert len(data) == 1
        (note,) = data.notes
        assert f"there is more in {tmp_path / name / below}, " in note
        assert "pictures" not in note


def test_images_beyond_memory_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,annotation,width,height\nq,1 3,999999999,70000000\nr,1 3,9,7\n")
    image = {"id": 1, "file_name": "q.png", "width": 999999999, "height": 70000000}
    (tmp_path / "t.json").write_text(json.dumps({"images": [image], "annotations": []}))
    for name in ("t.csv", "t.json"):
        (problem,) = open_collection(tmp_path / name).problems
        assert problem.startswith("q is said to have 70000000 x 999999999 pixels: 279999999.72 GB of labels; at most ")


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


def test_values_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id,annotation,width,height,where\na,1 5,24,20,z\xfcrich\n")
    assert open_collection(tmp_path / "t.csv").problems == (
        "line 2: it holds bytes that are not UTF-8: save the table as UTF-8",
    )


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


@pytest.mark.parametrize("folders", [False, True])
def test_stacks_of_masks_are_refused_without_a_hint_that_leads_nowhere(tmp_path: Path, folders: bool) -> None:
    picture(tmp_path / "a/images/a.png")
    (tmp_path / "a/masks").mkdir()
    tifffile.imwrite(tmp_path / f"a/masks/{'x' if folders else 'a'}.tif", np.ones((5, 20, 30), np.uint16))
    (item,) = open_collection(tmp_path if folders else tmp_path / "a", "folders" if folders else "pairs")
    with pytest.raises(InputError, match=r"is a stack of 5 planes .*; wanted the masks of one image: save"):
        item.instances()


def test_names_of_columns_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id,annotation,width,height,gr\xf6\xdfe\na,1 5,24,20,3\n")
    with pytest.raises(InputError, match=r"t\.csv, line 1: it holds bytes that are not UTF-8: save the table as UTF-8"):
        open_collection(tmp_path / "t.csv")


@pytest.mark.parametrize(("line", "text"), [(1, b"id,gr\xf6\xdfe\na,3\n"), (2, b"id,kind\na,gro\xdf\n")])
def test_tables_beside_that_are_not_utf_8_are_told(tmp_path: Path, line: int, text: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    for read in (lambda: columns_beside(tmp_path), lambda: side_table(tmp_path / "t.csv")):
        with pytest.raises(InputError, match=rf"t\.csv, line {line}: it holds bytes that are not UTF-8: save"):
            read()


def test_a_table_beside_may_have_been_written_on_windows(tmp_path: Path) -> None:
    (tmp_path / "kinds.csv").write_bytes(b"\xef\xbb\xbffile_name;kind\r\nD:\\cells\\a.png;large\r\nb.png;small\r\n")
    assert columns_beside(tmp_path) == {"a": {"kind": "large"}, "b": {"kind": "small"}}


@pytest.mark.parametrize(
    ("format_", "ending", "text", "what"),
    [
        ("kaggle", "csv", "id,annotation,width,height\na,1 2,5,5\n", ("table", "CSV")),
        ("coco", "json", '{"images": [], "annotations": [], "categories": []}', ("COCO file", "JSON")),
    ],
)
def test_a_folder_is_opened_by_the_one_file_it_has(
    tmp_path: Path, format_: str, ending: str, text: str, what: tuple[str, str]
) -> None:
    kind, file = what
    with pytest.raises(InputError, match=rf"has no {kind}: wanted one {file} file$"):
        open_collection(tmp_path, format_)
    (tmp_path / f"a.{ending}").write_text(text)
    assert open_collection(tmp_path, format_).format == format_
    (tmp_path / f"b.{ending}").write_text(text)
    with pytest.raises(InputError, match=rf"has several {kind}s, a\.{ending}, b\.{ending}: name one {file} file$"):
        open_collection(tmp_path, format_)
