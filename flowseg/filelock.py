"""A lock between processes (and threads) that the operating system lets go of when its holder dies."""

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PAUSE = 0.05
_BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def hold(path: Path, *, patience: float) -> Iterator[bool]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    path
        The lock's file. It is made where it is missing, stays empty, and is left behind: removing it would let two
        holders in.
    patience
        Seconds to wait for another holder.

    Yields
    ------
    bool
        Whether the lock is held. False: another holder outlasted the patience, or the file system has no locks.

    Examples
    --------
    >>> with hold(Path(".cyto3.lock"), patience=1.0) as alone:  # doctest: +SKIP
    ...     print(alone)
    True
    """
    try:
        file = path.open("ab")
    except OSError:  # no right to write here, or the like: whoever writes the file itself meets and tells it
        yield False
        return
    with file:  # closing it lets the lock go
        yield _take_in_time(file, time.monotonic() + patience)


def _take_in_time(file: IO[bytes], deadline: float) -> bool:
    while True:
        try:
            _take(file)
        except OSError as error:
            if error.errno not in _BUSY or time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True
