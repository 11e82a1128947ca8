"""COCO JSON: polygons, run lengths compressed or not, crowds, and detections with scores.

Masks are decoded once, when the file is opened, so that all that cannot be read is told at once; what is kept is runs.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import files, rle
from flowseg.checks import short
from flowseg.errors import FlowsegError, InputError
from flowseg.instances import Instances
from flowseg.kernels import polygons
from flowseg.sources import _coco_pictures
from flowseg.sources._coco_pictures import Picture, Places, Shape, identity, printed
from flowseg.sources._gather import Gathered, files_in, held, the_one, told, told_shape, whole
from flowseg.sources.collection import Category, Collection, Item
from flowseg.words import many

_LEAST_NUMBERS = 6  # of a polygon that holds pixels
_MOST_STEPS = 10**7  # of an outline on the finer grid: less than a tenth of a second


def recognised(path: Path) -> str:
    """Say what a file, or a folder that has some, holds of this kind; empty where it is of another kind."""
    if path.is_file():
        return path.name if path.suffix.lower() == ".json" else ""
    return told(each.name for each in _files(path))


def _files(folder: Path) -> list[Path]:
    return [path for path in files_in(folder, (".json",)) if looks_like(path)]


def read(path: Path, *, images: Path | None = None, like: Collection | None = None) -> Collection:
    """Open a COCO file: instances, detections in the same form, or a list of results.

    Crowds are no instances and are left out; the column ``crowds`` says how many an image has. Each instance has its
    category; where there are several, the column ``category`` names those of an image.

    Parameters
    ----------
    path
        The JSON file, or a folder with one.
    images
        The folder of the images; else the file's own folder, and those in it called ``images`` or as the file, are
        searched. For a list of results, the COCO file that names the images.
    like
        Data of the same images: their folders are searched, too.
    """
    if path.is_dir():
        path = the_one(path, _files(path), "COCO file", "JSON")
    content = _json(path)
    if isinstance(content, list):
        if images is None or images.is_dir():
            raise InputError(
                f"{path} is a list of results, which names images by number alone: give the COCO file of the images "
                "with --images (in Python images=)"
            )
        content = {**_dictionary(_json(images), images), "annotations": content}
        return _collected(path, content, Places(images))
    if images is not None and not images.is_dir():
        raise InputError(f"{images} is not a folder; wanted that of the images")
    also = {item.path.parent for item in like or () if item.path is not None}
    return _collected(path, _dictionary(content, path), Places(path, images, sorted(also)))


def _collected(path: Path, content: dict[str, Any], places: Places) -> Collection:
    gathered = Gathered()
    entries = _coco_pictures.listed(content, gathered)
    _share_out(content, entries, gathered)
    pictures = {number: picture for number, picture in entries.items() if picture is not None}
    listed = [(identity(each.get("id")), each) for each in _dictionaries(content.get("categories", []))]
    categories = {number: _category(number, each) for number, each in listed if number is not None}
    scored = any("score" in each for picture in pictures.values() for each in picture.annotations)
    names = _coco_pictures.names(pictures)
    for number, file in _files_of(pictures, names, places, gathered).items():
        item = _item(gathered, names[number], pictures[number], file, scored, categories)
        if item is not None:
            gathered.items.append(item)
    _note_files_listed_twice(gathered, pictures)
    _note_what_is_left_out(gathered, [each for picture in pictures.values() for each in picture.annotations])
    return replace(gathered.collection(path, "coco"), categories=tuple(categories.values()))


def _files_of(
    pictures: Mapping[Any, Picture], names: Mapping[Any, str], places: Places, gathered: Gathered
) -> dict[Any, Path | None]:
    """Return the file of each picture, None for all where there is no image at all; note those that have none."""
    found: dict[Any, Path | None] = {}
    for number, picture in pictures.items():
        try:
            found[number] = places.file_of(picture)
        except InputError as error:
            gathered.problems.append(str(error))
    if not places.said and not any(found.values()):
        return found
    for number in [number for number, file in found.items() if file is None]:
        gathered.problems.append(f"{names[number]} has no image: looked for {pictures[number].file} in {places}")
        del found[number]
    own = gathered.not_shared({pictures[number].file: file for number, file in found.items() if file is not None})
    return {number: file for number, file in found.items() if pictures[number].file in own}


def _note_files_listed_twice(gathered: Gathered, pictures: Mapping[Any, Picture]) -> None:
    count = Counter(picture.file for picture in pictures.values())
    if twice := [file for file, entries in count.items() if entries > 1]:
        gathered.notes.append(
            f"several entries have the file {told(twice)}: each is taken for an image of its own, with its own "
            "instances"
        )


def _note_what_is_left_out(gathered: Gathered, annotations: Sequence[Mapping[str, Any]]) -> None:
    if crowds := sum(map(_is_crowd, annotations)):
        what = many(crowds, "annotation is a crowd", "annotations are crowds")
        gathered.notes.append(f"{what} (iscrowd): several cells under one mask, left out")
    if pointed := sum(bool(each.get("keypoints")) for each in annotations):
        gathered.notes.append(f"{many(pointed, 'annotation has', 'annotations have')} keypoints, which are left out")
    if flat := sum(len(polygon) < _LEAST_NUMBERS for each in annotations for polygon in _polygons(each)):
        what = many(flat, "polygon has fewer than three corners", "polygons have fewer than three corners")
        gathered.notes.append(f"{what}, as contours of one or two pixels have: no pixel lies in them")


def _polygons(annotation: Mapping[str, Any]) -> list[list[Any]]:
    segmentation = annotation.get("segmentation")
    return [part for part in segmentation if isinstance(part, list)] if isinstance(segmentation, list) else []


def _is_crowd(annotation: Mapping[str, Any]) -> bool:
    return annotation.get("iscrowd") not in (None, 0, False, "0", "")


def is_results(path: Path) -> bool:
    """Whether a file is a list of results, which names images by the numbers of another COCO file."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError:
        return False


