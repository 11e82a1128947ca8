"""Arrays become pictures: outlines over images, flows in colours, the curves of a training."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowseg import labels as label_images
from flowseg.arrays import Floats, Labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Colours = npt.NDArray[np.uint8]

TRUTH, FOUND = (255, 196, 0), (0, 214, 255)  # told apart by people who see few colours, and on any image


def grey(planes: npt.NDArray[Any]) -> Colours:
    """Return an image for the eye, (H, W, 3): three planes as colours, else the mean of all; 1 % cut at either end."""
    chosen = (
        planes if len(planes) == 3 else np.broadcast_to(planes.mean(axis=0, dtype=np.float32), (3, *planes.shape[1:]))
    )
    finite = chosen[np.isfinite(chosen)] if chosen.dtype.kind == "f" else chosen
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    stretched = (chosen.astype(np.float32) - low) / max(float(high - low), 1e-9)
    return np.ascontiguousarray((np.nan_to_num(stretched).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


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
    picture = grey(planes)
    panels = [with_outlines(picture, truth, TRUTH), with_outlines(picture, found, FOUND), flow_colours(flows)]
    gap = np.full((picture.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


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
