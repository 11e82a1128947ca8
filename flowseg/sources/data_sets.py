"""Data sets of every kind become a `Collection`; the kind is recognised, or said."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flowseg.errors import InputError, OptionError
from flowseg.rle import Order
from flowseg.sources import kaggle_table, label_pairs, mask_folders
from flowseg.sources.collection import Collection


class _How(NamedTuple):
    """What the caller says about a data set."""

    masks: Path | None
    suffix: str | None
    images: Path | None
    order: Order | None


class _Kind(NamedTuple):
    """One way to store a data set."""

    about: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, _How], Collection]


KINDS: dict[str, _Kind] = {
    "kaggle": _Kind(
        "a CSV of run-length encodings (id, annotation; ImageId, EncodedPixels; id, predicted), with its images",
        kaggle_table.recognises,
        lambda path, how: kaggle_table.read(path, images=how.images, order=how.order),
    ),
    "folders": _Kind(
        "a folder an image: <id>/images/<id>.png and <id>/masks/*.png, one mask a file",
        mask_folders.recognises,
        lambda path, how: mask_folders.read(path),
    ),
    "pairs": _Kind(
        "images and label images: x.tif and x_masks.tif, or folders images/ and masks/",
        label_pairs.recognises,
        lambda path, how: label_pairs.read(path, masks=how.masks, suffix=how.suffix, images=how.images),
    ),
}


def open_collection(
    path: str | Path,
    format: str | None = None,  # noqa: A002 - what users call it
    *,
    masks: Path | None = None,
    mask_suffix: str | None = None,
    images: Path | None = None,
    order: Order | None = None,
) -> Collection:
    """List what a data set holds; pixels are read later.

    Parameters
    ----------
    path
        A folder or a file.
    format
        A name of `KINDS`; None: recognised.
    masks, images
        Folders of label images and of images, where they are not where they usually are.
    mask_suffix
        End of the names of label images.
    order
        Of run-length encodings: "row" or "column".

    Raises
    ------
    InputError
        It does not exist, or is of no kind, or of several. What is wrong with single images is in ``problems``.

    Examples
    --------
    >>> open_collection("cells")                                       # doctest: +SKIP
    Collection(root=PosixPath('cells'), format='pairs', ...)
    """
    place, how = Path(path), _How(masks, mask_suffix, images, order)
    if not place.exists():
        raise InputError(f"{place} does not exist")
    if format is not None and format not in KINDS:
        raise OptionError(f"format is {format!r}; wanted one of {', '.join(KINDS)}")
    return KINDS[format or _recognised(place, how)].read(place, how)


def _recognised(path: Path, how: _How) -> str:
    if how.masks is not None or how.suffix is not None:
        return "pairs"
    found = [name for name, kind in KINDS.items() if kind.recognises(path)]
    if len(found) == 1:
        return found[0]
    known = "".join(f"\n  {name}: {kind.about}" for name, kind in KINDS.items())
    if not found:
        raise InputError(f"{path} is no data set that is known{_seen(path)}; wanted one of{known}")
    raise InputError(f"{path} could be {' or '.join(found)}: say which with --format; they are{known}")


def _seen(path: Path) -> str:
    if path.is_file():
        return f" (a file {path.suffix or 'without an ending'})"
    endings = sorted({file.suffix or "folders" for file in path.iterdir() if not file.name.startswith(".")})
    return f" (it holds {', '.join(endings[:8]) or 'nothing'})"
