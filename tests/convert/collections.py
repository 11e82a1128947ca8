"""Collections made by hand, and readers that share nothing with the package's own."""

import csv
import io
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as pycoco

from flowseg.instances import Instances
from flowseg.sources.collection import Collection, Item

Masks = list[npt.NDArray[np.bool_]]


def given(instances: Instances) -> Instances:
    return instances


def item(name: str, masks: npt.ArrayLike, path: Path | None = None, **columns: str) -> Item:
    """Make an item of masks (n, H, W)."""
    stack = np.asarray(masks, bool)
    return Item(name, path, partial(given, Instances.from_masks(stack, stack.shape[1:])), columns)


def collection(items: Iterable[Item], root: Path = Path("/nowhere")) -> Collection:
    return Collection(root, "by hand", tuple(items))


def overlapping(tmp_path: Path, with_images: bool = True) -> Collection:
    """Three images: masks that overlap, have holes and pieces; none; apart."""
    rng = np.random.default_rng(5)
    ragged = rng.random((4, 14, 21)) < 0.5
    apart = np.zeros((2, 6, 9), bool)
    apart[0, 1:3, 1:8], apart[1, 3:6, 4:9] = True, True
    items = []
    for name, masks, kind in (("a", ragged, "cort"), ("b,1", np.zeros((0, 5, 7)), "astro"), ("c", apart, "shsy5y")):
        path = tmp_path / "images" / f"{name}.png" if with_images else None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, np.shape(masks)[1:], np.uint8)).save(path)
        items.append(item(name, masks, path, cell_type=kind, width="0"))
    return collection(items, tmp_path / "images")


def masks_of(found: Collection) -> dict[str, Masks]:
    return {one.name: [one.instances().mask(k) for k in range(len(one.instances()))] for one in found}


def read_kaggle(text: str) -> Collection:
    """Read either kind of table."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        rows.setdefault(row.get("id") or row["ImageId"], []).append(row)
    items = []
    for name, own in rows.items():
        lower = {key.lower(): value for key, value in own[0].items()}
        shape = int(lower["height"]), int(lower["width"])
        masks = []
        for row in own:
            runs = np.array((row.get("annotation") or row.get("EncodedPixels") or "").split(), int).reshape(-1, 2)
            flat = np.zeros(shape[0] * shape[1], bool)
            for start, length in runs:
                flat[start - 1 : start - 1 + length] = True
            if len(runs):
                masks.append(flat.reshape(shape) if "annotation" in row else flat.reshape(shape[::-1]).T)
        stack = np.array(masks).reshape(-1, *shape)
        kept = {key: value for key, value in own[0].items() if key in ("cell_type",)}
        items.append(item(name, stack, **kept))
    return collection(items)


def read_coco(text: str) -> Collection:
    """Read with pycocotools."""
    data = json.loads(text)
    items = []
    for image in data["images"]:
        shape = image["height"], image["width"]
        masks = []
        for one in data["annotations"]:
            if one["image_id"] == image["id"]:
                rle = one["segmentation"]
                if isinstance(rle, list):
                    rle = pycoco.merge(pycoco.frPyObjects(rle, *shape))
                masks.append(pycoco.decode(rle))
        name = image["file_name"].removesuffix(".png")
        items.append(item(name, np.array(masks).reshape(-1, *shape), cell_type=image["cell_type"]))
    return collection(items)
