"""PNG of 16 bits a sample and more than one sample a pixel: the only kind that Pillow does not decode in full.

Follows the PNG specification (ISO/IEC 15948): chunks of length, type, data and checksum; one zlib stream of rows, each
begun by the number of the filter that it went through.
"""

import struct
import zlib
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError
from flowseg.kernels import png

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour type: samples a pixel.
_SAMPLES = {2: 3, 4: 2, 6: 4}


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
    return DeepPng(height, width, _SAMPLES[color], interlace != 0)


def decode(stream: IO[bytes]) -> npt.NDArray[np.uint16]:
    """Decode a stream from its start to (H, W, samples)."""
    stream.seek(0)
    header = probe(stream)
    if header is None or header.interlaced:
        raise InputError("16-bit colour PNG with interlacing is not read; save it without, or as TIFF")
    row = header.width * header.samples * 2
    wanted = header.height * (row + 1)
    data = _inflated(stream, wanted)
    if len(data) < wanted:
        raise InputError(f"cut short: {len(data)} of {wanted} bytes of pixels")
    rows = np.frombuffer(data, np.uint8, wanted).reshape(header.height, row + 1)
    if rows[:, 0].max() > 4:
        raise InputError(f"damaged: filter {rows[:, 0].max()} is not one of 0..4")
    pixels = png.unfiltered(rows, header.samples * 2)
    return pixels.view(">u2").astype(np.uint16).reshape(header.height, header.width, header.samples)


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
