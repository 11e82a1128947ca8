"""A folder run as one call, for notebooks and scripts."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flowseg import checks, notebook
from flowseg.errors import InputError
from flowseg.folder import Job, Summary, run
from flowseg.folder._record import Line
from flowseg.options import SegmentOptions
from flowseg.segment import Model, load_model
from flowseg.sources import image_files

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def segment_folder(
    inputs: Paths,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Model = "nuclei",
    save: str | Sequence[str] = "labels",
    recursive: bool = False,
    axes: str | None = None,
    plane: str | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Summary:
    """Segment many images into a folder of results, as ``flowseg segment`` does.

    Parameters
    ----------
    inputs
        Images: a folder, a file, a pattern such as ``"cells/*.tif"``, or several of them.
    out
        The folder of results. What is done there already with the same settings is kept, not done again.
    model
        One that `load_model` has loaded, or what `load_model` takes.
    save
        Which results: ``"labels"``, ``"labels,table,rois"``, or a list; see `flowseg.folder.SAVES`.
    recursive
        Look into folders of folders.
    axes, plane
        Axes of TIFF files that do not say them, and which slice or time of deeper ones ("Z=3").
    overwrite
        Do everything again, and replace files in the folder that no run made.
    **settings
        Fields of `flowseg.options.SegmentOptions` by name: ``diameter=17, channels=(1, 0)``.

    Returns
    -------
    Summary
        A line for each image; a notebook shows them as a table. An image that fails is told there.

    Examples
    --------
    >>> import flowseg                                                                        # doctest: +SKIP
    >>> flowseg.segment_folder("cells/", "results", model="cyto3", save="labels,rois")        # doctest: +SKIP
    """
    checks.folder("out", out)
    checks.known_names(settings, SegmentOptions.__dataclass_fields__)
    options = SegmentOptions(**settings)
    kinds = tuple(each.strip() for each in save.split(",")) if isinstance(save, str) else tuple(save)
    job = Job(Path(out), kinds, axes=axes, plane=plane, overwrite=overwrite)
    paths = image_files.find(inputs, recursive)
    chosen = model if isinstance(model, Model) else load_model(model)
    lines: list[Line] = []
    with notebook.Live("images") as live:

        def tell(line: Line) -> None:
            lines.append(line)
            live.step(len(lines), len(paths))

        summary = run(chosen, paths, job, options, tell)
    if summary.stopped:
        raise KeyboardInterrupt
    if summary.problem:
        raise InputError(summary.problem)
    return summary
