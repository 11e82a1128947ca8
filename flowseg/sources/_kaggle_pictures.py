"""The images of a Kaggle table: what its ids call them, and where their files are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flowseg.errors import InputError
from flowseg.sources._gather import Gathered, files_in, folders_in, told, unsafe
from flowseg.sources._search import is_output, without_ending
from flowseg.sources.spellings import spellings, under
from flowseg.words import many


def unsafe_id(id_: str) -> str | None:
    """Say why an id cannot be the name of an image, or the way to one in a folder below; None where it can."""
    parts = id_.split("/")
    leads_out = len(parts) > 1 and (parts[0].endswith(":") or {"", ".", ".."} & {*parts})  # C:/x
    return unsafe(id_ if leads_out else _without_folders(id_))


def _without_folders(id_: str) -> str:
    return id_.replace("/", "__")


def named(ids: Sequence[str], pictures: Mapping[str, Path] | None) -> list[str]:
    """Return what images are called: by their ids without folders and the ending of a file.

    Both stay where images would be called alike, and the ending where it is none: the image of ``x.tif`` is
    ``x.tif.png``. No two are called alike.
    """
    count = Counter(without_ending(_last(id_)) for id_ in ids)
    own = [_last(id_) if count[without_ending(_last(id_))] == 1 else _without_folders(id_) for id_ in ids]
    bare = list(map(without_ending, own))
    count = Counter(bare)
    whole = {id_ for id_, path in (pictures or {}).items() if path.stem in spellings(_last(id_))}
    names = [
        name if id_ in whole or count[short] > 1 else short for id_, name, short in zip(ids, own, bare, strict=True)
    ]
    while alike := {name for name, many in Counter(names).items() if many > 1}:  # a/b and a__b
        names = [id_ if name in alike else name for id_, name in zip(ids, names, strict=True)]
    return names


def pictures_of(
    path: Path, images: Path | None, ids: list[str], gathered: Gathered, spoiled: Iterable[str]
) -> dict[str, Path] | None:
    """Return the image file of each id, problems noted; None where there is no image at all, and none was asked for.

    Images that no row names are noted; ``spoiled`` are named by rows that cannot be read.
    """
    if images is not None and not images.is_dir():
        raise InputError(f"{images} is not a folder; wanted that of the images")
    wanted = _spelled({name for id_ in (*ids, *spoiled) for name in (id_, without_ending(id_))})
    for folder in [images] if images is not None else _places(path):
        found = _of_ids(ids, folder)
        if found or images is not None:
            break
    else:
        return None
    for id_ in ids:
        if len(found.get(id_, [])) > 1:
            gathered.problems.append(f"{id_} has several images in {folder}: {told(p.name for p in found[id_])}")
        elif id_ not in found:
            looked = f"{without_ending(id_)}.png and the like"
            gathered.problems.append(f"{id_} has no image: looked for {looked} in {folder}")
    unnamed = [file.name for file in files_in(folder) if file.stem not in wanted and not is_output(file)]
    if found and unnamed:
        gathered.notes.append(
            f"{many(len(unnamed), 'image')} in {folder} left out, without a row in {path.name}: {told(unnamed)} (an "
            "image without instances has a row without an encoding)"
        )
    return gathered.not_shared({id_: paths[0] for id_, paths in found.items() if len(paths) == 1})


def _places(path: Path) -> list[Path]:
    """Return where images may be: the folder called as the file, train or test beside it, and its own."""
    stem = path.stem
    called = [
        stem,
        stem.removesuffix("_labels"),
        stem.removesuffix("_solution"),
        "train",
        "test",
        "images",
        "stage1_train",
        "stage1_test",
    ]
    places = [path.parent / name for name in dict.fromkeys(called)] + [path.parent]
    return [place for place in places if place.is_dir()]


def _pictures_in(folder: Path, wanted: set[str]) -> dict[str, list[Path]]:
    """Return the images of a folder with a wanted name, as ``<id>.png`` or ``<id>/images/<id>.png``."""
    found: dict[str, list[Path]] = {}
    for path in files_in(folder):
        if path.stem in wanted:
            found.setdefault(path.stem, []).append(path)
    for below in folders_in(folder):
        if below.name in wanted and below.name not in found and (below / "images").is_dir():
            own = [path for path in files_in(below / "images") if path.stem == below.name]
            if own:
                found[below.name] = own
    return found


def _of_ids(ids: Iterable[str], folder: Path) -> dict[str, list[Path]]:
    """Return the images of each id, in the folder or the one below that is named before it."""
    below: dict[str, dict[str, str]] = {}
    for id_ in ids:
        below.setdefault(id_.rpartition("/")[0], {})[id_] = _last(id_)
    found: dict[str, list[Path]] = {}
    for place, names in below.items():
        if (folder / place).is_dir():
            wanted = _spelled({*names.values(), *map(without_ending, names.values())})
            files = _pictures_in(folder / place, wanted)
            found |= {id_: own for id_, name in names.items() if (own := _called(name, files))}
    return found


def _called(name: str, files: Mapping[str, list[Path]]) -> list[Path]:
    """Return the images that are called so but for an ending, or so, or so without the ending of the name."""
    bare = under(files, without_ending(name)) or []
    return under(files, name) or [path for path in bare if path.name in spellings(name)] or bare


def _spelled(names: Iterable[str]) -> set[str]:
    return {each for name in names for each in spellings(name)}


def _last(id_: str) -> str:
    """Return an id without the folders that some have before it."""
    return id_.rpartition("/")[2]
