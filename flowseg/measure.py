"""Measurements of all instances at once: where they are, how large, of what shape, how bright, how sure."""

from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays, checks, flows, labels, notebook
from flowseg.arrays import Labels
from flowseg.errors import InputError
from flowseg.kernels import regions
from flowseg.options import FLOW_TARGETS

Column = npt.NDArray[np.float64] | npt.NDArray[np.int64]

# The length that a pixel of the border adds, by the kinds of its neighbours on the border (Benkrid & Crookes, 2000).
_STRAIGHT, _DIAGONAL = (5, 7, 15, 17, 25, 27), (21, 33)


class Table(dict[str, Column]):
    """Columns of equal length by name, of which a notebook shows the first rows; ``pandas.DataFrame`` takes it."""

    def __repr__(self) -> str:
        return f"Table({len(next(iter(self.values()), ()))} rows: {', '.join(self)})"

    def _repr_html_(self) -> str:
        return notebook.table({name: column.tolist() for name, column in self.items()})


def measure(
    image: npt.ArrayLike,
    planes: npt.ArrayLike | None = None,
    cellprob: npt.ArrayLike | None = None,
    predicted: npt.ArrayLike | None = None,
    target: str = "diffusion",
) -> Table:
    """Return a table with one row an instance, by ascending label.

    Parameters
    ----------
    image
        (H, W) labels.
    planes
        (C, H, W) intensities.
    cellprob
        (H, W) logits.
    predicted
        (2, H, W) flows that the instances were found from, for the flow error.
    target
        What those flows lead to, one of `flowseg.model_config.FLOW_TARGETS`.

    Returns
    -------
    Table
        A dictionary of columns: label, centroid_y, centroid_x, area, bbox_y0, bbox_x0, bbox_y1, bbox_x1 (half-open),
        diameter (of a disc of the same area), perimeter and eccentricity (as scikit-image defines them),
        mean_intensity_0 ..., mean_probability (0 to 1), flow_error. Lengths in pixels.

    Examples
    --------
    >>> table = measure([[0, 3, 3], [0, 3, 3]])
    >>> table["label"].tolist(), table["area"].tolist(), table["centroid_x"].tolist()
    ([3], [4], [1.5])
    """
    checks.one_of("target", target, FLOW_TARGETS)
    found, values = arrays.as_labels(image)
    boxes, counts = regions.boxes_and_areas(found)
    there = np.flatnonzero(counts)
    inside = found > 0
    own = found[inside]
    area = counts[there].astype(np.float64)

    def total(weights: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(own, weights, minlength=len(counts))[there])

    # Counted from the corner of each box: squares of what is far from that of the image would leave little of a shape.
    ys, xs = ((axis - boxes[own, place]).astype(np.float64) for place, axis in enumerate(np.nonzero(inside)))
    centre_y, centre_x = total(ys) / area, total(xs) / area
    table = Table(
        {
            "label": values[there],
            "centroid_y": boxes[there, 0] + centre_y,
            "centroid_x": boxes[there, 1] + centre_x,
            "area": counts[there],
            **{
                f"bbox_{name}": boxes[there, place].astype(np.int64)
                for place, name in enumerate(("y0", "x0", "y1", "x1"))
            },
            "diameter": 2 * np.sqrt(area / np.pi),
            "perimeter": _perimeters(found, len(counts))[there],
            "eccentricity": _eccentricities(
                total(ys * ys) / area - centre_y**2,
                total(xs * xs) / area - centre_x**2,
                total(ys * xs) / area - centre_y * centre_x,
            ),
        }
    )
    for number, plane in enumerate(_planes(planes, found.shape) if planes is not None else ()):
        table[f"mean_intensity_{number}"] = total(plane[inside]) / area
    if cellprob is not None:
        logits = arrays.as_probability(cellprob, found.shape)[inside].astype(np.float64)
        table["mean_probability"] = total(1 / (1 + np.exp(-logits.clip(-700, 700)))) / area
    if predicted is not None:
        field = arrays.as_flows(predicted)
        arrays.check_same_shape(field.shape[1:], found.shape, "the flows and the labels")
        errors = flows.flow_errors(found, field, boxes, counts, target)
        table["flow_error"] = errors[there]
    return table


def _planes(planes: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    given = arrays.as_array(planes, "planes")
    if given.ndim != 3 or given.shape[1:] != shape:
        raise InputError(
            f"planes have shape {given.shape} and labels {shape}; wanted (channels, height, width) of the same size: "
            "image[None] of a grey image, np.moveaxis(image, 2, 0) of a colour one"
        )
    if given.dtype.kind not in "biuf":
        raise InputError(f"planes have type {given.dtype}; wanted real numbers")
    return given


def _eccentricities(
    yy: npt.NDArray[np.float64], xx: npt.NDArray[np.float64], yx: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the eccentricity of the ellipse with these second moments; 0 for a point."""
    middle, apart = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    large, small = middle + apart, np.maximum(middle - apart, 0)
    share = np.divide(small, large, out=np.ones_like(large), where=large > 1e-12)
    return np.asarray(np.sqrt(1 - share))


def _perimeters(found: Labels, length: int) -> npt.NDArray[np.float64]:
    """Return the perimeter of each label, along the centres of its border pixels."""
    border = np.pad(np.where(labels.outline_mask(found), found, 0), 1)
    row, flat = border.shape[1], border.ravel()
    here = np.flatnonzero(flat)  # a small part of the image
    own = flat[here]
    kinds = np.ones(len(here), np.int8)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            weight = np.int8(2 if (dy == 0) != (dx == 0) else 10)
            if (dy, dx) != (0, 0):
                kinds += weight * (flat[here + (dy * row + dx)] == own)
    lengths = np.zeros(1 + 4 * 2 + 4 * 10 + 1)
    lengths[list(_STRAIGHT)] = 1
    lengths[list(_DIAGONAL)] = np.sqrt(2)
    lengths[[13, 23]] = (1 + np.sqrt(2)) / 2
    return np.asarray(np.bincount(own, lengths[kinds], minlength=length))
