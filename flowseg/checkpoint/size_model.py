"""Cellpose's size models (``size_*.npy``): from the style of an image to the diameter of its objects.

Such a file is a pickled dictionary. It is read without Python's or NumPy's unpickling of objects: a pickle may name
only NumPy's arrays, dtypes and scalars, each name stands for a plain record of ours, and numbers are taken from bytes
whose length was checked.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.checkpoint._files import PathLike, naming, opened, read_bytes
from flowseg.errors import InputError, ModelError

_MAX_BYTES = 2**20
_SMALLEST = 5.0  # pixels; Cellpose never predicts less

_NUMBERS = re.compile(r"f[248]|[iu][1248]")
_ONE_OBJECT = re.compile(rb"\{'descr': '\|O', 'fortran_order': (True|False), 'shape': \(\),? ?\} *\n")
_MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"}  # NumPy 1 and 2
# The pickle asks for memory by these without bringing the bytes, or for objects from elsewhere.
_OPCODES_REFUSED = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}

# What damaged or hostile bytes make pickle raise.
_DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(EOFError, MemoryError, pickle.UnpicklingError),
)


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
            exponent = float(self.weights @ (given - self.style_mean)) + self.log_mean + math.log(self.diameter_mean)
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
        values = _dictionary(_unpickled(_after_header(data)))
        return SizeModel(
            weights=_vector(values, "A"),
            style_mean=_vector(values, "smean"),
            log_mean=_number(values, "ymean"),
            diameter_mean=_number(values, "diam_mean"),
        )


def _after_header(data: bytes) -> bytes:
    """Return the pickle in a .npy file that holds one object."""
    if not data.startswith(b"\x93NUMPY"):
        raise ModelError(f"the file begins with {data[:8]!r}; wanted a size model, a .npy file of Cellpose")
    start = 10 if data[6:7] == b"\x01" else 12  # later versions count the header in four bytes
    stop = start + int.from_bytes(data[8:start], "little")
    header = data[start:stop]
    if len(data) < stop or not _ONE_OBJECT.fullmatch(header):
        raise ModelError(f"the .npy file is damaged or holds {header[:80]!r}; wanted a size model, one object")
    return data[stop:]


# ---------------------------------------------------------------- what NumPy's names stand for in a pickle


class _DType:
    """A dtype, as a pickle describes it: a code, then a state of which only the byte order counts."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numbers(self, data: object) -> npt.NDArray[np.float64]:
        if not _NUMBERS.fullmatch(self.code) or not isinstance(data, bytes):
            raise ModelError(f"it holds an array of type {self.code[:20]!r}; wanted numbers")
        dtype = np.dtype(("<" if self.order == "|" else self.order) + self.code)
        if not data or len(data) % dtype.itemsize:
            raise ModelError(f"it holds an array of {len(data)} bytes; wanted numbers of {dtype.itemsize} bytes each")
        return np.frombuffer(data, dtype).astype(np.float64)


class _Array:
    """An array, as a pickle describes it: (version, shape, dtype, Fortran order, bytes or a list of objects)."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _DType):
            raise ModelError("it holds an array that NumPy would not have written")
        self.state = state

    def numbers(self) -> npt.NDArray[np.float64]:
        if not self.state:
            raise ModelError("it holds an array without contents")
        _, shape, dtype, _, data = self.state
        values: npt.NDArray[np.float64] = dtype.numbers(data)
        whole = isinstance(shape, tuple) and all(isinstance(side, int) for side in shape)
        if not whole or math.prod(shape) != values.size:
            raise ModelError(f"it holds an array of {values.size} numbers whose shape is another")
        return values  # flat: a size model has vectors only


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_ins: dict[str, Callable[..., Any]] = {
            # Made anew for every file: a pickle may set attributes of what it names.
            "ndarray": lambda *_: _Array(),
            "_reconstruct": lambda *_: _Array(),
            "dtype": lambda *given: _DType(*given),
            "scalar": lambda dtype, data: dtype.numbers(data),
        }
        if module in _MODULES and name in stand_ins:
            return stand_ins[name]
        if (module, name) == ("_codecs", "encode"):  # bytes, as old protocols write them
            return lambda text, _: text.encode("latin1")
        raise ModelError(f"the file asks to run {module}.{name}, which could be any code; refused")


def _unpickled(data: bytes) -> object:
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _OPCODES_REFUSED:
                raise ModelError(f"the pickle in the file uses {opcode.name}, which size models do not need; refused")
            if opcode.name.endswith("PUT") and int(argument or 0) > len(data):
                raise ModelError("the pickle in the file asks for memory that it does not fill; refused")
        return _Unpickler(io.BytesIO(data)).load()
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"the pickle in the file is damaged or cut short ({str(error)[:100]})") from error


# --------------------------------------------------------------------------------- what a size model holds


def _dictionary(content: object) -> dict[str, Any]:
    if isinstance(content, _Array) and content.state:
        held = content.state[4]
        content = held[0] if isinstance(held, list) and len(held) == 1 else held
    if not isinstance(content, dict):
        raise ModelError(f"the file holds a {type(content).__name__}; wanted the dictionary of a size model")
    missing = [name for name in ("A", "smean", "ymean", "diam_mean") if name not in content]
    if missing:
        raise ModelError(f"the dictionary has no {missing[0]!r}; wanted 'A', 'smean', 'ymean' and 'diam_mean'")
    return content


def _vector(values: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    value = values[name]
    if isinstance(value, _Array):
        return value.numbers()
    raise ModelError(f"{name} is a {type(value).__name__}; wanted an array")


def _number(values: dict[str, Any], name: str) -> float:
    value = values[name]
    if isinstance(value, _Array):
        value = value.numbers()
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value[0])
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308:
        return float(value)
    raise ModelError(f"{name} is a {type(value).__name__}; wanted one finite number")
