"""Images with label images: side by side in one folder, in two folders, or label images alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowseg.errors import FlowsegError, InputError
from flowseg.sources import label_images, run_results
from flowseg.sources._gather import Gathered, files_in, folder_named, folders_in, shape_of, told, told_shape
from flowseg.sources._search import IMAGE_FOLDERS, LOOKED_FOR, MASK_FOLDERS, is_output, without_ending
from flowseg.sources._side_table import columns_beside
from flowseg.sources.collection import Collection, Item
from flowseg.sources.spellings import under

#: Endings of the names of label images beside their images, the longer before those that they end in.
SUFFIXES = ("_cp_masks", "_masks", "_labels", "_mask", "_label")
_IMAGE_SUFFIX = "_img"  # Cellpose's, which goes with x_masks


class LabelFile(NamedTuple):
    """A label image and the name of the image that it belongs to."""

    name: str
    path: Path


def recognised(path: Path) -> str:
    """Say what a folder holds of this kind; empty where it is of another kind."""
    if not path.is_dir():
        return ""
    pictures, masks = _two_folders(path)
    if pictures and masks:
        return f"the folders {told(folder.name for folder in [*pictures, *masks])}"
    images, labels = split(files_in(path))
    if labels:
        return told(each.path.name for each in labels)
    return f"images in a folder called {path.name}" if images and _is_called_masks(path) else ""


def read(
    path: Path,
    *,
    masks: Path | None = None,
    mask_suffix: str | None = None,
    images: Path | None = None,
    spare: Mapping[str, Path] | None = None,
) -> Collection:
    """List the pairs of a folder; label images without any image become items without image.

    Results of a run have the images that it segmented, where those are still there.

    Parameters
    ----------
    path
        The folder of the images, or the one that holds ``images/`` and ``masks/``, or one of label images.
    masks, images
        Folders of the label images and of the images, where they are elsewhere.
    mask_suffix
        End of the names of label images; None: the usual ones, or none in a folder of their own.
    spare
        Images by name, where there are none beside label images; None: those that a run says.
    """
    pictures, labels = _two_folders(path)
    if masks is not None:
        own = images or (pictures[0] if pictures and not files_in(path) else path)
        return _apart(path, own, masks, mask_suffix)
    if pictures and labels:
        if (images is None and len(pictures) > 1) or len(labels) > 1:
            raise InputError(
                f"{path} has the folders {told((each.name for each in [*pictures, *labels]), 9)}: say which with "
                "--images and --masks"
            )
        return _apart(path, images or pictures[0], labels[0], mask_suffix)
    if images is not None:
        return _apart(path, images, path, mask_suffix)
    return _beside(path, mask_suffix, spare)


def read_alone(path: Path, *, images: Path | None = None) -> Collection:
    """List label images that are called as their images are; where those lie, if they are wanted, is said."""
    labels = [LabelFile(file.stem, file) for file in files_in(path) if not is_output(file)]
    if not labels:
        raise InputError(f"{path} has no label images: {LOOKED_FOR}")
    return _noted(_matched(path, [] if images is None else files_in(images), labels, {}), [path], has_pictures)


def read_below(root: Path, *, images: Path | None = None) -> Collection:
    """List the pairs of a folder and of all folders below it as one, named with their folders: ``plate1/a``.

    Where no folder has pairs, all images are label images. Links to folders are not followed.

    Parameters
    ----------
    root
        The folder.
    images
        One with the same folders below, for the images, where they are elsewhere.
    """
    places = list(_places(root))
    paired = [place for place in places if recognised(place)]
    pictures = [place for place in places if place not in paired and has_pictures(place)]
    if not paired and not pictures:
        raise InputError(f"{root} and the folders below it have no label images: {LOOKED_FOR}")
    gathered = Gathered()
    of_run = _by_folder(run_results.images_of(root))
    for place in paired or pictures:
        inside = place.relative_to(root)
        own = None if images is None else images / inside
        spare = of_run.get(inside.as_posix(), {})
        found = read(place, images=own, spare=spare) if paired else read_alone(place, images=own)
        gathered.items += [replace(item, name=(inside / item.name).as_posix()) for item in found]
        gathered.problems += [f"{place}: {problem}" for problem in found.problems]
    if paired and pictures:
        gathered.notes.append(f"no label images are known by their names in {told(map(str, pictures))}: left out")
    return gathered.collection(root, "pairs")


def _by_folder(images: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Return images by the folder in their name, then by the rest of it."""
    found: dict[str, dict[str, Path]] = {}
    for name, path in images.items():
        folder, _, own = name.rpartition("/")
        found.setdefault(folder or ".", {})[own] = path
    return found


