"""TIFF of every kind through tifffile, made to tell the truth about damage and about axes.

tifffile fills in for what is missing (planes, strips) and reports it in a log at most. For segmentation a plane of
zeros in place of an image is worse than an error, so everything a file claims is checked against its length first.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import tifffile

from flowseg import images
from flowseg.errors import FlowsegError, InputError, MissingExtra
from flowseg.images import Image
from flowseg.sources import _tiff_chain
from flowseg.sources._header import Header

Array = npt.NDArray[Any]

# All that tifffile and the decoders under it are known to raise on damaged files.
_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    AssertionError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)

# Photometric interpretations that are a colour of three samples: RGB, YCbCr (which codecs such as JPEG turn into RGB).
_COLOR_SPACES = {2, 6}
# Those that would be taken for red, green and blue; the first one where no codec turns it into them.
_OTHER_COLORS = {5: "CMYK", 6: "YCbCr", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*"}
_PLAIN_COMPRESSIONS = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, deflate, PackBits, LZMA, Zstandard

# File kinds whose further series are thumbnails, labels and the like: the first is the image.
_MAIN_SERIES_FIRST = {"svs", "lsm", "scn", "ndpi", "philips", "bif", "qpi", "avs"}


def probe(file: Path) -> Header:
    """Read the header of a TIFF file."""
    with _opened(file) as tif:
        return _header(file, _series(file, tif))


def read(
    file: Path,
    axes: str | None,
    plane: Mapping[str, int] | str | None,
    check_size: Callable[[Header, int], None],
) -> Image:
    """Read one plane of a TIFF file; ``check_size`` is called with the header and the bytes to decode beforehand."""
    with _opened(file) as tif:
        series = _series(file, tif)
        header = _header(file, series)
        stated = images.fitted_axes(axes, header.shape, str(file)) if axes is not None else header.axes
        index = images.plane_index(stated, header.shape, plane, str(file))
        pages = _Pages(series)
        check_size(header, pages.nbytes(index))
        _check_complete(file, pages, index)
        pixels = pages.decode(index)
        names = _channel_names(tif, dict(zip(stated, header.shape, strict=True)).get("C", 1))
    left = "".join(letter for letter, part in zip(stated, index, strict=True) if isinstance(part, slice))
    return images.from_array(pixels, axes=left, channel_names=names, path=file)


@contextmanager
def _opened(file: Path) -> Iterator[tifffile.TiffFile]:
    """Open a file; turn what decoders raise into errors that name it."""
    _tiff_chain.check(file)
    try:
        # A file of an OME set stands for itself: its companions are images of their own.
        with tifffile.TiffFile(file, _multifile=False) as tif:
            yield tif
    except FlowsegError:
        raise
    except ImportError as error:
        raise _needs_codec(file, str(error)) from error
    except _DAMAGE as error:
        if "imagecodecs" in str(error):
            raise _needs_codec(file, str(error)) from error
        raise InputError(f"{file} cannot be read as TIFF; it may be damaged or cut short: {error}") from error


def _needs_codec(file: Path, text: str) -> MissingExtra:
    """Make the error for a compression that tifffile cannot decode alone; its text names it as <COMPRESSION.LZW: 5>."""
    what = text.partition(".")[2].partition(":")[0] if "<" in text else "pixels of this kind"
    return MissingExtra(f"imagecodecs, which decodes {what} in {file},", extra="io")


def _series(file: Path, tif: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Return the one series of pages that is the image."""
    if not tif.series or not tif.pages:
        raise InputError(f"{file} holds no image")
    several = [series for series in tif.series if not _is_aside(series)] or tif.series
    planes = int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1
    if several[0].kind != "imagej" and planes > len(tif.pages):  # tifffile then takes the pages for all there is
        raise InputError(f"{file} is cut short: its description names {planes} planes, {len(tif.pages)} are there")
    if len(several) > 1 and several[0].kind not in _MAIN_SERIES_FIRST:
        shapes = ", ".join(f"{series.shape} {series.axes}" for series in several[:6])
        more = ", ..." if len(several) > 6 else ""
        raise InputError(
            f"{file} holds {len(several)} images ({shapes}{more}); wanted one a file: save them apart (in ImageJ: "
            f"open one series, Save As Tiff)"
        )
    if several[0].dtype is None or prod(several[0].shape) == 0:
        raise InputError(f"{file} holds no pixels, or of a type that is not known")
    _refuse_other_colors(file, several[0])
    return several[0]


def _is_aside(series: tifffile.TiffPageSeries) -> bool:
    """Whether a file says itself that this is a small copy of its image, as GIMP's previews are, or its mask."""
    return bool(series.keyframe.is_reduced or series.keyframe.is_mask)


def _refuse_other_colors(file: Path, series: tifffile.TiffPageSeries) -> None:
    page = series.keyframe
    name = _OTHER_COLORS.get(int(page.photometric))
    if name and (name != "YCbCr" or int(page.compression) in _PLAIN_COMPRESSIONS):
        raise InputError(f"{file} holds colours as {name}; wanted red, green and blue: save it as RGB")


def _header(file: Path, series: tifffile.TiffPageSeries) -> Header:
    return Header(file, tuple(int(size) for size in series.shape), _stated_axes(series), np.dtype(series.dtype))


