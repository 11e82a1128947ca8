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

    def release(file: IO[bytes]) -> None:
        """Let the lock of an open file go, which Windows by itself may do some time after it is closed."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(file: IO[bytes]) -> None:
        """Let the lock of an open file go."""
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def take(file: IO[bytes], patience: float = 0.0) -> bool:
    """Take the lock of an open file; False: another holder outlasted the patience (seconds).

    Raises
    ------
    OSError
        The file system has no locks.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            _take(file)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True


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
    with file:
        try:
            alone = take(file, patience)
        except OSError:
            alone = False
        try:
            yield alone
        finally:
            if alone:
                release(file)
