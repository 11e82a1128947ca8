"""What files are called, on systems and disks of every kind."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath
from uuid import uuid4

from flowseg import files
from flowseg.errors import InputError

_FORBIDDEN = '<>:"|?*\\'
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in "123456789")}


def below_common_folder(paths: Iterable[Path]) -> list[str]:
    """Return files as texts below the deepest folder that holds all; on several drives of Windows, below the drives."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    if not absolute:
        return []
    try:
        root = os.path.commonpath([path.parent for path in absolute])
    except ValueError:  # there is no such folder
        return list(map(below_drive, absolute))
    return [path.relative_to(root).as_posix() for path in absolute]


def below_drive(path: PurePath) -> str:
    r"""Return a path with the name of its drive as the first folder.

    >>> from pathlib import PureWindowsPath
    >>> below_drive(PureWindowsPath(r"D:\plate\a.tif")), below_drive(PureWindowsPath(r"\\lab\share\a.tif"))
    ('D/plate/a.tif', 'lab/share/a.tif')
    """
    return path.as_posix().lstrip("/").removeprefix("?/").replace(":", "", 1)


def parts(path: str) -> list[str]:
    r"""Return the folders and the name of a file whose path any system may have written: backslashes part them, too.

    >>> parts(r"D:\data/x\a.tif"), parts("/data/./a.tif")
    (['D:', 'data', 'x', 'a.tif'], ['data', 'a.tif'])
    """
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def last_part(path: str) -> str:
    """Return the name of a file; see `parts`."""
    return (parts(path) or [""])[-1]


def folded(name: str) -> str:
    """Return what a name has in common with those that some disks take for the same: capitals and accents aside."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def as_one(name: str) -> str:
    """Return a name with folders as a part of the name of a file that every system takes.

    >>> as_one("plate/a?b")
    'plate__a_b'
    """
    return name.replace("/", "__").translate(dict.fromkeys(map(ord, _FORBIDDEN), "_"))


def check_windows_takes(name: str) -> None:
    """Refuse a name below a folder, with ``/`` between its parts, that Windows would refuse, or take for another.

    A colon is the worst: what follows it names a stream within a file, which no folder shows.

    >>> check_windows_takes("plate/b_3.tif")
    >>> check_windows_takes("plate/aux.tif")
    Traceback (most recent call last):
    flowseg.errors.InputError: plate/aux.tif cannot be the name of a file on Windows: AUX is a device there
    """
    for part in name.split("/"):
        device = part.split(".")[0].rstrip().upper()
        wrong = next((letter for letter in part if letter in _FORBIDDEN), None)
        if wrong is not None:
            why = f"it holds {wrong}"
        elif device in _DEVICES:
            why = f"{device} is a device there"
        elif part.endswith((".", " ")):
            why = f"{part!r} ends in a {'dot' if part.endswith('.') else 'space'}"
        else:
            continue
        raise InputError(f"{name} cannot be the name of a file on Windows: {why}")


def check_told_apart(names: Iterable[str], folder: Path) -> None:
    """Refuse names of files to be written below a folder, where its disk takes two for one: ``A.tif`` and ``a.tif``.

    Disks of Windows and macOS do, and most memory cards.
    """
    seen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        other = seen.setdefault(folded(name), name)
        if other != name and _are_one(other, name, folder):
            raise InputError(
                f"{other} and {name} would be one file in {folder}, whose disk does not tell their names apart: make "
                "them in folders of their own"
            )


def _are_one(one: str, other: str, folder: Path) -> bool:
    """Ask the disk, with files that are there for a moment; the folder may not be there yet."""
    place = next((each for each in (folder, *folder.absolute().parents) if each.is_dir()), folder)
    beside = f".{uuid4().hex}"
    first, second = (place / f"{beside}{part.replace('/', '_')}{files.PART}" for part in _different(one, other))
    try:
        first.touch()
        return second.exists()
    finally:
        first.unlink(missing_ok=True)


def _different(one: str, other: str) -> tuple[str, str]:
    """Return two names without what they begin and end with alike."""
    start = _alike(one, other)
    one, other = one[start:], other[start:]
    end = _alike(one[::-1], other[::-1])
    return one[: len(one) - end], other[: len(other) - end]


def _alike(one: str, other: str) -> int:
    """Return with how many equal letters two texts begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
