"""The images of a run, one by one: read ahead, segmented, their results written behind."""

import contextlib
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from flowseg import __version__, files, machine
from flowseg.errors import FlowsegError, InputError
from flowseg.folder import _results
from flowseg.folder._job import Job, Summary
from flowseg.folder._record import InOrder, Ledger, Line, line_of, line_of_failure
from flowseg.folder._results import SAVES
from flowseg.images import Image
from flowseg.options import MaskOptions, SegmentOptions
from flowseg.segment import Model
from flowseg.segmentation import Segmentation
from flowseg.sources import image_files
from flowseg.sources.run_results import STATE

_AHEAD = 2  # images read before they are needed, and images whose results are still being written
# What one image may fail of while the rest goes on: torch says with a RuntimeError that memory ran out.
_OF_ONE_IMAGE = (FlowsegError, OSError, MemoryError, RuntimeError)


class Item(NamedTuple):
    """An image of a run: its place in the order, the name of its results, its file."""

    place: int
    name: str
    path: Path


class _NoRoomError(InputError):
    """An image does not fit in the memory that is free now."""


class Run:
    """One run: what its steps share. A line for each image goes to the summary, and to ``tell``, in their order."""

    def __init__(
        self, model: Model, job: Job, options: SegmentOptions, summary: Summary, tell: Callable[[Line], None]
    ) -> None:
        self.model, self.job, self.options = model, job, options
        self.masks, self.settings = _settings_digests(model, job, options)
        self.ledger = Ledger(job.out / STATE)

        def keep_and_tell(line: Line) -> None:
            summary.lines.append(line)
            tell(line)

        self.lines = InOrder(keep_and_tell)

    def segment_all(self, items: Sequence[Item]) -> None:
        """Read on one thread, predict on this one, write on others; only a few images are held at a time."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "flowseg-read") as readers, ThreadPoolExecutor(_AHEAD, "flowseg-write") as writers:
            try:
                for item, reading in self._read_ahead(readers, items):
                    outcome = self._predict(item, reading, waiting)
                    if isinstance(outcome, dict):
                        self.lines.put(item.place, outcome)
                        continue
                    waiting.append(writers.submit(self._keep, item, outcome))
                    while len(waiting) > _AHEAD:
                        waiting.popleft().result()
            finally:
                readers.shutdown(cancel_futures=True)
        for each in waiting:
            each.result()

    def _predict(self, item: Item, reading: "Future[_Read | Line]", waiting: "deque[Future[None]]") -> "_Found | Line":
        """Segment what was read; or return the line of an image that was done earlier, or failed."""
        try:
            read = self._read_alone(item, reading, waiting)
            if isinstance(read, dict):
                return read
            begun = time.perf_counter()
            found = self.model.segment(read.image, self.options, max_bytes=read.available)
            return _Found(found, read.digest, time.perf_counter() - begun)
        except _OF_ONE_IMAGE as error:
            self._discard_stale(item)
            return line_of_failure(item.name, item.path, error)

    def _discard_stale(self, item: Item) -> None:
        """Remove the results of what this file held before, now that it holds something that fails."""
        line = self.ledger.get(item.name)
        if line is None or line["source"] != os.path.abspath(item.path):
            return
        with contextlib.suppress(OSError, InputError):
            if files.digest(item.path) != line["input"]:
                self.ledger.begin(item.name, ())
                self._discard(item, _files_of(line))

    def _discard(self, item: Item, wrong: set[str]) -> None:
        """Remove those files of an image that are no longer right, and the tables they are part of."""
        for kind, relative in _results.names_of_files(item.name, SAVES).items():
            if relative in wrong:
                (self.job.out / relative).unlink(missing_ok=True)
                table = _results.OUTPUTS[kind].table
                if table and kind not in self.job.save:  # others are put together again at the end
                    (self.job.out / table).unlink(missing_ok=True)

    def _read_ahead(
        self, readers: ThreadPoolExecutor, items: Sequence[Item]
    ) -> "Iterator[tuple[Item, Future[_Read | Line]]]":
        ahead: deque[tuple[Item, Future[_Read | Line]]] = deque()
        for item in items:
            ahead.append((item, readers.submit(self._read, item)))
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        yield from ahead

    def _read_alone(
        self, item: Item, reading: "Future[_Read | Line]", waiting: "deque[Future[None]]"
    ) -> "_Read | Line":
        """Return what was read; what had no room beside images before it gets another try when they are out."""
        try:
            return reading.result()
        except _NoRoomError:
            while waiting:
                waiting.popleft().result()
            return self._read(item)

    def _read(self, item: Item) -> "_Read | Line":
        """Read an image; or return its line where an earlier run has done it."""
        _check_is_text(item)
        if item.path.is_dir():
            raise InputError(f"{item.path} cannot be looked into (may you read it?): what is in it is left out")
        digest = files.digest(item.path)
        line = self.ledger.get(item.name)
        if line is not None and self._is_still_right(item, line, digest):
            return {**line, "path": str(item.path), "status": "kept"}
        self._refuse_to_replace(item)
        available = self.job.max_bytes if self.job.max_bytes is not None else machine.memory().at_hand or None
        if available is not None:
            self._check_memory(item.path, available)
        image = image_files.read(item.path, axes=self.job.axes, plane=self.job.plane, max_bytes=available)
        return _Read(image, digest, available)

    def _is_still_right(self, item: Item, line: Line, digest: str) -> bool:
        """Tell whether an image was done from the same bytes in the same way, and its files are there."""
        if self.job.overwrite:
            return False
        if line["input"] != digest:
            _refuse_another_image(item, line)
            return False
        return line["settings"] == self.settings and all((self.job.out / str(each)).is_file() for each in line["files"])

    def _refuse_to_replace(self, item: Item) -> None:
        """Keep files that no run wrote, such as masks drawn by hand, from being replaced unasked."""
        ours = self.ledger.written(item.name)
        for relative in _results.names_of_files(item.name, self.job.save).values():
            path = self.job.out / relative
            if relative not in ours and not self.job.overwrite and path.exists():
                raise not_ours(path)

    def _check_memory(self, path: Path, available: int) -> None:
        """Refuse an image that would take more memory than there is, with the figure and the way out."""
        header = image_files.probe(path, axes=self.job.axes)
        sides = [header.shape[header.axes.index(axis)] if axis in header.axes else 1 for axis in "YX"]
        needed = self.model.estimate_bytes((sides[0], sides[1]), self.options) + header.plane_nbytes
        if needed > available:
            there = "can be had" if self.job.max_bytes is None else "are allowed"
            given = self.options.diameter
            at = f" at a diameter of {given:g}" if given else ""
            raise _NoRoomError(
                f"{path}: {sides[0]} x {sides[1]} pixels{at} would take about {needed / 2**30:.2f} GiB of memory, "
                f"{available / 2**30:.2f} {there}: {'is the diameter right? if it is, ' if given else ''}"
                f"cut the image, give a smaller --tile, or set --max-memory"
            )

    def _keep(self, item: Item, outcome: "_Found") -> None:
        """Write the results of one image, then its line: a line stands only for files that are whole."""
        job, found, before = self.job, outcome.found, self.ledger.get(item.name)
        written = list(_results.names_of_files(item.name, job.save).values())
        others = _files_of(before) - set(written)
        right = before is not None and (before["input"], before.get("masks")) == (outcome.digest, self.masks)
        line = {
            **line_of(item.name, item.path, found),
            "seconds": round(outcome.seconds, 4),
            "input": outcome.digest,
            "masks": self.masks,
            "settings": self.settings,
            "files": written,
            "earlier": sorted(others) if right else [],
        }
        try:
            self.ledger.begin(item.name, written)
            if not right:
                self._discard(item, others)
            source = os.path.abspath(item.path)
            how = (self._thresholds(found), job.rle_order, job.coco_form, self.options.group)
            result = _results.Result(item.name, source, found, *how)
            _results.write(job.out, result, job.save)
            self.ledger.add(line)
        except _OF_ONE_IMAGE as error:
            line = line_of_failure(item.name, item.path, error)
        self.lines.put(item.place, line)

    def _thresholds(self, found: Segmentation) -> MaskOptions:
        """Return the thresholds that an image was segmented with."""
        return self.options.masks(self.model.config, self.model.config.diameter_mean / found.diameter)


class _Read(NamedTuple):
    """An image, the digest of its file, and how many bytes of memory are free for it (None: not known)."""

    image: Image
    digest: str
    available: int | None


class _Found(NamedTuple):
    """What was found in an image, the digest of its file, and how long that took."""

    found: Segmentation
    digest: str
    seconds: float


def _check_is_text(item: Item) -> None:
    """Refuse a name that tables and pages could not say."""
    try:
        item.name.encode()
    except UnicodeEncodeError:
        raise InputError("the name is not in UTF-8: rename the file or its folder") from None


def _files_of(line: Line | None) -> set[str]:
    """Return the files that an image has, those that a run before the last one wrote included."""
    return set() if line is None else {str(each) for each in (*line["files"], *line.get("earlier", ()))}


def _refuse_another_image(item: Item, line: Line) -> None:
    """Keep the results of another image of the same name, which is still there, from being replaced unasked."""
    there = Path(line["source"])
    if there.is_file() and not there.samefile(item.path):
        raise InputError(
            f"{item.path}: results of that name are those of {there}: segment both in one command, choose another "
            f"folder, or replace them with --overwrite"
        )


def not_ours(path: Path) -> InputError:
    """Return the error of a file in the way that no run made."""
    return InputError(
        f"{path} is there already, and no run in its folder made it: choose another folder, or replace it with "
        "--overwrite"
    )


def _settings_digests(model: Model, job: Job, options: SegmentOptions) -> tuple[str, str]:
    """Return a digest of all that decides what is found, and one of all that decides which files are there."""
    description = {name: value for name, value in model.description.items() if name != "models"}
    masks = [__version__, description, asdict(options), job.axes, job.plane]
    return _digest(masks), _digest([*masks, list(job.save), job.rle_order, job.coco_form])


def _digest(settings: list[Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
