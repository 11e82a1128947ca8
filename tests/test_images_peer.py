"""The same numbers as Cellpose 3, where it is installed."""

import numpy as np
import pytest

from flowseg import channels, images, normalize

pytestmark = pytest.mark.peer
transforms = pytest.importorskip("cellpose.transforms")

SHAPES = [(64, 81), (200, 333), (1, 50), (512, 300)]


def picture(rng: np.random.Generator, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Blobs of two channels on a slope, with noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [np.sin(y / 9) * np.cos(x / 7) + x / shape[1], np.cos(y / 5 + x / 8)]
    planes = np.stack(waves) * 40 + 90 + rng.normal(0, 8, (2, *shape))
    return (planes / 255 if dtype.startswith("f") else planes.clip(0, 255) * (1 if dtype == "u1" else 16)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8", "i4"])
@pytest.mark.parametrize("options", [{}, {"invert": True}, {"percentiles": (3.0, 99.8)}], ids=str)
def test_percentile_normalisation(shape: tuple[int, int], dtype: str, options: dict) -> None:
    planes = picture(np.random.default_rng(1), shape, dtype)
    theirs = transforms.normalize_img(
        planes.transpose(1, 2, 0)[np.newaxis].astype("float32"),
        invert=options.get("invert", False),
        percentile=options.get("percentiles", (1.0, 99.0)),
    )
    ours = normalize.normalize(planes, normalize.Normalization(**options)).planes
    np.testing.assert_allclose(ours, theirs[0].transpose(2, 0, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", [40, 100])
def test_tile_normalisation(shape: tuple[int, int], tile: int) -> None:
    planes = picture(np.random.default_rng(2), shape, "u2")
    planes[0, :, : shape[1] // 3] = 7  # tiles without contrast
    theirs = transforms.normalize_img(planes.transpose(1, 2, 0)[np.newaxis].astype("float32"), tile_norm_blocksize=tile)
    ours = normalize.normalize(planes, normalize.Normalization(tile=tile)).planes
    np.testing.assert_allclose(ours, theirs[0].transpose(2, 0, 1), atol=1e-5, rtol=1e-5)


def test_limits() -> None:
    planes = picture(np.random.default_rng(3), (50, 60), "u2")
    theirs = transforms.normalize_img(planes.transpose(1, 2, 0).astype("float32"), lowhigh=((100, 900), (0, 2000)))
    ours = normalize.normalize(planes, normalize.Normalization(limits=((100, 900), (0, 2000)))).planes
    np.testing.assert_allclose(ours, theirs.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (2, 3), (3, 1), (0, 2)])
@pytest.mark.parametrize("kind", ["grey", "rgb", "channels"])
def test_channels(pair: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 60000, {"grey": (30, 40), "rgb": (30, 40, 3), "channels": (4, 30, 40)}[kind], np.uint16)
    if kind == "grey" and pair != (0, 0):
        pytest.skip("Cellpose ignores the choice for a grey image; here a channel that is not there is an error")
    image = images.from_array(pixels, axes="CYX" if kind == "channels" else None)
    ours = channels.from_cellpose_channels(pair).take(image).planes
    theirs = transforms.convert_image(pixels, list(pair))
    np.testing.assert_allclose(ours, theirs.transpose(2, 0, 1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(64, 81), (1, 5), (5, 1), (1, 1), (300, 177)])
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.77, 1.0, 1.3, 2.0, 3.1])
def test_resizing(shape: tuple[int, int], factor: float) -> None:
    planes = np.random.default_rng(5).normal(0, 2, (3, *shape)).astype(np.float32)
    wanted = (max(1, int(shape[0] * factor)), max(1, int(shape[1] * factor * 0.9)))
    theirs = transforms.resize_image(planes.transpose(1, 2, 0), *wanted).reshape(*wanted, 3)
    np.testing.assert_allclose(images.resize(planes, wanted), theirs.transpose(2, 0, 1), atol=1e-5)
