"""Run-length encodings of masks: Kaggle strings (row- or column-major) and COCO counts (compressed or not).

A whole label image is encoded at once, and a table of texts decoded at once; every text that is not right is refused
with an error that names its row. Labels may be many and large: they cost by their runs, not by their pixels.
"""

from flowseg.rle.coco import (
    CocoRle,
    CountsForm,
    coco_to_instances,
    from_coco,
    instances_to_coco,
    labels_to_coco,
    to_coco,
)
from flowseg.rle.kaggle import (
    Order,
    decode,
    decode_instances,
    decode_labels,
    encode,
    encode_instances,
    encode_labels,
)

__all__ = [
    "CocoRle",
    "CountsForm",
    "Order",
    "coco_to_instances",
    "decode",
    "decode_instances",
    "decode_labels",
    "encode",
    "encode_instances",
    "encode_labels",
    "from_coco",
    "instances_to_coco",
    "labels_to_coco",
    "to_coco",
]
