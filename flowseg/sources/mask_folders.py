"""A folder an image, with one file an instance: ``<id>/images/<id>.png`` and ``<id>/masks/*.png`` (DSB 2018)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources import label_images
from flowseg.sources._gather import Gathered, files_in, folders_in, told, told_shape
from flowseg.sources.collection import Collection, Item
from flowseg.sources.label_pairs import bare_name

_LEAST_GREY, _WHITE = 128, 255  # of a mask with soft borders
_MOST_TOLD = 5


def recognised(path: Path) -> str:
    """Say what a folder holds of this kind; empty where it is of another kind."""
    return told(folder.name for folder in find(path)) if path.is_dir() else ""


def find(root: Path) -> list[Path]:
    """Return the folders an image at or directly below a folder, or one level deeper; none where it is another kind."""
    if is_one(root) and _masks_of_one(root):
        return [root]
    for level in (folders_in(root), [below for each in folders_in(root) for below in folders_in(each)]):
        found = [folder for folder in level if is_one(folder)]
        if any((folder / "masks").is_dir() for folder in found) and not any(map(_has_label_images, found)):
            return [folder for folder in level if is_one(folder) or (folder / "masks").is_dir()]
    return []


def is_one(folder: Path) -> bool:
    """Whether a folder has a folder ``images``, as those of one image do."""
    return (folder / "images").is_dir()


def _masks_of_one(folder: Path) -> bool:
    """Whether a folder with images and masks is that of one image, not of many with a label image each."""
    if not (folder / "masks").is_dir():
        return False
    images, masks = files_in(folder / "images"), files_in(folder / "masks")
    return len(images) == 1 and len(masks) > 0 and not any(mask.stem.startswith(images[0].stem) for mask in masks)


def _has_label_images(folder: Path) -> bool:
    """Whether a folder has several images with a label image each, or one that is called as its image is."""
    if not (folder / "masks").is_dir():
        return False
    images = {path.stem for path in files_in(folder / "images")}
    masks = files_in(folder / "masks")
    named = images & {name for path in masks for name in (path.stem, bare_name(path))}
    return len(named) > 1 or (len(masks) == 1 and len(named) == 1 and named != {folder.name})


def read(root: Path) -> Collection:
    """Open a folder of such folders; pixels are not decoded."""
    folders = find(root)
    if not folders:
        raise InputError(f"{root} has no folder an image: looked for <id>/images and <id>/masks")
    gathered = Gathered()
    seen: dict[str, Path] = {}
    for folder in folders:
        name = folder.name
        if name in seen:
            gathered.problems.append(f"{folder} and {seen[name]} have the same name")
            continue
        seen[name] = folder
        _add(gathered, folder)
    return gathered.collection(root, "folders")


def _add(gathered: Gathered, folder: Path) -> None:
    name = folder.name
    if not is_one(folder):
        gathered.problems.append(f"{name} has no image: looked for {folder / 'images'}")
        return
    images = files_in(folder / "images")
    masks = files_in(folder / "masks") if (folder / "masks").is_dir() else None
    if len(images) != 1:
        gathered.problems.append(f"{folder / 'images'} has {len(images)} images; wanted one")
        return
    if masks is None:
        gathered.problems.append(f"{name} has no masks: looked for {folder / 'masks'}")
        return
    shape = gathered.header_shape(images[0], name)
    if shape is None:
        return
    for mask in masks[:1]:  # one header an image: cheap, and one that differs seldom differs alone
        size = gathered.header_shape(mask, name)
        if size is None or size != shape:
            if size is not None:
                gathered.problems.append(
                    f"{name}: the image has {told_shape(shape)} pixels (height x width), {mask.name} {told_shape(size)}"
                )
            return
    gathered.items.append(Item(name, images[0], partial(load, folder / "masks", shape)))


def load(masks: Path, shape: tuple[int, int]) -> Instances:
    """Read the masks of one image; what is not 0 is the instance, and a file without any such pixel is left out.

    Raises
    ------
    InputError
        Some masks cannot be read, or are none; it tells of several at once.
    """
    problems: list[str] = []
    instances = Instances.from_masks(_masks(masks, shape, problems), shape)
    if problems:
        more = len(problems) - _MOST_TOLD
        raise InputError("; ".join(problems[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else ""))
    return instances


def _masks(folder: Path, shape: tuple[int, int], problems: list[str]) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the masks that are not empty, one in memory at a time; what cannot be read is added to the problems."""
    for path in files_in(folder):
        try:
            mask = _mask(path, shape)
        except InputError as error:
            problems.append(str(error))
            continue
        if mask.any():
            yield mask


def _mask(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if label_images.is_jpeg(path):
        raise InputError(f"{path} is a JPEG, which blurs the border of a mask; save masks as PNG or TIFF")
    pixels = label_images.read_plane(path).pixels
    if pixels.shape[1:] != shape:
        size = told_shape((pixels.shape[1], pixels.shape[2]))
        raise InputError(f"{path} has {size} pixels, the image {told_shape(shape)}; wanted the same")
    _require_one(path, pixels)
    return np.asarray(pixels[0] != 0 if len(pixels) == 1 else (pixels != 0).any(axis=0))


def _require_one(path: Path, pixels: npt.NDArray[Any]) -> None:
    """Refuse a label image where a file has one instance, and NaN, which is neither inside nor outside.

    A mask has one number, or many up to white where its borders are soft; label images have few, or all up to the last.
    """
    most = pixels.max()
    if np.isnan(most):
        raise InputError(f"{path} holds NaN, as ImageJ may put outside; wanted 0 outside the instance")
    if pixels.dtype.kind not in "iu" or most in (0, 1, _WHITE):
        return
    count = len(np.unique(pixels[0][pixels[0] != 0]))
    if count > 1 and (most < _LEAST_GREY or count == most):
        raise InputError(
            f"{path} holds {count} numbers up to {most}, as label images do; wanted a file an instance (label images "
            "are read with --format pairs)"
        )