def _stated_axes(series: tifffile.TiffPageSeries) -> str:
    """Axes as the file states them; samples that are not red, green and blue are channels."""
    axes = str(series.axes)
    if "S" not in axes or _samples_are_colors(series):
        return axes
    if "C" not in axes:
        return axes.replace("S", "C")
    return axes if series.shape[axes.index("S")] > 1 else axes.replace("S", "_")


def _samples_are_colors(series: tifffile.TiffPageSeries) -> bool:
    """Whether the samples of a pixel are a colour, with or without transparency."""
    page = series.keyframe
    samples = series.shape[series.axes.index("S")]
    transparent = [int(extra) for extra in page.extrasamples or ()] in ([1], [2])
    if int(page.photometric) in _COLOR_SPACES:
        return samples == 3 or (samples == 4 and transparent)
    return samples == 2 and transparent


class _Pages:
    """The planes that a series is stored as, whether each has a page of its own or one page stands for a run of all."""

    def __init__(self, series: tifffile.TiffPageSeries) -> None:
        self.series = series
        self.dtype = np.dtype(series.dtype)
        shape, page = tuple(series.shape), tuple(series.keyframe.shape)
        lead = shape[: len(shape) - len(page)]
        self.apart = shape[len(lead) :] == page and prod(lead) == len(series.pages)
        # Large ImageJ stacks have one page and one run of bytes; else pages and axes do not match and all is one.
        self.in_one_run = not self.apart and series.dataoffset is not None and shape[-2:] == page[-2:]
        self.shape = page if self.apart else shape[-2:] if self.in_one_run else shape
        self.lead = shape[: len(shape) - len(self.shape)]

    def needed(self, index: tuple[int | slice, ...]) -> npt.NDArray[np.int64]:
        """Return the numbers of the planes that an index touches, shaped as what it leaves of the axes across them."""
        return np.asarray(np.arange(prod(self.lead)).reshape(self.lead)[index[: len(self.lead)]])

    def nbytes(self, index: tuple[int | slice, ...]) -> int:
        """Return the bytes of memory that decoding the planes of an index takes."""
        return int(self.needed(index).size) * prod(self.shape) * self.dtype.itemsize

    def decode(self, index: tuple[int | slice, ...]) -> Array:
        """Decode the planes that an index touches and apply it."""
        numbers = self.needed(index)
        if not self.apart and not self.in_one_run:
            return np.asarray(self.series.asarray())[index]
        stack = np.empty((numbers.size, *self.shape), self.dtype)
        for place, number in enumerate(numbers.ravel()):
            stack[place] = self._plane(int(number))
        within = (slice(None),) * numbers.ndim + index[len(self.lead) :]
        return np.asarray(stack.reshape(*numbers.shape, *self.shape)[within])

    def _plane(self, number: int) -> Array:
        if self.apart:
            page = self.series.pages[number]
            assert page is not None, "checked before"
            return np.asarray(page.asarray())
        size = prod(self.shape)
        handle = self.series.keyframe.parent.filehandle
        handle.seek(int(self.series.dataoffset or 0) + number * size * self.dtype.itemsize)
        stored = self.dtype.newbyteorder(self.series.keyframe.parent.byteorder)
        return np.asarray(handle.read_array(stored, size)).reshape(self.shape)


def _check_complete(file: Path, pages: _Pages, index: tuple[int | slice, ...]) -> None:
    """Raise where the file is shorter than it says: pages missing, or strips and tiles that lie past its end."""
    length = file.stat().st_size
    series = pages.series
    if series.dataoffset is not None:  # one run of bytes
        end = series.dataoffset + prod(series.shape) * pages.dtype.itemsize
        if end > length:
            raise InputError(f"{file} is cut short: {length} bytes of at least {end}")
        return
    touched = [series.pages[int(number)] for number in pages.needed(index).ravel()] if pages.apart else series.pages
    for page in touched:
        if page is None:
            raise InputError(f"{file} is cut short: planes that its description names are missing")
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if max(ends, default=0) > length:
            raise InputError(f"{file} is cut short: {length} bytes of at least {max(ends)}")
        if len(ends) < prod(page.chunked) and not page.is_contiguous:  # tifffile makes the others zeros
            raise InputError(f"{file} is damaged: it lists {len(ends)} of the {prod(page.chunked)} pieces of a plane")


def _channel_names(tif: tifffile.TiffFile, channels: int) -> list[str]:
    """Names that OME or ImageJ metadata give to the channels; none unless they are as many as the channels."""
    names: list[str] = []
    if tif.is_ome and tif.ome_metadata:
        names = _ome_names(tif.ome_metadata)
    elif tif.is_imagej and tif.imagej_metadata:
        labels = tif.imagej_metadata.get("Labels") or []
        names = [str(label) for label in ([labels] if isinstance(labels, str) else labels)]
    return names if len(names) == channels and all(names) else []


def _ome_names(text: str) -> list[str]:
    try:
        pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError:  # names are a help, not a need
        return []
    return [] if pixels is None else [channel.get("Name") or "" for channel in pixels.findall("{*}Channel")]
