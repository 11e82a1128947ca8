"""Cellpose's ``_seg.npy``, for its user interface and its training."""

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays, colours, labels
from flowseg.arrays import Floats

_MOST_16 = 65_534
_MOST_OLD = 2**32 - 1  # bytes of an array that the old form of pickles holds
_CELLPOSE_SCALE = 5  # of a flow that we keep as a unit vector


def encode(
    image: npt.ArrayLike,
    *,
    filename: str = "",
    diameter: float | None = None,
    flows: Floats | None = None,
    cellprob: Floats | None = None,
) -> bytes:
    """Return the file for a label image (H, W); labels with gaps keep their numbers.

    Parameters
    ----------
    filename
        Path of the image, which Cellpose looks for there, and then beside the file.
    diameter
        In pixels; None: the median of the instances.
    flows, cellprob
        (2, H, W) unit vectors and (H, W) logits; with both, Cellpose's sliders work on them.

    Examples
    --------
    >>> kept = np.load(io.BytesIO(encode([[0, 7], [0, 7]])), allow_pickle=True).item()
    >>> kept["masks"].tolist(), kept["ismanual"].tolist()
    ([[0, 7], [0, 7]], [False, False, False, False, False, False, False])
    """
    found = _small(image)
    highest = int(found.max(initial=0))
    size = float(labels.median_diameter(found) if diameter is None else diameter) or 30.0
    kept: dict[str, Any] = {
        "outlines": np.where(labels.outline_mask(found), found, 0).astype(found.dtype),
        "masks": found,
        "chan_choose": [0, 0],
        "ismanual": np.zeros(highest, bool),
        "filename": filename,
        "est_diam": size,
        "diameter": size,
    }
    if flows is not None and cellprob is not None:
        field = arrays.as_flows(flows)
        arrays.check_same_shape(field.shape[1:], found.shape, "the flows and the label image")
        kept["flows"] = _flows(field, arrays.as_probability(cellprob, found.shape))
    return _saved(kept)


def _saved(kept: dict[str, Any]) -> bytes:
    """Return what `numpy.save` writes, but in words that every numpy reads: Cellpose is often used with an old one.

    numpy 2 calls its functions by a name that older ones do not know, and knows the old one too.
    """
    boxed = np.empty((), object)
    boxed[()] = kept
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(boxed))
    largest = max(4 * 3 * kept["masks"].size, kept["ismanual"].size)
    pickled = pickle.dumps(boxed, protocol=3 if largest <= _MOST_OLD else 4)
    return buffer.getvalue() + pickled.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _small(image: npt.ArrayLike) -> npt.NDArray[np.uint16] | npt.NDArray[np.uint32]:
    found, values = arrays.as_labels(image)
    named = found if values[-1] == len(values) - 1 else values[found]
    return named.astype(np.uint16) if named.max(initial=0) <= _MOST_16 else named.astype(np.uint32)


def _flows(flows: Floats, cellprob: Floats) -> list[Any]:
    """Return what Cellpose keeps: a picture of the flows, one of the probability, an empty one, and the numbers."""
    picture = _wheel(flows)[np.newaxis]
    sure = colours.probability(cellprob)[np.newaxis]
    numbers = np.concatenate([_CELLPOSE_SCALE * flows, cellprob[np.newaxis]]).astype(np.float32)
    return [picture, sure, np.zeros_like(picture), [], numbers]


def _wheel(flows: Floats) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3): a colour for each direction, dark where there is no flow."""
    angle = np.arctan2(flows[1], flows[0])
    length = np.minimum(np.hypot(flows[0], flows[1]), 1)
    shifts = np.array([0, 2 * np.pi / 3, 4 * np.pi / 3], np.float32)
    return np.asarray(127 * length[..., np.newaxis] * (1 - np.cos(angle[..., np.newaxis] + shifts)), np.uint8)
