"""Many images on one sheet, each with the outlines of its instances; overlapping ones as they are."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowseg import boundaries, colours
from flowseg.colours import Colours
from flowseg.errors import FlowsegError
from flowseg.instances import Instances
from flowseg.sources.collection import Item

_LINE = 18  # height of a caption in pixels
_GAP = 6


def draw(
    items: Sequence[Item],
    tile: int = 320,
    axes: str | None = None,
    tell: Callable[[object], None] = lambda item: None,
) -> Colours:
    """Draw items row by row.

    Parameters
    ----------
    items
        At least one; those without an image are drawn on black.
    tile
        Side of the square that each is fitted in, in pixels.
    axes
        Of image files that do not say them.
    tell
        Called after each item.

    Returns
    -------
    picture
        (height, width, 3) uint8.
    """
    across = max(1, math.ceil(math.sqrt(len(items) * 1.3)))
    down = math.ceil(len(items) / across)
    side, line = tile + _GAP, tile + _GAP + _LINE
    sheet = Image.new("RGB", (across * side + _GAP, down * line + _GAP), (24, 24, 24))
    for place, item in enumerate(items):
        x, y = _GAP + place % across * side, _GAP + place // across * line
        picture, caption = _picture_of(item, tile, axes)
        sheet.paste(picture, (x + (tile - picture.width) // 2, y + (tile - picture.height) // 2))
        _write(ImageDraw.Draw(sheet), (x, y + tile + 1), caption, tile)
        tell(item)
    return np.asarray(sheet)


def _picture_of(item: Item, tile: int, axes: str | None) -> tuple[Image.Image, str]:
    """Return the picture of an item and what is written below; what cannot be read is said there."""
    try:
        instances = item.instances()
        planes = np.zeros((1, *instances.shape), np.uint8) if item.path is None else item.sample(axes)[0].pixels
    except (FlowsegError, OSError) as error:
        return Image.new("RGB", (tile, tile), (60, 0, 0)), f"{item.name}: {error}"
    height, width = instances.shape
    scale = tile / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    picture = Image.fromarray(colours.seen(planes)).resize(size, how)
    _outline(picture, instances, scale)
    return picture, f"{item.name}  {height} x {width}  {len(instances)}"


def _outline(picture: Image.Image, instances: Instances, scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    found = boundaries.trace(instances)
    for index, colour in enumerate(colours.distinct_colours(len(instances), darkest=64).tolist()):
        for rings in found.of(index):
            for ring in rings:
                corners = [(float(x) * scale - 0.5, float(y) * scale - 0.5) for y, x in [*ring, ring[0]]]
                pen.line(corners, fill=tuple(colour), width=1)


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
    """Write one line, cut off where the tile ends."""
    font = ImageFont.load_default()
    plain = " ".join(text.encode("ascii", "replace").decode().split())
    while plain and pen.textlength(plain, font=font) > width:
        plain = plain[:-1]
    pen.text(place, plain, fill=(230, 230, 230), font=font)
