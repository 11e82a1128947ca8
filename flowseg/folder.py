"""Segment many images: read ahead, predict, write behind; stop anywhere and go on; never a broken file.

Results lie in one folder, named after the images. What is done stands in ``run.jsonl``, a line an image, with the
digests of the input, the options and the model; a run leaves alone what that file says is done and is still there.
Tables are put together at the end from parts kept in ``.parts``.
"""

import hashlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flowseg import __version__, files, rle
from flowseg.errors import FlowsegError, InputError, OptionError
from flowseg.exports import flows_file, label_tiff, tables
from flowseg.images import Image
from flowseg.options import SegmentOptions
from flowseg.segment import Model, Segmentation
from flowseg.sources import image_files

SAVES = ("labels", "rle", "table", "flows")
_AHEAD = 2  # images read before they are needed, and images whose results are still being written
_STATE = "run.jsonl"
_PARTS = ".parts"

Line = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a folder run is to do.

    Attributes
    ----------
    out
        Folder of results.
    save
        Which results: "labels", "rle", "table", "flows".
    rle_order
        "row" (Sartorius) or "column" (Data Science Bowl 2018).
    axes, plane
        Axes of TIFF files that do not say them themselves, and which slice or time of deeper ones ("Z=3").
    overwrite
        Do everything again.
    max_bytes
        Refuse images that would take more memory than this.
    """

    out: Path
    save: tuple[str, ...] = ("labels",)
    rle_order: rle.Order = "row"
    axes: str | None = None
    plane: str | None = None
    overwrite: bool = False
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        wrong = [each for each in self.save if each not in SAVES]
        if wrong or not self.save:
            raise OptionError(f"save is {', '.join(self.save) or 'empty'}; wanted some of {', '.join(SAVES)}")
        if self.rle_order not in ("row", "column"):
            raise OptionError(f"rle_order is {self.rle_order!r}; wanted row or column")


@dataclass
class Summary:
    """What a run did: a line for each image, in order, and whether it was stopped."""

    lines: list[Line] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False

    def count(self, status: str) -> int:
        """Return how many images are "done", "kept" from an earlier run, or "failed"."""
        return sum(line["status"] == status for line in self.lines)


def run(
    model: Model,
    paths: Sequence[Path],
    job: Job,
    options: SegmentOptions,
    tell: Callable[[Line], None] = lambda line: None,
) -> Summary:
    """Segment images into a folder; ``tell`` is called with each image's line as soon as it is known.

    An image that cannot be read or segmented is reported in its line, and the rest goes on. KeyboardInterrupt ends
    the run in order: what is finished is kept.
    """
    started = time.perf_counter()
    job.out.mkdir(parents=True, exist_ok=True)
    files.sweep(job.out)
    summary = Summary()
    recorder = _Recorder(job, _settings_digest(model, job, options), summary, tell)
    images = named(paths)
    try:
        _segment_all(model, images, job, options, recorder)
    except KeyboardInterrupt:
        summary.stopped = True
    order = {name: place for place, name in enumerate(images)}
    summary.lines.sort(key=lambda line: order[line["name"]])
    summary.seconds = time.perf_counter() - started
    _finish(model, job, options, summary)
    return summary


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Give each image the name of its results: its own, below the folder that all share, and its suffix on a clash."""
    if not paths:
        return {}
    absolute = [Path(os.path.abspath(path)) for path in paths]
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    plain = [path.relative_to(root).with_suffix("").as_posix() for path in absolute]
    clashes = Counter(plain)
    names = [
        name if clashes[name] == 1 else path.relative_to(root).as_posix()
        for name, path in zip(plain, absolute, strict=True)
    ]
    return dict(zip(names, paths, strict=True))


