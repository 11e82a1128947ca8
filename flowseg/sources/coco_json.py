"""COCO JSON: polygons, run lengths compressed or not, crowds, and detections with scores.

Masks are decoded once, when the file is opened, so that all that cannot be read is told at once; what is kept is runs.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import rle
from flowseg.errors import FlowsegError, InputError
from flowseg.instances import Instances, as_shape
from flowseg.kernels import polygons
from flowseg.sources._gather import Gathered, files_in, held, told, told_shape, unsafe
from flowseg.sources._search import EXTENSIONS
from flowseg.sources.collection import Collection, Item

Shape = tuple[int, int]
_NOT_COLUMNS = {
    *("id", "file_name", "height", "width", "license", "coco_url", "flickr_url", "url", "date_captured"),
    *("original_filename",),
}
_MOST_STEPS = 10**8  # of an outline on the finer grid: less than a second
_SHOWN = 60


@dataclass
class _Picture:
    """One entry of ``images`` and what belongs to it."""

    number: object
    file: str
    shape: Shape
    columns: dict[str, str]
    annotations: list[Mapping[str, Any]] = field(default_factory=list)


def recognised(path: Path) -> str:
    """Say what a file, or a folder that has some, holds of this kind; empty where it is of another kind."""
    if path.is_file():
        return path.name if path.suffix.lower() == ".json" else ""
    return told(each.name for each in _files(path))


def _files(folder: Path) -> list[Path]:
    return [path for path in files_in(folder, (".json",)) if looks_like(path)]


def read(path: Path, *, images: Path | None = None) -> Collection:
    """Open a COCO file: instances, detections in the same form, or a list of results.

    Crowds are no instances and are left out; the column ``crowds`` says how many an image has. Where there are several
    categories, the column ``category`` names those of its instances.

    Parameters
    ----------
    path
        The JSON file, or a folder with one.
    images
        The folder of the images; else the file's own folder, and those in it called ``images`` or as the file, are
        searched. For a list of results, the COCO file that names the images.
    """
    if path.is_dir():
        found = _files(path)
        if len(found) != 1:
            what = f"several COCO files, {told(each.name for each in found)}: name" if found else "no COCO file: wanted"
            raise InputError(f"{path} has {what} one JSON file")
        path = found[0]
    content = _json(path)
    if isinstance(content, list):
        if images is None or images.is_dir():
            raise InputError(
                f"{path} is a list of results, which names images by number alone: give the COCO file of the images "
                "with images="
            )
        content, path_of_images = {**_dictionary(_json(images), images), "annotations": content}, images
        return _collected(path, content, _places(path_of_images), False)
    places = _places(path) if images is None else [images]
    return _collected(path, _dictionary(content, path), places, images is not None)


def _collected(path: Path, content: dict[str, Any], places: list[Path], asked: bool) -> Collection:
    gathered = Gathered()
    pictures = _images(content, gathered)
    _share_out(content, pictures, gathered)
    categories = {
        each.get("id"): str(each.get("name", each.get("id")))
        for each in _listed(content.get("categories", []))
        if _hashable(each.get("id"))
    }
    files = {number: _file_of(picture, places) for number, picture in pictures.items()}
    alone = not asked and not any(files.values())
    if len(categories) < 2:
        categories = {}  # the same for all says nothing
    scored = any("score" in each for picture in pictures.values() for each in picture.annotations)
    for number, name in _names(pictures).items():
        file = files[number]
        if file is None and not alone:
            where = " or ".join(str(place) for place in places)
            gathered.problems.append(f"{name} has no image: looked for {pictures[number].file} in {where}")
            continue
        item = _item(gathered, name, pictures[number], file, scored, categories)
        if item is not None:
            gathered.items.append(item)
    return gathered.collection(path, "coco")


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
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON, or cut short: {str(error)[:200]}") from error


def _dictionary(content: object, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f"{path} has no list of images; wanted COCO's 'images' and 'annotations'")
    return content


def _listed(entries: object) -> list[dict[str, Any]]:
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _hashable(number: object) -> bool:
    return isinstance(number, int | str)


def _images(content: dict[str, Any], gathered: Gathered) -> dict[Any, _Picture]:
    """Return the pictures by id, problems noted."""
    found: dict[Any, _Picture] = {}
    for place, entry in enumerate(content["images"], start=1):
        problem = _problem_of_image(entry, found)
        if problem:
            gathered.problems.append(f"image {place}: {problem}")
            continue
        columns = {
            name: str(value)
            for name, value in entry.items()
            if name not in _NOT_COLUMNS and isinstance(value, str | int | float)
        }
        found[entry["id"]] = _Picture(
            entry["id"], entry["file_name"], as_shape((entry["height"], entry["width"])), columns
        )
    return found


def _problem_of_image(entry: object, found: dict[Any, _Picture]) -> str | None:
    if not isinstance(entry, dict) or not _hashable(entry.get("id")) or not isinstance(entry.get("file_name"), str):
        return f"{_short(entry)}; wanted id, file_name, height and width"
    if entry["id"] in found:
        return f"its id {entry['id']!r} is that of another"
    parts = entry["file_name"].split("/")
    wrong = next((problem for problem in map(unsafe, parts) if problem), None)
    if wrong:
        return f"the file name {_short(entry['file_name'])} is refused: {wrong}"
    try:
        as_shape((entry.get("height"), entry.get("width")))  # type: ignore[arg-type]
    except InputError as error:
        return f"{entry['file_name']}: {error}"
    return None


def _share_out(content: dict[str, Any], pictures: dict[Any, _Picture], gathered: Gathered) -> None:
    """Give each picture its annotations, problems noted."""
    annotations = content.get("annotations", [])
    if not isinstance(annotations, list):
        gathered.problems.append(f"annotations are {_short(annotations)}; wanted a list")
        return
    for place, entry in enumerate(annotations, start=1):
        if not isinstance(entry, dict):
            gathered.problems.append(f"annotation {place} is {_short(entry)}; wanted one with image_id, segmentation")
        elif not _hashable(entry.get("image_id")) or entry["image_id"] not in pictures:
            gathered.problems.append(
                f"{_called(place, entry)} is of image {_short(entry.get('image_id'))}, which is not there"
            )
        else:
            pictures[entry["image_id"]].annotations.append({**entry, "_place": place})


def _called(place: int, entry: Mapping[str, Any]) -> str:
    return f"annotation {place}" + (f" (id {_short(entry['id'])})" if "id" in entry else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _names(pictures: dict[Any, _Picture]) -> dict[Any, str]:
    """Name each picture after its file; where files of several folders share a name, with their folders."""
    files = {number: PurePosixPath(picture.file) for number, picture in pictures.items()}
    for name in (
        lambda file: _bare(file.name),
        lambda file: file.name,
        lambda file: file.as_posix().replace("/", "__"),
    ):
        names = {number: name(file) for number, file in files.items()}
        if len({each.casefold() for each in names.values()}) == len(names):
            return names
    return {number: f"{name}__{number}" for number, name in names.items()}


def _bare(name: str) -> str:
    return next((name[: -len(end)] for end in EXTENSIONS if name.lower().endswith(end)), name)


def _places(path: Path) -> list[Path]:
    own = path.parent
    return [place for place in (own, own / "images", own / path.stem, own / "train", own / "test") if place.is_dir()]


def _file_of(picture: _Picture, places: Iterable[Path]) -> Path | None:
    for place in places:
        for file in (place / picture.file, place / PurePosixPath(picture.file).name):
            if file.is_file():
                return file
    return None


# --------------------------------------------------------------------------------------------------------- masks


def _item(
    gathered: Gathered,
    name: str,
    picture: _Picture,
    file: Path | None,
    scored: bool,
    categories: Mapping[Any, str],
) -> Item | None:
    if file is not None:
        size = gathered.header_shape(file, name)
        if size is None:
            return None
        if size != picture.shape:
            gathered.problems.append(
                f"{name} is said to have {told_shape(picture.shape)} pixels; the image has {told_shape(size)}"
            )
            return None
    own = [each for each in picture.annotations if not each.get("iscrowd")]
    objects, scores, kinds = [], [], set()
    for annotation in own:
        called = f"{_called(annotation['_place'], annotation)} of {name}"
        try:
            score = _score(annotation) if scored else 0.0
            objects.append(read_segmentation(annotation.get("segmentation"), picture.shape))
        except InputError as error:
            gathered.problems.append(f"{called}: {error}")
            continue
        scores.append(score)
        if categories and _hashable(annotation.get("category_id")):
            kinds.add(categories.get(annotation["category_id"], str(annotation["category_id"])))
    if len(objects) < len(own):
        return None  # some of the instances missing would be worse than all
    columns = {**picture.columns}
    if kinds:
        columns.setdefault("category", ", ".join(sorted(kinds)))
    if len(own) < len(picture.annotations):
        columns["crowds"] = str(len(picture.annotations) - len(own))
    instances = _joined(objects, picture.shape)
    return Item(name, file, partial(held, instances), columns, tuple(scores) if scored else None)


def _score(annotation: Mapping[str, Any]) -> float:
    score = annotation.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise InputError(f"its score is {_short(score)}; wanted a number, as others in the file have")
    return float(score)


def read_segmentation(segmentation: object, shape: Shape) -> Instances:
    """Read one mask: polygons ``[[x, y, x, y, ...], ...]`` or a run-length encoding.

    Returns
    -------
    Instances
        One instance; without any pixel where polygons are too thin to hold one.

    Raises
    ------
    InputError
        Neither of both, no numbers, cut off, far outside the image, or of another size.

    Examples
    --------
    >>> read_segmentation([[0, 0, 2, 0, 2, 2, 0, 2]], (3, 3)).mask(0).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    if isinstance(segmentation, Mapping):
        return _only(segmentation, shape)
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError(f"its segmentation is {_short(segmentation)}; wanted polygons or a run-length encoding")
    corners = [_corners(polygon, shape) for polygon in segmentation]
    bounds = np.cumsum([0, *map(len, corners)], dtype=np.int64)
    height, width = shape
    starts, lengths = polygons.runs_of_polygons(np.concatenate(corners), bounds, height, width)
    offsets = np.array([0, len(starts)], np.int64)
    return Instances((width, height), starts, lengths, offsets).transposed()


