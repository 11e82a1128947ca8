"""COCO JSON: what pycocotools reads from it, pixel by pixel."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from flowseg.errors import InputError, OptionError
from flowseg.exports import coco_json
from flowseg.exports.coco_json import Form, Part
from flowseg.instances import Instances, from_labels
from tests.filling import filled
from tests.shapes import label_images

# pycocotools' arrays do not know numpy's newer keywords.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FORMS: list[Form] = ["rle", "polygons"]


def loaded(parts: list[Part]) -> COCO:
    coco = COCO()
    coco.dataset = json.loads(b"".join(coco_json.document(parts)))
    coco.createIndex()
    return coco


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100)
@given(labels=label_images(12, 2))
def test_pycocotools_reads_the_same_pixels(form: Form, labels: npt.NDArray[np.int32]) -> None:
    """Holes, pieces, pixels that touch at corners, borders: an IoU of 1 in both forms."""
    instances, values = from_labels(labels)
    coco = loaded([Part("a.png", instances.shape, coco_json.annotations(instances, values, form=form))])
    assert len(coco.anns) == len(instances)
    for annotation in coco.anns.values():
        mask = labels == annotation["label"]
        assert (coco.annToMask(annotation) == mask).all()
        assert annotation["area"] == mask.sum()
        ys, xs = np.nonzero(mask)
        assert annotation["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert (annotation["iscrowd"], annotation["category_id"]) == (0, 1)


@settings(max_examples=50)
@given(label_images(10, 2))
def test_any_filling_by_parity_reads_polygons(labels: npt.NDArray[np.int32]) -> None:
    for annotation in coco_json.annotations(*from_labels(labels), form="polygons"):
        rings = [np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]]
        mask = sum(filled([ring], labels.shape).astype(int) for ring in rings)
        assert (mask == (labels == annotation["label"])).all()


def test_a_hundred_holes_far_from_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.ones((61, 61), np.int32)
    labels[3:-3:5, 3:-3:5] = 0
    for most in (coco_json._MOST_PAIRS, 0):
        monkeypatch.setattr(coco_json, "_MOST_PAIRS", most)
        made = coco_json.annotations(Instances.from_labels(labels), form="polygons")
        coco = loaded([Part("a", (61, 61), made)])
        assert (coco.annToMask(coco.anns[1]) == labels).all()


@pytest.mark.parametrize("form", FORMS)
def test_overlapping_instances_stay_whole(form: Form) -> None:
    masks = np.random.default_rng(0).random((9, 13, 17)) < 0.6
    coco = loaded([Part("a", (13, 17), coco_json.annotations(Instances.from_masks(masks, (13, 17)), form=form))])
    for number, mask in enumerate(masks, start=1):
        assert (coco.annToMask(coco.anns[number]) == mask).all()


def test_images_and_annotations_are_numbered_through(tmp_path: Path) -> None:
    one, none = Instances.from_labels([[1, 2, 2]]), Instances.from_labels([[0, 0]])
    parts = [
        Part("x/é.png", one.shape, coco_json.annotations(one, [4, 9], [0.25, 0.5])),
        Part("none.png", none.shape, coco_json.annotations(none)),
        Part("b.png", one.shape, coco_json.annotations(one)),
    ]
    path = tmp_path / "annotations.json"
    path.write_bytes(b"".join(coco_json.document(parts, [coco_json.category("nucleus", 1)])))
    coco = COCO(str(path))
    assert [(image["file_name"], image["height"], image["width"]) for image in coco.imgs.values()] == [
        ("x/é.png", 1, 3),
        ("none.png", 1, 2),
        ("b.png", 1, 3),
    ]
    assert [(key, coco.anns[key]["image_id"], coco.anns[key]["label"]) for key in coco.anns] == [
        (1, 1, 4),
        (2, 1, 9),
        (3, 3, 1),
        (4, 3, 2),
    ]
    assert [coco.anns[key].get("score") for key in coco.anns] == [0.25, 0.5, None, None]
    assert coco.cats[1]["name"] == "nucleus"


@pytest.mark.parametrize("parts", [[], [Part("a", (0, 0), [])]])
def test_nothing_is_a_valid_file_too(parts: list[Part]) -> None:
    assert loaded(parts).anns == {}


@given(st.integers(0, 3))
def test_parts_are_read_as_they_were(count: int) -> None:
    instances = Instances.from_labels(np.arange(count)[None])
    part = Part("a,\n", instances.shape, coco_json.annotations(instances, scores=np.ones(len(instances))))
    assert coco_json.decode(coco_json.encode(part)) == part


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"values": [1, 2, 3]}, InputError), ({"scores": [0.5]}, InputError), ({"form": "points"}, OptionError)],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="wanted"):
        coco_json.annotations(Instances.from_labels([[1, 2]]), **wrong)


def test_instances_without_pixels_are_left_out() -> None:
    instances = Instances.from_masks([np.zeros((2, 2)), np.ones((2, 2))], (2, 2))
    assert [one["label"] for one in coco_json.annotations(instances)] == [2]
