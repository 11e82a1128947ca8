"""Image files: TIFF, PNG, JPEG and BMP become `Image` records; a folder becomes a list of files.

A file is known by its first bytes, not by its name. Whatever is wrong with one raises `InputError`, or `MissingExtra`
where a package would help, and the message names the file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowseg import files, images, machine
from flowseg.errors import InputError
from flowseg.images import Image
from flowseg.sources import _pictures, _tiff
from flowseg.sources._header import Header
from flowseg.sources._search import EXTENSIONS, find, natural_key

__all__ = ["EXTENSIONS", "Header", "find", "natural_key", "probe", "read"]

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class _Limits(NamedTuple):
    """How much memory an image may take and where the number comes from."""

    bytes: int
    reason: str


def read(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    plane: Mapping[str, int] | str | None = None,
    max_bytes: int | None = None,
) -> Image:
    """Read one plane of an image file, with all its channels.

    Parameters
    ----------
    path
        A TIFF (also BigTIFF, OME, ImageJ), PNG, JPEG or BMP file.
    axes
        A letter for each axis as stored, such as ``"CYX"``, where a TIFF file does not say or is wrong. The other
        formats always say theirs.
    plane
        Which time or slice, counted from 0: ``{"Z": 3}`` or ``"Z=3,T=0"``.
    max_bytes
        Refuse an image that is larger than this when decoded; None is half of the memory that there is.

    Returns
    -------
    Image
        Channels first, in the type stored. Palettes of PNG and BMP are turned into colours, those of TIFF (as ImageJ
        writes for a coloured grey image) are ignored. Transparency is dropped; EXIF rotation is not applied.

    Raises
    ------
    InputError
        No such file, not an image, damaged, too large, or its axes are unclear.
    MissingExtra
        It is compressed in a way that needs the imagecodecs package.

    Examples
    --------
    >>> image = read("cells.tif", axes="CYX")                          # doctest: +SKIP
    >>> image.pixels.shape, image.channel_names                        # doctest: +SKIP
    ((3, 512, 512), ('DAPI', 'GFP', 'RFP'))
    """
    file = Path(path)
    if _is_tiff(file):
        return _tiff.read(file, axes, plane, lambda header, size: _check_size(header, size, max_bytes))
    header = _pictures.probe(file)
    _check_size(header, header.nbytes, max_bytes)
    return images.from_array(_pictures.decode(file), axes=header.axes, plane=plane, path=file)


def probe(path: str | os.PathLike[str], *, axes: str | None = None) -> Header:
    """Say what an image file holds from its header alone, without decoding a pixel.

    Returns
    -------
    Header
        Shape, type and axes as stored (``axes`` replaces those of a TIFF file) and the size in memory of all planes.

    Examples
    --------
    >>> probe("cells.tif").nbytes                                       # doctest: +SKIP
    1572864
    """
    file = Path(path)
    if not _is_tiff(file):
        return _pictures.probe(file)
    header = _tiff.probe(file)
    if axes is None:
        return header
    return header._replace(axes=images.fitted_axes(axes, header.shape, str(file)))


def _is_tiff(file: Path) -> bool:
    """Tell TIFF from the other formats by the first bytes; refuse what is neither."""
    files.check_has_end(file)
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        if file.is_dir():  # which Windows tells as a lack of rights
            raise InputError(f"{file} is a folder; wanted an image file") from error
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{file} {files.too_long(file) or 'does not exist'}") from error
        raise InputError(f"{file} cannot be opened: {error.strerror or error}") from error
    if not start:
        raise InputError(f"{file} is empty (0 bytes)")
    if start.startswith(_TIFF_STARTS):
        return True
    if _pictures.is_picture(start):
        return False
    raise InputError(
        f"{file} is not a TIFF, PNG, JPEG or BMP image: it begins with {start!r}. Fiji saves what it opens, most "
        "microscopes' files among it, as TIFF (File > Save As > Tiff)"
    )


def _check_size(header: Header, size: int, max_bytes: int | None) -> None:
    limit = memory_limit() if max_bytes is None else _Limits(max_bytes, "the limit given")
    if size > limit.bytes:
        raise InputError(
            f"{header.path} claims {header.shape} pixels of {np.dtype(header.dtype)}, {size / 1e9:.2f} GB when "
            f"decoded; at most {limit.bytes / 1e9:.2f} GB are taken ({limit.reason}): is the file "
            f"damaged? If not, cut it up or take one plane of it"
        )


def memory_limit() -> _Limits:
    """Return how many bytes one image may take, and why."""
    memory = machine.whole_memory()
    if not memory:
        return _Limits(8 << 30, "as the memory of this machine is not known")
    return _Limits(memory // 2, "half of the memory that there is")
