"""Instance segmentation of cells and nuclei in microscopy images by flow fields.

>>> import flowseg
>>> flows = flowseg.masks_to_flows(labels)                  # doctest: +SKIP
>>> labels = flowseg.flows_to_masks(flows, cellprob)        # doctest: +SKIP

Everything is loaded when it is first used: ``import flowseg`` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "FlowsegError",
    "__version__",
    "flows_to_masks",
    "labels",
    "load_model",
    "masks_to_flows",
    "metrics",
    "rle",
    "train",
]

# name: the module that holds it
_HOMES = {
    "FlowsegError": "errors",
    "flows_to_masks": "dynamics",
    "load_model": "segment",
    "masks_to_flows": "flows",
    "train": "training",
}
_MODULES = ("labels", "metrics", "rle")

if TYPE_CHECKING:
    from flowseg import labels, metrics, rle
    from flowseg.dynamics import flows_to_masks
    from flowseg.errors import FlowsegError
    from flowseg.flows import masks_to_flows
    from flowseg.segment import load_model
    from flowseg.training import train


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"flowseg.{name}")
    if name in _HOMES:
        return getattr(import_module(f"flowseg.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'flowseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
