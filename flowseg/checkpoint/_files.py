"""Bytes from disk and back: a file is read once and written whole or not at all."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowseg import files
from flowseg.errors import ModelError, OptionError

PathLike = str | os.PathLike[str]


@contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Put the file's name before what went wrong with it."""
    try:
        yield
    except (ModelError, OptionError) as error:
        raise ModelError(f"{path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open an ordinary file; anything else, and what the disk says, is a `ModelError`."""
    try:
        unpacked = path if path.is_dir() else path.parent if path.name == "data.pkl" else None
        if unpacked and (unpacked / "data.pkl").is_file() and (unpacked / "data").is_dir():
            raise ModelError(
                "this is what a model file holds, unpacked; wanted the file itself, as it was fetched or saved"
            )
        if path.is_dir():
            trained = path / "model.safetensors"
            which = f": {trained}" if trained.is_file() else ""
            raise ModelError(f"this is a folder; wanted a model file{which}")
        if not path.exists():
            raise ModelError("there is no such file")
        if not path.is_file():
            raise ModelError("this is not an ordinary file; wanted a model file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ModelError(f"the file cannot be read: {error.strerror or error}") from error


def read_bytes(file: io.BufferedReader, most: int) -> bytes:
    """Read a whole file that may hold ``most`` bytes."""
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise ModelError(f"the file has {size} bytes; wanted at most {most}")
    data = file.read(most + 1)  # it may still be growing
    if not data:
        raise ModelError("the file is empty; was its download or copy cut short?")
    return data[:most]


def write(path: Path, data: bytes) -> str:
    """Write a model file, whole or not at all; return its SHA-256."""
    if path.is_dir():
        raise ModelError(f"{path}: this is a folder; wanted the name of a model file")
    return files.write_whole(path, data)


def digest(path: PathLike) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with naming(Path(path)), opened(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