def _segment_all(
    model: Model, images: Mapping[str, Path], job: Job, options: SegmentOptions, recorder: "_Recorder"
) -> None:
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "flowseg-read") as readers, ThreadPoolExecutor(1, "flowseg-write") as writers:
        try:
            for name, path, reading in _read_ahead(readers, model, images, job, options, recorder):
                try:
                    image = reading.result()
                    if image is None:
                        continue
                    begun = time.perf_counter()
                    found = model.segment(image, options)
                    seconds = time.perf_counter() - begun
                except (FlowsegError, OSError, MemoryError) as error:
                    recorder.failed(name, path, error)
                    continue
                waiting.append(writers.submit(recorder.done, name, path, found, seconds))
                while len(waiting) > _AHEAD:
                    waiting.popleft().result()
        finally:
            readers.shutdown(cancel_futures=True)
    for each in waiting:
        each.result()


def _read_ahead(
    readers: ThreadPoolExecutor,
    model: Model,
    images: Mapping[str, Path],
    job: Job,
    options: SegmentOptions,
    recorder: "_Recorder",
) -> "Iterator[tuple[str, Path, Future[Image | None]]]":
    """Read images on a thread, a few ahead; None for those that an earlier run has done."""

    def read(name: str, path: Path) -> Image | None:
        if recorder.is_done(name, path):
            return None
        available = job.max_bytes if job.max_bytes is not None else available_bytes()
        if available is not None:
            _check_memory(model, path, job, options, available)
        return image_files.read(path, axes=job.axes, plane=job.plane, max_bytes=available)

    ahead: deque[tuple[str, Path, Future[Image | None]]] = deque()
    for name, path in images.items():
        ahead.append((name, path, readers.submit(read, name, path)))
        if len(ahead) > _AHEAD:
            yield ahead.popleft()
    yield from ahead


def _check_memory(model: Model, path: Path, job: Job, options: SegmentOptions, available: int) -> None:
    """Refuse an image that would take more memory than there is, with the figure and the way out."""
    header = image_files.probe(path, axes=job.axes)
    sides = [header.shape[header.axes.index(axis)] if axis in header.axes else 1 for axis in "YX"]
    needed = model.estimate_bytes((sides[0], sides[1]), options) + header.plane_nbytes
    if needed > available:
        raise InputError(
            f"{path}: {sides[0]} x {sides[1]} pixels would take about {needed / 2**30:.2f} GiB of memory, "
            f"{available / 2**30:.2f} are free: cut the image, give a smaller --tile, or allow more with --max-memory"
        )


def available_bytes() -> int | None:
    """Return the memory that is free on this machine, or in this container; None where the system does not say."""
    known = []
    try:
        text = Path("/proc/meminfo").read_text()
        known.append(int(text.split("MemAvailable:")[1].split()[0]) * 1024)
        limit, used = (Path(f"/sys/fs/cgroup/memory.{each}").read_text().strip() for each in ("max", "current"))
        if limit != "max":
            known.append(int(limit) - int(used))
    except (OSError, IndexError, ValueError):
        pass
    return min(known, default=None)


class _Recorder:
    """Writes the results of images and the line of each, and knows what earlier runs have done."""

    def __init__(self, job: Job, settings: str, summary: Summary, tell: Callable[[Line], None]) -> None:
        self.job, self.settings, self.summary, self.tell = job, settings, summary, tell
        self._digests: dict[str, str] = {}
        self._earlier = {} if job.overwrite else _earlier_lines(job.out / _STATE)

    def is_done(self, name: str, path: Path) -> bool:
        """Tell whether an earlier run did this image, from the same bytes in the same way, and its files are there."""
        self._digests[name] = files.digest(path)
        line = self._earlier.get(name)
        if line is None or (line["input"], line["settings"]) != (self._digests[name], self.settings):
            return False
        if not all((self.job.out / each).is_file() for each in line["files"]):
            return False
        self._tell({**line, "status": "kept"})
        return True

    def failed(self, name: str, path: Path, error: BaseException) -> None:
        """Record an image that could not be read or segmented."""
        what = "out of memory: a smaller --tile takes less" if isinstance(error, MemoryError) else str(error)
        self._tell({"name": name, "path": str(path), "status": "failed", "error": what})

    def done(self, name: str, path: Path, found: Segmentation, seconds: float) -> None:
        """Write the results of one image, then its line: a line stands only for files that are whole."""
        try:
            written = list(_write_results(name, found, self.job))
        except OSError as error:
            self.failed(name, path, error)
            return
        line = {
            "name": name,
            "path": str(path),
            "status": "done",
            "instances": int(found.labels.max(initial=0)),
            "shape": list(found.labels.shape),
            "diameter": round(found.diameter, 3),
            "channels": found.channels,
            "removed": {
                "too_large": found.masks.too_large,
                "inconsistent": found.masks.inconsistent,
                "too_small": found.masks.too_small,
            },
            "notes": found.notes,
            "seconds": round(seconds, 4),
            "input": self._digests[name],
            "settings": self.settings,
            "files": written,
        }
        with (self.job.out / _STATE).open("a") as state:
            state.write(json.dumps(line) + "\n")
        self._tell(line)

    def _tell(self, line: Line) -> None:
        self.summary.lines.append(line)
        self.tell(line)


