"""COCO JSON: masks as compressed run-length encodings or as polygons, with boxes, areas, scores.

Polygons stand on the corners of pixels and go around each piece; a hole is joined to its outside by a way there and
back, which pycocotools and every other filling by parity leave out again. So both forms hold exactly the same pixels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import boundaries, rle
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances

Form = Literal["rle", "polygons"]
Annotation = dict[str, Any]

#: The category of what has none.
CELL = "cell"

# Beyond this many pairs of a corner outside and a hole, holes are joined to the first corner, not to the nearest.
_MOST_PAIRS = 10_000_000


class Part(NamedTuple):
    """One image: its file, (height, width), annotations that have no ids yet, and what else is known of it by name."""

    file_name: str
    shape: tuple[int, int]
    annotations: Sequence[Annotation]
    columns: Mapping[str, str] = {}


def category(name: str = CELL, number: int | str = 1, supercategory: str | None = None) -> dict[str, Any]:
    """Return an entry of the list of categories; what is above it is called the same, where nothing is said."""
    return {"id": number, "name": name, "supercategory": name if supercategory is None else supercategory}


def annotations(
    instances: Instances,
    values: npt.ArrayLike | None = None,
    scores: npt.ArrayLike | None = None,
    form: Form = "rle",
    categories: npt.ArrayLike | None = None,
) -> list[Annotation]:
    """Return one annotation an instance, without ids; instances without pixels are left out.

    Parameters
    ----------
    instances
        They may overlap.
    values
        (n,) the label of each, kept under ``label``; None: 1 to n.
    scores
        (n,) a confidence for each, kept under ``score``.
    form
        "rle": compressed counts as text; "polygons": corners x, y, x, y ... for each piece.
    categories
        (n,) the number of the category of each; None: 1.

    Examples
    --------
    >>> made = annotations(Instances.from_labels([[0, 7, 7], [3, 0, 7]]), [3, 7])
    >>> made[1]["label"], made[1]["bbox"], made[1]["segmentation"]
    (7, [1, 0, 2, 2], {'size': [2, 3], 'counts': '2111'})
    """
    if form not in ("rle", "polygons"):
        raise OptionError(f"form is {form!r}; wanted rle or polygons")
    names = np.arange(1, len(instances) + 1) if values is None else np.asarray(values)
    sure = None if scores is None else np.asarray(scores, np.float64)
    kinds = np.ones(len(instances), object) if categories is None else np.asarray(categories, object)
    for what, given in (("values", names), ("scores", sure), ("categories", kinds)):
        if given is not None and given.shape != (len(instances),):
            raise InputError(f"{what} have shape {given.shape}; wanted one for each of {len(instances)} instances")
    shapes = rle.instances_to_coco(instances, "text") if form == "rle" else _polygons(instances)
    areas, boxes = instances.areas().tolist(), boundaries.boxes(instances).tolist()
    found = []
    for index in np.flatnonzero(instances.areas()):
        y0, x0, y1, x1 = boxes[index]
        one: Annotation = {
            "category_id": kinds[index],
            "segmentation": shapes[index],
            "area": areas[index],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
            "label": int(names[index]),
        }
        if sure is not None:
            one["score"] = round(float(sure[index]), 6)
        found.append(one)
    return found


def document(parts: Iterable[Part], categories: Sequence[Mapping[str, Any]] = (category(),)) -> Iterator[bytes]:
    """Yield the JSON of a data set, image by image; images and annotations are numbered from 1.

    What else is known of an image, its ``columns``, stands beside its size.

    Examples
    --------
    >>> part = Part("a.png", (2, 3), annotations(Instances.from_labels([[0, 7, 7], [3, 0, 7]])))
    >>> sorted(json.loads(b"".join(document([part]))))
    ['annotations', 'categories', 'images', 'info']
    """
    images: list[dict[str, Any]] = []
    made = 0
    yield b'{"annotations": ['
    for part in parts:
        images.append({**part.columns, "id": len(images) + 1, "file_name": part.file_name, **_size(part.shape)})
        lines = []
        for one in part.annotations:
            made += 1
            lines.append(json.dumps({"id": made, "image_id": len(images), **one}, allow_nan=False))
        if lines:
            yield ((",\n" if made > len(lines) else "\n") + ",\n".join(lines)).encode()
    rest = {
        "images": images,
        "categories": list(categories),
        "info": {"description": "made by flowseg"},
    }
    yield b"\n],\n" + json.dumps(rest, indent=0, ensure_ascii=False)[2:].encode() + b"\n"


def encode(part: Part) -> bytes:
    """Return an image by itself as JSON, for `decode`."""
    return json.dumps({"file_name": part.file_name, **_size(part.shape), "annotations": part.annotations}).encode()


def decode(data: bytes) -> Part:
    """Read what `encode` made."""
    found = json.loads(data)
    return Part(found["file_name"], (found["height"], found["width"]), found["annotations"])


def _size(shape: tuple[int, int]) -> dict[str, int]:
    return {"height": shape[0], "width": shape[1]}


def _polygons(instances: Instances) -> list[list[list[int]]]:
    """Return for each instance its pieces as x, y, x, y, ..."""
    found = boundaries.trace(instances)
    return [[_joined(rings)[:, ::-1].ravel().tolist() for rings in found.of(index)] for index in range(len(instances))]


def _joined(rings: Sequence[boundaries.Ints]) -> boundaries.Ints:
    """Make one ring of the outside of a piece and its holes, each reached from the nearest corner and back."""
    outside, *holes = rings
    if not holes:
        return outside
    ways: dict[int, list[boundaries.Ints]] = {}
    near = len(outside) * len(holes) <= _MOST_PAIRS
    for hole in holes:
        place = int(np.square((outside - hole[0]).astype(np.int64)).sum(axis=1).argmin()) if near else 0
        ways.setdefault(place, []).extend([hole, hole[:1], outside[place : place + 1]])
    parts, done = [], 0
    for place in sorted(ways):
        parts += [outside[done : place + 1], *ways[place]]
        done = place + 1
    return np.concatenate([*parts, outside[done:]])
