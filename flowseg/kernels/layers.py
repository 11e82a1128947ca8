"""Layers: overlapping instances, given as runs, laid over one another in one image."""

import numpy as np
import numpy.typing as npt

from flowseg.kernels._jit import kernel

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


@kernel
def lay(starts: Indices, lengths: Indices, offsets: Indices, order: Indices, labels: Ints, layers: Ints) -> None:
    """Write k + 1 into the pixels (flat) of instances k in the given order, later over earlier, and count layers."""
    for instance in order:
        for run in range(offsets[instance], offsets[instance + 1]):
            for pixel in range(starts[run], starts[run] + lengths[run]):
                labels[pixel] = instance + 1
                layers[pixel] += 1


@kernel
def shared_pixels(starts: Indices, lengths: Indices, offsets: Indices, layers: Ints) -> Indices:
    """Return, for each instance, how many of its pixels have more than one layer."""
    shared = np.zeros(len(offsets) - 1, np.int64)
    for instance in range(len(shared)):
        for run in range(offsets[instance], offsets[instance + 1]):
            for pixel in range(starts[run], starts[run] + lengths[run]):
                if layers[pixel] > 1:
                    shared[instance] += 1
    return shared
