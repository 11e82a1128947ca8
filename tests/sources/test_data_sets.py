"""Data sets of every kind: recognised, opened without reading a pixel, and what is unclear about them told."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from flowseg.errors import InputError, OptionError
from flowseg.sources.data_sets import open_collection
from tests.sources.data import by_name, label_image, picture, same, write_table


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
    with pytest.raises(InputError, match=r"a file \.txt\)"):
        open_collection(tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"a file \.tif: name the folder that it lies in"):
        open_collection(tmp_path / "a_masks.tif")


def test_what_is_no_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="path is dict; wanted that of a file or folder, such as a table"):
        open_collection({"id": ["a"], "annotation": ["1 2"]})  # type: ignore[arg-type]


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


def test_train_and_test_in_folders_of_their_own_are_to_be_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(2):
            picture(tmp_path / part / f"images/{number}.png")
            label_image(tmp_path / part / f"masks/{number}.tif", seed=number)
    with pytest.raises(InputError, match=r"there are data sets in it: name one, .*test, .*train;"):
        open_collection(tmp_path)
    assert open_collection(tmp_path / "train").format == "pairs"
    for number in range(2):
        (tmp_path / f"train/masks/{number}.tif").rename(tmp_path / f"train/masks/{number}_mask.tif")
    with pytest.raises(InputError, match="there are data sets in it"):
        open_collection(tmp_path)


def test_images_and_label_images_in_folders_of_other_names_are_to_be_said(tmp_path: Path) -> None:
    picture(tmp_path / "raw/0.png")
    label_image(tmp_path / "gt/0.tif", seed=0)
    with pytest.raises(InputError, match=r"if .*gt and .*raw are images and their label images.*--images and --masks"):
        open_collection(tmp_path)
    assert open_collection(tmp_path, images=tmp_path / "raw", masks=tmp_path / "gt").format == "pairs"


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


def test_a_table_without_the_columns_is_told_which_are_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,area\na,5\n")
    with pytest.raises(InputError, match="has the columns name, area; wanted id and annotation"):
        open_collection(tmp_path / "t.csv")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match="has no list of images"):
        open_collection(tmp_path / "t.json")


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


@pytest.mark.parametrize("folders", [False, True])
def test_stacks_of_masks_are_refused_without_a_hint_that_leads_nowhere(tmp_path: Path, folders: bool) -> None:
    picture(tmp_path / "a/images/a.png")
    (tmp_path / "a/masks").mkdir()
    tifffile.imwrite(tmp_path / f"a/masks/{'x' if folders else 'a'}.tif", np.ones((5, 20, 30), np.uint16))
    (item,) = open_collection(tmp_path if folders else tmp_path / "a", "folders" if folders else "pairs")
    with pytest.raises(InputError, match=r"is a stack of 5 planes .*; wanted the masks of one image: save"):
        item.instances()


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


def test_images_and_masks_of_differing_names_are_told_in_one_line(tmp_path: Path) -> None:
    for number in range(2):
        for folder, name in (("images", "image"), ("masks", "mask")):
            (tmp_path / folder).mkdir(exist_ok=True)
            label_image(tmp_path / folder / f"{name}{number}.tif")
    told = "no image is called as a label image is: rename them, or say their --mask-suffix"
    assert open_collection(tmp_path).problems[0] == told
    (tmp_path / "masks/mask0.tif").rename(tmp_path / "masks/image0.tif")
    assert told not in open_collection(tmp_path).problems


def test_label_images_alone_are_not_said_to_be_unknown_and_wanted_in_one_breath(tmp_path: Path) -> None:
    label_image(tmp_path / "a.tif")
    with pytest.raises(InputError, match="inspect and convert take them with --format labels; wanted one of"):
        open_collection(tmp_path)
