"""Labels to flows: the target that a network is trained on, and the yardstick for the masks that it finds."""

import numpy as np
import numpy.typing as npt

from flowseg import arrays, threads
from flowseg.arrays import Floats, Labels
from flowseg.kernels import diffusion, distance, regions

# Below this many pixels, threads cost more than they bring.
_SERIAL_PIXELS = 128 * 128


def masks_to_flows(labels: npt.ArrayLike) -> Floats:
    """Return the flow field of a label image.

    Heat enters at the pixel of each instance nearest the mean of its pixels and spreads inside it; the flow is the
    direction in which heat rises. A piece of an instance that is apart from the piece with the centre, so that no
    heat reaches it, flows toward its own centre. Instances never leak into one another.

    Parameters
    ----------
    labels
        (H, W) integers of any type; 0 is background, gaps between labels are fine.

    Returns
    -------
    flows
        (2, H, W) float32: unit vectors (dy, dx) inside instances, 0 outside and where the heat is level (at the
        centre of a symmetric instance).

    Examples
    --------
    >>> import numpy as np
    >>> flows = masks_to_flows(np.array([[0, 7, 7, 7, 0]]))
    >>> flows[1].tolist()
    [[0.0, 1.0, 0.0, -1.0, 0.0]]
    """
    image, _ = arrays.as_labels(labels)
    flows = np.zeros((2, *image.shape), np.float32)
    boxes, areas = regions.boxes_and_areas(image)
    threads.over_ranges(
        lambda start, stop: diffusion.flows_of_range(image, boxes, areas, start, stop, flows),
        _bounds(boxes, areas),
    )
    return flows


def masks_to_directions(labels: npt.ArrayLike) -> Floats:
    """Return the field of directions away from the border: the gradient of each instance's distance transform.

    Another training target than `masks_to_flows`: it leads to the middle line of an instance, along which the way to
    its centre is less clear.

    Parameters
    ----------
    labels
        (H, W) integers of any type; 0 is background.

    Returns
    -------
    directions
        (2, H, W) float32: unit vectors (dy, dx) inside instances, 0 outside and on middle lines.

    Examples
    --------
    >>> import numpy as np
    >>> masks_to_directions(np.array([[0, 7, 7, 7, 0]] * 9))[1, 4].tolist()
    [0.0, 1.0, 0.0, -1.0, 0.0]
    """
    image, _ = arrays.as_labels(labels)
    return distance.uphill(image, distance.inner_distances(image))


def flow_errors(
    image: Labels,
    flows: Floats,
    boxes: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int64],
    target: str = "diffusion",
) -> npt.NDArray[np.float64]:
    """Return how far given flows are from those of the labels: the mean squared difference for each label.

    Parameters
    ----------
    image
        (H, W) int32 as `arrays.as_labels` gives it.
    flows
        (2, H, W) float32 in units of a unit vector.
    boxes, areas
        As `regions.boxes_and_areas` gives them; labels whose area is set to 0 are left out.
    target
        What the flows are to be like: those of `masks_to_flows` ("diffusion") or `masks_to_directions` ("distance").

    Returns
    -------
    errors
        (n + 1,) by label; 0 for the background and for labels left out.
    """
    if target == "distance":
        return _direction_errors(image, flows, areas)
    errors = np.zeros(len(areas))
    threads.over_ranges(
        lambda start, stop: diffusion.flow_errors_of_range(image, boxes, areas, start, stop, flows, errors),
        _bounds(boxes, areas),
    )
    return errors


def _direction_errors(image: Labels, given: Floats, areas: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    squared = np.square(masks_to_directions(image) - given).sum(axis=0)
    total = np.bincount(image.ravel(), squared.ravel(), len(areas))
    total[0] = 0
    return np.where(areas > 0, total / np.maximum(areas, 1), 0.0)


def _bounds(boxes: npt.NDArray[np.int32], areas: npt.NDArray[np.int64]) -> list[int]:
    """Split labels 1..n into ranges of nearly equal work, more of them than threads so that none waits long."""
    size = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    pixels = np.where(areas > 0, size[:, 0] * size[:, 1], 0)
    if pixels[1:].sum() < _SERIAL_PIXELS or threads.count() == 1:
        return [1, len(areas)]
    bounds = threads.cost_bounds((pixels * (size[:, 0] + size[:, 1] + 4))[1:], 8 * threads.count())
    return [1 + bound for bound in bounds]
