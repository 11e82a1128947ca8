"""Pictures of what went wrong in an image: outlines of truth and prediction, errors in colours of their own."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import colours, metrics, overlaps
from flowseg import labels as label_images
from flowseg.colours import Colours
from flowseg.errors import InputError
from flowseg.evaluate.comparison import Pair, overlaps_of
from flowseg.evaluate.errors import find_errors
from flowseg.instances import Instances

_SIDE = 1600  # small images are enlarged so that their longer side has about so many pixels
_LINE = 22  # height of a line of text in pixels


class _Kind(NamedTuple):
    """How instances of one kind are drawn."""

    name: str
    colour: tuple[int, int, int]
    wide: bool


# Drawn in this order, so that errors lie on top. Told apart in brightness and width too, not by hue alone.
TRUE = _Kind("true, no error", colours.TRUTH, True)
FOUND = _Kind("found, no error", colours.FOUND, False)
SPLIT = _Kind("split", (0, 230, 80), True)
MERGED = _Kind("merged", (90, 120, 255), True)
MISSED = _Kind("missed", (255, 48, 32), True)
SPURIOUS = _Kind("spurious", (255, 80, 255), True)


def overlay(pair: Pair, axes: str | None = None, plane: str | None = None) -> Colours:
    """Draw one image with its truth and its prediction, and a legend below that counts each kind.

    Parameters
    ----------
    pair
        The image on both sides; where neither has the pixels, outlines are drawn on black.
    axes, plane
        Axes of image files that do not say them, and which plane of those with several.

    Returns
    -------
    picture
        (height, width, 3) uint8. Small images are enlarged.
    """
    pred, truth = pair.load()
    found = overlaps_of(truth, pred, allow_overlap=True)
    assert isinstance(found, metrics.Overlaps)
    matched = metrics.match_of(found, 0.5)
    wrong = find_errors(found, matched)
    picture, factor = _canvas(pair, truth.shape, axes, plane)
    kinds = (
        (truth, TRUE, found.truth_labels, ~(wrong.split | wrong.missed)),
        (pred, FOUND, found.pred_labels, ~(wrong.merged | wrong.spurious)),
        (truth, SPLIT, found.truth_labels, wrong.split),
        (pred, MERGED, found.pred_labels, wrong.merged),
        (truth, MISSED, found.truth_labels, wrong.missed),
        (pred, SPURIOUS, found.pred_labels, wrong.spurious),
    )
    for instances, kind, labels, chosen in kinds:
        _draw(picture, instances, labels[chosen] - 1, kind, factor)
    counts = {kind: int(chosen.sum()) for _, kind, _, chosen in kinds}
    ap = metrics.precision_of(found, np.array(metrics.KAGGLE_THRESHOLDS)).ap
    title = f"{pair.name}: {len(truth)} true, {len(pred)} found, mAP {ap.mean():.3f}, AP at IoU 0.5 {ap[0]:.3f}"
    return _with_legend(picture, title, counts)


def _canvas(pair: Pair, shape: tuple[int, int], axes: str | None, plane: str | None) -> tuple[Colours, int]:
    """Return the image in colours, enlarged by a whole factor, and the factor."""
    picture = np.zeros((*shape, 3), np.uint8)
    if pair.pictured is not None:
        image = pair.pictured.image(axes, plane)
        if image.shape != shape:
            raise InputError(f"{image.name} has the shape {image.shape}; wanted {shape}, as the truth of {pair.name}")
        picture = colours.seen(image.pixels)
    factor = max(1, round(_SIDE / max(*shape, 1)))
    return np.ascontiguousarray(picture.repeat(factor, axis=0).repeat(factor, axis=1)), factor


def _draw(picture: Colours, instances: Instances, chosen: npt.NDArray[np.int64], kind: _Kind, factor: int) -> None:
    """Draw the outlines of some instances, in place; those that overlap one another too."""
    if not len(chosen):
        return
    for layer in overlaps.split_into_layers(_some(instances, chosen)):
        large = layer.labels.repeat(factor, axis=0).repeat(factor, axis=1)
        border = label_images.outline_mask(large)
        if kind.wide:
            border |= label_images.outline_mask(np.where(border, 0, large))
        picture[border] = kind.colour


def _some(instances: Instances, chosen: npt.NDArray[np.int64]) -> Instances:
    """Return some of the instances."""
    counts = np.diff(instances.offsets)
    keep = np.repeat(np.isin(np.arange(len(instances)), chosen), counts)
    offsets = np.concatenate([[0], np.cumsum(counts[chosen])])
    return Instances(instances.shape, instances.starts[keep], instances.lengths[keep], offsets)


def _with_legend(picture: Colours, title: str, counts: dict[_Kind, int]) -> Colours:
    """Return the picture with a title above, and below a square and a count for each kind."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    texts = [f"{kind.name} {count}" for kind, count in counts.items()]
    widths = [int(font.getlength(text)) + 34 for text in texts]
    width = max(picture.shape[1], 260)
    rows: list[list[tuple[int, _Kind, str]]] = [[]]
    x = 8
    for (kind, _), text, wide in zip(counts.items(), texts, widths, strict=True):
        if x + wide > width and rows[-1]:
            rows.append([])
            x = 8
        rows[-1].append((x, kind, text))
        x += wide
    sheet = Image.new("RGB", (width, picture.shape[0] + _LINE * (1 + len(rows)) + 4), (24, 24, 24))
    sheet.paste(Image.fromarray(picture), (0, _LINE))
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 3), _fitting(title, font.getlength, width - 16), font=font, fill=(255, 255, 255))
    for number, row in enumerate(rows):
        y = _LINE + picture.shape[0] + 3 + number * _LINE
        for left, kind, text in row:
            draw.rectangle((left, y + 4, left + 12, y + 14), outline=kind.colour, width=4 if kind.wide else 2)
            draw.text((left + 18, y + 1), text, font=font, fill=(255, 255, 255))
    return np.asarray(sheet)


def _fitting(text: str, length: Callable[[str], float], most: int) -> str:
    """Shorten a text that is too wide."""
    if length(text) <= most:
        return text
    while text and length(f"{text}…") > most:
        text = text[:-1]
    return f"{text}…"