def _places(folder: Path) -> Iterator[Path]:
    """Yield a folder and all below it, but for those that hold its images and its masks."""
    pictures, masks = _two_folders(folder)
    yield folder
    for below in folders_in(folder):
        if not below.is_symlink() and not (pictures and masks and below in (*pictures, *masks)):
            yield from _places(below)


def has_pictures(folder: Path) -> bool:
    """Tell whether files of images, of any kind, lie in a folder."""
    return bool(files_in(folder))


def likely_suffix(folder: Path) -> tuple[str, str] | None:
    """Return two files that look like a pair, in words, and the end of the one's name; None where there are none.

    That is an ending that at least half of the files have beside another file called the same without it.
    """
    stems = sorted({path.stem for path in files_in(folder)}, key=len)
    ends: dict[str, list[str]] = {}
    for stem in stems:
        for short in (stem[:length] for length in range(1, len(stem))):
            if short in ends:
                ends[short].append(stem[len(short) :])
        ends.setdefault(stem, [])
    counts = Counter(end for own in ends.values() for end in own)
    if not counts:
        return None
    ending, count = max(counts.items(), key=lambda one: (one[1], -len(one[0])))
    if 2 * count < len(stems) or ending[0].isalnum():
        return None
    first = next(stem for stem in stems if ending in ends[stem])
    return f"{first} and {first}{ending}", ending


def has_images(folder: Path) -> bool:
    """Tell whether images that are neither label images nor what runs write lie in a folder."""
    return bool(split(files_in(folder))[0])


def _beside(folder: Path, suffix: str | None, spare: Mapping[str, Path] | None = None) -> Collection:
    """Pair the files of one folder by the ends of their names."""
    files = files_in(folder)
    images, labels = split(files, suffix)
    if not labels and suffix is None and _is_called_masks(folder):
        images, labels = [], [LabelFile(path.stem, path) for path in files]
    if not labels:
        raise InputError(
            f"{folder} has no label images: looked for names that end in {_wanted(suffix)}, and for folders "
            f"{IMAGE_FOLDERS[0]} and {MASK_FOLDERS[0]}; say where they are with --masks or --mask-suffix"
        )
    if images:
        spare = {}
    found = _matched(folder, images, labels, {}, run_results.images_of(folder) if spare is None else spare)
    return _noted(found, [folder], lambda below: bool(split(files_in(below), suffix)[1]))


def _apart(root: Path, images: Path, masks: Path, suffix: str | None) -> Collection:
    """Pair the files of two folders by name; names of label images may end in a suffix."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; wanted one of images and one of label images")
    if images.resolve() == masks.resolve():
        return _beside(images, suffix)
    pictures = files_in(images)
    files = files_in(masks)
    if run_results.is_of_a_run(masks):
        files = [path for path in files if bare_name(path, suffix) or not is_output(path)]
    labels = _named_after(files, {name for path in pictures for name in (path.stem, path.name)}, suffix)
    if not labels:
        below = [folder for folder in folders_in(masks) if has_pictures(folder)]
        hint = f"; there are files in {told(map(str, below))}: name one with --masks, and --images" if below else ""
        raise InputError(f"{masks} has no label images: {LOOKED_FOR}{hint}")
    return _noted(_matched(root, pictures, labels, columns_beside(root)), [images, masks], has_pictures)


def _noted(found: Collection, folders: Iterable[Path], wanted: Callable[[Path], bool]) -> Collection:
    """Say which folders in those that were read have more, for nobody looks into them."""
    more = [below for folder in folders for below in folders_in(folder) if wanted(below)]
    if not more:
        return found
    note = f"there is more in {told(map(str, more))}, which is left out: each folder is a data set of its own"
    return replace(found, notes=(*found.notes, note))


def split(files: Iterable[Path], suffix: str | None = None) -> tuple[list[Path], list[LabelFile]]:
    """Part the files of a folder into images and label images; what else runs write beside images is left out."""
    images, labels = [], []
    for path in files:
        name = bare_name(path, suffix)
        if name:
            labels.append(LabelFile(name, path))
        elif not is_output(path) and not bare_name(path, None):
            images.append(path)
    return images, labels


def bare_name(path: Path, suffix: str | None = None) -> str:
    """Return the name of the image that a label image belongs to; empty where the file is no label image.

    >>> bare_name(Path("a_cp_masks.png")), bare_name(Path("a.png"))
    ('a', '')
    """
    stem = path.stem
    for ending in SUFFIXES if suffix is None else (without_ending(suffix),):
        if stem.casefold().endswith(ending.casefold()) and len(stem) > len(ending):
            return stem[: len(stem) - len(ending)]
    return ""


def _is_called_masks(folder: Path) -> bool:
    return folder.resolve().name.casefold() in MASK_FOLDERS


def _two_folders(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders below that are called as those of images, and of label images, are."""
    return folder_named(root, IMAGE_FOLDERS), folder_named(root, MASK_FOLDERS)


