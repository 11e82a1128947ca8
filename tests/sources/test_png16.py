"""PNG of 16 bits and several samples, which Pillow would cut to 8."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from flowseg.errors import InputError
from flowseg.sources import image_files


def png16(array: np.ndarray, interlace: int = 0, cut: int | None = None) -> bytes:
    """Write a 16-bit PNG of 2 to 4 samples; ``cut`` is how many bytes of rows it keeps."""
    height, width, samples = array.shape
    if interlace:
        parts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        rows = b"".join(filtered(part) for y, x, dy, dx in parts if (part := array[y::dy, x::dx]).size)
    else:
        rows = filtered(array)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    color = {2: 4, 3: 2, 4: 6}[samples]
    data = zlib.compress(rows[:cut])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, interlace))
    body = chunk(b"tEXt", b"Comment\0x") + chunk(b"IDAT", data[:40]) + chunk(b"IDAT", data[40:])
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def filtered(array: np.ndarray) -> bytes:
    """Return the rows of a 16-bit PNG with every filter but Paeth's in use, row by row."""
    height, width, samples = array.shape
    raw = array.astype(">u2").tobytes()
    row = width * samples * 2
    rows = []
    for y in range(height):
        line = np.frombuffer(raw, np.uint8, row, y * row).astype(int)
        above = np.frombuffer(raw, np.uint8, row, (y - 1) * row).astype(int) if y else np.zeros(row, int)
        left = np.concatenate([np.zeros(samples * 2, int), line])[:row]
        guess = [np.zeros(row, int), left, above, (left + above) // 2][y % 4]
        rows.append(bytes([y % 4]) + ((line - guess) % 256).astype(np.uint8).tobytes())
    return b"".join(rows)


@pytest.mark.parametrize("shape", [(9, 7), (1, 1), (3, 13)])
@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_png_of_16_bits_keeps_them(tmp_path: Path, samples: int, interlace: int, shape: tuple[int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (*shape, samples), np.uint16)
    file = tmp_path / "a.png"
    file.write_bytes(png16(array, interlace))
    image = image_files.read(file)
    assert image.pixels.dtype == np.uint16
    assert image.color == (samples > 2)
    np.testing.assert_array_equal(image.pixels, array[..., : 1 if samples == 2 else 3].transpose(2, 0, 1))
    assert image_files.probe(file).shape == array.shape
    # Pillow reads the upper 8 bits of the same file: the fixture is a PNG that others agree on.
    if samples > 2:
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(file)), array >> 8)


def test_png_of_16_bits_that_is_damaged(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), np.uint16)
    whole = png16(array)
    file = tmp_path / "a.png"
    damaged = bytearray(whole)
    damaged[-40] ^= 1
    for data, message in [
        (png16(array, cut=100), "cut short"),
        (png16(array, interlace=1, cut=100), "cut short"),
        (png16(array, interlace=2), "interlacing 2"),
        (whole[:120], "a.png"),
        (bytes(damaged), "checksum"),
    ]:
        file.write_bytes(data)
        with pytest.raises(InputError, match=message):
            image_files.read(file)
