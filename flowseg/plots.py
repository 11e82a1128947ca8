"""Figures: an image beside what was found in it, the curves of a training; and pictures of `flowseg.colours` by name.

`overview` and `training_curves` are figures of matplotlib, all else are arrays of colours (H, W, 3).

>>> import flowseg
>>> figure = flowseg.plots.overview(image, labels)                                    # doctest: +SKIP
>>> shown = flowseg.plots.with_outlines(flowseg.plots.seen(planes), labels, (255, 0, 0))  # doctest: +SKIP
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, checks, images
from flowseg import labels as label_images
from flowseg.arrays import Floats, Labels
from flowseg.colours import (
    FOUND,
    TRUTH,
    compared,
    distinct_colours,
    flow_colours,
    jpeg,
    label_colours,
    outlined_thumbnail,
    png,
    probability,
    seen,
    thumbnail,
    with_outlines,
)
from flowseg.errors import OptionError
from flowseg.images import Image
from flowseg.instances import Instances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

__all__ = [
    "FOUND",
    "PANELS",
    "TRUTH",
    "compared",
    "distinct_colours",
    "figure_png",
    "flow_colours",
    "jpeg",
    "label_colours",
    "outlined_thumbnail",
    "overview",
    "png",
    "probability",
    "seen",
    "thumbnail",
    "training_curves",
    "with_outlines",
]

PANELS = ("image", "outlines", "labels", "flows", "probability")
"""What `overview` can draw."""


def overview(
    image: npt.ArrayLike | Image | None,
    labels: npt.ArrayLike | Instances,
    flows: Floats | None = None,
    cellprob: Floats | None = None,
    *,
    truth: npt.ArrayLike | Instances | None = None,
    panels: str | Sequence[str] | None = None,
    region: tuple[int, int, int, int] | None = None,
    width: float | None = None,
) -> "Figure":
    """Draw an image beside what was found in it; a notebook shows the figure, ``savefig`` writes it.

    Parameters
    ----------
    image
        (H, W), (H, W, 3), or an image that `flowseg.read_image` has read; None: outlines are drawn on black.
    labels
        (H, W), 0 is background; or instances, which may overlap.
    flows, cellprob
        (2, H, W) unit vectors and (H, W) logits, as predicted; None leaves their panels out.
    truth
        True labels or instances, whose outlines are drawn as well.
    panels
        Some of `PANELS`, in the order wanted: ``"outlines"``, ``("image", "flows")``; None: all there is.
    region
        Show this part alone: (y0, x0, y1, x1) in pixels.
    width
        Of the figure in inches; None: by the number of panels.

    Examples
    --------
    >>> figure = overview(np.zeros((8, 8)), np.eye(8, dtype=np.int32))
    >>> [axis.get_title() for axis in figure.axes]
    ['image', 'outlines (1)', 'labels']
    >>> figure.savefig("cells.png")  # doctest: +SKIP
    """
    from flowseg import figures

    found = _Drawn.of(labels)
    true = None if truth is None else _Drawn.of(truth)
    pictures = _pictures(image, found.labels, flows, cellprob)
    chosen = _chosen_panels(panels, pictures)
    y0, x0, y1, x1 = _part(region, found.labels.shape)
    if width is not None:
        checks.number("width", width, 0.1, 1000)
    across = width or min(14.0, 4.0 * len(chosen))
    tall = across / len(chosen) * (y1 - y0) / max(x1 - x0, 1)
    figure = figures.new(across, min(max(tall, 1.0), 12.0) + (0.35 if true is None else 0.65))
    for axis, name in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        if pictures[name].size:
            axis.imshow(pictures[name], cmap="gray", vmin=0, vmax=255)
        if name == "outlines":
            _draw_outlines(axis, found, true)
        if name == "flows":
            _draw_wheel(axis)
        axis.set_title(f"outlines ({found.instances})" if name == "outlines" and region is None else name)
        axis.set(xlim=(x0 - 0.5, max(x1, x0 + 1) - 0.5), ylim=(max(y1, y0 + 1) - 0.5, y0 - 0.5))
        axis.set_axis_off()
    return figure


def _part(region: Sequence[int] | None, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the part of an image to show: (y0, x0, y1, x1)."""
    height, width = shape
    if region is None:
        return 0, 0, height, width
    part = tuple(region)
    if len(part) != 4 or not (0 <= part[0] < part[2] <= height and 0 <= part[1] < part[3] <= width):
        raise OptionError(f"region is {region}; wanted (y0, x0, y1, x1) within {height} x {width} pixels")
    return part


