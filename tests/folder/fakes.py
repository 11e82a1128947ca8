"""A model that thresholds, quickly or slowly, so that what a folder run does can be seen alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from skimage.measure import label

from flowseg import dynamics, flows
from flowseg.images import Image
from flowseg.model_config import ModelConfig
from flowseg.options import SegmentOptions
from flowseg.segmentation import Segmentation


class FakeModel:
    """Finds what is brighter than 100 in the first channel."""

    def __init__(self, seconds: float = 0.0, before: Callable[[Image], None] = lambda image: None) -> None:
        self.config = ModelConfig(flow_threshold=0.0, min_size=1)
        self.description: dict[str, Any] = {"models": ["fake"], "digests": ["0"], "engine": "fake"}
        self.seconds, self.before = seconds, before
        self.seen: list[str] = []
        self.needs = 0

    def check(self, options: SegmentOptions) -> None:
        pass

    def segment(self, image: Image, options: SegmentOptions, max_bytes: int | None = None) -> Segmentation:
        self.before(image)
        time.sleep(self.seconds)
        assert image.path is not None
        self.seen.append(Path(image.path).name)
        pixels = image.pixels
        found = label(pixels[0] > 100).astype(np.int32)
        cellprob = np.where(found > 0, 5.0, -5.0).astype(np.float32)
        masks = dynamics.Masks(found, int((found > 0).sum()), int(found.max(initial=0)), 0, 0, 0)
        return Segmentation(
            found, flows.masks_to_flows(found), cellprob, options.diameter or 30.0, masks, "0", [], pixels
        )

    def estimate_bytes(self, shape: tuple[int, int], options: SegmentOptions | None = None) -> int:
        return self.needs


def spots(count: int, seed: int = 0, channels: int = 1) -> npt.NDArray[np.uint8]:
    """Return (C, 24, 40) with this many bright squares in the first channel."""
    pixels = np.random.default_rng(seed).integers(0, 50, (channels, 24, 40), np.uint8)
    for number in range(count):
        y, x = divmod(number, 5)
        pixels[0, 8 * y + 2 : 8 * y + 6, 8 * x + 2 : 8 * x + 6] = 200
    return pixels


def save(path: Path, count: int, seed: int = 0, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = spots(count, seed, channels)
    if channels == 1:
        tifffile.imwrite(path, pixels[0])
    else:
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYX"})
    return path
