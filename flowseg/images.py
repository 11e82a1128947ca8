"""An image as the rest of the package sees it: channels first, one plane, its axes known and never guessed.

What is clear is taken as it is: a grey image (H, W), a colour image (H, W, 3 or 4), axes that a file states. Anything
else is asked for, by an error that lists what the shape could be.

A letter stands for each axis, as in TIFF files: T time, Z depth, C channel, Y and X, S the samples of a colour pixel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import threads
from flowseg.arrays import Floats, as_array
from flowseg.errors import InputError, OptionError
from flowseg.kernels import resize as resize_kernel
from flowseg.words import many

Array = npt.NDArray[Any]

# Modes of pictures of Pillow whose numbers are neither brightness nor red, green and blue, though they look so.
_OTHER_MODES = ("P", "PA", "LA", "La", "CMYK", "YCbCr", "LAB", "HSV")

AXES = {"T": "time", "Z": "slice", "C": "channel", "Y": "row", "X": "column", "S": "colour sample"}

# Below this many output pixels a thread costs more than it saves.
_PIXELS_A_THREAD = 1 << 18


@dataclass(frozen=True, eq=False)
class Image:
    """One plane of an image with all its channels.

    Attributes
    ----------
    pixels
        (C, H, W), any boolean, integer or float type, as stored; may be a view of what it was made from.
    channel_names
        A name for each channel, or () where none are known.
    color
        Whether the channels are red, green and blue.
    path
        The file it came from, if any.
    """

    pixels: Array
    channel_names: tuple[str, ...] = ()
    color: bool = False
    path: Path | None = None

    def __repr__(self) -> str:
        height, width = self.shape
        path = f", {self.path}" if self.path else ""
        return f"Image({many(self.channels, 'channel')}, {height} x {width} pixels, {self.pixels.dtype}{path})"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.pixels)

    @property
    def name(self) -> str:
        """What messages call it: its path, or "the image"."""
        return str(self.path) if self.path else "the image"

    def channel_text(self, channel: int) -> str:
        """Return number and name of a channel, such as ``1 'GFP'``."""
        return f"{channel} {self.channel_names[channel]!r}" if self.channel_names else str(channel)


def from_array(
    array: npt.ArrayLike,
    axes: str | None = None,
    *,
    plane: Mapping[str, int] | str | None = None,
    channel_names: Sequence[str] = (),
    path: Path | None = None,
) -> Image:
    """Make an `Image` of an array.

    Parameters
    ----------
    array
        Pixels of any boolean, integer or float type; 2 to 6 axes. Not changed, and not copied where a view will do.
    axes
        A letter for each axis, such as ``"CYX"``; axes of length 1 may be left out. None takes (H, W) as grey and
        (H, W, 3) or (H, W, 4) as RGB or RGBA; any other shape is refused.
    plane
        Which time, slice or channel to take, counted from 0: ``{"Z": 3}`` or ``"Z=3,T=0"``.
    channel_names
        A name for each channel; ignored unless there are as many as channels.
    path
        Named in messages.

    Returns
    -------
    Image
        Channels first. Transparency is dropped.

    Raises
    ------
    InputError
        No pixels, no real numbers, axes that do not fit or are not clear, several planes and none chosen.

    Examples
    --------
    >>> import numpy as np
    >>> from_array(np.zeros((4, 20, 30)), axes="CYX").pixels.shape
    (4, 20, 30)
    >>> from_array(np.zeros((20, 30, 3), np.uint8)).color
    True
    """
    name = str(path) if path else "the image"
    mode = getattr(array, "mode", None)
    if mode in _OTHER_MODES:
        raise InputError(f'{name} is a picture of mode {mode}; wanted grey or RGB: picture.convert("RGB")')
    pixels = _real_numbers(as_array(array, name), name)
    letters = fitted_axes(axes, pixels.shape, name) if axes is not None else clear_axes(pixels.shape, name)
    index = plane_index(letters, pixels.shape, plane, name)
    left = "".join(letter for letter, part in zip(letters, index, strict=True) if isinstance(part, slice))
    taken = _channels_first(pixels[index], left, name)
    names = tuple(str(channel) for channel in channel_names)
    return Image(
        pixels=taken,
        channel_names=names if len(names) == len(taken) and "S" not in left else (),
        color="S" in left and len(taken) == 3,
        path=path,
    )


def _real_numbers(array: Array, name: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has type {array.dtype}; wanted booleans, integers or floats")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape}: it holds no pixels")
    if array.dtype.itemsize > 8:  # extended precision, which nothing below knows
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def clear_axes(shape: tuple[int, ...], name: str = "the image") -> str:
    """Return the axes of an array that states none, where only one reading makes sense; ``_`` is an axis to drop."""
    dropped = 0
    while len(shape) - dropped > 3 and shape[dropped] == 1:
        dropped += 1
    inner = shape[dropped:]
    if len(inner) == 2:
        return "_" * dropped + "YX"
    if len(inner) == 3:
        first, last = inner[0], inner[2]
        if first == 1 and last not in (1, 3, 4):
            return "_" * dropped + "_YX"
        if last == 1 and first != 1:
            return "_" * dropped + "YX_"
        if last in (3, 4) and first not in (1, 3, 4):
            return "_" * dropped + "YXS"
    raise unclear_axes(shape, name)


def unclear_axes(shape: tuple[int, ...], name: str, stated: str = "") -> InputError:
    """Return the error that says what a shape could be and how to say which it is."""
    start = f"{name} has shape {shape}" + (f" and axes {stated!r}" if stated else "")
    if len(shape) < 2:
        return InputError(f"{start}; wanted at least height and width")
    if sum(size > 1 for size in shape) > 2:  # axes of length 1 may be left out
        stated = "".join(letter for letter, size in zip(stated, shape, strict=False) if size > 1)
        shape = tuple(size for size in shape if size > 1)
    readings = _readings(shape, stated)
    if not readings:
        return InputError(f'{start}; say what its axes are, one letter each of TZCYX: axes="..." (--axes)')
    listed = " or ".join(f"{axes} ({_meaning(axes, shape)})" for axes in readings)
    return InputError(f'{start}, which could be {listed}; say which: axes="{readings[0]}" (--axes {readings[0]})')


def _readings(shape: tuple[int, ...], stated: str) -> list[str]:
    """Return the axes that a shape could have, the likelier first; what a file states of them is believed."""
    if has_channels_last(shape, stated):
        return ["YXC", "ZYX", "TYX"]
    unknown = [letter not in AXES for letter in stated] if stated else [True] * (len(shape) - 2) + [False] * 2
    known = stated or "_" * (len(shape) - 2) + "YX"
    choices = {1: ["C", "Z", "T"], 2: ["ZC", "TC", "TZ"], 3: ["TZC"]}.get(sum(unknown), [])
    readings = []
    for choice in choices:
        letters = iter(choice)
        axes = "".join(next(letters) if open_ else letter for letter, open_ in zip(known, unknown, strict=True))
        if len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes):
            readings.append(axes)
    if not stated and len(shape) == 3 and shape[2] in (3, 4):
        readings.append("YXS")
    return readings


def has_channels_last(shape: tuple[int, ...], stated: str = "") -> bool:
    """Whether a shape looks like (height, width, channels), which TIFF files may hold as many thin pages.

    >>> has_channels_last((512, 512, 2)), has_channels_last((2, 512, 512))
    (True, False)
    """
    return len(shape) == 3 and shape[2] < min(shape[:2]) and "S" not in stated


def _meaning(axes: str, shape: tuple[int, ...]) -> str:
    return ", ".join(many(size, AXES[letter]) for letter, size in zip(axes, shape, strict=True) if letter not in "YX")


def fitted_axes(axes: str, shape: tuple[int, ...], name: str = "the image") -> str:
    """Check stated axes against a shape; where axes of length 1 were left out, ``_`` stands for them."""
    letters = parse_axes(axes)
    long = [size for size in shape if size > 1]
    if len(letters) == len(shape):
        fitted = letters
    elif len(letters) == len(long):
        remaining = iter(letters)
        fitted = "".join(next(remaining) if size > 1 else "_" for size in shape)
    else:
        raise InputError(f"{name} has shape {shape}, which axes {axes!r} do not fit: {many(len(letters), 'letter')}")
    return fitted


def parse_axes(text: str) -> str:
    """Read a letter for each axis.

    >>> parse_axes("cyx")
    'CYX'
    """
    letters = str(text).upper()
    if not {"Y", "X"} <= set(letters) <= set(AXES) or len(set(letters)) < len(letters):
        raise OptionError(f"axes {text!r}; wanted Y, X and any of T, Z, C, S, each once, such as 'CYX'")
    return letters


def parse_plane(text: str) -> dict[str, int]:
    """Read ``"Z=3,T=0"``.

    >>> parse_plane("z=3, T=0")
    {'Z': 3, 'T': 0}
    """
    chosen: dict[str, int] = {}
    for part in text.split(","):
        letter, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or letter.upper() not in {"T", "Z", "C"} or not number.isdecimal():
            raise OptionError(f"plane {text!r}; wanted axes and numbers from 0, such as 'Z=3' or 'Z=3,T=0'")
        if letter.upper() in chosen:
            raise OptionError(f"plane {text!r} names {letter.upper()} twice")
        chosen[letter.upper()] = int(number)
    return chosen


def plane_index(
    axes: str, shape: tuple[int, ...], plane: Mapping[str, int] | str | None, name: str = "the image"
) -> tuple[int | slice, ...]:
    """Return the index that takes one plane with its channels out of an array, or say what has to be chosen."""
    chosen = parse_plane(plane) if isinstance(plane, str) else _checked_plane(plane or {})
    sizes = dict(zip(axes, shape, strict=True))
    for letter, number in chosen.items():
        size = sizes.get(letter, 1)
        if letter not in sizes and not set(axes) <= set(AXES):
            raise unclear_axes(shape, name, axes)
        if not 0 <= number < size:
            raise InputError(
                f"{name} has {many(size, AXES[letter])}; plane {letter}={number} is not one of 0..{size - 1}"
            )
    index: list[int | slice] = []
    for letter, size in zip(axes, shape, strict=True):
        if letter in chosen:
            index.append(chosen[letter])
        elif letter in "YXCS":
            index.append(slice(None))
        elif size == 1:
            index.append(0)
        else:
            raise _several_planes(axes, shape, letter, name)
    return tuple(index)


def _checked_plane(plane: Mapping[str, Any]) -> dict[str, int]:
    if not isinstance(plane, Mapping):
        raise OptionError(f"plane {plane!r}; wanted axes and numbers from 0, such as 'Z=3' or {{'Z': 3, 'T': 0}}")
    for letter, number in plane.items():
        if str(letter).upper() not in {"T", "Z", "C"}:
            raise OptionError(f"plane names axis {letter!r}; wanted T, Z or C")
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise OptionError(f"plane {letter}={number!r}; wanted a number from 0")
    return {letter.upper(): int(number) for letter, number in plane.items()}


def _several_planes(axes: str, shape: tuple[int, ...], letter: str, name: str) -> InputError:
    size = shape[axes.index(letter)]
    if letter not in AXES:
        return unclear_axes(shape, name, axes)
    instead = axes.replace(letter, "C")
    otherwise = f', or, if they are channels, axes="{instead}" (--axes {instead})' if "C" not in axes else ""
    return InputError(
        f"{name} has {many(size, AXES[letter])} (shape {shape}, axes {axes}) and only single planes are segmented; "
        f'take one: plane="{letter}={size // 2}" (--plane {letter}={size // 2}){otherwise}'
    )


def _channels_first(pixels: Array, axes: str, name: str) -> Array:
    """Bring (some order of) C or S, Y, X to (C, H, W), without transparency."""
    if "C" in axes and "S" in axes:
        if pixels.shape[axes.index("C")] > 1:
            raise InputError(
                f"{name} has {pixels.shape[axes.index('C')]} channels of colour images (shape {pixels.shape}, axes "
                f'{axes}); take one: plane="C=0" (--plane C=0)'
            )
        pixels = pixels.take(0, axis=axes.index("C"))
        axes = axes.replace("C", "")
    if "C" not in axes and "S" not in axes:
        return pixels.transpose(axes.index("Y"), axes.index("X"))[np.newaxis]
    letter = "S" if "S" in axes else "C"
    ordered = pixels.transpose(axes.index(letter), axes.index("Y"), axes.index("X"))
    if letter == "S":
        if len(ordered) > 4:
            raise InputError(f"{name} has {len(ordered)} colour samples; wanted at most 4; if channels, say C, not S")
        return ordered[: {2: 1, 4: 3}.get(len(ordered), len(ordered))]
    return ordered


def resize(planes: npt.ArrayLike, shape: tuple[int, int]) -> Floats:
    """Resample planes bilinearly, as OpenCV does: pixel centres at halves, edge pixels repeated outwards.

    Parameters
    ----------
    planes
        (H, W) or (C, H, W) real numbers.
    shape
        Height and width wanted, at least 1 each.

    Returns
    -------
    ndarray
        (h, w) or (C, h, w) float32, a new array.

    Examples
    --------
    >>> import numpy as np
    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    given = np.asarray(planes)
    if given.ndim not in (2, 3):
        raise InputError(f"planes have shape {given.shape}; wanted (height, width) or (channels, height, width)")
    height, width = _wanted_shape(given, shape)
    stack = np.ascontiguousarray(given.reshape(-1, *given.shape[-2:]), np.float32)
    out = np.empty((len(stack), height, width), np.float32)
    above, weight_y = _between(stack.shape[1], height)
    left, weight_x = _between(stack.shape[2], width)
    parts = min(threads.count(), max(1, prod(out.shape[1:]) // _PIXELS_A_THREAD))
    for plane, target in zip(stack, out, strict=True):

        def rows(start: int, stop: int, plane: Floats = plane, target: Floats = target) -> None:
            resize_kernel.bilinear_rows(plane, above, weight_y, left, weight_x, target, start, stop)

        threads.over_ranges(rows, threads.even_bounds(height, parts))
    return out.reshape(*given.shape[:-2], height, width)


def _wanted_shape(given: Array, shape: tuple[int, int]) -> tuple[int, int]:
    if 0 in given.shape:
        raise InputError(f"an image of shape {given.shape} holds no pixels to resize")
    if len(shape) != 2 or min(shape) < 1:
        raise OptionError(f"wanted shape is {shape}; wanted (height, width) of at least 1 each")
    return int(shape[0]), int(shape[1])


def _between(size: int, wanted: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each wanted position, the source position before it and how far the way to the next it is."""
    centre = ((np.arange(wanted) + 0.5) * (size / wanted) - 0.5).clip(0, size - 1)
    before = np.floor(centre).astype(np.int64)
    return before, (centre - before).astype(np.float32)
