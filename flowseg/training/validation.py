"""How good the masks of a network are on images with known instances."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flowseg import engines, metrics, overlaps
from flowseg.arrays import Labels
from flowseg.channels import ChannelChoice
from flowseg.checkpoint import Checkpoint
from flowseg.dataset import LEAST_DIAMETER
from flowseg.images import Image
from flowseg.instances import Instances
from flowseg.model_config import ModelConfig
from flowseg.network import Network
from flowseg.options import SegmentOptions
from flowseg.segment import Model
from flowseg.segmentation import Segmentation
from flowseg.sources.collection import Item
from flowseg.tune import IOU

THRESHOLDS: tuple[float, ...] = tuple(IOU.tolist())
"""Of IoU, at which networks are compared: 0.5 to 0.9, as thresholds are."""


class Seen(NamedTuple):
    """An image of the validation part, what is in it, and what was found."""

    item: Item
    image: Image
    truth: Instances
    found: Segmentation

    def truth_labels(self) -> Labels:
        """Return the truth as a label image."""
        return overlaps.resolve_overlaps(self.truth).labels


class Score(NamedTuple):
    """Means over images of AP at IoU 0.5, and of AP over `THRESHOLDS`."""

    ap50: float
    map: float


def model_of(network: Network, config: ModelConfig, device: str) -> Model:
    """Return a model that segments with a network in training."""
    arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
    kept = Checkpoint(config, arrays, digest="", source="flowseg")
    return Model([kept], [engines.start(config.architecture, arrays, device)], ["in training"])


def look(
    model: Model,
    items: Sequence[Item],
    diameter: Callable[[Instances], float | None],
    axes: str | None = None,
    choice: ChannelChoice | None = None,
) -> Iterator[Seen]:
    """Segment items, each at the diameter that ``diameter`` says of its truth; None: as the model estimates it."""
    choice = choice or ChannelChoice()
    channels = None if choice.first is None else tuple("none" if item is None else item for item in choice.items)
    for item in items:
        image, truth = item.sample(axes)
        options = SegmentOptions(diameter=diameter(truth), channels=channels)
        yield Seen(item, image, truth, model.segment(image, options))


def median_diameter(truth: Instances) -> float | None:
    """Return the diameter in pixels of an instance of median area, or None where no instance has pixels."""
    areas = truth.areas()
    areas = areas[areas > 0]
    return max(LEAST_DIAMETER, float(2 * np.sqrt(np.median(areas) / np.pi))) if len(areas) else None


def precisions(one: Seen) -> tuple[float, ...]:
    """Return the AP of an image at each of `THRESHOLDS`."""
    return tuple(metrics.average_precision(one.truth, one.found.labels, THRESHOLDS).ap.tolist())


def score(aps: Sequence[tuple[float, ...]]) -> Score:
    """Score some images by their `precisions`."""
    if not aps:
        return Score(float("nan"), float("nan"))
    means = np.mean(aps, axis=0)
    return Score(float(means[0]), float(means.mean()))
