"""GeoJSON as QuPath reads it: an object a cell, with exact outlines, holes and measurements."""

import colorsys
import json
import math
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flowseg import boundaries
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances

Kind = Literal["detection", "cell", "annotation"]
Rings = list[list[list[int]]]


def encode(
    instances: Instances,
    values: npt.ArrayLike | None = None,
    table: Mapping[str, npt.NDArray[np.generic]] | None = None,
    *,
    name: str = "",
    kind: Kind = "detection",
    classes: Sequence[str] | None = None,
) -> bytes:
    """Return a feature collection, a feature an instance; instances without pixels are left out.

    Parameters
    ----------
    instances
        They may overlap.
    values
        (n,) the label of each, its name in QuPath; None: 1 to n.
    table
        Measurements by column, (n,) each, as `flowseg.measure.measure` makes them.
    name
        Of the image: ids are made of it and the label, so that they repeat and differ between images.
    kind
        What QuPath takes the objects for.
    classes
        (n,) the name of the class of each, "" where it has none. A class has the same colour in every file; QuPath
        takes its own for those that it knows.

    Notes
    -----
    Coordinates are corners of pixels (x, y), from the upper left of the image. An instance in one piece is a Polygon,
    in several (which may touch at a corner) a MultiPolygon.

    Examples
    --------
    >>> found = json.loads(encode(Instances.from_labels([[0, 7], [0, 7]]), [7]))
    >>> found["features"][0]["geometry"]["coordinates"]
    [[[1, 0], [2, 0], [2, 2], [1, 2], [1, 0]]]
    """
    if kind not in ("detection", "cell", "annotation"):
        raise OptionError(f"kind is {kind!r}; wanted detection, cell or annotation")
    labels = np.arange(1, len(instances) + 1) if values is None else np.asarray(values)
    columns = {column: np.asarray(given) for column, given in (table or {}).items() if column != "label"}
    named = np.zeros(len(instances), str) if classes is None else np.asarray(classes, str)
    for what, given in {"values": labels, "classes": named, **columns}.items():
        if given.shape != (len(instances),):
            raise InputError(f"{what} has shape {given.shape}; wanted one for each of {len(instances)} instances")
    rows = {column: given.tolist() for column, given in columns.items()}
    found = boundaries.trace(instances)
    features = []
    for index in np.flatnonzero(instances.areas()).tolist():
        label = int(labels[index])
        measured = {column: row[index] for column, row in rows.items() if math.isfinite(row[index])}
        pieces = [[_closed(ring) for ring in rings] for rings in found.of(index)]
        about = {"objectType": kind, "name": str(label), **_class(str(named[index])), "measurements": measured}
        features.append(json.dumps(_feature(pieces, _id(name, label), about)))
    return ('{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "\n]}\n").encode()


def _feature(pieces: list[Rings], identity: str, properties: dict[str, Any]) -> dict[str, Any]:
    one = len(pieces) == 1
    return {
        "type": "Feature",
        "id": identity,
        "geometry": {"type": "Polygon" if one else "MultiPolygon", "coordinates": pieces[0] if one else pieces},
        "properties": properties,
    }


def _class(name: str) -> dict[str, Any]:
    """Return the property of a class, none where it has no name; QuPath takes no line breaks in one."""
    text = " ".join(name.split())
    return {"classification": {"name": text, "color": _colour(text)}} if text else {}


def _colour(name: str) -> list[int]:
    """Return red, green and blue, 0 to 255, of a hue that depends on the name alone."""
    hue = zlib.crc32(name.encode(errors="replace")) / 2**32
    return [round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.9)]


def _closed(ring: boundaries.Ints) -> list[list[int]]:
    points: list[list[int]] = ring[:, ::-1].tolist()
    return [*points, points[0]]


def _id(name: str, label: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"flowseg:{name}:{label}"))
