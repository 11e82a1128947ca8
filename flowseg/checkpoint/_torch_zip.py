"""Plain torch files read without torch, which takes a second and 200 MB: a dictionary of names and dense tensors.

Whatever is not as plain as that is left to torch itself, which reads or refuses it: `read` returns None.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# What damaged or hostile bytes make the parsers of torch, zipfile, pickle, json and safetensors raise.
DAMAGE = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
    *(EOFError, OSError, MemoryError, ImportError, pickle.PickleError, struct.error, zipfile.BadZipFile),
)

_TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8"}


class _UnusualError(Exception):
    """Something that plain weights do not have."""


class _Storage(NamedTuple):
    """A kind of storage, by its name in torch."""

    name: str


def read(data: bytes) -> dict[str, Array] | None:
    """Return the tensors of a torch file, or None where it is not a plain one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                return None
            content = _Reader(archive, names[0]).load()
    except (_UnusualError, *DAMAGE):
        return None
    if not isinstance(content, dict) or not content:
        return None
    plain = all(isinstance(name, str) and isinstance(value, np.ndarray) for name, value in content.items())
    return dict(content) if plain else None


class _Reader(pickle.Unpickler):
    """Builds dictionaries and tensors, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        super().__init__(io.BytesIO(archive.read(name)))
        self._archive, self._folder = archive, name.removesuffix("data.pkl")
        self._read: dict[str, Array] = {}
        order = self._folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise _UnusualError

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return _Storage(name)
        raise _UnusualError

    def persistent_load(self, pid: Any) -> Array:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not str(key).isdecimal():
            raise _UnusualError
        if key not in self._read:
            self._read[key] = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), _TYPES[storage.name])
        if len(self._read[key]) != count:
            raise _UnusualError
        return self._read[key]


def _tensor(storage: object, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Array:
    """Return the tensor that torch would: a view of a storage, copied; bounds are checked first."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride):
        raise _UnusualError
    numbers = [offset, *size, *stride]
    if not all(type(number) is int and 0 <= number < 2**40 for number in numbers):
        raise _UnusualError
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = int(np.prod([1, *size], dtype=object))
    if count == 0 or last >= len(storage) or count > len(storage):
        raise _UnusualError
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides).copy()
