"""Segment many images: read ahead, predict, write behind; stop anywhere and go on; never a broken file.

Results lie in one folder, named after the images. What is done stands in ``run.jsonl``, a line an image, with the
digests of the input, the options and the model; a run leaves alone what that file says is done and is still there.
Tables are put together at the end from parts kept in ``.parts``.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowseg import __version__, files, threads
from flowseg.errors import InputError
from flowseg.folder import _results
from flowseg.folder._job import Job, Summary
from flowseg.folder._names import last_parts, named
from flowseg.folder._record import Line
from flowseg.folder._results import SAVES
from flowseg.folder._run import Item, Run, not_ours
from flowseg.names import check_told_apart
from flowseg.options import SegmentOptions
from flowseg.segment import Model
from flowseg.sources.run_results import STATE

__all__ = ["SAVES", "STATE", "Job", "Line", "Summary", "named", "run"]

_RECORD = "run.json"


def run(
    model: Model,
    paths: Sequence[Path],
    job: Job,
    options: SegmentOptions,
    tell: Callable[[Line], None] = lambda line: None,
) -> Summary:
    """Segment images into a folder; ``tell`` is called with each image's line, in the order of ``paths``.

    An image that cannot be read or segmented is reported in its line, and the rest goes on. KeyboardInterrupt ends
    the run in order: what is finished is kept.
    """
    started = time.perf_counter()
    threads.count()  # where it is not a number, that is told once, not for each image
    items = [Item(place, name, path) for place, (name, path) in enumerate(named(paths).items())]
    _check_inputs_are_safe(items, job)
    _check_tables_are_ours(job)
    model.check(options)
    files.make_folder(job.out)
    summary = Summary()
    with files.only_writer(job.out):
        check_told_apart([item.name for item in items], job.out)
        one = Run(model, job, options, summary, tell)
        try:
            one.segment_all(items)
        except KeyboardInterrupt:
            summary.stopped = True
        summary.seconds = time.perf_counter() - started
        try:
            record = _record(model, job, options, summary)
            _write_tables(job, summary, record)
            files.write_whole(job.out / _RECORD, json.dumps(record, indent=1).encode())
        except OSError as error:
            summary.problem = f"the tables and run.json are not complete: {files.in_words(error)}"
    return summary


def _check_inputs_are_safe(items: Sequence[Item], job: Job) -> None:
    """Refuse to write results over an image."""
    sources = {os.path.realpath(item.path) for item in items}
    for item in items:
        for relative in _results.names_of_files(item.name, job.save).values():
            target = os.path.realpath(job.out / relative)
            if target in sources:
                raise InputError(f"the result of {item.path} would replace the image {target}: choose another folder")


def _check_tables_are_ours(job: Job) -> None:
    """Refuse to write tables over others, such as annotations made by hand, in a folder that no run wrote to."""
    if job.overwrite or (job.out / STATE).exists() or (job.out / _RECORD).exists():
        return
    for kind in job.save:
        path = job.out / _results.OUTPUTS[kind].table
        if path.is_file():
            raise not_ours(path)


def _write_tables(job: Job, summary: Summary, record: Mapping[str, Any]) -> None:
    """Put the tables together, of the images of this run that have results; one that was stopped leaves it to the next.

    Images of earlier runs that this one was not asked for are not in them: a folder may have changed since.
    """
    if summary.stopped:
        return
    ids = last_parts([line["name"] for line in summary.lines])
    kept = [
        _results.Kept(line["name"], ids[line["name"]], _file_name(line))
        for line in summary.lines
        if line["status"] != "failed"
    ]
    _results.write_tables(job.out, kept, job.save, job.rle_order, record)


def _file_name(line: Line) -> str:
    """Return the name of an image file below the folder that all images share."""
    return (Path(line["name"]).parent / Path(line["path"]).name).as_posix()


def _record(model: Model, job: Job, options: SegmentOptions, summary: Summary) -> dict[str, Any]:
    """Return what ``run.json`` holds."""
    return {
        "flowseg": __version__,
        "model": model.description,
        "options": asdict(options),
        "save": list(job.save),
        "seconds": round(summary.seconds, 3),
        "stopped": summary.stopped,
        "images": summary.lines,
    }
