"""Data sets of every kind become a `Collection`; the kind is recognised, or said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flowseg import files
from flowseg.errors import InputError, OptionError
from flowseg.rle import Order
from flowseg.sources import coco_json, kaggle_table, label_pairs, mask_folders, run_results, seg_npy
from flowseg.sources._gather import folders_in, told
from flowseg.sources._search import EXTENSIONS
from flowseg.sources._side_table import side_table
from flowseg.sources.collection import Collection

__all__ = ["KINDS", "open_collection", "side_table"]

_TABLES = {".csv": "kaggle", ".json": "coco"}
_MOST_BELOW = 100


class How(NamedTuple):
    """What the caller says about a data set; see `open_collection`."""

    masks: Path | None = None
    mask_suffix: str | None = None
    images: Path | None = None
    order: Order | None = None
    like: Collection | None = None
    recursive: bool = False

    def require_used(self, *found: Collection) -> None:
        """Raise where something was said that none of the data sets has a use for."""
        used = {name for each in found if each.format in KINDS for name in KINDS[each.format].reads}
        if self.mask_suffix == seg_npy.ENDING:  # which says the kind
            used.add("mask_suffix")
        useless = next((name for name in _SAID if getattr(self, name) and name not in used), None)
        if useless is not None:
            what = " and ".join(f"{each.root} (read as {each.format})" for each in found) or "what is given"
            raise OptionError(f"{what} has no use for {_SAID[useless]}: leave it out")


_SAID = {
    "masks": "a folder of label images",
    "mask_suffix": "an end of the names of label images",
    "images": "a folder of images",
    "order": "an order of run lengths",
}


class _Kind(NamedTuple):
    """One way to store a data set."""

    about: str
    recognised: Callable[[Path], str]  # what was seen of it, or ""
    read: Callable[..., Collection]
    reads: tuple[str, ...]  # what it takes of `How`


KINDS: dict[str, _Kind] = {
    "kaggle": _Kind(
        "a CSV of run-length encodings (id, annotation; ImageId, EncodedPixels; id, predicted), with its images",
        kaggle_table.recognised,
        kaggle_table.read,
        ("images", "order", "like"),
    ),
    "folders": _Kind(
        "a folder an image: <id>/images/<id>.png and <id>/masks/*.png, one mask a file",
        mask_folders.recognised,
        mask_folders.read,
        (),
    ),
    "pairs": _Kind(
        "images and label images: x.tif and x_masks.tif, or folders images/ and masks/",
        label_pairs.recognised,
        label_pairs.read,
        ("masks", "mask_suffix", "images"),
    ),
    "labels": _Kind(
        "a folder of label images alone, x.tif",
        lambda path: "",  # they look like any images: to be said, or expected
        label_pairs.read_alone,
        ("images",),
    ),
    "coco": _Kind("a COCO JSON, with its images", coco_json.recognised, coco_json.read, ("images", "like")),
    "cellpose": _Kind("Cellpose's x_seg.npy beside x.tif", seg_npy.recognised, seg_npy.read, ("images",)),
}


def open_collection(
    path: str | Path,
    format: str | None = None,  # noqa: A002 - what users call it
    *,
    masks: Path | None = None,
    mask_suffix: str | None = None,
    images: Path | None = None,
    order: Order | None = None,
    expect_labels: bool = False,
    like: Collection | None = None,
    recursive: bool = False,
) -> Collection:
    """List what a data set holds; pixels are read later.

    Parameters
    ----------
    path
        A folder or a file.
    format
        A name of `KINDS`; None: recognised.
    masks, images
        Folders of label images and of images, where they are not where they usually are; for a list of COCO results,
        ``images`` is the COCO file that names the images.
    mask_suffix
        End of the names of label images.
    order
        Of run-length encodings: "row" or "column".
    expect_labels
        Take a folder of images of no other kind for label images.
    like
        A data set of the same names: it says how large images are where a table without any image does not, and the
        folders of its images are searched for those of COCO.
    recursive
        Of a folder, take the label images of all folders below it too, named with their folders: ``plate1/a``.

    Returns
    -------
    Collection
        Items have no image file (``path`` None) where no image is there at all: label images alone, or a table or
        COCO file that says how large its images are.

    Raises
    ------
    InputError
        It does not exist, or is of no kind, or of several. What is wrong with single images is in ``problems``.
    OptionError
        Something was said of it that it has no use for, such as an order of run lengths where there are none.

    Examples
    --------
    >>> open_collection("cells")                                       # doctest: +SKIP
    Collection(root=PosixPath('cells'), format='pairs', ...)
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"path is {type(path).__name__}; wanted that of a file or folder, such as a table (a DataFrame becomes one "
            "with to_csv)"
        )
    how = How(_path(masks), mask_suffix, _path(images), order, like, recursive)
    found = opened(Path(path), format, how, expect_labels)
    how.require_used(found)
    return found