def _wanted(suffix: str | None) -> str:
    return ", ".join(SUFFIXES) if suffix is None else without_ending(suffix)


def _named_after(files: list[Path], known: set[str], suffix: str | None) -> list[LabelFile]:
    """Name label images of a folder of their own: by their own name where an image has it, else without suffix."""
    named = []
    for path in files:
        bare = bare_name(path, suffix)
        named.append(LabelFile(bare if bare and (suffix or path.stem not in known) else path.stem, path))
    return named


def _matched(
    root: Path,
    images: list[Path],
    labels: list[LabelFile],
    columns: Mapping[str, dict[str, str]],
    spare: Mapping[str, Path] | None = None,
) -> Collection:
    """Put images and label images together by name; ``spare`` has images for those that find none."""
    gathered = Gathered()
    free = _by_key(images)
    used: set[Path] = set()
    for name, paths in _by_name(labels).items():
        if len(paths) > 1:
            gathered.problems.append(
                f"{name} has {len(paths)} label images, {_names(paths)}: choose with --mask-suffix"
            )
            used.update(under(free, name) or [])
            continue
        found = under(free, name) or []
        used.update(found)
        if len(found) > 1:
            gathered.problems.append(f"{paths[0].name} could belong to {_names(found)}: keep one of them")
        elif images and not found:
            gathered.problems.append(f"{paths[0].name} has no image {name}")
        else:
            image = found[0] if found else _fitting((spare or {}).get(name), paths[0])
            _add(gathered, name, image, paths[0], under(columns, name) or {})
    if images:
        gathered.keep_own_images()
    if images and not used:
        gathered.problems.insert(0, "no image is called as a label image is: rename them, or say their --mask-suffix")
    end = labels[0].path.stem.removeprefix(labels[0].name)
    gathered.problems += [f"{path.name} has no masks {path.stem}{end}" for path in images if path not in used]
    return gathered.collection(root, "pairs")


def _fitting(image: Path | None, labels: Path) -> Path | None:
    """Return an image where it can be read and is of the shape of a label image; it may have changed since."""
    try:
        return image if image is not None and shape_of(image) == shape_of(labels) else None
    except (FlowsegError, OSError):
        return None


def _by_key(images: list[Path]) -> dict[str, list[Path]]:
    """Return images by all the names that a label image may know them by."""
    found: dict[str, list[Path]] = {}
    for path in images:
        for key in {path.stem, path.name, path.stem.removesuffix(_IMAGE_SUFFIX)}:
            found.setdefault(key, []).append(path)
    return found


def _by_name(labels: list[LabelFile]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in labels:
        found.setdefault(name, []).append(path)
    return found


def _names(paths: Iterable[Path]) -> str:
    return " and ".join(path.name for path in paths)


def _add(gathered: Gathered, name: str, image: Path | None, labels: Path, columns: dict[str, str]) -> None:
    """Add an item, unless its files cannot be read or are of different shapes, as far as headers tell."""
    shape = gathered.header_shape(labels, name)
    if shape is None:
        return
    if image is not None:
        wanted = gathered.header_shape(image, name)
        if wanted is None:
            return
        if wanted != shape:
            gathered.problems.append(
                f"{name}: the image has {told_shape(wanted)} pixels (height x width), its masks {told_shape(shape)}"
            )
            return
    gathered.items.append(Item(name, image, partial(label_images.load, labels), columns))
