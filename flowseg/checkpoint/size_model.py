"""Cellpose's size models (``size_*.npy``): from the style of an image to the diameter of its objects.

Such a file is a pickled dictionary, and is read without running any of it (see `flowseg.pickles`).
"""

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.checkpoint._files import PathLike, naming, opened, read_bytes
from flowseg.errors import InputError, ModelError
from flowseg.pickles import Array, read_object

_MAX_BYTES = 2**20
_SMALLEST = 5.0  # pixels; Cellpose never predicts less


@dataclass(frozen=True, eq=False)
class SizeModel:
    """A linear model from style to the logarithm of the diameter.

    Attributes
    ----------
    weights
        (S,) float64: what each part of the style adds (``A`` in Cellpose's file).
    style_mean
        (S,) float64: mean style of the training images (``smean``).
    log_mean
        Mean logarithm of diameter over ``diameter_mean`` in training (``ymean``).
    diameter_mean
        Diameter in pixels that the network was trained at (``diam_mean``).
    digest
        SHA-256 of the file.

    Examples
    --------
    >>> model = SizeModel(np.zeros(4), np.zeros(4), log_mean=0.0, diameter_mean=30.0)
    >>> round(model.diameter(np.ones(4)), 3)
    30.0
    """

    weights: npt.NDArray[np.float64]
    style_mean: npt.NDArray[np.float64]
    log_mean: float
    diameter_mean: float
    digest: str = ""

    def __post_init__(self) -> None:
        shape = self.weights.shape
        if len(shape) != 1 or self.style_mean.shape != shape or not self.weights.size:
            raise ModelError(f"weights {shape} and style_mean {self.style_mean.shape} do not fit; wanted (S,) and (S,)")
        numbers = np.concatenate([self.weights, self.style_mean, [self.log_mean, self.diameter_mean]])
        if not np.isfinite(numbers).all():
            raise ModelError("the size model holds NaN or infinity; wanted finite numbers")
        if self.diameter_mean <= 0:
            raise ModelError(f"diameter_mean is {self.diameter_mean}; wanted a diameter in pixels above 0")

    def diameter(self, style: npt.ArrayLike) -> float:
        """Predict the diameter of an image's objects, in pixels, at least 5.

        Parameters
        ----------
        style
            (S,): the style of the image, as the network gives it.
        """
        given = np.asarray(style)
        if given.shape != self.weights.shape or given.dtype.kind not in "fiu":
            raise InputError(f"style has shape {given.shape}, type {given.dtype}; wanted {self.weights.shape} numbers")
        if not np.isfinite(given).all():
            raise InputError("style holds NaN or infinity; wanted finite numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self.weights * (given - self.style_mean)  # not @: some processors never round these to infinity
            exponent = float(parts.sum()) + self.log_mean + math.log(self.diameter_mean)
        if math.isnan(exponent):
            return self.diameter_mean  # as Cellpose does
        # A style far from those of training would give an absurd number; cut it where float64 still holds it.
        return max(_SMALLEST, math.exp(min(exponent, 700.0)))


def read_size_model(path: PathLike) -> SizeModel:
    """Read a size model of Cellpose (``size_*.npy``, or ``*_size.npy`` of a training) without running any of it.

    Raises
    ------
    ModelError
        Missing, damaged, no size model, or it names anything but NumPy arrays and numbers.
    """
    with naming(Path(path)):
        with opened(Path(path)) as file:
            data = read_bytes(file, _MAX_BYTES)
        try:
            values = _dictionary(read_object(io.BytesIO(data), "a size model"))
            return SizeModel(
                weights=_vector(values, "A"),
                style_mean=_vector(values, "smean"),
                log_mean=_number(values, "ymean"),
                diameter_mean=_number(values, "diam_mean"),
                digest=hashlib.sha256(data).hexdigest(),
            )
        except InputError as error:
            raise ModelError(str(error)) from error


# --------------------------------------------------------------------------------- what a size model holds


def _dictionary(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ModelError(f"the file holds a {type(content).__name__}; wanted the dictionary of a size model")
    missing = [name for name in ("A", "smean", "ymean", "diam_mean") if name not in content]
    if missing:
        raise ModelError(f"the dictionary has no {missing[0]!r}; wanted 'A', 'smean', 'ymean' and 'diam_mean'")
    return content


def _vector(values: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    value = values[name]
    if isinstance(value, Array):
        return value.numbers().astype(np.float64).ravel()
    raise ModelError(f"{name} is a {type(value).__name__}; wanted an array")


def _number(values: dict[str, Any], name: str) -> float:
    value = values[name]
    if isinstance(value, Array):
        value = value.numbers()
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind != "b":
        return float(value.flat[0])
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308:
        return float(value)
    raise ModelError(f"{name} is a {type(value).__name__}; wanted one finite number")
