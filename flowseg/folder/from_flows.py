"""Results made again from flows that a run kept, with other thresholds and without the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowseg import rle
from flowseg.dynamics import find_masks
from flowseg.errors import FlowsegError, InputError
from flowseg.exports import coco_json, flows_file
from flowseg.folder import STATE, _results
from flowseg.folder._names import last_parts, named
from flowseg.folder._record import Line, line_of, line_of_failure
from flowseg.folder._results import Kept, Result
from flowseg.names import check_told_apart, last_part
from flowseg.options import MaskOptions
from flowseg.segmentation import Segmentation

#: What can be made without the images: all but flows, which are there, and pictures.
SAVES = tuple(kind for kind in _results.SAVES if kind not in ("flows", "overlay", "overlay-jpeg", "report"))


def remake(
    paths: Sequence[Path],
    out: Path,
    save: Sequence[str] = ("labels",),
    rle_order: rle.Order = "row",
    thresholds: Mapping[str, float | int] | None = None,
    tell: Callable[[Line], None] = lambda line: None,
    coco_form: coco_json.Form = "rle",
) -> list[Line]:
    """Make results from files of flows; thresholds that are not given are those of the run that kept them.

    Parameters
    ----------
    paths
        Files that ``--save flows`` wrote.
    out
        Folder of results, not that of a run.
    save
        Some of `SAVES`.
    rle_order
        Of run-length encodings, "row" or "column".
    thresholds
        By name of a field of `flowseg.options.MaskOptions`.
    tell
        Called with the line of each file, in order.
    coco_form
        Of COCO masks, "rle" or "polygons".

    Returns
    -------
    list
        The lines; a file that cannot be used has one with the status "failed", and the rest goes on.
    """
    if (out / STATE).exists():
        raise InputError(f"{out} holds the results of flowseg segment: choose another folder")
    save = _results.checked(save, SAVES)
    _results.check_forms(save, rle_order, coco_form)
    given: dict[str, Any] = dict(thresholds or {})
    MaskOptions(**given)  # refuses what would fail with every file
    lines, files_of_images = [], {}
    names = named(paths, drop="_flows")
    check_told_apart(names, out)
    for name, path in names.items():
        try:
            result = replace(_remade(name, path, rle_order, given), form=coco_form)
            _results.write(out, result, save)
            files_of_images[name] = _file_name(result)
            lines.append(line_of(name, path, result.found))
        except (FlowsegError, OSError) as error:
            lines.append(line_of_failure(name, path, error))
        tell(lines[-1])
    ids = last_parts([line["name"] for line in lines])
    kept = [Kept(name, ids[name], file_name) for name, file_name in files_of_images.items()]
    if kept:
        _results.write_tables(out, kept, save, rle_order)
    return lines


def _remade(name: str, path: Path, order: rle.Order, thresholds: Mapping[str, float | int]) -> Result:
    kept = flows_file.read(path)
    masks: MaskOptions = kept.masks(thresholds)
    found = find_masks(kept.flows, kept.cellprob, masks)
    diameter = kept.about.get("diameter")
    segmentation = Segmentation(
        found.labels,
        kept.flows,
        kept.cellprob,
        float(diameter) if isinstance(diameter, int | float) else 30.0,
        found,
        str(kept.about.get("channels", "")),
        target=masks.target,
    )
    source, group = (str(kept.about.get(key, "")) for key in ("source", "group"))
    return Result(name, source, segmentation, masks, order, group=group)


def _file_name(result: Result) -> str:
    """Return the name of the image below the folder of all images, or that of its results where it is not known."""
    return (Path(result.name).parent / (last_part(result.source) or Path(result.name).name)).as_posix()
