"""COCO's mean average precision against pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from flowseg.evaluate import compare
from flowseg.instances import Instances
from tests.evaluate.data import collection, item, random_masks, shaken


def reference(
    truths: list[Instances], preds: list[Instances], scores: list[tuple[float, ...]], most: int
) -> tuple[float, float, float]:
    """Return what COCOeval says: mAP, AP at 0.5, AP at 0.75."""

    def masks(instances: Instances) -> list[Any]:
        return [coco_mask.encode(np.asfortranarray(instances.mask(k), np.uint8)) for k in range(len(instances))]

    images = [{"id": k, "height": one.shape[0], "width": one.shape[1]} for k, one in enumerate(truths)]
    annotations = [
        {"image_id": k, "category_id": 1, "segmentation": mask, "iscrowd": 0, "area": float(coco_mask.area(mask))}
        | {"bbox": [0, 0, 1, 1]}
        for k, one in enumerate(truths)
        for mask in masks(one)
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    found = [
        {"image_id": k, "category_id": 1, "segmentation": mask, "score": score}
        for k, one in enumerate(preds)
        for mask, score in zip(masks(one), scores[k], strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}], "info": {}}
        truth.createIndex()
        task = COCOeval(truth, truth.loadRes(found), "segm")
        task.params.maxDets = [1, 10, most]
        task.evaluate()
        task.accumulate()
    precision = task.eval["precision"][:, :, 0, 0, 2]
    return float(precision.mean()), float(precision[0].mean()), float(precision[5].mean())


@pytest.mark.parametrize("seed", range(12))
def test_it_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = [random_masks(rng, 30, 12) for _ in range(6)]
    preds = [shaken(one, rng) for one in truths]
    digits = 1 if seed % 2 else 6  # equal scores, too
    scores = [tuple(rng.random(len(one)).round(digits).tolist()) for one in preds]
    ours = compare(
        collection(*(item(f"{k}", one, scores=scores[k]) for k, one in enumerate(preds))),
        collection(**{f"{k}": one for k, one in enumerate(truths)}),
        allow_overlap=True,
    ).coco
    assert [one.most_detections for one in ours] == [100, None]
    for one, most in zip(ours, (100, 10**6), strict=True):
        assert (one.map, one.ap50, one.ap75) == pytest.approx(reference(truths, preds, scores, most), abs=1e-12)
    assert 0 < ours[0].map < 1


def test_only_the_surest_count() -> None:
    cells = np.arange(1, 151)[None].repeat(2, 0)
    scores = tuple(np.linspace(1, 0.1, 150).tolist())
    given = collection(item("a", cells, scores=scores)), collection(a=cells)
    few, all_ = compare(*given).coco
    truth = Instances.from_labels(cells)
    assert few.map == pytest.approx(reference([truth], [truth], [scores], 100)[0])
    assert few.map < 0.7
    assert all_.map == pytest.approx(1.0)


def test_without_scores_there_is_none() -> None:
    cells = np.array([[1, 1, 0, 2]])
    mixed = collection(item("a", cells, scores=(0.5, 0.6)), item("b", cells))
    assert compare(mixed, collection(a=cells, b=cells)).coco == ()
    assert compare(collection(a=cells), collection(a=cells)).coco == ()
