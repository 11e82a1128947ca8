"""Filling of polygons by parity, as a reference that shares nothing with the tracing of boundaries."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def filled(rings: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels with their centres inside rings (N, 2) of corners x, y, all rings together, by parity."""
    inside = np.zeros(shape, bool)
    columns = np.arange(shape[1]) + 0.5
    for ring in rings:
        points = np.asarray(ring, float)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            for row in range(int(np.ceil(min(y0, y1) - 0.5)), int(np.ceil(max(y0, y1) - 0.5))):
                crossing = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                inside[row, columns > crossing] ^= True
    return inside
