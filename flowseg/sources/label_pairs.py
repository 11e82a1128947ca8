"""Images with label images: ``x.tif`` and ``x_masks.tif`` in one folder, or folders ``images/`` and ``masks/``."""

from functools import partial
from pathlib import Path

from flowseg.errors import InputError
from flowseg.sources import _files
from flowseg.sources.collection import Collection, Item

SUFFIXES = ("_masks", "_mask", "_labels", "_label", "_cp_masks")
IMAGE_FOLDERS, MASK_FOLDERS = ("images", "image", "imgs"), ("masks", "labels", "mask", "label")


def recognises(path: Path) -> bool:
    """Tell whether a folder holds such pairs, or label images alone."""
    if not path.is_dir():
        return False
    return _two_folders(path) is not None or _suffix(_files.pictures(path)) is not None


def read(path: Path, *, masks: Path | None = None, suffix: str | None = None, images: Path | None = None) -> Collection:
    """List the pairs of a folder; label images without images, as results are, become items without images.

    Parameters
    ----------
    path
        The folder of the images, or the one that holds ``images/`` and ``masks/``.
    masks, images
        Folders of the label images and of the images, where they are elsewhere.
    suffix
        End of the names of label images, before the extension; None: the usual ones, or none in a folder of masks.
    """
    folders = _two_folders(path)
    if masks is not None:
        return _paired(path, images or (folders[0] if folders else path), masks, suffix)
    if folders is not None:
        return _paired(path, images or folders[0], folders[1], suffix)
    return _mixed(path, images, suffix)


def _two_folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of images and of masks inside one."""
    images = next((path / name for name in IMAGE_FOLDERS if (path / name).is_dir()), None)
    masks = next((path / name for name in MASK_FOLDERS if (path / name).is_dir()), None)
    return (images, masks) if images and masks else None


def _suffix(paths: list[Path]) -> str | None:
    """Return the longest of the usual suffixes that some file has."""
    there = [suffix for suffix in SUFFIXES if any(path.stem.endswith(suffix) for path in paths)]
    return max(there, key=len) if there else None


def _paired(root: Path, images: Path, masks: Path, suffix: str | None) -> Collection:
    """Pair the files of two folders by name; names of masks may end in a suffix."""
    problems: list[str] = []
    pictures = _files.by_name(_files.pictures(images), problems)
    labels = _files.by_name(_files.pictures(masks), problems)
    ends = [suffix] if suffix is not None else ["", *SUFFIXES]
    found = {}
    for name, path in labels.items():
        stem = next((bare for bare in _bare_names(name, ends) if bare in pictures), None)
        if stem is None:
            problems.append(f"{path} has no image of its name in {images}")
        else:
            found[stem] = path
    problems += [f"{path} has no masks in {masks}" for name, path in pictures.items() if name not in found]
    items = [_item(name, pictures[name], path, problems) for name, path in found.items()]
    return _collection(root, items, problems)


def _mixed(path: Path, images: Path | None, suffix: str | None) -> Collection:
    """Pair the files of one folder by the end of their names."""
    files = _files.pictures(path)
    suffix = suffix if suffix is not None else _suffix(files)
    if not suffix:
        raise InputError(
            f"{path} has no label images: looked for names that end in {', '.join(SUFFIXES)}, and for folders "
            f"{' and '.join((IMAGE_FOLDERS[0], MASK_FOLDERS[0]))}; say where they are with --masks or --mask-suffix"
        )
    problems: list[str] = []
    labels = _files.by_name((file for file in files if file.stem.endswith(suffix)), problems)
    others = files if images is None else _files.pictures(images)
    pictures = _files.by_name((file for file in others if not file.stem.endswith(suffix)), problems)
    if not pictures:
        alone = [_item(name.removesuffix(suffix), None, file, problems) for name, file in labels.items()]
        return _collection(path, alone, problems)
    items = []
    for name, file in labels.items():
        stem = name.removesuffix(suffix)
        if stem in pictures:
            items.append(_item(stem, pictures[stem], file, problems))
        else:
            problems.append(f"{file} has no image {stem}")
    named = {item.name for item in items}
    problems += [f"{file} has no masks {name}{suffix}" for name, file in pictures.items() if name not in named]
    return _collection(path, items, problems)


def _bare_names(name: str, ends: list[str]) -> list[str]:
    return [name.removesuffix(end) for end in ends if name.endswith(end)]


def _item(name: str, image: Path | None, masks: Path, problems: list[str]) -> Item:
    if image is not None:
        _files.check_sizes(name, image, _files.size_of(masks), "its masks", problems)
    return Item(name, image, partial(_files.read_labels, masks))


def _collection(root: Path, items: list[Item], problems: list[str]) -> Collection:
    return Collection(root, "pairs", tuple(sorted(items, key=lambda item: item.name)), tuple(problems))