def opened(path: Path, format: str | None, how: How, expect_labels: bool = False) -> Collection:  # noqa: A002
    """List what a data set holds, as `open_collection` does; of what is said, it may have no use for some."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    files.check_has_end(path)
    if format is not None and format not in KINDS:
        raise OptionError(f"format is {format!r}; wanted one of {', '.join(KINDS)}")
    try:
        may_be_labels = format in ("pairs", "labels") or (format is None and not mask_folders.recognised(path))
        if how.recursive and path.is_dir() and may_be_labels:
            return label_pairs.read_below(path, images=how.images)
        kind = KINDS[format or _recognised(path, how, expect_labels)]
        return kind.read(path, **{name: getattr(how, name) for name in kind.reads})
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _recognised(path: Path, how: How, expect_labels: bool) -> str:
    if how.mask_suffix == seg_npy.ENDING:
        return "cellpose"
    if how.masks is not None or how.mask_suffix is not None:
        return "pairs"
    found = {name: what for name, kind in KINDS.items() if (what := kind.recognised(path))}
    if len(found) > 1 and "kaggle" in found and kaggle_table.is_submission(path):
        del found["kaggle"]  # a run writes it beside what it found
    if "folders" in found and mask_folders.is_one(path):
        found.pop("pairs", None)  # images/ and masks/ of one image
    if len(found) > 1 and run_results.is_of_a_run(path) and not label_pairs.has_images(path):
        # the same instances, in several forms
        return next(name for name in ("pairs", "coco", "cellpose", "kaggle") if name in found)
    if len(found) == 1:
        return next(iter(found))
    if not found and expect_labels and path.is_dir() and label_pairs.has_pictures(path):
        return "labels"
    if not found and path.suffix.lower() in _TABLES and path.is_file():
        return _TABLES[path.suffix.lower()]  # which says what it misses
    known = "".join(f"\n  {name}: {kind.about}" for name, kind in KINDS.items())
    if not found:
        hint = _hint(path, expect_labels) if path.is_dir() else ""
        raise InputError(f"{path} is no data set that is known{_seen(path)}{hint}; wanted one of{known}")
    seen = "; ".join(f"{name}: {what}" for name, what in found.items())
    raise InputError(f"{path} could be {' or '.join(found)}: say which with --format ({seen}); they are{known}")


def _hint(folder: Path, expect_labels: bool) -> str:
    """Say what may be meant: data sets in the folders of a folder, or label images with an ending of their own."""
    below = [each for each in folders_in(folder)[:_MOST_BELOW] if any(kind.recognised(each) for kind in KINDS.values())]
    if below:
        every = ", or take all their label images with --recursive" if expect_labels else ""
        return f"; there are data sets in it: name one, {told(str(each) for each in below)}{every}"
    if expect_labels and run_results.wrote(folder) and any(folder.rglob("*_labels.tif")):
        return "; it holds results of a run in the folders of folders: take them with --recursive"
    ending = label_pairs.likely_suffix(folder)
    if ending:
        return f"; if {ending[0]} are pairs, say --mask-suffix={ending[1]}"
    apart = [str(each) for each in folders_in(folder)[:_MOST_BELOW] if label_pairs.has_pictures(each)]
    if len(apart) == 2 and not expect_labels:
        return f"; if {apart[0]} and {apart[1]} are images and their label images, name them by --images and --masks"
    alone = "; if these are label images, inspect and convert take them with --format labels"
    return alone if label_pairs.has_pictures(folder) else ""


def _seen(path: Path) -> str:
    if path.is_file():
        alone = ": name the folder that it lies in" if path.suffix.lower() in EXTENSIONS else ""
        return f" (a file {path.suffix or 'without an ending'}{alone})"
    endings = sorted({file.suffix or "folders" for file in path.iterdir() if not file.name.startswith(".")})
    return f" (it holds {', '.join(endings[:8]) or 'nothing'})"
