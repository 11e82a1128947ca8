"""What can go wrong, in one small tree.

::

    FlowsegError
    ├── InputError      (ValueError)   an array, file or text is not what was wanted
    ├── OptionError     (ValueError)   an option has a value it cannot have
    ├── ModelError      (ValueError)   a model file is missing, damaged, of another kind, or refused
    ├── TrainingError   (RuntimeError) a training cannot go on: a loss that is not finite, no memory left
    ├── DownloadError   (OSError)      a file could not be fetched or is not the file it should be
    └── MissingExtra    (ImportError)  an optional package is needed: the text holds the install command

Every message says what came, what was wanted, and where it helps, what to do.
"""

from functools import partial
from typing import Any


class FlowsegError(Exception):
    """Root of everything that flowseg raises on purpose."""


class InputError(FlowsegError, ValueError):
    """An array, a file or a text is not what was wanted."""


class OptionError(FlowsegError, ValueError):
    """An option has a value that it cannot have."""


class ModelError(FlowsegError, ValueError):
    """A model file is missing, damaged, of another kind, or refused."""


class TrainingError(FlowsegError, RuntimeError):
    """A training cannot go on; the message says what was kept and how to start again."""


class DownloadError(FlowsegError, OSError):
    """A file could not be fetched, or what came is not the file that was wanted."""


class MissingExtra(FlowsegError, ImportError):  # noqa: N818 - reads as what it is
    """An optional package is needed; the message holds the command that installs it.

    >>> raise MissingExtra("openvino", extra="cpu")
    Traceback (most recent call last):
    flowseg.errors.MissingExtra: openvino is not installed: pip install "flowseg[cpu]"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "flowseg[{extra}]"')
        self._package, self._extra = package, extra

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel from a worker to its pool, which waits for ever for what cannot be unpickled."""
        return partial(MissingExtra, extra=self._extra), (self._package,)
