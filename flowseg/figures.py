"""Figures that notebooks show by themselves, whether or not pyplot was imported."""

import io

from matplotlib.figure import Figure

_DPI = 90


class ShownFigure(Figure):
    """A figure that does not belong to pyplot: nothing keeps it alive, nothing shows it twice."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new(width: float, height: float) -> ShownFigure:
    """Return an empty figure of a size in inches.

    Examples
    --------
    >>> new(3, 2).get_size_inches().tolist()
    [3.0, 2.0]
    """
    return ShownFigure(figsize=(width, height), layout="constrained")


def png(figure: Figure, dpi: float = _DPI) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
