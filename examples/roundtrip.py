"""Labels to flows, back to labels, to run-length text and back again: what flowseg's core does, in one minute.

python examples/roundtrip.py                 # cells made up on the spot
python examples/roundtrip.py my_labels.tif   # your own label image
"""

import sys
import time

import numpy as np

import flowseg


def main() -> None:
    labels = read(sys.argv[1]) if len(sys.argv) > 1 else made_up_cells()
    report("cells", f"{len(flowseg.labels.areas(labels))} in an image of {labels.shape[0]} x {labels.shape[1]} pixels")
    report("median diameter", f"{flowseg.labels.median_diameter(labels):.1f} pixels")

    flows = timed("labels -> flows", lambda: flowseg.masks_to_flows(labels))
    cellprob = np.where(labels > 0, 5.0, -5.0)  # a network's logits; here we are sure
    found = timed("flows -> labels", lambda: flowseg.flows_to_masks(flows, cellprob, max_size_fraction=1))

    texts = timed("labels -> RLE", lambda: flowseg.rle.encode_labels(found))
    back = timed("RLE -> labels", lambda: flowseg.rle.decode_labels(texts.values(), found.shape))

    score = flowseg.metrics.average_precision(labels, back)
    report("average precision", ", ".join(f"{ap:.3f}" for ap in score.ap) + " at IoU 0.5, 0.75, 0.9")


def read(path: str) -> np.ndarray:
    from skimage.io import imread

    return np.asarray(imread(path))


def made_up_cells(side: int = 1024, count: int = 900) -> np.ndarray:
    """Return irregular cells that touch: each pixel belongs to the nearest of many centres, if that is near enough."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    grid = np.indices((side, side)).reshape(2, -1).T
    distance, nearest = cKDTree(rng.uniform(0, side, (count, 2))).query(grid)
    return np.where(distance < 20, nearest + 1, 0).reshape(side, side)


def timed(what: str, call: object) -> object:
    call()  # the first call compiles, once for this machine
    started = time.perf_counter()
    result = call()
    report(what, f"{1000 * (time.perf_counter() - started):.1f} ms")
    return result


def report(what: str, text: str) -> None:
    print(f"{what:<18} {text}")


if __name__ == "__main__":
    main()
