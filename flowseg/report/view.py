"""One image of a report: pictures, the outline of every cell, measurements; a script that the page loads.

The first line of such a file is a comment with what the list of images shows; the rest calls ``flowseg.view``.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowseg import boundaries, colours
from flowseg.arrays import Floats
from flowseg.instances import Instances

_LARGE, _SMALL = 1600, 176  # longest sides in pixels of views and of pictures in the list
_MOST = 20_000  # instances whose outlines are drawn: browsers become slow beyond
_BINS_AN_OCTAVE = 4  # of diameters, from 1 pixel

Pictures = dict[str, str]


@dataclass(frozen=True, eq=False)
class View:
    """What is shown of one image.

    Attributes
    ----------
    name
        Of the image.
    planes
        (C, H, W) as the image came; None: black.
    cells
        The instances; may overlap.
    table
        Measurements by column, (n,) each.
    flows, cellprob
        (2, H, W) and (H, W) logits, as predicted; None where there are none.
    kinds
        (n,) the kind of each instance, in a word: it decides the colour; empty: a colour each.
    truth, truth_kinds
        True instances, where they are known, and their kinds.
    pictures
        More pictures (h, w, 3), by title, to be shown beside.
    """

    name: str
    planes: npt.NDArray[Any] | None
    cells: Instances
    table: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    flows: Floats | None = None
    cellprob: Floats | None = None
    kinds: Sequence[str] = ()
    truth: Instances | None = None
    truth_kinds: Sequence[str] = ()
    pictures: Mapping[str, colours.Colours] = field(default_factory=dict)


def encode(view: View) -> bytes:
    """Return the file of an image."""
    seen = _seen(view)
    height, width = view.cells.shape
    layers: Pictures = {"image": _jpeg(seen, _LARGE)}
    if view.cellprob is not None:
        grey = colours.probability(view.cellprob)
        layers["probability"] = _jpeg(np.repeat(grey[..., None], 3, axis=2), _LARGE)
    if view.flows is not None:
        layers["flows"] = _jpeg(colours.flow_colours(view.flows), _LARGE)
    whole = {
        "name": view.name,
        "size": [width, height],
        "layers": layers,
        "stained": view.planes is not None and colours.is_colour(view.planes),
        "cells": _shapes(view.cells, view.kinds),
        "columns": list(view.table),
        "rows": _rows(view.table),
        "truth": None if view.truth is None else _shapes(view.truth, view.truth_kinds),
        "more": {title: _jpeg(picture, _LARGE) for title, picture in view.pictures.items()},
    }
    listed = {
        "thumb": _jpeg(seen, _SMALL),
        "size": [width, height],
        "count": len(view.cells),
        "bins": _bins(view.cells.diameters()),
    }
    return f"//{json.dumps(listed)}\nflowseg.view({as_script(whole)});\n".encode()


def listed(data: bytes) -> dict[str, Any]:
    """Return what the list of images shows of a file that `encode` made."""
    return dict(json.loads(data[2 : data.index(b"\n")]))


def as_script(value: Any) -> str:
    """Return JSON that may stand in a script of a page, whatever is in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _seen(view: View) -> colours.Colours:
    if view.planes is None or view.planes.size == 0:
        return np.zeros((max(1, view.cells.shape[0]), max(1, view.cells.shape[1]), 3), np.uint8)
    return colours.seen(view.planes)


def _jpeg(picture: colours.Colours, longest: int) -> str:
    """Return a picture as the text that a page shows."""
    image, buffer = Image.fromarray(colours.thumbnail(picture, longest)), io.BytesIO()
    fine = longest > _SMALL
    image.save(buffer, "JPEG", quality=90 if fine else 75, subsampling=0 if fine else 2)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _shapes(instances: Instances, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the outlines as SVG has them, and the kinds."""
    found = boundaries.trace(instances)
    count = min(len(instances), _MOST)
    paths = ["".join(_path(ring) for rings in found.of(index) for ring in rings) for index in range(count)]
    return {"paths": paths, "kinds": list(kinds[:count]), "all": len(instances)}


def _path(ring: boundaries.Ints) -> str:
    """Return a ring of corners as a path: it turns at every corner, so that steps go along x and y in turns."""
    y, x = ring[0].tolist()
    steps = np.diff(ring, axis=0).tolist()
    return f"M{x} {y}" + "".join(f"h{dx}" if dx else f"v{dy}" for dy, dx in steps) + "z"


def _rows(table: Mapping[str, npt.NDArray[np.generic]]) -> list[list[float | int | None]]:
    columns = [_short(np.asarray(values)[:_MOST]) for values in table.values()]
    return [list(row) for row in zip(*columns, strict=True)]


def _short(values: npt.NDArray[Any]) -> list[float | int | None]:
    """Return numbers of four digits; what is not finite is None."""
    if values.dtype.kind in "iu":
        return [int(value) for value in values]
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _bins(diameters: npt.NDArray[np.float64]) -> list[int]:
    """Count diameters above 0 in steps of a quarter of an octave, from 1 pixel."""
    octaves = np.log2(diameters[diameters > 0])
    return [int(count) for count in np.bincount((_BINS_AN_OCTAVE * octaves).clip(0, 63).astype(int))]
