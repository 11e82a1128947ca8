"""How a training that Python started shows itself: lines in a terminal, bars and a table in a notebook."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowseg import late, notebook
from flowseg.training.loop import Progress, Tell
from flowseg.training.run_folder import Report
from flowseg.training.waiting import UNWATCHED, Step, Watch

_BETWEEN_LINES = 10.0  # seconds, of what takes long

_COLUMNS: dict[str, Callable[[Report], str]] = {
    "crops": lambda report: f"{report.crops:,}",
    "loss": lambda report: "" if math.isnan(report.train_loss) else f"{report.train_loss:.3f}",
    "validation loss": lambda report: f"{report.validation_loss:.3f}",
    "AP at IoU 0.5": lambda report: f"{report.ap50:.3f}",
    "mean AP": lambda report: f"{report.map:.3f}",
}


class Shown:
    """Shows steps while it is open.

    Parameters
    ----------
    quiet
        Show nothing.
    tell
        Called with each step as well.
    """

    def __init__(self, quiet: bool, tell: Tell | None = None) -> None:
        self._quiet, self._tell = quiet, tell
        self._live = notebook.Live("crops") if not quiet and notebook.shown_live() else None
        self._reports: list[Report] = []

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *stopped: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*stopped)

    def tell(self, now: Progress) -> None:
        """Show a step, and a report where there is one."""
        if self._tell is not None:
            self._tell(now)
        if now.report is not None:
            self._reports.append(now.report)
        if self._live is not None:
            self._live.step(now.crops, now.total, now.about(), _table(self._reports))
        elif now.report is not None and not self._quiet:
            _say(now.report.text())

    def watch(self) -> Watch:
        """Return who shows what takes long beside the steps."""
        return UNWATCHED if self._quiet else Watch(self._bar, _say, self._note)

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Step]:
        numbers, said = itertools.count(1), time.monotonic()

        def step(_: object) -> None:
            nonlocal said
            done = next(numbers)
            live.step(done, total)
            if self._live is None and time.monotonic() - said > _BETWEEN_LINES:
                said = time.monotonic()
                _say(f"{what}: {done} of {total}")

        with notebook.Live("", what) as live:
            yield step

    @contextmanager
    def _note(self, what: str) -> Iterator[None]:
        """Tell what has no steps to count: in a notebook until the first crops do, in a terminal if it takes long."""
        if self._live is not None:
            self._live.say(f"{what} ...")
            yield
            return
        with late.said_late(f"{what} ...", _say):
            yield


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a script's user wants to see how it goes, and a notebook shows it


def _table(reports: list[Report]) -> str:
    """Return the reports as HTML; without validation, columns of it are left out."""
    if not reports:
        return ""
    validated = not math.isnan(reports[-1].validation_loss)
    columns = [name for name in _COLUMNS if validated or name in ("crops", "loss")]
    return notebook.table({name: [_COLUMNS[name](report) for report in reports] for name in columns}, most=len(reports))
