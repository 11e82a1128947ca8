"""Files written whole or not at all, and a folder for one writer at a time."""

import errno
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flowseg import filelock
from flowseg.errors import FlowsegError, InputError

WINDOWS = os.name == "nt"

#: How files begin: pages, and pictures.
HTML, PNG = b"<!doctype html", b"\x89PNG"
_ENDINGS = {HTML: (".html", ".htm"), PNG: (".png",)}

#: How files end that are written beside others; those that a killed run left are swept.
PART = ".flowseg.part"
_LOCK = ".flowseg.lock"
_LONGEST_PATH = 259  # letters that Windows takes, unless it is told to take more
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds
_ENDLESS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> str:
    """Write beside the file, then move over it in one step: a reader sees the old file or the new one.

    The data may come in pieces, so that it is never held in one. Return the SHA-256 of what was written.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}{PART}")  # short, however long the file's own name is
    digest = hashlib.sha256()
    try:
        with beside.open("xb") as file:
            for piece in [data] if isinstance(data, bytes) else data:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        move(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def move(source: Path, target: Path) -> None:
    """Move a file over another in one step.

    On Windows that fails while anybody has one of both open: virus scanners and indexers, which look at every new file,
    are waited for.
    """
    for pause in _PAUSES if WINDOWS else ():
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(source, target)


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, where they are not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {in_words(error)}") from error


def check_has_end(path: Path) -> None:
    """Refuse what is there but is neither file nor folder: it may be waited for, or read, for ever."""
    try:
        kind = _ENDLESS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):  # whoever opens it tells
        return
    if kind is not None:
        raise InputError(f"{path} is not a file: it is {kind}")


def real(path: Path) -> Path:
    """Return what a path leads to; links that lead round and round, which `Path.resolve` raises for, to themselves."""
    return Path(os.path.realpath(path))


def resolved(paths: Iterable[Path | None]) -> set[Path]:
    """Return what paths that may be None lead to."""
    return {real(path) for path in paths if path is not None}


def check_not_read(path: Path, read: set[Path]) -> None:
    """Refuse to write over a file that is being read, among others that are `resolved`."""
    if real(path) in read:
        raise InputError(f"{path} would be replaced while it is read: choose another name or folder")


def check_output(path: Path, begins: bytes, inputs: Iterable[Path | None]) -> None:
    """Refuse a name that does not end as the kind, and to write over what is read or is no earlier file of the kind.

    ``begins`` is how a file of that kind begins. A picture in a folder of inputs may be one of them, whichever
    it is.
    """
    endings = _ENDINGS.get(begins, ())
    if endings and path.suffix.lower() not in endings:  # browsers and viewers go by it
        given = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise InputError(f"{path} {given}; wanted a name that ends in {' or '.join(endings)}")
    if not path.exists():
        return
    check_has_end(path)
    read = resolved(inputs)
    check_not_read(path, read)
    if begins == PNG and not read.isdisjoint(real(path).parents):
        raise InputError(f"{path} lies among what is read, and may be part of it: choose another name or folder")
    with path.open("rb") as file:
        if file.read(len(begins)).lower() != begins.lower():
            raise InputError(f"{path} is there already, and is something else: choose another name")


def append_line(path: Path, text: str) -> None:
    """Add a line to a file in one write; what a crash left of a line before stays a line of its own."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        torn = size > 0 and file.read(1) != b"\n"
        data = b"\n" * torn + text.encode() + b"\n"
        if file.write(data) != len(data):
            raise OSError(f"{path}: a line was not written whole: is the disk full?")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, and remove what runs that were killed left beside their files in it.

    The system lets go of the folder when a process ends, in whichever way.
    """
    with (folder / _LOCK).open("ab") as lock:
        alone = _taken(lock, folder)
        try:
            sweep(folder)
            yield
        finally:
            if alone:
                filelock.release(lock)


def _taken(lock: IO[bytes], folder: Path) -> bool:
    """Take the lock of a folder; False: its file system has no locks."""
    try:
        alone = filelock.take(lock)
    except OSError:
        return False
    if not alone:
        raise InputError(f"another run is writing to {folder}: wait for it, or choose another folder")
    return True


def sweep(folder: Path) -> None:
    """Remove what runs that were killed left beside their files in a folder and below it."""
    for path in folder.rglob(f".*{PART}"):
        path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    check_has_end(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_words(error: BaseException) -> str:
    """Return what went wrong as a sentence for a person: what the disk says, without its numbers and inner names.

    >>> in_words(FileNotFoundError(2, "No such file or directory", "a.tif"))
    'a.tif: No such file or directory'
    """
    if not isinstance(error, OSError) or isinstance(error, FlowsegError) or error.errno is None:
        return str(error) or type(error).__name__
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({what}): make room and run the same command again"
    name, target = (_text(given) for given in (error.filename, error.filename2))
    if isinstance(error, FileNotFoundError) and (length := too_long(target or name)):
        return f"{target or name}: {length}"
    if target and WINDOWS and isinstance(error, PermissionError):
        return f"{target} cannot be replaced: is it open in another program? ({what})"
    if not target and name.endswith((PART, _LOCK)):  # files of ours that nobody asked for
        return f"{os.path.dirname(name) or '.'} cannot be written to: {what}"
    return f"{target or name}: {what}" if name else what


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""


def too_long(path: str | Path) -> str:
    """Say that Windows, which tells nothing but that there is no such file, finds a path too long; else empty."""
    length = len(os.path.abspath(path))
    if not WINDOWS or length <= _LONGEST_PATH:
        return ""
    return (
        f"the path has {length} letters, and Windows takes {_LONGEST_PATH}: choose a folder with a shorter name, or "
        "let it take long paths (LongPathsEnabled)"
    )
