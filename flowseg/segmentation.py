"""What was found in one image: its instances, what the network said, and how to see, measure and write them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowseg import colours, dynamics, measure, notebook, plots, rle
from flowseg.arrays import Floats, Labels
from flowseg.images import Image
from flowseg.instances import Instances
from flowseg.words import many

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in one image.

    Attributes
    ----------
    labels
        (H, W) int32: 0 is background, 1..n are instances.
    flows, cellprob
        (2, H, W) float32 unit vectors (dy, dx) and (H, W) float32 logits, as predicted.
    diameter
        Diameter in pixels that the network was run at.
    masks
        What each filter took away (see `flowseg.dynamics.Masks`).
    channels
        Which channels the network saw, in words.
    notes
        What the user should know: nothing found, sizes far off, pixels replaced.
    planes
        (C, H, W): the image, as it came.
    target
        What the flows lead to, one of `flowseg.model_config.FLOW_TARGETS`.
    """

    labels: Labels
    flows: Floats
    cellprob: Floats
    diameter: float
    masks: dynamics.Masks
    channels: str
    notes: list[str] = field(default_factory=list)
    planes: npt.NDArray[Any] | None = field(default=None, repr=False)
    target: str = "diffusion"

    def __repr__(self) -> str:
        height, width = self.labels.shape
        found = int(self.labels.max(initial=0))
        return f"Segmentation({many(found, 'instance')}, {height} x {width} pixels, diameter {self.diameter:.1f})"

    def plot(
        self,
        panels: str | Sequence[str] | None = None,
        *,
        truth: npt.ArrayLike | Instances | None = None,
        region: tuple[int, int, int, int] | None = None,
        width: float | None = None,
    ) -> "Figure":
        """Draw the image, outlines, labels, flows and probability side by side (matplotlib).

        Parameters
        ----------
        panels
            Some of them: ``"outlines"``, ``("image", "flows")``; None: all five.
        truth
            (H, W) true labels, or instances that may overlap, to be outlined as well.
        region
            Show this part alone: (y0, x0, y1, x1) in pixels.
        width
            Of the figure in inches; None: by the number of panels.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``seg.plot().savefig("cells.png")`` keeps it.
        """
        image = None if self.planes is None else Image(self.planes)
        return plots.overview(
            image, self.labels, self.flows, self.cellprob, truth=truth, panels=panels, region=region, width=width
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the outlines, small, and what there is to know."""
        height, width = self.labels.shape
        removed = {
            "too large": self.masks.too_large,
            "odd flows": self.masks.inconsistent,
            "too small": self.masks.too_small,
        }
        facts = {
            "instances": str(int(self.labels.max(initial=0))),
            "pixels": f"{height} x {width}",
            "diameter": f"{self.diameter:.1f}",
            "channels": self.channels,
            "left out": ", ".join(f"{count} {what}" for what, count in removed.items() if count) or "nothing",
        }
        pictures = []
        if height * width:
            black = np.zeros((height, width, 3), np.uint8)
            seen = black if self.planes is None else colours.seen(self.planes)
            outlined = colours.outlined_thumbnail(seen, self.labels, 480)
            pictures = [notebook.picture(colours.jpeg(outlined), "outlines", "jpeg")]
        return notebook.card("Segmentation", facts, pictures, self.notes)

    def to_rle(self, order: rle.Order = "row", start: int = 1) -> dict[int, str]:
        """Return each instance as a Kaggle string: {label: text}; see `flowseg.rle.encode_labels`."""
        return rle.encode_labels(self.labels, order, start)

    def to_table(self) -> measure.Table:
        """Return measurements, one row an instance: {column: values}; see `flowseg.measure.measure`.

        A notebook shows the first rows; ``pandas.DataFrame(seg.to_table())`` goes on from there.
        """
        return measure.measure(self.labels, self.planes, self.cellprob, self.flows, self.target)
