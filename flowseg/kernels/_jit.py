"""The one way a kernel is compiled: without the interpreter lock, and cached on disk where a disk will have it."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile on first use; keep the machine code in ``__pycache__``, else in the user's cache, else in memory only."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Kernel, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba found no directory that it may write: the install and the home are read-only
        return cast(Kernel, numba.njit(**options)(function))
