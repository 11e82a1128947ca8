"""A GPU gives what the processor gives: in float32 to rounding, in half precision nearly."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flowseg import engines
from flowseg.engines.torch_engine import TorchEngine
from flowseg.metrics import average_precision
from flowseg.model_config import Architecture
from flowseg.segment import load_model
from flowseg.sources import image_files
from tests.engines.test_engines import ARCHITECTURES, some_network, some_tiles

EXAMPLES = Path(__file__).parents[2] / "examples/data"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-4), ("bf16", 0.06), ("fp16", 0.02)])
def test_a_gpu_gives_what_the_processor_gives(architecture: Architecture, precision: str, most: float) -> None:
    network = some_network(architecture)
    tiles = some_tiles(architecture.channels, 64, 48)
    wanted = TorchEngine(architecture, network.state_dict()).run(tiles)
    found = TorchEngine(architecture, network.state_dict(), precision, "cuda").run(tiles)
    assert np.abs(found.maps - wanted.maps).max() < most * np.abs(wanted.maps).max()
    assert np.abs(found.styles - wanted.styles).max() < most


def test_auto_takes_the_gpu() -> None:
    engine = engines.start(ARCHITECTURES[0], some_network(ARCHITECTURES[0]).state_dict(), "auto")
    assert engine.device.startswith("cuda")


def test_masks_are_the_same() -> None:
    for path in sorted(EXAMPLES.glob("*.png")):
        image = image_files.read(path)
        wanted = load_model("nuclei", device="cpu").segment(image, diameter=20).labels
        found = load_model("nuclei", device="cuda", precision="fp32").segment(image, diameter=20).labels
        assert wanted.max() > 0
        assert average_precision(wanted, found, (0.9,)).ap[0] > 0.95
