"""Objects in .npy files, such as Cellpose writes, read without running any of what they hold.

Neither Python's nor NumPy's unpickling of objects is used: a pickle may name only NumPy's arrays, dtypes and scalars,
and paths; each name stands for a plain record of ours, and numbers are taken from bytes whose length was checked.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError

_NUMBERS = re.compile(r"f[248]|[iu][1248]|b1")
_ONE_OBJECT = re.compile(rb"\{'descr': '\|O', 'fortran_order': (True|False), 'shape': \(\),? ?\} *\n")
_MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"}  # NumPy 1 and 2
_PATHS = {"PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath"}
_PATH_MODULES = {"pathlib", "pathlib._local"}
# The pickle asks for memory by these without bringing the bytes, or for objects from elsewhere.
_OPCODES_REFUSED = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}

# What damaged or hostile bytes make pickle raise.
_DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(EOFError, MemoryError, pickle.UnpicklingError),
)


class DType:
    """A dtype, as a pickle describes it: a code, then a state of which only the byte order counts."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numbers(self, data: object) -> npt.NDArray[Any]:
        """Return the numbers in bytes, (n,), in the byte order of this machine."""
        if not _NUMBERS.fullmatch(self.code) or not isinstance(data, bytes):
            raise InputError(f"it holds an array of type {self.code[:20]!r}; wanted numbers")
        dtype = np.dtype(("<" if self.order == "|" else self.order) + self.code)
        if not data or len(data) % dtype.itemsize:
            raise InputError(f"it holds an array of {len(data)} bytes; wanted numbers of {dtype.itemsize} bytes each")
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)


class Array:
    """An array, as a pickle describes it: (version, shape, dtype, Fortran order, bytes or a list of objects)."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], DType):
            raise InputError("it holds an array that NumPy would not have written")
        self.state = state

    def numbers(self) -> npt.NDArray[Any]:
        """Return the array, of numbers or booleans, in its own shape."""
        if not self.state:
            raise InputError("it holds an array without contents")
        _, shape, dtype, fortran, data = self.state
        values: npt.NDArray[Any] = dtype.numbers(data)
        whole = isinstance(shape, tuple) and all(isinstance(side, int) and side >= 0 for side in shape)
        if not whole or math.prod(shape) != values.size:
            raise InputError(f"it holds an array of {values.size} numbers whose shape is another")
        return values.reshape(shape, order="F" if fortran else "C")

    def contents(self) -> object:
        """Return the one object of an array of one object; the array itself where it holds anything else."""
        held = self.state[4] if self.state else None
        return held[0] if isinstance(held, list) and len(held) == 1 else held


def read_object(file: BinaryIO, wanted: str) -> object:
    """Read the one object that a .npy file holds; ``wanted`` is what errors call the file, such as "a size model".

    Dictionaries, lists, tuples, texts and numbers come as they are, arrays as `Array`, scalars of NumPy as arrays of
    one number, paths as texts.

    Raises
    ------
    InputError
        No such file, damaged, or it names anything else.
    """
    _skip_header(file, wanted)
    content = _unpickled(file, wanted)
    return content.contents() if isinstance(content, Array) and content.state else content


def _skip_header(file: BinaryIO, wanted: str) -> None:
    start = file.read(12)
    if not start.startswith(b"\x93NUMPY"):
        raise InputError(f"the file begins with {start[:8]!r}; wanted {wanted}, a .npy file of Cellpose")
    begin = 10 if start[6:7] == b"\x01" else 12  # later versions count the header in four bytes
    size = int.from_bytes(start[8:begin], "little")
    file.seek(begin)
    header = file.read(min(size, 1 << 16))
    if len(header) < size or not _ONE_OBJECT.fullmatch(header):
        raise InputError(f"the .npy file is damaged or holds {header[:80]!r}; wanted {wanted}, one object")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_ins: dict[str, Callable[..., Any]] = {
            # Made anew for every file: a pickle may set attributes of what it names.
            "ndarray": lambda *_: Array(),
            "_reconstruct": lambda *_: Array(),
            "dtype": lambda *given: DType(*given),
            "scalar": lambda dtype, data: dtype.numbers(data),
        }
        if module in _MODULES and name in stand_ins:
            return stand_ins[name]
        if (module, name) == ("_codecs", "encode"):  # bytes, as old protocols write them
            return lambda text, _: text.encode("latin1")
        if (module, name) == ("__builtin__", "bytes"):  # none of them, as old protocols write them
            return lambda: b""
        if module in _PATH_MODULES and name in _PATHS:
            return lambda *parts: "/".join(part for part in parts if isinstance(part, str))
        raise InputError(f"the file asks to run {module}.{name}, which could be any code; refused")


def _unpickled(file: BinaryIO, wanted: str) -> object:
    begin = file.tell()
    size = file.seek(0, io.SEEK_END) - begin
    file.seek(begin)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in _OPCODES_REFUSED:
                raise InputError(f"the pickle in the file uses {opcode.name}, which {wanted} does not need; refused")
            if opcode.name.endswith("PUT") and int(argument or 0) > size:
                raise InputError("the pickle in the file asks for memory that it does not fill; refused")
        file.seek(begin)
        return _Unpickler(file).load()
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"the pickle in the file is damaged or cut short ({str(error)[:100]})") from error
