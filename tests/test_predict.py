"""An image to flows: tiles without seams, turned images, ensembles. Engines here are simple functions of the image."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from flowseg import FlowsegError, predict
from flowseg.engines import Batch
from flowseg.engines.torch_engine import TorchEngine
from flowseg.model_config import Architecture
from flowseg.network import Network

Array = npt.NDArray[np.float32]


class Slopes:
    """Gives the slope of the image, blurred, as flows: it turns as the image turns, and sees a few pixels far."""

    name, device, precision, batch_pixels = "slopes", "cpu", "fp32", 2**16

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.runs = 0

    def run(self, tiles: Array, style: Array | None = None) -> Batch:
        self.runs += len(tiles)
        smooth = ndimage.gaussian_filter(tiles[:, 0], (0, 2, 2), mode="constant")
        dy = ndimage.correlate1d(smooth, [-1, 0, 1], axis=1, mode="constant")
        dx = ndimage.correlate1d(smooth, [-1, 0, 1], axis=2, mode="constant")
        maps = self.factor * np.stack([dy, dx, smooth], axis=1)
        return Batch(maps.astype(np.float32), np.ones((len(tiles), 4), np.float32) / 2)

    def styles(self, tiles: Array) -> Array:
        return np.ones((len(tiles), 4), np.float32)


def noise(*shape: int) -> Array:
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2).astype(np.float32)[None]


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (33, 20), (150, 260)])
@pytest.mark.parametrize(("tile", "close"), [(None, 1e-5), (64, 0.05)])  # Cellpose's tiles keep some of their edges
def test_tiles_give_what_the_whole_gives(
    shape: tuple[int, int], tile: int | None, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_largest_tile", lambda height, width: 160)
    image = noise(*shape)
    framed = np.pad(image, ((0, 0), (16, 16), (16, 16)))
    whole = Slopes().run(framed[None]).maps[0][:, 16:-16, 16:-16]
    result = predict.predict([Slopes()], image, predict.How(tile=tile, overlap=0.5))
    assert result.flows.shape == (2, *shape)
    np.testing.assert_allclose(result.flows, whole[:2] / 5, atol=close)
    np.testing.assert_allclose(result.cellprob, whole[2], atol=5 * close)


def test_turned_images_are_turned_back() -> None:
    image = noise(48, 80)
    once = predict.predict([Slopes()], image, predict.How())
    engine = Slopes()
    eight = predict.predict([engine], image, predict.How(tta=True))
    assert engine.runs == 8
    np.testing.assert_allclose(eight.flows, once.flows, atol=1e-6)
    np.testing.assert_allclose(eight.cellprob, once.cellprob, atol=1e-6)


def test_an_ensemble_is_the_mean() -> None:
    image = noise(40, 40)
    one, three, both = (
        predict.predict([Slopes(factor) for factor in factors], image, predict.How())
        for factors in ((1,), (3,), (1, 3))
    )
    np.testing.assert_allclose(both.flows, (one.flows + three.flows) / 2, atol=1e-6)
    np.testing.assert_allclose(both.cellprob, (one.cellprob + three.cellprob) / 2, atol=1e-6)


@pytest.mark.parametrize("scale", [0.3, 0.5, 2.0])
def test_an_image_is_resized_and_the_result_is_as_large_as_the_image(scale: float) -> None:
    image = ndimage.gaussian_filter(noise(60, 91), (0, 5, 5))
    result = predict.predict([Slopes()], image, predict.How(scale=scale))
    assert result.cellprob.shape == (60, 91)
    assert np.corrcoef(result.cellprob.ravel(), image.ravel())[0, 1] > 0.9


@pytest.fixture(scope="module")
def network() -> TorchEngine:
    torch.manual_seed(0)
    network = Network(Architecture(widths=(8, 16, 32))).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2)
            module.bias.data.normal_(0, 0.2)
    return TorchEngine(network.architecture, network.state_dict())


def test_repeated_content_gives_repeated_flows(network: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cell, wherever tile borders cut it, looks the same: one style for all tiles, and wide overlaps."""
    monkeypatch.setattr(predict, "_largest_tile", lambda height, width: 288)
    cell = ndimage.gaussian_filter(np.pad(np.ones((14, 18)), ((25, 25), (23, 23))), 2)
    image = np.zeros((2, 640, 640), np.float32)
    image[0] = np.tile(cell, (10, 10))
    result = predict.predict([network], image, predict.How())
    assert not seams(result, 64)
    assert seams(predict.predict([network], image, predict.How(tile=112)), 64)  # such tiles have them


@pytest.mark.parametrize("how", [predict.How(), predict.How(1.7), predict.How(0.4), predict.How(tile=64, overlap=0.2)])
@pytest.mark.parametrize("shape", [(1, 1), (90, 130), (400, 170)])
def test_the_style_alone_is_that_of_the_prediction(
    network: TorchEngine, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], how: predict.How
) -> None:
    monkeypatch.setattr(predict, "_largest_tile", lambda height, width: 288)
    image = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    style = predict.measure_style(network, image, how)
    np.testing.assert_allclose(style, predict.predict([network], image, how).style, atol=1e-6)
    np.testing.assert_allclose((style**2).sum(), 1, rtol=1e-5)


def seams(result: predict.Prediction, period: int) -> bool:
    """Tell whether periods away from the image's border differ by more than a hundredth of the range of values."""
    for plane in (*result.flows, result.cellprob):
        inner = plane[period:-period, period:-period]
        count = inner.shape[0] // period
        cells = inner[: count * period, : count * period].reshape(count, period, count, period)
        spread = cells.max(axis=(0, 2)) - cells.min(axis=(0, 2))
        if spread.max() > 0.01 * np.ptp(plane):
            return True
    return False


def test_memory_is_estimated_with_the_image() -> None:
    small, large = (predict.estimate_bytes((side, side), predict.How()) for side in (500, 20000))
    assert small < 4e8
    assert 20000**2 * 40 < large < 20000**2 * 200


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(FlowsegError, match="at least one pixel"):
        predict.predict([Slopes()], np.zeros((1, 0, 5), np.float32), predict.How())


def test_tiles_are_as_large_as_there_is_room_for() -> None:
    def sides(height: int, width: int) -> tuple[int, int, int]:
        grid = predict._grid(predict.How(), height, width)
        return len(grid), grid.tile_height, grid.tile_width

    assert sides(544, 720) == (1, 544, 720)  # one piece: nothing twice, and the style is its own
    assert sides(4112, 4112)[1:] == (528, 528)
    tiles_side = [predict._largest_tile(side, side) for side in range(16, 6000, 16)]
    assert tiles_side == sorted(tiles_side, reverse=True)
    large = predict.estimate_bytes((2048, 2048), predict.How())
    assert all(predict.estimate_bytes((side, side), predict.How()) <= large for side in range(16, 2048, 16))
