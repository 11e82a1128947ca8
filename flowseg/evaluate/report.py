"""Scores as a page: every image, the worst first, with true and predicted outlines and what went wrong."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays, files, metrics
from flowseg.errors import FlowsegError
from flowseg.evaluate.comparison import Pair, overlaps_of
from flowseg.evaluate.errors import find_errors
from flowseg.evaluate.records import ImageScore, Scores
from flowseg.exports import flows_file
from flowseg.report import page, view


def write(
    path: Path,
    title: str,
    pairs: Sequence[Pair],
    scores: Scores,
    axes: str | None = None,
    tell: Callable[[object], None] = lambda pair: None,
    results: Path | None = None,
    plane: str | None = None,
) -> None:
    """Write the page, and beside it a folder with a view of each image: ``x_files`` for ``x.html``.

    Parameters
    ----------
    path
        Of the page.
    title
        What was compared.
    pairs
        The images.
    scores
        What `compare` said of them.
    axes
        Of image files that do not say them.
    tell
        Called after each image.
    results
        Folder of a run's results: flows that were kept there are shown too.
    plane
        Which plane of image files with several.
    """
    by_name = {pair.name: pair for pair in pairs}
    folder = page.folder_of_views(path)
    rows = []
    for number, score in enumerate(scores.images):
        shown, notes = view_of(by_name[score.name], axes, results, plane)
        data = view.encode(shown)
        file = folder / f"{number:05d}.js"
        files.write_whole(file, data)
        rows.append(view.listed(data) | _row(score) | {"view": f"{folder.name}/{file.name}", "notes": notes})
        tell(score)
    files.write_whole(path, page.document(title, _facts(scores), rows))


def view_of(
    pair: Pair, axes: str | None = None, results: Path | None = None, plane: str | None = None
) -> tuple[view.View, list[str]]:
    """Return what is shown of one image, and what could not be."""
    pred, truth = pair.load()
    planes, notes = _planes(pair, truth.shape, axes, plane)
    kept = _kept(pair.name, truth.shape, results)
    found = overlaps_of(truth, pred, allow_overlap=True)
    assert isinstance(found, metrics.Overlaps)
    wrong = find_errors(found, metrics.match_of(found, 0.5))
    best = np.zeros(len(pred))
    np.maximum.at(best, found.pred_labels[found.pred] - 1, found.iou)
    shown = view.View(
        pair.name,
        planes,
        pred,
        {
            "cell": np.arange(1, len(pred) + 1),
            "best IoU": best,
            "area": pred.areas(),
            "diameter": pred.diameters(),
        },
        None if kept is None else kept.flows,
        None if kept is None else kept.cellprob,
        kinds=_kinds(len(pred), found.pred_labels, "found", {"merged": wrong.merged, "spurious": wrong.spurious}),
        truth=truth,
        truth_kinds=_kinds(len(truth), found.truth_labels, "true", {"split": wrong.split, "missed": wrong.missed}),
    )
    return shown, notes


def _planes(
    pair: Pair, shape: tuple[int, int], axes: str | None, plane: str | None
) -> tuple[npt.NDArray[Any] | None, list[str]]:
    """Return the pixels of an image, or why they cannot be shown: scores are worth a page without them."""
    item = pair.pictured
    if item is None:
        return None, ["where the image lies is not known: say so with --images"]
    try:
        image = item.image(axes, plane)
        arrays.check_same_shape(shape, image.shape, f"the masks of {pair.name} and its image")
    except FlowsegError as error:
        return None, [str(error)]
    return image.pixels, []


def _kept(name: str, shape: tuple[int, int], results: Path | None) -> flows_file.KeptFlows | None:
    """Return the flows that a run kept of an image; None where there are none that fit."""
    path = None if results is None else results / f"{name}_flows.npz"
    if path is None or not os.path.isfile(path):  # which a name that is too long for a file is not
        return None
    kept = flows_file.read(path)
    return kept if kept.cellprob.shape == shape else None


def _kinds(count: int, labels: Any, usual: str, flags: dict[str, Any]) -> list[str]:
    kinds = [usual] * count
    for name, those in flags.items():
        for label in labels[those]:
            kinds[int(label) - 1] = name
    return kinds


def _row(score: ImageScore) -> dict[str, Any]:
    facts = {
        "true": score.truths,
        "mAP": f"{score.map:.3f}",
        "AP at IoU 0.5": f"{score.ap50:.3f}",
        "AP at IoU 0.75": f"{score.ap75:.3f}",
        "panoptic quality": f"{score.pq:.3f}",
        "split": score.splits,
        "merged": score.merges,
    }
    return {"name": score.name, "status": "done", "score": score.map, "group": score.group, "facts": facts}


def _facts(scores: Scores) -> dict[str, str]:
    whole = scores.overall
    return {
        "images": f"{whole.images:,}",
        "true cells": f"{whole.truths:,}",
        "found": f"{whole.predicted:,}",
        "mAP, IoU 0.50 to 0.95": f"{whole.map:.3f}",
        "AP at IoU 0.5": f"{whole.ap50:.3f}",
        "AP at IoU 0.75": f"{whole.ap75:.3f}",
        "panoptic quality": f"{whole.pq:.3f}",
        "split": f"{whole.splits:,}",
        "merged": f"{whole.merges:,}",
    }
