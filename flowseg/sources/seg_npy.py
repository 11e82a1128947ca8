"""Cellpose's ``_seg.npy`` files beside images, read without running any of what they hold."""

from functools import partial
from pathlib import Path

import numpy as np

from flowseg import pickles
from flowseg.errors import InputError
from flowseg.instances import Instances, LabelInstances, from_labels
from flowseg.sources import image_files
from flowseg.sources._gather import Gathered, files_in, image_index, told, told_shape
from flowseg.sources._search import is_output
from flowseg.sources.collection import Collection, Item
from flowseg.sources.label_pairs import bare_name
from flowseg.sources.spellings import spellings, under
from flowseg.words import many

ENDING = "_seg.npy"


def recognised(path: Path) -> str:
    """Say what a file or folder holds of this kind; empty where it is of another kind."""
    if path.is_file():
        return path.name if path.name.lower().endswith(ENDING) else ""
    return told(each.name for each in files_in(path, (ENDING,)))


def read(root: Path, *, images: Path | None = None) -> Collection:
    """Open one such file, or the folder that holds them; images are beside them or in a folder of their own."""
    files = [root] if root.is_file() else files_in(root, (ENDING,))
    if not files:
        raise InputError(f"{root} has no *{ENDING}")
    folder = images or (root.parent if root.is_file() else root)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; wanted that of the images")
    index = image_index(folder)
    pictures = {path.name: [p for p in under(index, _name(path)) or [] if not bare_name(p)] for path in files}
    alone = images is None and not any(pictures.values())
    gathered = Gathered()
    for path in files:
        found = list(dict.fromkeys(pictures[path.name]))
        if len(found) > 1:
            gathered.problems.append(f"{path.name} could belong to {' and '.join(p.name for p in found)}: keep one")
        elif not found and not alone:
            gathered.problems.append(f"{path.name} has no image: looked for {_name(path)} in {folder}")
        else:
            image = found[0] if found else None
            gathered.items.append(Item(_name(path), image, partial(load, path, image)))
    gathered.keep_own_images()
    if not root.is_file():
        _note_others(gathered, folder, {each for path in files for each in spellings(_name(path))})
    return gathered.collection(root, "cellpose")


def _note_others(gathered: Gathered, folder: Path, named: set[str]) -> None:
    """Say which images have no file of masks."""
    others = [
        path.name
        for path in files_in(folder)
        if not {path.stem, path.name} & named and not bare_name(path) and not is_output(path)
    ]
    if others and gathered.items and any(item.path is not None for item in gathered.items):
        gathered.notes.append(f"{many(len(others), 'image')} in {folder} left out, without *{ENDING}: {told(others)}")


def load(path: Path, image: Path | None = None) -> LabelInstances:
    """Read the masks of one file and their labels.

    Raises
    ------
    InputError
        Damaged, it asks to run code, or its masks are not a plane of labels, of the size of its image if that is given.
    """
    found = _masks(path)
    if image is not None:
        _require_size(found.instances, path, image_files.probe(image))
    return found


def _require_size(found: Instances, path: Path, image: image_files.Header) -> None:
    """Refuse masks of another size than the image has, where its axes are known."""
    if found.shape != image.plane_shape and image.says_axes:
        raise InputError(
            f"{path} has masks of {told_shape(found.shape)} pixels (height x width), its image {image.path.name} has "
            f"{told_shape(image.plane_shape)}; wanted the same: save it anew in Cellpose, with this image"
        )


def _masks(path: Path) -> LabelInstances:
    try:
        with path.open("rb") as file:
            content = pickles.read_object(file, "Cellpose's masks")
        if not isinstance(content, dict) or not isinstance(content.get("masks"), pickles.Array):
            raise InputError(f"the file holds a {type(content).__name__} without 'masks'; wanted Cellpose's masks")
        masks = content["masks"].numbers()
        if masks.size and masks.dtype.kind in "if" and masks.min() == -1:  # the first versions counted from there
            masks = masks + 1
        if masks.ndim == 3 and len(masks) == 1:
            masks = masks[0]
        return from_labels(np.asarray(masks))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _name(path: Path) -> str:
    return path.name[: -len(ENDING)]
