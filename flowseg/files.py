"""Files written whole or not at all."""

import hashlib
import os
import uuid
from pathlib import Path

_PART = ".part"


def write_whole(path: Path, data: bytes) -> str:
    """Write beside the file, then move over it in one step: a reader sees the old file or the new one.

    Return the SHA-256 of what was written.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_PART}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return hashlib.sha256(data).hexdigest()


def sweep(folder: Path) -> None:
    """Remove what runs that were killed left beside their files in a folder and below it."""
    for path in folder.rglob(f".*{_PART}"):
        path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
