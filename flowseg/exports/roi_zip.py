"""ImageJ ROIs in a zip archive, as the ROI Manager opens and saves them.

An area in ImageJ reaches between corners of pixels, so outlines on corners are exact. An instance in one piece without
holes is a traced polygon, as the wand makes it (ImageJ then measures its perimeter as that of a digital shape); any
other is a composite, which holds all pieces and holes.
"""

import io
import zipfile

import numpy as np
import numpy.typing as npt
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from flowseg import boundaries
from flowseg.boundaries import Ints
from flowseg.errors import InputError
from flowseg.instances import Instances

_HIGHEST = 60_535  # ImageJ takes the 16 bits of a coordinate for -5000 to 60535
_WIDEST = 32_767  # within the box of a polygon they are signed
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same instances


def encode(instances: Instances, values: npt.ArrayLike | None = None) -> bytes:
    """Return the archive, an ROI an instance; instances without pixels are left out.

    Parameters
    ----------
    instances
        They may overlap.
    values
        (n,) the label of each, its name: ``0001``, ``0002``, all of one length so that they sort; None: 1 to n.

    Examples
    --------
    >>> data = encode(Instances.from_labels([[0, 7], [0, 7]]), [7])
    >>> zipfile.ZipFile(io.BytesIO(data)).namelist()
    ['0007.roi']
    """
    labels = np.arange(1, len(instances) + 1) if values is None else np.asarray(values)
    if labels.shape != (len(instances),):
        raise InputError(f"values have shape {labels.shape}; wanted one for each of {len(instances)} instances")
    digits = max(4, len(str(labels.max(initial=0))))
    found = boundaries.trace(instances)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for index in np.flatnonzero(instances.areas()):
            name = f"{int(labels[index]):0{digits}}"
            archive.writestr(zipfile.ZipInfo(f"{name}.roi", _DATE), _roi(found.of(int(index)), name).tobytes())
    return buffer.getvalue()


def _roi(pieces: list[list[Ints]], name: str) -> ImagejRoi:
    rings = [ring for piece in pieces for ring in piece]
    corners = np.concatenate(rings)
    (top, left), (bottom, right) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    roi = ImagejRoi(name=name, top=top, left=left, bottom=bottom, right=right)
    if len(rings) > 1:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = _path(rings)
        roi.shape_roi_size = len(roi.multi_coordinates)
        return roi
    roi.roitype = ROI_TYPE.TRACED
    roi.n_coordinates = len(corners)
    inside = (corners - [top, left])[:, ::-1]
    roi.integer_coordinates = np.minimum(inside, _WIDEST).astype(np.int32)
    if max(bottom, right) > _HIGHEST or inside.max() > _WIDEST:
        roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = corners[:, ::-1].astype(np.float32)
    return roi


def _path(rings: list[Ints]) -> npt.NDArray[np.float32]:
    """Return move x y, line x y, ..., close for each ring."""
    parts = []
    for ring in rings:
        steps = np.full((len(ring), 3), _LINE, np.float32)
        steps[0, 0] = _MOVE
        steps[:, 1:] = ring[:, ::-1]
        parts += [steps.ravel(), np.full(1, _CLOSE, np.float32)]
    return np.concatenate(parts)