def _pictures(
    image: npt.ArrayLike | Image | None, labels: Labels, flows: Floats | None, cellprob: Floats | None
) -> dict[str, npt.NDArray[Any]]:
    """Return the pictures that can be drawn, by name of their panel."""
    if image is None:
        picture = np.zeros((*labels.shape, 3), np.uint8)
    else:
        given = image if isinstance(image, Image) else images.from_array(image)
        arrays.check_same_shape(given.shape, labels.shape, "the image and the labels")
        picture = seen(given.pixels)
    drawn = {"image": picture, "outlines": picture, "labels": label_colours(labels)}
    if flows is not None:
        field = arrays.as_flows(flows)
        arrays.check_same_shape(field.shape[1:], labels.shape, "the flows and the labels")
        drawn["flows"] = flow_colours(field)
    if cellprob is not None:
        drawn["probability"] = probability(arrays.as_probability(cellprob, labels.shape))
    return drawn


def _chosen_panels(panels: str | Sequence[str] | None, there: Mapping[str, Any]) -> list[str]:
    if panels is None:
        return list(there)
    chosen = [panels] if isinstance(panels, str) else list(panels)
    wrong = [name for name in chosen if name not in there]
    if wrong or not chosen:
        raise OptionError(f"panels is {panels!r}; wanted some of {', '.join(there)}")
    return chosen


class _Drawn(NamedTuple):
    """What is drawn: a label image, the outlines (K, 2) of its instances, whole where they overlap, and how many."""

    labels: Labels
    outlines: list[npt.NDArray[np.int32]]
    instances: int

    @classmethod
    def of(cls, given: "npt.ArrayLike | Instances") -> "_Drawn":
        if not isinstance(given, Instances):
            image = arrays.as_labels(given).image
            outlines = label_images.outlines(image, all_pieces=True)
            return cls(image, [one.points for one in outlines], len({one.label for one in outlines}))
        image, points = np.zeros(given.shape, np.int32), []
        for number in range(len(given)):
            mask = given.mask(number)
            image[mask] = number + 1
            points += [one.points for one in label_images.outlines(mask.astype(np.int32), all_pieces=True)]
        return cls(image, points, len(given))


def _draw_outlines(axis: "Axes", found: _Drawn, true: _Drawn | None) -> None:
    """Draw outlines as lines, which stay readable at any size of the picture."""
    lines = [("found", found, FOUND, "-")]
    if true is not None:
        arrays.check_same_shape(true.labels.shape, found.labels.shape, "the truth and the labels")
        lines = [("true", true, TRUTH, "-"), ("found", found, FOUND, "--")]
    for name, drawn, colour, style in lines:
        rings = [np.concatenate([points, points[:1]])[:, ::-1] for points in drawn.outlines]
        shade = tuple(part / 255 for part in colour)
        axis.add_collection(_lines(rings, shade, style), autolim=False)
        axis.plot([], [], color=shade, linestyle=style, label=name)
    if true is not None:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)


def _lines(rings: list[npt.NDArray[np.int32]], colour: tuple[float, ...], style: str) -> "LineCollection":
    from matplotlib.collections import LineCollection

    return LineCollection(rings, colors=[colour], linestyles=style, linewidths=1.3)


def _draw_wheel(axis: "Axes", side: int = 65) -> None:
    """Draw, in a corner, which colour is which direction."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    length = np.hypot(y, x)
    disc = np.dstack([flow_colours(np.stack([y, x]) / np.maximum(length, 1e-6)), 255 * (length <= 1)])
    corner = axis.inset_axes((0.83, 0.02, 0.15, 0.15))
    corner.imshow(disc.astype(np.uint8))
    corner.set_axis_off()


def training_curves(history: Sequence[Mapping[str, float]]) -> "Figure":
    """Draw losses, scores and learning rate over the crops of a training.

    Parameters
    ----------
    history
        The rows of ``history.csv``, as mappings; numbers may be text, as `csv.DictReader` gives them.

    Examples
    --------
    >>> rows = [{"crops": 8, "train_loss": 2.0, "validation_loss": 2.1, "ap50": 0.2, "map": 0.1, "lr": 1e-3}]
    >>> [axis.get_title() for axis in training_curves(rows).axes]
    ['loss', 'masks of the validation part', 'learning rate']
    """
    from flowseg import figures

    figure = figures.new(10, 3)
    axes = figure.subplots(1, 3)
    crops = [float(row["crops"]) for row in history]
    panels = (
        (("train_loss", "training"), ("validation_loss", "validation")),
        (("ap50", "AP at IoU 0.5"), ("map", "mean AP 0.5 to 0.9")),
        (("lr", "learning rate"),),
    )
    for axis, lines, title in zip(axes, panels, ("loss", "masks of the validation part", "learning rate"), strict=True):
        for column, name in lines:
            values = [float(row[column]) for row in history]
            if not all(math.isnan(value) for value in values):
                axis.plot(crops, values, label=name, marker=".")
                if not any(values):
                    axis.set_ylim(0, 1)  # scores are not around 0
        axis.set_title(title)
        axis.set_xlabel("crops")
        axis.grid(alpha=0.3)
        if len(axis.lines) > 1:
            axis.legend()
        if not axis.lines:
            axis.text(0.5, 0.5, "no validation images", ha="center", va="center", transform=axis.transAxes)
    return figure


def figure_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    from flowseg import figures

    return figures.png(figure, dpi=120)
