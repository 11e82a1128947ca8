"""The page of a data set: every image with its masks as they are, and crops of it as a network would learn them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowseg import colours, files, inspection, threads
from flowseg.augment import crop
from flowseg.channels import ChannelChoice
from flowseg.dataset import LEAST_DIAMETER, CropOptions, read_source
from flowseg.errors import FlowsegError
from flowseg.flows import masks_to_flows
from flowseg.instances import Instances
from flowseg.model_config import Architecture, ModelConfig
from flowseg.report import page, view
from flowseg.sources.collection import Item
from flowseg.words import many

_CROPS, _SIDE = 3, 160  # of each image
_GAP = 4


def write(
    path: Path,
    title: str,
    items: Sequence[Item],
    facts: dict[str, str],
    axes: str | None = None,
    group: str = "",
    problems: Sequence[str] = (),
    tell: Callable[[object], None] = lambda item: None,
) -> None:
    """Write the page, and beside it a folder with a view of each image: ``x_files`` for ``x.html``.

    Parameters
    ----------
    path
        Of the page.
    title, facts
        What stands at the top.
    items
        The data; what cannot be read is told in the list.
    axes
        Of image files that do not say them.
    group
        The column whose values tell groups apart; empty: none.
    problems
        What cannot be used of the data set, in words.
    tell
        Called after each item.
    """
    folder = page.folder_of_views(path)

    def row_of(numbered: tuple[int, Item]) -> dict[str, Any]:
        """Write the view of an image; return its row."""
        number, item = numbered
        row: dict[str, Any] = {"name": item.name, "group": item.columns.get(group, ""), "facts": dict(item.columns)}
        try:
            found = item.labelled()
            looked = inspection.look_at(item, found)
            data = view.encode(_view(item, found.instances, looked, axes, number))
            file = folder / f"{number:05d}.js"
            files.write_whole(file, data)
            row |= view.listed(data) | {"view": f"{folder.name}/{file.name}", "status": "done"}
            row["notes"] = _remarks(looked)
        except FlowsegError as error:
            row |= {"status": "failed", "error": str(error)}
        return row

    rows = []
    for item, row in zip(items, threads.mapped(row_of, enumerate(items)), strict=True):
        rows.append(row)
        tell(item)
    files.write_whole(path, page.document(title, facts, rows, problems))


def _remarks(looked: inspection.Looked) -> list[str]:
    """Say what looks wrong with the masks of an image; that some touch its border is no more than usual."""
    told = []
    for name, (what, _) in inspection.SUSPICIONS.items():
        count = len(looked.suspects(name))
        if count and name != "border":
            told.append(f"{many(count, 'mask')} {what}")
    return told


def _view(item: Item, instances: Instances, looked: inspection.Looked, axes: str | None, number: int) -> view.View:
    areas = looked.areas
    table = {
        "mask": looked.numbers,
        "area": areas,
        "diameter": instances.diameters(),
        "shared pixels": looked.shared,
        "pieces": np.maximum(looked.marks["pieces"], 1).astype(np.int64),
        "holes": looked.marks["holes"].astype(np.int64),
    }
    if item.path is None:
        return view.View(item.name, None, instances, table)
    planes = item.image(axes).pixels
    more = {"Crops as in training, and their flows": _crops(item, axes, number)} if len(areas) else {}
    return view.View(item.name, planes, instances, table, pictures=more)


def _crops(item: Item, axes: str | None, number: int) -> colours.Colours:
    """Return crops beside the flows computed of them, a row each."""
    options = CropOptions(size=_SIDE)
    config = ModelConfig(architecture=Architecture(channels=1))
    source, diameter = read_source(item, config, axes, ChannelChoice("grey"))
    rng = np.random.default_rng(number)
    rows = []
    for _ in range(_CROPS):
        made = crop(source, _SIDE, config.diameter_mean / max(diameter, LEAST_DIAMETER), rng, options.augment)
        seen = np.repeat((made.image[0].clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
        outlined = colours.with_outlines(seen, made.labels, colours.FOUND)
        gap = np.full((_SIDE, _GAP, 3), 128, np.uint8)
        rows.append(np.concatenate([outlined, gap, colours.flow_colours(masks_to_flows(made.labels))], axis=1))
        rows.append(np.full((_GAP, rows[-1].shape[1], 3), 128, np.uint8))
    return np.concatenate(rows[:-1])
