"""Arrays become pictures: outlines over images, flows in colours, the curves of a training.

`overview` and `training_curves` are figures of matplotlib, all else are arrays of colours (H, W, 3).

>>> import flowseg
>>> figure = flowseg.plots.overview(image, labels)                                    # doctest: +SKIP
>>> shown = flowseg.plots.with_outlines(flowseg.plots.seen(planes), labels, (255, 0, 0))  # doctest: +SKIP
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import arrays, checks, images, normalize
from flowseg import labels as label_images
from flowseg.arrays import Floats, Labels
from flowseg.errors import OptionError
from flowseg.images import Image
from flowseg.instances import Instances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

Colours = npt.NDArray[np.uint8]

_LOW, _HIGH = 0.5, 99.8  # percentiles that become black and white
# What the channels of a picture that is neither grey nor RGB shine in.
_LIGHTS = ((1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))

_GOLDEN = 0.618034  # hues this far apart stay apart for any number of labels

TRUTH, FOUND = (255, 196, 0), (0, 214, 255)  # told apart by people who see few colours, and on any image


def seen(stack: npt.NDArray[Any]) -> Colours:
    """Return an image (C, H, W) as one sees it, (H, W, 3).

    One channel is grey; three of 8 bits are red, green and blue; of any others each has a colour of its own. The
    darkest and the brightest pixels are cut, infinite ones too; NaN is black.

    Examples
    --------
    >>> seen(np.arange(12.0).reshape(1, 3, 4)).shape
    (3, 4, 3)
    """
    if is_colour(stack):  # colours keep their balance: stretched together
        return np.ascontiguousarray(np.moveaxis(_stretched(stack), 0, 2))
    if len(stack) == 1:
        return np.repeat(_stretched(stack[0])[..., np.newaxis], 3, axis=2)
    canvas = np.zeros((*stack.shape[1:], 3), np.uint8)
    for number, plane in enumerate(stack):
        grey = _stretched(plane)
        for channel in np.flatnonzero(_LIGHTS[number % len(_LIGHTS)]):
            np.maximum(canvas[..., channel], grey, out=canvas[..., channel])
    return canvas


def _stretched(values: npt.NDArray[Any]) -> Colours:
    """Bring numbers to 0..255, from a low percentile to a high one; NaN is black."""
    known = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    given = np.ascontiguousarray(values, None if known else np.float32)
    low, high = normalize.percentiles(given, (_LOW, _HIGH)).values
    scale = 255 / (high - low) if high > low else 0.0
    if known:
        span = np.iinfo(given.dtype)
        table = ((np.arange(span.min, span.max + 1) - low) * scale).clip(0, 255).round().astype(np.uint8)
        levels: Colours = table[given.astype(np.int32) - span.min]
        return levels
    with np.errstate(over="ignore", invalid="ignore"):
        stretched = ((given - np.float32(low)) * np.float32(scale)).clip(0, 255).round()
    return np.asarray(np.nan_to_num(stretched, copy=False), np.uint8)


def is_colour(stack: npt.NDArray[Any]) -> bool:
    """Tell whether three planes are red, green and blue."""
    return len(stack) == 3 and stack.dtype == np.uint8


def flow_colours(flows: Floats, strength: Floats | None = None) -> Colours:
    """Return flows (2, H, W) as colours (H, W, 3): the hue is the direction, brightness the length.

    Parameters
    ----------
    flows
        Vectors (dy, dx), at most 1 long.
    strength
        (H, W) from 0 to 1 in place of the length.

    Examples
    --------
    >>> flow_colours(np.zeros((2, 4, 5), np.float32)).shape
    (4, 5, 3)
    """
    angle = np.arctan2(flows[0], flows[1])
    value = np.hypot(*flows).clip(0, 1) if strength is None else strength.clip(0, 1)
    shifts = np.array([0, 2 * math.pi / 3, 4 * math.pi / 3], np.float32)
    waves = (1 + np.cos(angle[..., None] - shifts)) / 2
    return np.asarray((waves * value[..., None] * 255).astype(np.uint8))


def with_outlines(picture: Colours, labels: Labels, colour: Sequence[int]) -> Colours:
    """Return the picture with the border pixels of every instance in one colour."""
    drawn = picture.copy()
    drawn[label_images.outline_mask(labels)] = colour
    return drawn


def compared(planes: npt.NDArray[Any], truth: Labels, found: Labels, flows: Floats) -> Colours:
    """Return three pictures side by side: outlines of the truth, outlines of what was found, and the flows."""
    picture = seen(planes)
    panels = [with_outlines(picture, truth, TRUTH), with_outlines(picture, found, FOUND), flow_colours(flows)]
    gap = np.full((picture.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def label_colours(labels: Labels) -> Colours:
    """Return a label image as colours (H, W, 3): background black, each instance a colour unlike its neighbours'.

    Examples
    --------
    >>> label_colours(np.array([[0, 1], [2, 2]])).shape
    (2, 2, 3)
    """
    values = np.arange(int(labels.max(initial=0)) + 1)
    hue = (values * _GOLDEN % 1)[:, None] * 6 + np.array([0, 4, 2])
    table = np.asarray(60 + 195 * (np.abs(hue % 6 - 3) - 1).clip(0, 1), np.uint8)
    table[0] = 0
    return np.asarray(table[labels])


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
        arrays.check_same_shape(flows.shape[1:], labels.shape, "the flows and the labels")
        drawn["flows"] = flow_colours(flows)
    if cellprob is not None:
        arrays.check_same_shape(cellprob.shape, labels.shape, "the probability and the labels")
        drawn["probability"] = (255 / (1 + np.exp(-np.clip(cellprob, -30, 30)))).astype(np.uint8)
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


def outlined_thumbnail(picture: Colours, labels: Labels, longest: int) -> Colours:
    """Return a small picture with outlines one pixel wide, however much smaller it became.

    Examples
    --------
    >>> outlined_thumbnail(np.zeros((90, 60, 3), np.uint8), np.ones((90, 60), np.int32), 30).shape
    (30, 20, 3)
    """
    small = thumbnail(picture, longest)
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for old, new in zip(labels.shape, small.shape[:2], strict=True)
    )
    return with_outlines(small, labels[np.ix_(rows, columns)], FOUND)


def thumbnail(picture: Colours, longest: int) -> Colours:
    """Return a picture whose longer side has at most so many pixels."""
    from PIL import Image as PillowImage

    image = PillowImage.fromarray(picture)
    image.thumbnail((longest, longest), PillowImage.Resampling.BOX)
    return np.asarray(image)


def png(picture: Colours) -> bytes:
    """Return a picture (H, W, 3) as a PNG file, exact."""
    return _encoded(picture, "PNG")


def jpeg(picture: Colours) -> bytes:
    """Return a picture (H, W, 3) as a JPEG file, which is smaller."""
    return _encoded(picture, "JPEG", quality=88, subsampling=0)


def _encoded(picture: Colours, kind: str, **settings: int) -> bytes:
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, kind, **settings)
    return buffer.getvalue()


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
