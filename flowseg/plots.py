"""Arrays become pictures: outlines over images, flows in colours, the curves of a training."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowseg import labels as label_images
from flowseg import normalize
from flowseg.arrays import Floats, Labels

if TYPE_CHECKING:
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
    darkest and the brightest pixels are cut; what is not finite is black.

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
    """Bring numbers to 0..255, from a low percentile to a high one; what is not finite is black."""
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


def overview(
    planes: npt.NDArray[Any] | None,
    labels: Labels,
    flows: Floats | None = None,
    cellprob: Floats | None = None,
    *,
    truth: Labels | None = None,
    width: float = 14.0,
) -> "Figure":
    """Draw an image beside what was found in it.

    Parameters
    ----------
    planes
        (C, H, W); None: outlines are drawn on black.
    labels
        (H, W), 0 is background.
    flows, cellprob
        (2, H, W) unit vectors and (H, W) logits, as predicted; None leaves their panels out.
    truth
        (H, W) true labels, whose outlines are drawn as well.
    width
        Of the figure in inches.

    Examples
    --------
    >>> figure = overview(np.zeros((1, 8, 8)), np.eye(8, dtype=np.int32))
    >>> [axis.get_title() for axis in figure.axes]
    ['image', 'outlines (1)', 'labels']
    """
    from matplotlib.figure import Figure

    picture = np.zeros((*labels.shape, 3), np.uint8) if planes is None else seen(planes)
    outlined = with_outlines(picture, labels, FOUND)
    if truth is not None:
        outlined = with_outlines(outlined, truth, TRUTH)
    panels = {"image": picture, f"outlines ({int(labels.max(initial=0))})": outlined, "labels": label_colours(labels)}
    if flows is not None:
        panels["flows"] = flow_colours(flows)
    if cellprob is not None:
        panels["probability"] = (255 / (1 + np.exp(-np.clip(cellprob, -30, 30)))).astype(np.uint8)
    height = width / len(panels) * labels.shape[0] / max(labels.shape[1], 1)
    figure = Figure(figsize=(width, min(max(height, 1.0), 12.0) + 0.4), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        if panel.size:
            axis.imshow(panel, cmap="grey", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title)
        axis.set_axis_off()
    return figure


def thumbnail(picture: Colours, longest: int) -> Colours:
    """Return a picture whose longer side has at most so many pixels."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((longest, longest), Image.Resampling.BOX)
    return np.asarray(image)


def png(picture: Colours) -> bytes:
    """Return a picture (H, W, 3) as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def training_curves(history: Sequence[Mapping[str, float]]) -> "Figure":
    """Draw losses, scores and learning rate over the crops of a training.

    Parameters
    ----------
    history
        The rows of ``history.csv``, as mappings.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    crops = [row["crops"] for row in history]
    panels = (
        (("train_loss", "training"), ("validation_loss", "validation")),
        (("ap50", "AP at IoU 0.5"), ("map", "mean AP 0.5 to 0.9")),
        (("lr", "learning rate"),),
    )
    for axis, lines, title in zip(axes, panels, ("loss", "masks of the validation part", "learning rate"), strict=True):
        for column, name in lines:
            values = [row[column] for row in history]
            if not all(math.isnan(value) for value in values):
                axis.plot(crops, values, label=name, marker=".")
        axis.set_title(title)
        axis.set_xlabel("crops")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend()
    return figure


def figure_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
