"""Files, folders and patterns become an ordered list of image files."""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from flowseg.errors import InputError
from flowseg.words import many

#: Endings of the names that are taken for images in folders and patterns, in lower case; and in words.
EXTENSIONS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "labels", "mask", "label")
LOOKED_FOR = f"looked for *{', *'.join(EXTENSIONS)}"
_MOST_ENDINGS = 5  # told, of files that are no images

# Endings, before the extension, of what flowseg and Cellpose write beside images.
_OUTPUTS = re.compile(
    r"_(labels|masks|flows|flows_[0-4]|cellprob|cp_output|overlay|outlines|seg)(_cp_masks)?$", re.IGNORECASE
)
_MASK = re.compile(r"_(label|mask)$", re.IGNORECASE)  # what others call label images
_NUMBERS = re.compile(r"(\d+)")
_SLASH = "/" if os.sep == "/" else r"[/\\]"
_ANY_FOLDERS = re.compile(rf"(?:^|(?<={_SLASH}))\*\*(?:{_SLASH}+\*\*)*(?:{_SLASH}+|$)")


def find(inputs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """List the image files that inputs name.

    Parameters
    ----------
    inputs
        Files, folders and patterns (``*``, ``?``, ``[...]``, ``**`` for any folders), one or several. A name that
        exists is never read as a pattern. Links to folders are followed where they are named, not below a folder or
        for ``**``.
    recursive
        Whether to look into the folders of a folder.

    Returns
    -------
    list of Path
        Inputs keep their order; files of one folder or pattern are sorted as people count, so ``cell2`` before
        ``cell10``, folder by folder. Each file comes once, where it is first named. A folder below that cannot be
        looked into, and what is no file (a pipe, a device), stands there itself: whoever reads what is listed is told.

    Raises
    ------
    InputError
        An input does not exist, or a folder or pattern gives no image.

    Notes
    -----
    A file named outright is always taken. In folders and patterns, only names with an ending of `EXTENSIONS` are, and
    neither hidden files and folders nor masks and outputs (``_labels``, ``_label``, ``_masks``, ``_mask``, ``_flows``,
    ``_cellprob``, ``_overlay``, ``_outlines``, ``_seg`` and Cellpose's own, before the ending). Of folders below, those
    called ``masks`` or ``labels`` are left out where one called ``images`` lies beside them.

    Examples
    --------
    >>> find(["plate", "extra/*.tif"])                                  # doctest: +SKIP
    [PosixPath('plate/a1.tif'), PosixPath('plate/a2.tif'), PosixPath('extra/b.tif')]
    """
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    if not named:
        raise InputError("no input was named; wanted files, folders or patterns")
    whole = " ".join(os.fspath(name) for name in named)
    if len(named) > 1 and not os.path.exists(named[0]) and os.path.exists(whole):
        raise InputError(f'{os.fspath(named[0])} does not exist; a name with spaces stands in quotes: "{whole}"')
    found: dict[str, Path] = {}
    for name in named:
        for path in _of_one(os.fspath(name), recursive):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def natural_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """Return a key that sorts numbers in names by their value, folder by folder."""
    return [part_key(part) for part in path.parts]


@lru_cache(64)  # the folders of a file are those of the file before
def part_key(text: str) -> list[tuple[int, int, str]]:
    """Return what `natural_key` makes of the name of one file or folder."""
    pieces = _NUMBERS.split(text)
    key = [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece.casefold()) for piece in pieces if piece]
    return [*key, (-1, 0, text)]  # names that differ in case or leading zeros alone still have an order


def _of_one(name: str, recursive: bool) -> list[Path]:
    """List the images of one input."""
    if not name:
        raise InputError("an input has no name (an empty text); wanted files, folders or patterns")
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, recursive)
    if path.exists():
        return [path]
    if not glob.has_magic(name):
        raise InputError(f"{name} does not exist")
    matches = [Path(match) for match in dict.fromkeys(_matching(name))]
    files = [match for match in matches if not os.path.isdir(match)]
    return _kept(files, f"pattern {name}", " (it matches folders only)" if matches and not files else "")


def _matching(pattern: str) -> Iterator[str]:
    """Yield what a pattern names; for ``**``, links to folders are not followed, so there is an end."""
    above, *below = _ANY_FOLDERS.split(pattern, maxsplit=1)
    if not below:
        yield from glob.iglob(pattern)
        return
    for top in glob.iglob(above) if above else [os.curdir]:
        for place, folders, _ in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _matching(os.path.join(glob.escape(place), below[0] or "*"))


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    """List the images of a folder; links to folders are not followed, so there is an end."""
    closed: list[Path] = []

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise InputError(f"{folder} cannot be looked into: {error.strerror}") from error
        closed.append(Path(error.filename))

    files = []
    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = _looked_into(folders) if recursive else []
        files += [Path(place, name) for name in names]
    return _kept(files, f"folder {folder}", "" if recursive else "; look below with --recursive", closed)


def _looked_into(folders: Iterable[str]) -> list[str]:
    """Leave out hidden folders, and those of masks beside one of images, as data to train on have them."""
    seen = [name for name in folders if not name.startswith(".")]
    beside_images = any(name.casefold() in IMAGE_FOLDERS for name in seen)
    return [name for name in seen if not (beside_images and name.casefold() in MASK_FOLDERS)]


def _kept(files: Iterable[Path], what: str, hint: str, closed: Iterable[Path] = ()) -> list[Path]:
    """Keep the images and what is closed, sorted; raise where nothing is left, saying what was passed over."""
    seen = [path for path in files if not path.name.startswith(".")]
    images = [path for path in seen if path.suffix.lower() in EXTENSIONS]
    kept = [path for path in images if not is_output(path) and not _MASK.search(path.stem)]
    if kept or closed:
        return sorted([*kept, *closed], key=natural_key)
    passed = [f"{many(len(images), 'file')} named as masks and results are"] * bool(images)
    if others := [path.suffix.lower() for path in seen if path.suffix.lower() not in EXTENSIONS]:
        endings = ", ".join(sorted(set(others) - {""})[:_MOST_ENDINGS])
        in_fiji = "; Fiji saves most microscopes' files as TIFF"
        passed.append(many(len(others), "other file") + (f" ({endings}{in_fiji})" if endings else ""))
    besides = f"; passed over: {' and '.join(passed)}" if passed else ""
    raise InputError(f"no image in {what}: {LOOKED_FOR}{besides}{hint}")


def without_ending(name: str) -> str:
    """Return a name without the ending of an image file, if it has one.

    >>> without_ending("a.x.TIF"), without_ending("a.x")
    ('a.x', 'a.x')
    """
    return next((name[: -len(end)] for end in EXTENSIONS if name.lower().endswith(end)), name)


def is_output(path: Path) -> bool:
    """Whether a name is one that a run gives to its outputs.

    >>> is_output(Path("a_labels.tif")), is_output(Path("labels.tif"))
    (True, False)
    """
    return _OUTPUTS.search(path.stem) is not None
