"""Outlines as text, a line an instance: x,y,x,y,... as in Cellpose's ``_cp_outlines.txt``."""

import numpy.typing as npt

from flowseg import labels


def encode(image: npt.ArrayLike) -> str:
    """Return the outlines of a label image (H, W), by ascending label.

    Points are the pixels along the outside of an instance, of its piece with the longest outline; holes have none.

    Examples
    --------
    >>> encode([[0, 4, 4], [0, 4, 4]])
    '1,0,1,1,2,1,2,0\\n'
    """
    lines = (outline.points[:, ::-1].ravel().tolist() for outline in labels.outlines(image))
    return "".join(",".join(map(str, line)) + "\n" for line in lines)
