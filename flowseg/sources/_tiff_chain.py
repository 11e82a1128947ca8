"""Whether a TIFF file holds all directories and tag values that it points to.

tifffile reads what is left of a file that was cut short: the pages before the cut, or one page without the description
that says what it is. Walking the directories costs little and tells.
"""

import struct
from pathlib import Path
from typing import IO, NamedTuple

from flowseg.errors import InputError

# Bytes of one value of each TIFF type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class _Form(NamedTuple):
    """How numbers are laid out: in TIFF with 4-byte offsets, in BigTIFF with 8."""

    order: str
    offset: struct.Struct
    entries: struct.Struct
    entry: struct.Struct

    @property
    def inline(self) -> int:
        """Bytes of a value that fits into its entry."""
        return self.offset.size


def check(file: Path) -> None:
    """Raise `InputError` where the directories, or values that they point to, go past the end of the file."""
    length = file.stat().st_size
    with file.open("rb") as stream:
        form, start = _form(stream, file)
        seen: set[int] = set()
        while start and start not in seen:
            seen.add(start)
            start = _directory(stream, form, start, length, file)
    if not seen:
        raise InputError(f"{file} is a TIFF file without an image")


def _form(stream: IO[bytes], file: Path) -> tuple[_Form, int]:
    """Read the header: the layout of numbers and where the first directory is."""
    order = "<" if stream.read(2) == b"II" else ">"
    big = struct.unpack(order + "H", stream.read(2))[0] == 43
    if big:
        stream.seek(8)
        sizes = ("Q", "Q", "HHQQ")
    else:
        sizes = ("I", "H", "HHII")
    form = _Form(order, *(struct.Struct(order + size) for size in sizes))
    return form, int(_unpacked(stream, form.offset, file)[0])


def _directory(stream: IO[bytes], form: _Form, start: int, length: int, file: Path) -> int:
    """Check one directory and return where the next one is, 0 after the last."""
    stream.seek(min(start, length))
    (count,) = _unpacked(stream, form.entries, file)
    if start + form.entries.size + count * form.entry.size > length:
        raise InputError(f"{file} is cut short or damaged: a directory goes past the end of its {length} bytes")
    entries = stream.read(count * form.entry.size)
    for _, kind, values, offset in form.entry.iter_unpack(entries):
        size = _SIZES.get(kind, 0) * values
        if size > form.inline and offset + size > length:
            raise InputError(f"{file} is cut short or damaged: a tag's values go past the end of its {length} bytes")
    (following,) = _unpacked(stream, form.offset, file)
    return int(following)


def _unpacked(stream: IO[bytes], layout: struct.Struct, file: Path) -> tuple[int, ...]:
    data = stream.read(layout.size)
    if len(data) < layout.size:
        raise InputError(f"{file} is cut short: it points to a directory past its end")
    return layout.unpack(data)
