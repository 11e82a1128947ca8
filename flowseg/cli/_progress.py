"""A bar that shows itself only where there is something to wait for."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0  # seconds


@contextmanager
def late_bar(what: str, total: int, quiet: bool = False) -> Iterator[Callable[[object], None]]:
    """Give a function to call after each step; after two seconds, a bar shows how many are done and the time left.

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
    started = said = time.monotonic()

    def step(_: object) -> None:
        nonlocal said
        bar.advance(task)
        now = time.monotonic()
        if now - started > PATIENCE and not bar.disable and not bar.live.is_started:
            bar.start()
        if bar.disable and not quiet and now - said > 5 * PATIENCE:
            said = now
            print(f"{what}: {int(bar.tasks[0].completed)} of {total}", file=sys.stderr)  # noqa: T201

    try:
        yield step
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def late_note(what: str, quiet: bool = False) -> Iterator[None]:
    """Say what is being done if it takes more than two seconds, where there are no steps to count."""

    def say() -> None:
        print(f"{what} ...", file=sys.stderr, flush=True)  # noqa: T201

    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
