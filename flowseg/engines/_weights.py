"""Weights by the names of a network's state dict, as engines without torch take them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from flowseg.arrays import Floats

Weights = Mapping[str, Any]  # arrays or tensors on the processor


class Named:
    """Weights by name, as arrays."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Floats:
        return np.ascontiguousarray(self._weights[name], np.float32)

    def normalisation(self, name: str) -> tuple[Floats, Floats]:
        """Return a factor and a shift a channel: batch normalisation with its running statistics."""
        variance = self[f"{name}.running_var"].astype(np.float64)
        scale = self[f"{name}.weight"] / np.sqrt(variance + 1e-5)
        shift = self[f"{name}.bias"] - self[f"{name}.running_mean"] * scale
        return scale.astype(np.float32), shift.astype(np.float32)
