"""What readers of data sets share: image files by name, label images, and what headers say about sizes."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from flowseg.errors import FlowsegError, InputError
from flowseg.instances import Instances
from flowseg.sources import image_files
from flowseg.sources._search import natural_key


def pictures(folder: Path) -> list[Path]:
    """List the image files of a folder, in the order people count."""
    try:
        names = [entry.path for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be looked into: {error.strerror or error}") from error
    found = [Path(name) for name in names if name.lower().endswith(image_files.EXTENSIONS)]
    return sorted(found, key=natural_key)


def by_name(paths: Iterable[Path], problems: list[str]) -> dict[str, Path]:
    """Key files by their name without ending; two of one name are a problem, and the first is taken."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            problems.append(f"{path} and {found[path.stem].name} have one name")
        found.setdefault(path.stem, path)
    return found


def size_of(path: Path) -> tuple[int, int] | None:
    """Return (height, width) as the header says, or None where it is not clear or cannot be read."""
    try:
        header = image_files.probe(path)
    except FlowsegError:
        return None
    sizes = dict(zip(header.axes, header.shape, strict=True))
    return (sizes["Y"], sizes["X"]) if {"Y", "X"} <= set(sizes) and len(sizes) == len(header.axes) else None


def check_sizes(name: str, image: Path, masks: tuple[int, int] | None, what: str, problems: list[str]) -> None:
    """Add a problem where an image cannot be read, or is of another size than its masks."""
    try:
        image_files.probe(image)
    except FlowsegError as error:
        problems.append(str(error))
        return
    size = size_of(image)
    if size is not None and masks is not None and size != masks:
        problems.append(
            f"{name}: the image has {size[0]} x {size[1]} pixels (height x width), {what} {masks[0]} x {masks[1]}"
        )


def read_labels(path: Path) -> Instances:
    """Read a label image: one channel of whole numbers, 0 is background."""
    image = image_files.read(path)
    planes = image.pixels
    if len(planes) > 1 and (planes != planes[:1]).any():
        raise InputError(
            f"{path} has {len(planes)} different channels; wanted a label image of one channel, "
            "in which 0 is background and each instance has a number of its own"
        )
    labels = planes[0]
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            raise InputError(f"{path} holds fractions; wanted a label image of whole numbers")
        labels = labels.astype(np.int64)
    return Instances.from_labels(labels)