def _earlier_lines(path: Path) -> dict[str, Line]:
    """Return the last whole line of each image; a line cut short by a crash is left out."""
    lines: dict[str, Line] = {}
    if path.is_file():
        for text in path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
                lines[line["name"]] = {**line, "files": [str(each) for each in line["files"]]}
            except (ValueError, KeyError, TypeError):
                continue
    return lines


def _write_results(name: str, found: Segmentation, job: Job) -> Iterator[str]:
    """Write what is wanted of one image; return the names of the files, below the folder of results."""

    def write(relative: str, data: bytes) -> str:
        path = job.out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, data)
        return relative

    if "labels" in job.save:
        yield write(f"{name}_labels.tif", label_tiff.encode(found.labels))
    if "flows" in job.save:
        about = {"diameter": found.diameter, "channels": found.channels}
        yield write(f"{name}_flows.npz", flows_file.encode(found.flows, found.cellprob, about))
    if "rle" in job.save:
        image_id = name.rsplit("/", 1)[-1]
        yield write(f"{_PARTS}/{name}.rle.csv", tables.rle_rows(image_id, found.labels, job.rle_order).encode())
    if "table" in job.save:
        table = found.to_table()
        text = tables.measurement_header(table) + tables.measurement_rows(name, table)
        yield write(f"{_PARTS}/{name}.table.csv", text.encode())


def _finish(model: Model, job: Job, options: SegmentOptions, summary: Summary) -> None:
    """Put the tables together and write run.json, each whole."""
    names = [line["name"] for line in summary.lines if line["status"] != "failed"]
    if "rle" in job.save and not summary.stopped:
        parts = [(job.out / _PARTS / f"{name}.rle.csv").read_text() for name in names]
        files.write_whole(job.out / "submission.csv", "".join([tables.rle_header(job.rle_order), *parts]).encode())
    if "table" in job.save and not summary.stopped:
        tables_read = [(job.out / _PARTS / f"{name}.table.csv").read_text().partition("\n") for name in names]
        header = max((head for head, _, _ in tables_read), key=len, default="image")
        body = "".join(rows for _, _, rows in tables_read)
        files.write_whole(job.out / "measurements.csv", f"{header}\n{body}".encode())
    record = {
        "flowseg": __version__,
        "model": model.description,
        "options": asdict(options),
        "save": list(job.save),
        "seconds": round(summary.seconds, 3),
        "stopped": summary.stopped,
        "images": summary.lines,
    }
    files.write_whole(job.out / "run.json", json.dumps(record, indent=1).encode())


def _settings_digest(model: Model, job: Job, options: SegmentOptions) -> str:
    """Return a digest of all that decides what results look like."""
    description = {name: value for name, value in model.description.items() if name != "models"}
    settings = [__version__, description, asdict(options), list(job.save), job.rle_order, job.axes, job.plane]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