def looks_like(path: Path) -> bool:
    """Whether a JSON file may be one of COCO's, by a look at its bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 20)
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            both = start + file.read()
    except OSError:
        return False
    return b'"annotations"' in both or (b'"image_id"' in both and b'"segmentation"' in both)


# ------------------------------------------------------------------------------------------- the parts of a file


def _json(path: Path) -> object:
    files.check_has_end(path)
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON, or cut short: {str(error)[:200]}") from error


def _dictionary(content: object, path: Path) -> dict[str, Any]:
    """Return a COCO file; images and annotations may be by their number, as some have them, and become lists."""
    parts = {name: _in_order(part) for name, part in content.items()} if isinstance(content, dict) else {}
    if not isinstance(parts.get("images"), list):
        raise InputError(f"{path} has no list of images; wanted COCO's 'images' and 'annotations'")
    return parts


def _in_order(part: object) -> object:
    if isinstance(part, dict) and part and all(isinstance(each, dict) for each in part.values()):
        return list(part.values())
    return part


def _dictionaries(entries: object) -> list[dict[str, Any]]:
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _share_out(content: dict[str, Any], pictures: Mapping[Any, Picture | None], gathered: Gathered) -> None:
    """Give each picture its annotations, problems noted; those of pictures that have one of their own are told."""
    annotations = content.get("annotations")
    if not isinstance(annotations, list):
        gathered.problems.append(f"annotations are {short(annotations)}; wanted a list")
        return
    for place, entry in enumerate(annotations, start=1):
        if not isinstance(entry, dict):
            gathered.problems.append(f"annotation {place} is {short(entry)}; wanted one with image_id, segmentation")
        elif (number := identity(entry.get("image_id"))) is None or number not in pictures:
            gathered.problems.append(
                f"{_called(place, entry)} is of image {short(entry.get('image_id'))}, which is not there"
            )
        elif (picture := pictures[number]) is not None:
            picture.annotations.append({**entry, "_place": place})


def _called(place: int, entry: Mapping[str, Any]) -> str:
    return f"annotation {place}" + (f" (id {short(entry['id'])})" if "id" in entry else "")


def _category(number: int | str, entry: Mapping[str, Any]) -> Category:
    above = entry.get("supercategory")
    return Category(
        printed(entry.get("name", number)),
        printed(number) if isinstance(number, str) else number,
        None if above is None else printed(above),
    )


# --------------------------------------------------------------------------------------------------------- masks


def _item(
    gathered: Gathered,
    name: str,
    picture: Picture,
    file: Path | None,
    scored: bool,
    categories: Mapping[Any, Category],
) -> Item | None:
    shape = _shape(gathered, name, picture, file)
    if shape is None or not gathered.can_be_held(shape, name):
        return None
    own = [each for each in picture.annotations if not _is_crowd(each)]
    try:
        instances = read_segmentations([each.get("segmentation") for each in own], shape)
        scores = tuple(map(_score, own)) if scored else None
    except InputError as error:  # some of the instances missing would be worse than all
        gathered.problems += _problems_of_each(own, name, shape, scored) or [f"{name}: {error}"]
        return None
    kinds = [_kind(each, categories) for each in own]
    columns = {**picture.columns}
    named = sorted({kind.name for kind in kinds if kind is not None})
    if named and len(categories) > 1:  # the same for all says nothing
        columns.setdefault("category", ", ".join(named))
    if len(own) < len(picture.annotations):
        columns["crowds"] = str(len(picture.annotations) - len(own))
    return Item(name, file, partial(held, instances), columns, scores, tuple(kinds) if categories else None)


def _problems_of_each(own: Sequence[Mapping[str, Any]], name: str, shape: Shape, scored: bool) -> list[str]:
    """Return what is wrong with the annotations of an image, which could not be read together."""
    problems = []
    for annotation in own:
        try:
            if scored:
                _score(annotation)
            read_segmentations([annotation.get("segmentation")], shape)
        except InputError as error:
            problems.append(f"{_called(annotation['_place'], annotation)} of {name}: {error}")
    return problems


def _kind(annotation: Mapping[str, Any], categories: Mapping[Any, Category]) -> Category | None:
    """Return the category of an annotation, one called as its number where it is not listed; None where it has none."""
    number = identity(annotation.get("category_id"))
    return None if number is None else categories.get(number) or _category(number, {})


def _shape(gathered: Gathered, name: str, picture: Picture, file: Path | None) -> Shape | None:
    """Return the shape of an image, as its entry and its file say; None, and a problem noted, where it is not known."""
    if file is None:
        if picture.shape is None:
            gathered.problems.append(f"{name} has neither height and width nor an image")
        return picture.shape
    size = gathered.header_shape(file, name)
    if size is None or picture.shape in (None, size):
        return size
    gathered.problems.append(
        f"{name} is said to have {told_shape(picture.shape)} pixels; the image has {told_shape(size)}"
    )
    return None


def _score(annotation: Mapping[str, Any]) -> float:
    score = annotation.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise InputError(f"its score is {short(score)}; wanted a number, as others in the file have")
    return float(score)


def read_segmentations(segmentations: Sequence[object], shape: Shape) -> Instances:
    """Read the masks of an image: polygons ``[[x, y, x, y, ...], ...]`` or run-length encodings, one an instance.

    Returns
    -------
    Instances
        Those without any pixel, where polygons are too thin to hold one, too.

    Raises
    ------
    InputError
        Neither of both, no numbers, cut off, far outside the image, or of another size.

    Examples
    --------
    >>> read_segmentations([[[0, 0, 2, 0, 2, 2, 0, 2]]], (3, 3)).mask(0).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    drawn = [isinstance(each, list) for each in segmentations]
    if any(drawn) and not all(drawn):
        return _joined([read_segmentations([each], shape) for each in segmentations], shape)
    return _filled(segmentations, shape) if any(drawn) else _decoded(segmentations, shape)


