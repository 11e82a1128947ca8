"""A folder an image, with one file an instance: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources import _files, image_files
from flowseg.sources.collection import Collection, Item


def recognises(path: Path) -> bool:
    """Tell whether a folder, or the first of the folders in it, is laid out so."""
    if not path.is_dir():
        return False
    return any(_is_one(folder) for folder in _folders(path)[:3])


def read(path: Path) -> Collection:
    """List the images of a folder of folders; no mask is decoded before it is asked for."""
    items: list[Item] = []
    problems: list[str] = []
    for folder in _folders(path):
        _add(folder, items, problems)
    return Collection(path, "folders", tuple(items), tuple(problems))


def _is_one(folder: Path) -> bool:
    return (folder / "masks").is_dir() and (folder / "images").is_dir()


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _add(folder: Path, items: list[Item], problems: list[str]) -> None:
    if not _is_one(folder):
        problems.append(f"{folder} has no folders images and masks")
        return
    images, masks = _files.pictures(folder / "images"), _files.pictures(folder / "masks")
    if len(images) != 1:
        problems.append(f"{folder / 'images'} has {len(images)} images; wanted one")
        return
    size = _files.size_of(masks[0]) if masks else None
    _files.check_sizes(folder.name, images[0], size, "its first mask", problems)
    items.append(Item(folder.name, images[0], partial(_read, images[0], tuple(masks))))


def _read(image: Path, masks: tuple[Path, ...]) -> Instances:
    """Read the masks one after the other; what is not 0 belongs to the instance."""
    shape = _files.size_of(masks[0] if masks else image) or image_files.read(image).shape

    def each() -> Iterator[npt.NDArray[np.bool_]]:
        for path in masks:
            pixels = image_files.read(path).pixels
            arrays.check_same_shape(pixels.shape[1:], shape, f"{path} and {masks[0].name}")
            mask = (pixels != 0).any(axis=0)
            if not mask.any():
                raise InputError(f"{path} is empty; wanted the pixels of one instance")
            yield mask

    return Instances.from_masks(each(), shape)
