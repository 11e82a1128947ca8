"""Instances of a data set to another format: any collection in, files whole or not at all out.

Formats that hold overlapping instances keep them. Label images cannot (``labels``, ``seg``, ``outlines``, ``overlay``),
and what was contested is told.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flowseg import files, rle
from flowseg.convert._entry import Entry
from flowseg.convert._formats import BY_ENDING, FORMATS, Entries, Format, Style
from flowseg.errors import FlowsegError, InputError, OptionError
from flowseg.exports import coco_json
from flowseg.names import below_common_folder, check_told_apart, check_windows_takes
from flowseg.options import OverlapOptions
from flowseg.sources.collection import Collection

__all__ = ["FORMATS", "Conversion", "Converted", "convert"]

_SAME_KIND = {"pairs": "labels", "labels": "labels", "cellpose": "seg", "folders": "masks"}  # what is read: --to
_WRITERS = 8  # files of one image on their way to the disk, which is waited for


@dataclass(frozen=True)
class Conversion:
    """What a conversion is to make.

    Attributes
    ----------
    out
        A file; or a folder, for formats of a file an image.
    to
        A name of `FORMATS`; "": by the ending of ``out``.
    order
        Of run-length encodings: "row" (Sartorius) or "column" (Data Science Bowl 2018).
    form
        Of COCO masks: "rle" or "polygons".
    overlap
        How label images settle pixels that several instances claim.
    copy_images
        Put copies of the images beside what is made of them.
    pieces
        Make every piece of an instance an instance of its own: for masks of all cells together.
    overwrite
        Replace files that are there.
    axes, plane
        Axes of images that do not say them, and which plane of several, where images are measured or drawn on.
    """

    out: Path
    to: str = ""
    order: rle.Order = "row"
    form: coco_json.Form = "rle"
    overlap: OverlapOptions = field(default_factory=OverlapOptions)
    copy_images: bool = False
    pieces: bool = False
    overwrite: bool = False
    axes: str | None = None
    plane: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", self.to or _format_of(self.out))
        if self.to not in FORMATS:
            raise OptionError(f"to is {self.to!r}; wanted one of {', '.join(FORMATS)}")
        if self.order not in ("row", "column"):
            raise OptionError(f"order is {self.order!r}; wanted row or column")
        if self.form not in ("rle", "polygons"):
            raise OptionError(f"form is {self.form!r}; wanted rle or polygons")
        if self.copy_images and self.is_one_file:
            raise OptionError(f"{self.out} is one file: images are copied into a folder of a file an image")
        self._check_ending()
        self._check_used()

    def _check_ending(self) -> None:
        """Refuse a name that says one format where another is wanted."""
        ending, own = self.out.suffix.lower(), _endings(self.to)
        if ending not in BY_ENDING or ending in own or self.out.is_dir():
            return
        makes = [*([] if self.format.whole else ["a folder"]), *own]
        raise OptionError(
            f"{self.out} ends in {ending}, as {BY_ENDING[ending]} does; --to {self.to} makes {' or '.join(makes)}"
        )

    def _check_used(self) -> None:
        """Refuse settings that are of other formats."""
        usual = Style()
        said = {
            "order": (self.order != usual.order, "an order of run lengths"),
            "form": (self.form != usual.form, "polygons"),
            "overlap": (self.overlap != OverlapOptions(), "a word on contested pixels (overlap=, --contested-to)"),
            "axes": (self.axes is not None, "axes of images"),
            "plane": (self.plane is not None, "a plane of images"),
        }
        for name, (given, what) in said.items():
            if given and name not in self.format.takes:
                raise OptionError(f"{self.to} has no use for {what}: leave it out")

    @property
    def format(self) -> Format:
        """What is made."""
        return FORMATS[self.to]

    @property
    def is_one_file(self) -> bool:
        """Whether ``out`` is a file: of all images, or of the one image that there must then be."""
        named = self.out.suffix.lower() in _endings(self.to) and not self.out.is_dir()
        return self.format.whole is not None or named


class Converted(NamedTuple):
    """What became of an image.

    Attributes
    ----------
    name
        Its name in the collection.
    instances
        How many it has.
    contested
        Pixels that several instances claimed and one got; 0 in formats that hold overlaps.
    gone
        Instances of which others got every pixel.
    """

    name: str
    instances: int
    contested: int
    gone: int


def convert(
    collection: Collection,
    conversion: Conversion,
    tell: Callable[[Converted], None] = lambda one: None,
    skip: Callable[[str], None] | None = None,
) -> list[Converted]:
    """Write all images of a collection.

    Parameters
    ----------
    collection
        Of any source; its problems are not looked at.
    conversion
        What to make.
    tell
        Called after each image.
    skip
        Given, in words, what cannot be read, which is left out; None: that is an error.

    Raises
    ------
    InputError
        There is nothing to write, a file is there already or is being read, or an image lacks what the format needs.

    Examples
    --------
    >>> from flowseg.sources.data_sets import open_collection                            # doctest: +SKIP
    >>> convert(open_collection("train.csv"), Conversion(Path("rois"), "rois"))[0]       # doctest: +SKIP
    Converted(name='0030fd0e6378', instances=395, contested=0, gone=0)
    """
    if not collection.items:
        raise InputError(f"{collection.root} has no image with instances")
    with_image = "axes" in conversion.format.takes
    entries = [
        Entry(item, conversion.overlap, conversion.pieces, with_image, conversion.axes, conversion.plane)
        for item in collection
    ]
    _tell_apart(entries)
    _check_targets(collection, entries, conversion)
    told: list[Converted] = []

    def finished(entry: Entry) -> None:
        told.append(Converted(entry.name, len(entry.instances), *entry.contested()))
        entry.forget()
        tell(told[-1])

    def skipped(entry: Entry, error: FlowsegError) -> None:
        assert skip is not None
        skip(f"{entry.name}: {error}")

    style = Style(conversion.order, conversion.form)
    found = Entries(entries, style, finished, skipped if skip else None, collection.categories)
    whole = conversion.format.whole
    if whole is not None:
        conversion.out.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(conversion.out, whole(found))
        return told
    for entry in found:
        _write_one(entry, conversion)
    return told


def _tell_apart(entries: Sequence[Entry]) -> None:
    """Let image files of several folders that are called alike be named with their folders."""
    own = [entry for entry in entries if entry.item.path is not None]
    paths = [entry.item.path for entry in own if entry.item.path is not None]
    count = Counter(path.name.casefold() for path in paths)
    for entry, path, called in zip(own, paths, below_common_folder(paths), strict=True):
        if count[path.name.casefold()] > 1:
            entry.called = called


def _endings(to: str) -> list[str]:
    """Return the endings of the files that a format makes."""
    own = Path(f"x{FORMATS[to].ending}").suffix
    return [own, *(ending for ending, other in BY_ENDING.items() if other == to and ending != own)] if own else []


def _format_of(out: Path) -> str:
    """Return the format that the ending of a name stands for."""
    ending = out.suffix.lower()
    if ending in BY_ENDING and not out.is_dir():
        return BY_ENDING[ending]
    known = ", ".join(f"{ending} ({to})" for ending, to in BY_ENDING.items())
    raise OptionError(
        f"the name {out} does not say what to make: end it in {known}; or say which with --to: {', '.join(FORMATS)}"
    )


def _check_targets(collection: Collection, entries: Sequence[Entry], conversion: Conversion) -> None:
    """Refuse to replace what is there, unless asked, and what is read, always."""
    if conversion.is_one_file:
        if conversion.format.whole is None and len(entries) > 1:
            raise InputError(
                f"{conversion.out} is one file and {collection.root} has {len(entries)} images: "
                f"name a folder, with --to {conversion.to}"
            )
        targets = [conversion.out]
    else:
        if conversion.out.exists() and not conversion.out.is_dir():
            raise InputError(f"{conversion.out} is a file; wanted a folder")
        made = [f"{entry.name}{conversion.format.ending}" for entry in entries]
        made += [_copy_of(entry, conversion.to) for entry in entries if conversion.copy_images]
        _check_names(made, conversion.out)
        targets = [conversion.out / name for name in made]
        _check_apart(collection, entries, conversion)
    twice = next((target for target, count in Counter(targets).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{twice} would be made twice, of images that are called alike: rename one of them")
    read = files.resolved([collection.root, *(entry.item.path for entry in entries)])
    for target in targets:
        files.check_not_read(target, read)
        files.check_has_end(target)
        if target.exists() and not conversion.overwrite:
            raise InputError(f"{target} is there already: choose another name, or replace it with --overwrite")


def _check_names(made: Sequence[str], out: Path) -> None:
    """Refuse names that the system or the disk would not take as they are: those of tables may be any."""
    for name in made if files.WINDOWS else ():
        check_windows_takes(name)
    check_told_apart(made, out)


def _check_apart(collection: Collection, entries: Sequence[Entry], conversion: Conversion) -> None:
    """Refuse to write among masks of the same kind that are being read."""
    root = files.real(collection.root)
    if conversion.to != _SAME_KIND.get(collection.format) or not root.is_dir():
        return
    out = files.real(conversion.out)
    there = [name for entry in entries if (conversion.out / (name := _made(entry, conversion))).exists()]
    if there and root in (out, *out.parents):
        raise InputError(f"{conversion.out / there[0]} may be what is read: choose another folder to write into")


def _made(entry: Entry, conversion: Conversion) -> str:
    return entry.name if conversion.to == "masks" else f"{entry.name}{conversion.format.ending}"


def _write_one(entry: Entry, conversion: Conversion) -> None:
    """Write the files of one image, each whole."""
    each, out = conversion.format.each, conversion.out
    assert each is not None

    def write(made: tuple[str, bytes]) -> Path:
        path = out if conversion.is_one_file else out / f"{entry.name}{made[0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, made[1])
        return path

    with ThreadPoolExecutor(_WRITERS) as writers:
        written = set(writers.map(write, each(entry)))
    if conversion.to == "masks":
        (out / entry.name / "masks").mkdir(parents=True, exist_ok=True)
        _remove_older_masks(out / entry.name / "masks", written)
    if conversion.copy_images:
        _copy(entry, out / _copy_of(entry, conversion.to))


def _remove_older_masks(folder: Path, written: set[Path]) -> None:
    """Remove masks that an earlier conversion, of more instances, left in a folder that is replaced."""
    for path in folder.glob("[0-9][0-9][0-9][0-9]*.png"):
        if path.stem.isdecimal() and path not in written:
            path.unlink()


def _copy_of(entry: Entry, to: str) -> str:
    """Return where the copy of an image goes, below the folder: where those who read the format look for it."""
    if entry.item.path is None:
        raise InputError(f"{entry.name} has no image to copy: say where the images are (--images)")
    ending = entry.item.path.suffix
    return f"{entry.name}/images/{Path(entry.name).name}{ending}" if to == "masks" else f"{entry.name}{ending}"


def _copy(entry: Entry, target: Path) -> None:
    assert entry.item.path is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    with entry.item.path.open("rb") as file:
        files.write_whole(target, iter(lambda: file.read(1 << 20), b""))
