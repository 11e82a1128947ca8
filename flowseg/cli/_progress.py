"""Bars that show themselves only where there is something to wait for, and lines of what failed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from flowseg import late


@contextmanager
def late_bar(what: str, total: int, quiet: bool = False) -> Iterator[Callable[[object], None]]:
    """Give a function to call after each step; after two seconds, be it in the first, a bar shows how many are done.

    Where standard error is not a terminal, a line every ten seconds or so says the same.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not sys.stderr.isatty(),
    )
    task = bar.add_task(what, total=total)
    said = time.monotonic()

    def step(_: object) -> None:
        nonlocal said
        bar.advance(task)
        now = time.monotonic()
        if bar.disable and not quiet and now - said > 5 * late.PATIENCE:
            said = now
            print(f"{what}: {int(bar.tasks[0].completed)} of {total}", file=sys.stderr)  # noqa: T201

    try:
        with late.done_late(bar.start):
            yield step
    finally:
        if bar.live.is_started:
            bar.stop()


def late_note(what: str, quiet: bool = False) -> AbstractContextManager[None]:
    """Say what is being done if it takes more than two seconds, where there are no steps to count."""
    return nullcontext() if quiet else late.said_late(f"{what} ...", _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


class FetchBar:
    """Says what is being fetched, and shows a bar where that takes more than a moment."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._file, self._began = quiet, "", 0.0
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> "FetchBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def tell(self, file: str, done: int, total: int | None) -> None:
        """Take note of how many bytes are here; see `flowseg.zoo.Progress`."""
        if self._quiet:
            return
        if file != self._file:
            self._close()
            self._file, self._began = file, time.monotonic()
        if self._progress is None and time.monotonic() - self._began >= late.PATIENCE:
            self._open(total)
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def _open(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        console = Console(stderr=True)
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
        ]
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(f"fetching {self._file}", total=total)
        self._progress.start()
        if not console.is_terminal:
            print(f"fetching {self._file} ...", file=sys.stderr)  # noqa: T201

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def failure(line: dict[str, Any]) -> str:
    """Return, as text, the line of a run over images about one that failed; what went wrong may name the file already.

    >>> failure({"path": "a.tif", "error": "it is empty"}), failure({"path": "a.tif", "error": "a.tif is empty"})
    ('failed: a.tif: it is empty', 'failed: a.tif is empty')
    """
    path, error = line["path"], line["error"]
    return f"failed: {error}" if path in error else f"failed: {path}: {error}"
