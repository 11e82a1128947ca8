"""PNG of 16 bits a sample and more than one sample a pixel: the only kind that Pillow does not decode in full.

Follows the PNG specification (ISO/IEC 15948): chunks of length, type, data and checksum; one zlib stream of rows, each
begun by the number of the filter that it went through. With interlacing (Adam7) these are the rows of seven pictures,
the first of every eighth pixel both ways, the last of every other row.
"""

import struct
import zlib
from itertools import accumulate
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError
from flowseg.kernels import png

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour type: samples a pixel.
_SAMPLES = {2: 3, 4: 2, 6: 4}
# First row and column of each picture, and steps between its rows and columns.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


class DeepPng(NamedTuple):
    """What the header of such a file says."""

    height: int
    width: int
    samples: int
    interlaced: bool


def probe(stream: IO[bytes]) -> DeepPng | None:
    """Read the header at the start of a stream; None unless it is a PNG of this kind."""
    start = stream.read(33)
    if len(start) < 33 or not start.startswith(_SIGNATURE) or start[12:16] != b"IHDR":
        return None
    width, height, bits, color, _, _, interlace = struct.unpack(">IIBBBBB", start[16:29])
    if bits != 16 or color not in _SAMPLES:
        return None
    if width == 0 or height == 0:
        raise InputError(f"the header says {height} x {width} pixels")
    if interlace not in (0, 1):
        raise InputError(f"damaged: interlacing {interlace} is not one of 0 and 1")
    return DeepPng(height, width, _SAMPLES[color], interlace == 1)


def decode(stream: IO[bytes]) -> npt.NDArray[np.uint16]:
    """Decode a stream from its start to (H, W, samples)."""
    stream.seek(0)
    header = probe(stream)
    assert header is not None
    pixels = np.empty((header.height, header.width, header.samples), np.uint16)
    parts = [pixels[y::rows, x::columns] for y, x, rows, columns in (_ADAM7 if header.interlaced else _WHOLE)]
    sizes = [len(part) * (part[0].nbytes + 1) if part.size else 0 for part in parts]
    data = _inflated(stream, sum(sizes))
    if len(data) < sum(sizes):
        raise InputError(f"cut short: {len(data)} of {sum(sizes)} bytes of pixels")
    for part, end, size in zip(parts, accumulate(sizes), sizes, strict=True):
        if part.size:
            rows = np.frombuffer(data, np.uint8, size, end - size).reshape(len(part), -1)
            part[:] = _unfiltered(rows, header.samples).reshape(part.shape)
    return pixels


def _unfiltered(rows: npt.NDArray[np.uint8], samples: int) -> npt.NDArray[np.uint16]:
    """Return the samples (H, width * samples) of filtered rows."""
    if rows[:, 0].max() > 4:
        raise InputError(f"damaged: filter {rows[:, 0].max()} is not one of 0..4")
    return png.unfiltered(rows, samples * 2).view(">u2").astype(np.uint16)


def _inflated(stream: IO[bytes], wanted: int) -> bytes:
    """Join and inflate the data chunks; stops at the bytes wanted, whatever a hostile file may hold beyond."""
    inflate = zlib.decompressobj()
    parts: list[bytes] = []
    left = wanted
    stream.seek(len(_SIGNATURE))
    while left > 0:
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        length = int.from_bytes(head[:4], "big")
        if head[4:] != b"IDAT":
            stream.seek(length + 4, 1)
            continue
        chunk = stream.read(length)
        checksum = stream.read(4)
        if len(chunk) == length and zlib.crc32(chunk, zlib.crc32(b"IDAT")).to_bytes(4, "big") != checksum:
            raise InputError("damaged: a checksum is wrong")
        parts.append(inflate.decompress(chunk, left))
        left -= len(parts[-1])
    return b"".join(parts)
