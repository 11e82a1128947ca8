"""The one place that knows what arrays look like: rank, axis order, dtype. Everything else asks here.

Labels are ``(H, W)`` integers, 0 is background. Flows are ``(2, H, W)``: the flow along each image axis in axis order,
so (dy, dx). Functions return arrays that kernels take as they are, and never change what they were given.
"""

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

MAX_LABEL = 2**31 - 1


class LabelImage(NamedTuple):
    """A label image that kernels can index by.

    Attributes
    ----------
    image
        (H, W) int32, C-contiguous, values 0..n with n at most about the number of pixels; gaps are possible.
    values
        (n + 1,) int64: the caller's own label for each value in ``image``; ``values[0]`` is 0.
    """

    image: Labels
    values: npt.NDArray[np.int64]


def as_array(values: Any, name: str = "the array") -> npt.NDArray[Any]:
    """Return what a caller gave as an array: arrays, nested lists, tensors of torch on any device.

    Raises
    ------
    InputError
        A path, rows of different lengths, or an array of which some is masked.
    """
    if isinstance(values, str | bytes | os.PathLike):
        raise InputError(
            f"{name} is {os.fspath(values)!r}, a name; wanted an array: flowseg.read_image(path) opens an image, "
            "flowseg.read_labels(path) a label image"
        )
    if np.ma.is_masked(values):
        raise InputError(
            f"{name} is a masked array, and what is masked would count: wanted plain numbers (array.filled(0))"
        )
    try:
        if hasattr(values, "detach"):  # a tensor
            values = values.detach().cpu()
            if "bfloat16" in str(values.dtype):  # which numpy does not have
                values = values.float()
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} is a {type(values).__name__} that makes no array: {error}") from error


def as_labels(labels: npt.ArrayLike, name: str = "labels") -> LabelImage:
    """Check a label image of any integer type and make it indexable.

    Raises
    ------
    InputError
        Not two-dimensional, not integers (floats that hold whole numbers pass), negative, or above 2**31 - 1.
    """
    array = as_array(labels, name)
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; wanted a two-dimensional label image (height, width)")
    array = _whole_numbers(array, name)
    if array.size == 0:
        return LabelImage(np.zeros(array.shape, np.int32), np.zeros(1, np.int64))
    # Seen as unsigned, negative numbers are the largest: one pass finds both what is too low and what is too high.
    high = int(array.view(array.dtype.str.replace("i", "u")).max())
    if array.dtype.kind == "i" and high > np.iinfo(array.dtype).max:
        raise InputError(f"{name} holds {array.min()}; wanted 0 for background and positive numbers for instances")
    if high > MAX_LABEL:
        raise InputError(f"{name} holds {high}; wanted labels of at most {MAX_LABEL}")
    if high <= max(array.size, 1024):
        return LabelImage(_for_kernels(array, np.int32), np.arange(high + 1))
    return _renumbered(array)


def _for_kernels(array: npt.NDArray[Any], dtype: type) -> npt.NDArray[Any]:
    """Return an array of the one kind that kernels are compiled for: contiguous, aligned, not marked read-only."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


def _whole_numbers(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind != "f":
        raise InputError(f"{name} has type {array.dtype}; wanted integers")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity; wanted whole numbers")
    if (array != np.trunc(array)).any():
        wrong = array[array != np.trunc(array)].flat[0]
        raise InputError(f"{name} holds {wrong}, a fraction; wanted whole numbers (is this a probability map?)")
    if array.size and float(np.abs(array).max()) > MAX_LABEL:
        raise InputError(f"{name} holds {np.abs(array).max()}; wanted labels of at most {MAX_LABEL}")
    return array.astype(np.int64)


def _renumbered(array: npt.NDArray[Any]) -> LabelImage:
    """Give the labels the numbers 1..n in their own order."""
    import fastremap

    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    image, mapping = fastremap.renumber(native, preserve_zero=True, in_place=False)
    found = np.zeros(int(image.max()) + 1, np.int64)
    for value, number in mapping.items():
        found[int(number)] = int(value)
    values = np.sort(found)
    return LabelImage(np.searchsorted(values, found).astype(np.int32)[image], values)


def as_mask(mask: npt.ArrayLike, name: str = "mask") -> npt.NDArray[np.bool_]:
    """Check a mask of one instance: two-dimensional, boolean or 0 and one other value."""
    array = as_array(mask, name)
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; wanted a two-dimensional mask (height, width)")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has type {array.dtype}; wanted a boolean or number mask")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"{name} holds NaN; wanted a mask of zeros and ones")
    inside = np.ascontiguousarray(array != 0)
    if array.dtype.kind != "b" and inside.any():
        values = array[inside]
        least, most = values.min(), values.max()
        if least != most:
            raise InputError(
                f"{name} holds {least} and {most} beside 0; wanted the mask of one instance "
                "(from_labels, encode_labels and labels_to_coco take label images)"
            )
    return inside


def as_flows(flows: npt.ArrayLike, name: str = "flows") -> Floats:
    """Check a flow field: ``(2, H, W)``, finite, as contiguous float32."""
    array = as_array(flows, name)
    if array.ndim != 3 or array.shape[0] != 2:
        raise InputError(f"{name} has shape {array.shape}; wanted (2, height, width): flows along y and along x")
    return _finite(array, name)


def as_probability(cellprob: npt.ArrayLike, shape: tuple[int, ...], name: str = "cellprob") -> Floats:
    """Check a map of cell probability logits of a known shape: finite, as contiguous float32."""
    array = as_array(cellprob, name)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; wanted that of the image, {shape}")
    return _finite(array, name)


def _finite(array: npt.NDArray[Any], name: str) -> Floats:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has type {array.dtype}; wanted real numbers")
    # A finite sum has finite parts: one fast pass. An infinite one may also come of large numbers: then look closely.
    with np.errstate(over="ignore", invalid="ignore"):
        result: Floats = _for_kernels(array, np.float32)
        suspicious = not np.isfinite(np.sum(result))
    if suspicious and not np.isfinite(result).all():
        raise InputError(f"{name} holds NaN or infinity; wanted finite numbers (was the image free of NaN?)")
    return result


def check_same_shape(first: tuple[int, ...], second: tuple[int, ...], names: str) -> None:
    """Raise unless two shapes agree; ``names`` reads like ``'truth and pred'``."""
    if first != second:
        raise InputError(f"{names} have shapes {first} and {second}; wanted two images of the same size")
