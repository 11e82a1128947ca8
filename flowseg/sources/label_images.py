"""Label images in files: 0 is background, n is instance n, in any whole-number type."""

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.arrays import Labels
from flowseg.errors import InputError
from flowseg.images import Image
from flowseg.instances import LabelInstances, from_labels
from flowseg.sources import _pictures, image_files


def read(path: str | os.PathLike[str]) -> Labels:
    """Read a label image from a TIFF (8, 16, 32 bits, whole floats) or PNG (8, 16 bits) file.

    The numbers of a PNG with a palette are the labels, whatever their colours. A colour image passes if its channels
    are all alike.

    Returns
    -------
    ndarray
        (H, W) int32; where labels are larger than the image has pixels, they are numbered anew in their own order.

    Raises
    ------
    InputError
        Not one plane of whole numbers, or a JPEG, which changes numbers.

    Examples
    --------
    >>> read("cells_masks.tif").max()                                   # doctest: +SKIP
    np.int32(37)
    """
    return _checked(Path(path)).image


def load(path: Path) -> LabelInstances:
    """Read the instances of a label image and their labels, as the file has them; see `read`."""
    image, values = _checked(path)
    found = from_labels(image)
    return LabelInstances(found.instances, values[found.values])


def _checked(path: Path) -> arrays.LabelImage:
    return arrays.as_labels(_one_plane(path), f"{path}: the label image")


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG, which changes pixels; masks cannot be kept as one."""
    return _starts_with(path, b"\xff\xd8\xff")


def read_plane(path: Path) -> Image:
    """Read an image of masks, which has one plane: of several, none can be chosen.

    Raises
    ------
    InputError
        It is a stack, or cannot be read.
    """
    try:
        return image_files.read(path)
    except InputError:
        _refuse_stack(path)  # of masks, no plane can be chosen
        raise


def _refuse_stack(path: Path) -> None:
    header = image_files.probe(path)
    planes = prod(size for letter, size in zip(header.axes, header.shape, strict=True) if letter not in "CSYX")
    if planes > 1:
        raise InputError(
            f"{path} is a stack of {planes} planes (shape {header.shape}, axes {header.axes}); wanted the masks of one "
            "image: save them as a file of their own"
        )


def _one_plane(path: Path) -> npt.NDArray[Any]:
    if is_jpeg(path):
        raise InputError(f"{path} is a JPEG, which changes the numbers of labels; save label images as TIFF or PNG")
    numbers = _pictures.palette_numbers(path) if _starts_with(path, b"\x89PNG") else None
    if numbers is not None:
        return numbers
    image = read_plane(path)
    first = image.pixels[0]
    if any(not np.array_equal(first, other) for other in image.pixels[1:]):
        raise InputError(
            f"{path} has {image.channels} channels that differ; wanted a label image of one channel, 0 for background "
            "and n for instance n (is it a picture of the labels?)"
        )
    return np.asarray(first)


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(start)) == start
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from error
