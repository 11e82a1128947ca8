"""Names with accents find each other however they are written, as on macOS and elsewhere."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowseg.evaluate import compare
from flowseg.sources.data_sets import open_collection
from flowseg.training.from_settings import with_columns

COMPOSED, APART = (unicodedata.normalize(form, "Zellgröße é") for form in ("NFC", "NFD"))
SQUARE = [2, 2, 5, 2, 5, 5, 2, 5]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path)


def make(folder: Path, kind: str, name: str, image: str) -> Path:
    """Make a data set that names an image in one way and has it in a file that is called in another."""
    picture(folder / "images" / f"{image}.png")
    picture(folder / "images" / "other.png")
    if kind == "pairs":
        picture(folder / "masks" / f"{name}.png")
        picture(folder / "masks" / "other.png")
        (folder / "about.csv").write_text(f"id,kind\n{image},a\nother,b\n")
        return folder
    if kind == "seg":
        masks = {"masks": np.eye(8, dtype=np.uint16)}
        for each in (name, "other"):
            np.save(folder / "images" / f"{each}_seg.npy", masks, allow_pickle=True)  # type: ignore[arg-type]
        return folder / "images"
    if kind.startswith("table"):
        ending = kind.removeprefix("table")
        (folder / "t.csv").write_text(f"id,annotation\n{name}{ending},1 2\nother,3 1\n")
        return folder / "t.csv"
    names = [f"{name}.png", "other.png"]
    entries = [{"id": n, "file_name": each, "height": 8, "width": 8} for n, each in enumerate(names)]
    annotations = [{"id": n, "image_id": n, "segmentation": [SQUARE]} for n in (0, 1)]
    (folder / "t.json").write_text(json.dumps({"images": entries, "annotations": annotations}))
    if kind == "coco below":
        (folder / "images" / f"{image}.png").rename(folder / "images" / "sub.png")
        picture(folder / "images" / "x" / f"{image}.png")
    return folder / "t.json"


@pytest.mark.parametrize("kind", ["pairs", "seg", "table", "table.png", "coco", "coco below"])
@pytest.mark.parametrize(("name", "image"), [(COMPOSED, APART), (APART, COMPOSED), (APART, APART)])
def test_names_of_images_are_found_however_accents_are_written(
    tmp_path: Path, kind: str, name: str, image: str
) -> None:
    data = open_collection(make(tmp_path, kind, name, image))
    data.require_sound()
    assert data.notes == ()
    assert {item.name: item.path and item.path.stem for item in data} == {name: image, "other": "other"}
    if kind == "pairs":
        assert [item.columns["kind"] for item in data] == ["a", "b"]


def test_a_name_that_is_exactly_so_comes_first(tmp_path: Path) -> None:
    path = make(tmp_path, "coco", COMPOSED, APART)
    picture(tmp_path / "images" / f"{COMPOSED}.png")
    assert {item.path.stem for item in open_collection(path) if item.path} == {COMPOSED, "other"}
    (tmp_path / "t.csv").write_text(f"id,annotation\n{COMPOSED},1 2\n{APART},3 1\n")
    data = open_collection(tmp_path / "t.csv")
    assert [item.path and item.path.stem for item in data] == sorted([COMPOSED, APART])
    assert [item.name for item in data] == sorted([COMPOSED, APART])


def test_both_sides_of_a_comparison_and_further_columns(tmp_path: Path) -> None:
    labels = np.eye(8, dtype=int)
    scores = compare({APART: labels, "b": labels}, {COMPOSED: labels, "b": labels})
    assert {image.name for image in scores.images} == {COMPOSED, "b"}
    both = compare({APART: labels, COMPOSED: labels}, {COMPOSED: labels}, missing="skip")
    assert both.missing_truths == (APART,)
    data = open_collection(make(tmp_path, "table", APART, APART))
    (tmp_path / "columns.csv").write_text(f"id,kind\n{COMPOSED}.png,a\nother,b\n")
    assert {item.columns["kind"] for item in with_columns(data, tmp_path / "columns.csv")} == {"a", "b"}