def _decoded(segmentations: Sequence[object], shape: Shape) -> Instances:
    """Read run-length encodings."""
    sized = []
    for each in segmentations:
        if not isinstance(each, Mapping):
            raise _no_segmentation(each)
        sized.append(_sized(each))
    try:
        return rle.coco_to_instances(sized, shape)
    except FlowsegError as error:
        raise InputError(str(error).removeprefix("row 1 ").removeprefix("row 1: ")) from error


def _filled(segmentations: Sequence[Any], shape: Shape) -> Instances:
    """Read polygons, those of each instance together."""
    corners: list[npt.NDArray[np.float64]] = []
    for each in segmentations:
        if not each:
            raise _no_segmentation(each)
        corners += map(_corners, each)
    bounds = np.cumsum([0, *map(len, corners)], dtype=np.int64)
    points = np.concatenate(corners)
    _require_near(points, bounds, shape)
    owners = np.cumsum([0, *map(len, segmentations)], dtype=np.int64)
    height, width = shape
    return Instances((width, height), *polygons.runs_of_polygons(points, bounds, owners, height, width)).transposed()


def _no_segmentation(found: object) -> InputError:
    return InputError(f"its segmentation is {short(found)}; wanted polygons or a run-length encoding")


def _sized(segmentation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a run-length encoding with the sides of its size as numbers, where they are written as 520.0 or "520"."""
    size = segmentation.get("size")
    sides = [whole(side) for side in size] if isinstance(size, list) else [None]
    return segmentation if None in sides else {**segmentation, "size": sides}


def _corners(polygon: object) -> npt.NDArray[np.float64]:
    """Return a polygon as (K, 2), x and y."""
    try:
        numbers = np.asarray(polygon)
    except ValueError:
        numbers = np.zeros((0, 0))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or len(numbers) % 2 or not len(numbers):
        raise InputError(f"a polygon is {short(polygon)}; wanted x, y, x, y, ... of its corners")
    return numbers.astype(np.float64).reshape(-1, 2)


def _require_near(corners: npt.NDArray[np.float64], bounds: npt.NDArray[np.int64], shape: Shape) -> None:
    """Raise where polygons, with the corners between bounds, cannot be drawn for their numbers or their length."""
    if not np.isfinite(corners).all():
        raise InputError("a polygon holds NaN or infinity; wanted numbers")
    if np.abs(corners).max() > _MOST_STEPS or _steps(corners, bounds).max() > _MOST_STEPS:
        raise InputError(f"a polygon leaves the image of {told_shape(shape)} pixels by far")


def _steps(corners: npt.NDArray[np.float64], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how many points the outline of each polygon has on the finer grid."""
    after = np.arange(1, len(corners) + 1)
    after[bounds[1:] - 1] = bounds[:-1]
    sides = np.abs(corners[after] - corners).max(axis=1)
    return np.asarray(np.add.reduceat(sides, bounds[:-1]) * polygons.FINER)


def _joined(objects: list[Instances], shape: Shape) -> Instances:
    """Return the single instances of an image as one."""
    none = np.zeros(0, np.int64)
    starts = np.concatenate([none, *(each.starts for each in objects)])
    lengths = np.concatenate([none, *(each.lengths for each in objects)])
    return Instances(shape, starts, lengths, np.cumsum([0, *(len(each.starts) for each in objects)], dtype=np.int64))
