"""``flowseg convert``: options to a conversion, what it says, problems first."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from flowseg import cli
from flowseg.convert import FORMATS
from flowseg.sources.collection import Collection
from tests.convert.collections import masks_of, overlapping, read_coco

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["convert", *map(str, arguments)])


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Open a collection made by hand in place of what is named; keep how it was asked for."""
    asked: dict[str, Any] = {"collection": overlapping(tmp_path)}

    def open_collection(path: Path, format: str | None = None, **options: Any) -> Collection:  # noqa: A002
        asked.update(path=path, format=format, **options)
        return asked["collection"]  # type: ignore[no-any-return]

    module = types.ModuleType("flowseg.sources.data_sets")
    module.open_collection = open_collection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flowseg.sources.data_sets", module)
    return asked


def test_what_is_asked_for_is_opened_and_made(tmp_path: Path, opened: dict[str, Any]) -> None:
    source = tmp_path / "images"
    result = run(
        source, tmp_path / "x.json", "--polygons", "--format", "kaggle", "--images", source, "--in-order", "row"
    )
    assert result.exit_code == 0, result.output
    assert result.output == f"6 instances of 3 images to {tmp_path}/x.json (coco)\n"
    assert {key: opened[key] for key in ("path", "format", "images", "masks", "mask_suffix", "order")} == {
        "path": source,
        "format": "kaggle",
        "images": source,
        "masks": None,
        "mask_suffix": None,
        "order": "row",
    }
    text = (tmp_path / "x.json").read_text()
    assert masks_of(read_coco(text)).keys() == masks_of(opened["collection"]).keys()
    assert '"segmentation": [[' in text


def test_what_was_contested_is_told(tmp_path: Path, opened: dict[str, Any]) -> None:
    result = run(tmp_path, tmp_path / "out", "--to", "labels", "--contested-to", "first")
    assert result.exit_code == 0, result.output
    depth = sum(mask.astype(int) for mask in masks_of(opened["collection"])["a"])
    assert f"{(depth > 1).sum()} pixels in 1 image, claimed by several instances, went to the first one" in (
        result.output
    )
    first = masks_of(opened["collection"])["a"][0]
    assert (tifffile.imread(tmp_path / "out/a_labels.tif")[first] == 1).all()
    assert run(tmp_path, tmp_path / "out", "--to", "labels", "--overwrite", "--quiet").output == ""


def test_problems_come_first_unless_they_are_to_be_skipped(tmp_path: Path, opened: dict[str, Any]) -> None:
    good = opened["collection"]
    opened["collection"] = Collection(good.root, good.format, good.items, ("x.png has no masks",))
    result = run(tmp_path, tmp_path / "x.csv")
    assert result.exit_code == 1
    assert "1 problem:\n  - x.png has no masks" in result.output
    assert not (tmp_path / "x.csv").exists()
    result = run(tmp_path, tmp_path / "x.csv", "--skip-problems")
    assert result.exit_code == 0
    assert "left out: x.png has no masks" in result.output


def test_errors_are_plain(tmp_path: Path, opened: dict[str, Any]) -> None:
    assert run(tmp_path, tmp_path / "nothing").output.startswith("Error: the name ")
    assert "one of kaggle, coco" in run(tmp_path, tmp_path / "x", "--to", "omero").output


def test_help_names_every_format() -> None:
    text = run("--help").output
    for to in FORMATS:
        assert f"  {to} " in text or f"{to}:" in text


def test_masks_that_cannot_be_read_are_skipped_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in "abc":
        tifffile.imwrite(data / f"{name}.tif", np.zeros((9, 9), np.uint8))
        tifffile.imwrite(data / f"{name}_masks.tif", np.eye(9, dtype=np.uint8))
    torn = (data / "b_masks.tif").read_bytes()
    (data / "b_masks.tif").write_bytes(torn[: len(torn) - 40])
    assert run(data, tmp_path / "x.csv").exit_code == 1
    assert not (tmp_path / "x.csv").exists()
    for out, more in (("x.csv", []), ("x.json", []), ("labels", ["--to", "labels"])):
        result = run(data, tmp_path / out, "--skip-problems", *more)
        assert result.exit_code == 0, result.output
        assert "left out: b: " in result.output
        assert "2 instances of 2 images" in result.output
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["a_labels.tif", "c_labels.tif"]


def test_pieces_become_cells(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mask = np.zeros((20, 20), np.uint8)
    for top in (0, 5, 10):
        mask[top : top + 4, 3:9] = mask[top : top + 4, 12:16] = 255
    tifffile.imwrite(data / "a.tif", mask)
    tifffile.imwrite(data / "a_masks.tif", mask)
    result = run(data, tmp_path / "out", "--to", "labels", "--pieces", "--copy-images")
    assert result.exit_code == 0, result.output
    labels = tifffile.imread(tmp_path / "out/a_labels.tif")
    assert labels.max() == 6
    np.testing.assert_array_equal(labels > 0, mask > 0)


def label_file(path: Path, count: int) -> np.ndarray:
    labels = np.zeros((20, 30), np.uint16)
    for number in range(count):
        labels[2 + 4 * number : 5 + 4 * number, 3:20] = number + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, labels)
    return labels