def _only(segmentation: Mapping[str, Any], shape: Shape) -> Instances:
    try:
        return rle.coco_to_instances([segmentation], shape)
    except FlowsegError as error:
        raise InputError(str(error).removeprefix("row 1 ").removeprefix("row 1: ")) from error


def _corners(polygon: object, shape: Shape) -> npt.NDArray[np.float64]:
    """Return a polygon as (K, 2), x and y, of numbers that can be drawn."""
    try:
        numbers = np.asarray(polygon)
    except ValueError:
        numbers = np.zeros((0, 0))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or len(numbers) % 2 or len(numbers) < 6:
        raise InputError(f"a polygon is {_short(polygon)}; wanted x, y of at least three corners")
    corners = np.ascontiguousarray(numbers, np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise InputError("a polygon holds NaN or infinity; wanted numbers")
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum() * polygons.FINER
    if steps > _MOST_STEPS or np.abs(corners).max() > _MOST_STEPS:
        raise InputError(f"a polygon leaves the image of {told_shape(shape)} pixels by far")
    return corners


def _joined(objects: list[Instances], shape: Shape) -> Instances:
    """Return the single instances of an image as one."""
    none = np.zeros(0, np.int64)
    starts = np.concatenate([none, *(each.starts for each in objects)])
    lengths = np.concatenate([none, *(each.lengths for each in objects)])
    return Instances(shape, starts, lengths, np.cumsum([0, *(len(each.starts) for each in objects)], dtype=np.int64))
