"""What a network learns of a crop: its flows and where instances are, in one call that needs no Python in between."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel
from flowseg.kernels.diffusion import flows_of_range
from flowseg.kernels.distance import inner_distances, uphill
from flowseg.kernels.regions import measured

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


@kernel
def by_diffusion(labels: Labels, scale: float, out: Floats) -> None:
    """Write flows of diffusion, ``scale`` long, and 1 inside instances: (H, W) -> (3, H, W)."""
    boxes, areas = measured(labels, labels.max())
    out[:2] = 0
    flows_of_range(labels, boxes, areas, 1, len(areas), out)
    _scale_and_mark(labels, scale, out)


@kernel
def by_distance(labels: Labels, scale: float, out: Floats) -> None:
    """Write directions away from the border, ``scale`` long, and 1 inside instances: (H, W) -> (3, H, W)."""
    out[:2] = uphill(labels, inner_distances(labels))
    _scale_and_mark(labels, scale, out)


@kernel
def _scale_and_mark(labels: Labels, scale: float, out: Floats) -> None:
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            out[0, y, x] *= scale
            out[1, y, x] *= scale
            out[2, y, x] = labels[y, x] != 0