@pytest.mark.parametrize("to", ["labels", "masks", "seg"])
def test_masks_that_are_read_are_never_replaced(tmp_path: Path, to: str) -> None:
    label_file(tmp_path / "labels/a_labels.tif", 3)
    assert run(tmp_path / "labels", tmp_path / "data", "--to", to, "--format", "pairs").exit_code == 0
    if to != "labels":
        label_file(tmp_path / ("data/a/images/a.tif" if to == "masks" else "data/a.tif"), 3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run(tmp_path / "data", tmp_path / "data", "--to", to, "--overwrite")
    assert result.exit_code == 1
    assert "may be what is read: choose another folder" in result.output
    assert {path: path.read_bytes() for path in before} == before
    assert run(tmp_path / "data", tmp_path / "other", "--to", to).exit_code == 0


def test_images_of_several_folders_keep_them_in_coco(tmp_path: Path) -> None:
    for name in ("p/a.tif", "q/a.tif", "q/b.tif"):
        label_file(tmp_path / "images" / name, 1)
    entries = [
        {"id": number, "file_name": name, "height": 20, "width": 30}
        for number, name in enumerate(["p/a.tif", "q/a.tif", "q/b.tif"])
    ]
    (tmp_path / "t.json").write_text(json.dumps({"images": entries, "annotations": []}))
    assert run(tmp_path / "t.json", tmp_path / "o.json").exit_code == 0
    again = json.loads((tmp_path / "o.json").read_text())["images"]
    assert sorted(each["file_name"] for each in again) == ["b.tif", "p/a.tif", "q/a.tif"]
    assert run(tmp_path / "o.json", tmp_path / "o2.json", "--images", tmp_path / "images").exit_code == 0


def test_categories_stay_in_coco_and_are_told_where_they_cannot(tmp_path: Path) -> None:
    two = [[1, 1, 3, 1, 3, 3, 1, 3], [10, 1, 13, 1, 13, 3, 10, 3]]  # one instance in two pieces
    one = [[20, 8, 25, 8, 25, 12, 20, 12]]
    given = {
        "images": [{"id": number, "file_name": f"{number}.png", "height": 20, "width": 30} for number in (1, 2)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9, "segmentation": two, "score": 0.5},
            {"id": 2, "image_id": 1, "category_id": 4, "segmentation": one, "score": 0.25},
        ],
        "categories": [{"id": 9, "name": "cell"}, {"id": 4, "name": "nucleus"}],
    }
    (tmp_path / "t.json").write_text(json.dumps(given))

    def made(*options: str) -> tuple[list[tuple[str, float]], list[str]]:
        result = run(tmp_path / "t.json", tmp_path / "o.json", "--overwrite", *options)
        assert result.exit_code == 0, result.output
        assert "does not keep" not in result.output
        data = json.loads((tmp_path / "o.json").read_text())
        names = {each["id"]: each["name"] for each in data["categories"]}
        return [(names[each["category_id"]], each["score"]) for each in data["annotations"]], list(names.values())

    assert made() == ([("cell", 0.5), ("nucleus", 0.25)], ["cell", "nucleus"])
    assert made("--pieces")[0] == [("cell", 0.5), ("cell", 0.5), ("nucleus", 0.25)]
    result = run(tmp_path / "t.json", tmp_path / "o.csv")
    assert "of 2 categories, cell, nucleus, which kaggle does not keep for each: --to coco does" in result.output


def test_categories_keep_their_numbers_and_what_they_belong_to(tmp_path: Path) -> None:
    square = [[1, 1, 3, 1, 3, 3, 1, 3]]
    kinds = [{"id": 40, "name": "neuron", "supercategory": "nerve"}, {"id": "g", "name": "glia", "supercategory": ""}]
    unused, alike = {"id": 0, "name": "none", "supercategory": "none"}, {"id": 3, "name": "neuron"}
    given = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": kind, "segmentation": square}
            for number, kind in enumerate(["g", 40, 3, 77, None])
        ],
        "categories": [unused, *kinds, alike],
    }
    (tmp_path / "t.json").write_text(json.dumps(given))
    for source, out in (("t.json", "o.json"), ("o.json", "again.json")):
        assert run(tmp_path / source, tmp_path / out).exit_code == 0
        made = json.loads((tmp_path / out).read_text())
        assert [each["category_id"] for each in made["annotations"]] == ["g", 40, 3, 77, 78]
        assert made["categories"] == [
            *(unused, *kinds, alike | {"supercategory": "neuron"}),
            {"id": 77, "name": "77", "supercategory": "77"},
            {"id": 78, "name": "cell", "supercategory": "cell"},
        ]
