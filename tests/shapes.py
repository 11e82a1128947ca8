"""Label images for tests: random ones for hypothesis, and synthetic cells that look like cells."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial import cKDTree

Labels = npt.NDArray[np.int32]


def label_images(side: int = 14, most: int = 4) -> st.SearchStrategy[Labels]:
    """Small images of any labels: touching, in pieces, with holes, one pixel, empty."""
    shape = st.tuples(st.integers(0, side), st.integers(0, side))
    coarse = hnp.arrays(np.int32, shape, elements=st.integers(0, most))
    return st.tuples(coarse, st.integers(1, 3)).map(lambda drawn: np.kron(drawn[0], np.ones((drawn[1],) * 2, np.int32)))


def solid_cells(side: int, diameter: float, seed: int, gap: float = 2.0) -> Labels:
    """Return irregular cells in one piece without holes, close together: a Voronoi pattern on warped coordinates."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).astype(float)
    for axis in range(2):
        bend = ndimage.gaussian_filter(rng.normal(size=(side, side)), diameter / 6)
        grid[..., axis] += bend * diameter / 5 / bend.std()
    centres = rng.uniform(0, side, (max(2, int((side / diameter) ** 2)), 2))
    distance, nearest = cKDTree(centres).query(grid, k=2)
    cells = nearest[..., 0] + 1
    cells[(distance[..., 1] - distance[..., 0] < gap) | (distance[..., 0] > 0.75 * diameter)] = 0
    labels = largest_pieces(cells, least=max(4, int(diameter**2 / 6)))
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        labels[box][ndimage.binary_fill_holes(labels[box] == label)] = label
    return largest_pieces(labels)


def largest_pieces(labels: npt.NDArray[np.integer], least: int = 1) -> Labels:
    """Keep the largest piece of each label, if it has at least so many pixels; number the rest 1..n."""
    result = np.zeros(labels.shape, np.int32)
    found = 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == label, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max(initial=0) >= least:
            found += 1
            result[box][pieces == sizes.argmax()] = found
    return result


def logits(labels: npt.NDArray[np.integer], size: float = 5.0) -> npt.NDArray[np.float32]:
    """Return the logits of a network that is sure of these labels."""
    return np.where(labels > 0, size, -size).astype(np.float32)
