"""Write a model as Cellpose saves them, to have one where there is no network.

It is the model that comes with flowseg, which has three inputs: red, green and blue, or grey three times. Those of
Cellpose have two. So the three become the first of the two, as for a grey image, and the second is not listened to.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from flowseg import checkpoint, zoo
from flowseg.model_config import Architecture


def write(path: str | Path) -> Path:
    """Write the model; return its path."""
    kept = checkpoint.read(zoo.resolve("nuclei").path)
    arrays = {name: two_inputs(name, array) for name, array in kept.arrays.items()}
    config = replace(kept.config, architecture=Architecture(channels=2), channel_names=())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_cellpose(path, config, arrays)
    return Path(path)


def two_inputs(name: str, array: np.ndarray) -> np.ndarray:
    if not name.startswith("downsample.down.res_down_0."):
        return array
    if array.ndim == 4 and array.shape[1] == 3:  # a convolution
        return np.concatenate([array.sum(axis=1, keepdims=True), np.zeros_like(array[:, :1])], axis=1)
    if array.shape == (3,):  # a batch normalisation before it
        return np.full(2, array.mean(), array.dtype)
    return array
