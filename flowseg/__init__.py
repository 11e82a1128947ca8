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
    "compare",
    "flows_to_masks",
    "labels",
    "load_model",
    "masks_to_flows",
    "metrics",
    "open_data",
    "plots",
    "read_image",
    "read_labels",
    "rle",
    "segment_folder",
    "train",
    "tune",
]

# name: the module that holds it
_HOMES = {
    "FlowsegError": "errors",
    "compare": "evaluate",
    "flows_to_masks": "dynamics",
    "load_model": "segment",
    "masks_to_flows": "flows",
    "open_data": "sources.data_sets",
    "read_image": "sources.image_files",
    "read_labels": "sources.label_images",
    "segment_folder": "folder.simple",
    "train": "training",
}
_OTHER_NAMES = {"open_data": "open_collection", "read_image": "read", "read_labels": "read"}
_MODULES = ("labels", "metrics", "plots", "rle", "tune")

if TYPE_CHECKING:
    from flowseg import labels, metrics, plots, rle, tune
    from flowseg.dynamics import flows_to_masks
    from flowseg.errors import FlowsegError
    from flowseg.evaluate import compare
    from flowseg.flows import masks_to_flows
    from flowseg.folder.simple import segment_folder
    from flowseg.segment import load_model
    from flowseg.sources.data_sets import open_collection as open_data
    from flowseg.sources.image_files import read as read_image
    from flowseg.sources.label_images import read as read_labels
    from flowseg.training import train


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"flowseg.{name}")
    if name in _HOMES:
        return getattr(import_module(f"flowseg.{_HOMES[name]}"), _OTHER_NAMES.get(name, name))
    raise AttributeError(f"module 'flowseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
