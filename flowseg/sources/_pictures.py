"""PNG, JPEG and BMP through Pillow; PNG of 16 bits and several samples through a decoder of our own.

Pillow has no pixel type for 16-bit colour and keeps the upper 8 bits only. Its own limit on image size is passed by:
the caller compares the header with the memory at hand.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin
from PIL.ImageFile import ImageFile

from flowseg.errors import InputError
from flowseg.sources import _png16
from flowseg.sources._header import Header

Array = npt.NDArray[Any]

_STARTS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "BMP": b"BM"}
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# What a Pillow mode becomes: axes, samples kept or made, type.
_MODES: dict[str, tuple[str, int, str]] = {
    "1": ("YX", 1, "bool"),
    "L": ("YX", 1, "uint8"),
    "LA": ("YXS", 2, "uint8"),
    "I;16": ("YX", 1, "uint16"),
    "I;16B": ("YX", 1, "uint16"),
    "I": ("YX", 1, "int32"),
    "F": ("YX", 1, "float32"),
    "P": ("YXS", 3, "uint8"),
    "PA": ("YXS", 3, "uint8"),
    "RGB": ("YXS", 3, "uint8"),
    "RGBX": ("YXS", 3, "uint8"),
    "RGBA": ("YXS", 4, "uint8"),
    "CMYK": ("YXS", 3, "uint8"),
    "YCbCr": ("YXS", 3, "uint8"),
}


def is_picture(start: bytes) -> bool:
    """Whether a file that begins with these bytes is one for this module."""
    return start.startswith(tuple(_STARTS.values()))


def probe(file: Path) -> Header:
    """Read the header of a PNG, JPEG or BMP file."""
    with _reported(file), file.open("rb") as stream:
        deep = _png16.probe(stream)
        if deep:
            return Header(file, (deep.height, deep.width, deep.samples), "YXS", np.dtype(np.uint16))
        stream.seek(0)
        with _opened(stream) as picture:
            axes, samples, dtype = _mode(picture)
            shape = (picture.height, picture.width) + ((samples,) if axes == "YXS" else ())
            return Header(file, shape, axes, np.dtype(dtype))


def decode(file: Path) -> Array:
    """Decode a file to (H, W) or (H, W, samples)."""
    with _reported(file), file.open("rb") as stream:
        if _png16.probe(stream):
            return _png16.decode(stream)
        stream.seek(0)
        with _opened(stream) as picture:
            axes, samples, dtype = _mode(picture)
            if axes == "YXS" and samples == 3 and picture.mode != "RGB":
                return np.asarray(picture.convert("RGB"))
            return np.asarray(picture).astype(dtype, copy=False)


def palette_numbers(file: Path) -> Array | None:
    """Return, (H, W), the numbers of a file's pixels in its palette; None where it has no palette."""
    with _reported(file), file.open("rb") as stream:
        if _png16.probe(stream):
            return None
        stream.seek(0)
        with _opened(stream) as picture:
            return np.array(picture) if picture.mode == "P" else None


@contextmanager
def _reported(file: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: {error}") from error.__cause__
    except _DAMAGE as error:
        raise InputError(f"{file} cannot be read; it may be damaged or cut short: {error}") from error


def _opened(stream: IO[bytes]) -> ImageFile:
    """Open by the first bytes; `PIL.Image.open` would warn of, then refuse, images of more than 89 megapixels."""
    start = stream.read(8)
    stream.seek(0)
    if start.startswith(_STARTS["PNG"]):
        return PngImagePlugin.PngImageFile(stream)
    if start.startswith(_STARTS["JPEG"]):
        return JpegImagePlugin.JpegImageFile(stream)
    return BmpImagePlugin.BmpImageFile(stream)


def _mode(picture: ImageFile) -> tuple[str, int, str]:
    if picture.mode not in _MODES:
        raise InputError(f"pixels of kind {picture.mode} are not known; save it as grey or RGB")
    return _MODES[picture.mode]
