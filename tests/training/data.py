"""What trainings are tried with: bright discs on noise, a tiny network, and ways to stop."""

from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch

from flowseg import checkpoint
from flowseg.dataset import CropOptions
from flowseg.instances import Instances
from flowseg.sources.collection import Item
from flowseg.training import Asked, NewModel, TrainOptions
from flowseg.training.loop import Progress
from tests.shapes import solid_cells

TINY = Asked(new=NewModel("grey", (4, 6, 8)), diameter=16.0)
OPTIONS = TrainOptions(
    crops=48, batch_size=4, lr=0.01, reports=3, device="cpu", precision="fp32", crop=CropOptions(size=32), workers=2
)


def items(folder: Path, count: int, side: int = 64, diameter: int = 16) -> list[Item]:
    folder.mkdir(exist_ok=True)
    made = []
    for number in range(count):
        labels = solid_cells(side, diameter, seed=number)
        rng = np.random.default_rng(number)
        image = (labels > 0) * (80 + 60 * rng.random(labels.max() + 1)[labels]) + rng.normal(20, 5, labels.shape)
        path = folder / f"{number:03d}.tif"
        tifffile.imwrite(path, image.clip(0, 255).astype(np.uint8))
        columns = {"kind": "even" if number % 2 == 0 else "odd", "plate": str(number // 3)}
        made.append(Item(f"{number:03d}", path, partial(Instances.from_labels, labels), columns))
    return made


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.read(path).weights)


def assert_same(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-6, msg=name)


class Killed(BaseException):
    """Ends a training as a kill does: nothing more is written."""


def stopping(at: int, how: type[BaseException]) -> object:
    def tell(progress: Progress) -> None:
        if progress.crops >= at:
            raise how

    return tell
