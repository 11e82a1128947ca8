"""Segmenting one image: models and ensembles, diameters that are found out, and notes that say what to do."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from flowseg import FlowsegError, checkpoint, labels, machine, masks_to_flows, metrics
from flowseg.checkpoint import Checkpoint
from flowseg.engines import Batch
from flowseg.engines.torch_engine import TorchEngine
from flowseg.errors import InputError, OptionError
from flowseg.model_config import Architecture, ModelConfig
from flowseg.options import SegmentOptions
from flowseg.segment import Model, load_model
from flowseg.sources.image_files import read
from tests.networks import scrambled
from tests.shapes import solid_cells

Array = npt.NDArray[np.float32]
EXAMPLES = Path(__file__).parents[1] / "examples"
KEPT = "data", "masks"


class Oracle:
    """Sees the cells: finds the bright, solid things in the image and gives their flows, as a perfect network would.

    Like a network it knows one size: of things much larger than 40 pixels it gives pieces.
    """

    name, device, precision, batch_pixels = "oracle", "cpu", "fp32", 2**16

    def run(self, tiles: Array, style: Array | None = None) -> Batch:
        maps = np.stack([self._maps(tile[0]) for tile in tiles])
        return Batch(maps, np.ones((len(tiles), 4), np.float32) / 2)

    def _maps(self, plane: Array) -> Array:
        bright = plane > 0.5
        cells = ndimage.label(ndimage.binary_erosion(bright))[0]
        for _ in range(2):
            cells = np.where((cells == 0) & bright, ndimage.grey_dilation(cells, 3), cells)
        if labels.median_diameter(cells) > 60:
            cells = labels.relabel(cells * 1000 + np.add.outer(*(np.arange(side) // 40 for side in cells.shape)))
        probability = np.where(cells > 0, 5.0, -5.0)
        return np.concatenate([5 * masks_to_flows(cells), probability[None]]).astype(np.float32)

    def styles(self, tiles: Array) -> Array:
        return np.ones((len(tiles), 4), np.float32)


def oracle(**config: object) -> Model:
    weights = scrambled(Architecture(widths=(4, 6))).state_dict()
    given = ModelConfig(architecture=Architecture(widths=(4, 6)), diameter_mean=30.0, **config)  # type: ignore[arg-type]
    return Model([Checkpoint(given, weights, "0" * 64, "flowseg")], [Oracle()], ["oracle"])


def picture(cells: npt.NDArray[np.int32]) -> Array:
    """Return bright cells with a dark line around each."""
    return np.where((cells > 0) & ~labels.outline_mask(cells), 200.0, 10.0).astype(np.float32)


def test_cells_are_found_at_their_diameter() -> None:
    cells = solid_cells(220, 30, seed=1)
    found = oracle().segment(picture(cells), diameter=30)
    assert metrics.average_precision(cells, found.labels, 0.5).ap[0] > 0.75
    assert found.labels.shape == found.cellprob.shape == found.flows.shape[1:] == cells.shape
    assert (found.diameter, found.notes) == (30.0, [])
    assert "cytoplasm <- grey" in found.channels
    assert list(found.to_rle()) == found.to_table()["label"].tolist() == list(range(1, found.labels.max() + 1))


@pytest.mark.parametrize("diameter", [18, 60])
def test_a_diameter_that_is_far_off_is_found_out(diameter: int) -> None:
    cells = solid_cells(10 * diameter, diameter, seed=2)
    found = oracle().segment(picture(cells))
    assert 0.6 * diameter < found.diameter < 1.5 * diameter
    assert metrics.average_precision(cells, found.labels, 0.5).ap[0] > 0.6


@pytest.mark.parametrize(("name", "count"), [("1609b1b8480e", 2), ("3f9fc8e63f87", 5)])
def test_nuclei_far_larger_than_assumed_are_found(name: str, count: int) -> None:
    image, truth = (np.kron(read(EXAMPLES / of / f"{name}.png").pixels[0][:70, :70], np.ones((6, 6))) for of in KEPT)
    found = load_model("nuclei", device="cpu").segment(image)
    assert metrics.average_precision(truth.astype(int), found.labels, 0.5).ap[0] == 1
    assert found.labels.max() == count
    assert 100 < found.diameter < 200


def test_a_lone_shade_is_no_nucleus_however_coarsely_it_is_looked_at() -> None:
    y, x = np.mgrid[:1:384j, :1:384j]
    shade = 150 * np.exp(-12 * (np.square(x - 0.5) + np.square(y - 0.4))) + 20
    image = np.random.default_rng(1).normal(shade, 4)
    model = load_model("nuclei", device="cpu")
    coarsely = 3 * model.config.diameter_mean  # as it is looked at where next to nothing is found
    assert model.segment(image, diameter=coarsely).labels.max() == 1
    assert model.segment(image).labels.max() == 0


def test_a_diameter_that_would_take_too_much_memory_is_not_gone_to() -> None:
    cells = solid_cells(180, 18, seed=2)
    model = oracle()
    enough = model.estimate_bytes(cells.shape)
    assert model.segment(picture(cells)).diameter < 25
    assert model.segment(picture(cells), max_bytes=enough).diameter == 30
    model._sizes = [checkpoint.SizeModel(np.zeros(4), np.zeros(4), float(np.log(0.5)), 30.0)]
    assert model.segment(picture(cells), max_bytes=4 * enough, diameter=None).diameter < 25
    assert model.segment(picture(cells), max_bytes=enough).diameter == 30


def test_a_diameter_that_takes_more_memory_than_there_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one pixel, as a diameter in the wrong unit may be, a small image becomes one that ends the process."""
    image, model = picture(solid_cells(120, 30, seed=2)), oracle()
    most = model.estimate_bytes(image.shape, SegmentOptions(diameter=30.0))
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(most, 0))
    assert model.segment(image, diameter=30).diameter == 30
    with pytest.raises(InputError, match=r"120 x 120 pixels at a diameter of 1 pixels would take .* is the diameter"):
        model.segment(image, diameter=1)
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(0, 0))  # not known
    assert model.segment(image, diameter=20).diameter == 20


@pytest.mark.parametrize("predicted", [45, 60])
def test_a_size_model_says_where_to_begin(predicted: float) -> None:
    cells = solid_cells(600, 60, seed=2)
    model = oracle()
    size = checkpoint.SizeModel(np.full(4, 0.5), np.zeros(4), float(np.log(predicted / 30)) - 1, 30.0)
    model._sizes = [size]
    diameters, run = [], model._run
    model._run = lambda *given: diameters.append(given[1]) or run(*given)  # type: ignore[method-assign,func-returns-value]
    found = model.segment(picture(cells))
    assert diameters[0] == pytest.approx(predicted)  # the style of an oracle is four halves
    assert len(diameters) <= 2
    assert found.diameter == diameters[-1]
    if len(diameters) == 2:
        first = run(*_inputs(model, cells), diameters[0], SegmentOptions())[1]
        assert found.diameter == pytest.approx(labels.median_diameter(first.labels))
    diameters.clear()
    model.segment(picture(cells), diameter=50)
    assert diameters == [50]


def _inputs(model: Model, cells: npt.NDArray[np.int32]) -> list[Array]:
    from flowseg.normalize import normalize

    plane = picture(cells)
    return [normalize(np.stack([plane, np.zeros_like(plane)])).planes]


def test_options_of_the_model_hold_until_others_are_given() -> None:
    cells = solid_cells(120, 30, seed=1)
    model = oracle(min_size=10_000)
    assert model.segment(picture(cells), diameter=30).labels.max() == 0
    assert model.segment(picture(cells), diameter=30, min_size=15).labels.max() > 3
    assert model.segment(picture(cells), SegmentOptions(diameter=30, min_size=15)).labels.max() > 3
    with pytest.raises(FlowsegError, match="there is no option 'diametre'"):
        model.segment(picture(cells), diametre=30)


def test_dark_cells_are_found_when_inverted() -> None:
    cells = solid_cells(220, 30, seed=1)
    dark = 255 - picture(cells)
    found = oracle().segment(dark, diameter=30, invert=True)
    assert metrics.average_precision(cells, found.labels, 0.5).ap[0] > 0.75


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 1), {}),
        ((1, 50), {}),
        ((50, 1), {}),
        ((40, 40, 3), {}),
        ((40, 40, 4), {}),
        ((2, 40, 40), {"axes": "CYX", "channels": (1, 0)}),
        ((40, 40, 5), {"axes": "YXC", "channels": 4}),
        ((2, 40, 40), {"axes": "CYX", "channels": "1,0"}),
        ((40, 40, 5), {"axes": "YXC", "channels": (4,)}),
    ],
)
def test_images_of_all_shapes(shape: tuple[int, ...], settings: dict[str, object]) -> None:
    found = oracle().segment(np.random.default_rng(0).integers(0, 99, shape), **settings)  # type: ignore[arg-type]
    assert found.labels.dtype == np.int32


def test_notes_say_what_is_wrong_and_what_to_try() -> None:
    model = oracle()
    assert "no contrast" in model.segment(np.zeros((40, 40)), diameter=30).notes[0]
    few = np.zeros((100, 100))
    few[:8, :8] = 1
    assert "--percentiles 0,100" in model.segment(few, diameter=30).notes[0]
    assert not any("contrast" in note for note in model.segment(few, diameter=30, percentiles=(0, 100)).notes)
    broken = picture(solid_cells(120, 30, seed=1))
    broken[3, 4] = np.nan
    assert "1 NaN or infinite pixel, in whose place" in model.segment(broken, diameter=30).notes[0]
    nothing = model.segment(picture(solid_cells(120, 30, seed=1)), diameter=30, cellprob_threshold=9)
    assert "lower cellprob_threshold" in nothing.notes[0]
    all_small = model.segment(picture(solid_cells(120, 30, seed=1)), diameter=30, min_size=10**6)
    assert "too small (min_size): " in all_small.notes[0]
    assert "is the diameter right?" in model.segment(broken, diameter=200).notes[-1]


def test_a_grey_image_is_normalised_once_for_a_network_of_colours(tmp_path: Path) -> None:
    shape = Architecture(widths=(4, 6), channels=3)
    config = ModelConfig(architecture=shape, channel_names=("red", "green", "blue"))
    checkpoint.write_flowseg(tmp_path / "model", config, scrambled(shape).state_dict())
    model = load_model(str(tmp_path / "model"), device="cpu", precision="fp32")
    grey = np.random.default_rng(0).random((40, 50))
    grey[2, 3] = np.nan
    found, colour = model.segment(grey, diameter=30), model.segment(np.dstack([grey] * 3), diameter=30)
    np.testing.assert_allclose(found.flows, colour.flows, atol=1e-5)
    assert sum("1 NaN" in note for note in found.notes) == 1
    assert sum("1 NaN" in note for note in colour.notes) == 3


def test_hot_pixels_do_not_reach_a_network_of_colours_and_are_told() -> None:
    image = ndimage.gaussian_filter(picture(solid_cells(120, 30, seed=1)), 2)
    hot = image.copy()
    hot[::25, ::25] = 50_000
    shape = Architecture(widths=(4, 6), channels=3)
    config = ModelConfig(architecture=shape, channel_names=("red", "green", "blue"))
    weights = {name: tensor.numpy() for name, tensor in scrambled(shape).state_dict().items()}
    engine = TorchEngine(shape, weights)

    def moved(source: str, **settings: object) -> float:
        model = Model([Checkpoint(config, weights, "0" * 64, source)], [engine], ["colours"])
        found = model.segment(hot, diameter=30, **settings)
        assert any("25 hot or dead pixels" in note for note in found.notes) == (source == "flowseg")
        return float(abs(found.cellprob - model.segment(image, diameter=30, **settings).cellprob).max())

    assert moved("flowseg") < 0.05 * moved("cellpose")
    assert moved("flowseg", invert=True) < 0.05 * moved("cellpose", invert=True)


def test_a_colour_without_contrast_is_not_the_end_of_a_network_of_colours(tmp_path: Path) -> None:
    shape = Architecture(widths=(4, 6), channels=3)
    config = ModelConfig(architecture=shape, channel_names=("red", "green", "blue"))
    checkpoint.write_flowseg(tmp_path / "model", config, scrambled(shape).state_dict())
    model = load_model(str(tmp_path / "model"), device="cpu", precision="fp32")
    blue = np.zeros((40, 50, 3), np.uint8)
    assert "no contrast" in model.segment(blue, diameter=30).notes[0]
    blue[..., 2] = np.random.default_rng(0).integers(0, 255, (40, 50))
    assert not any("no contrast" in note for note in model.segment(blue, diameter=30).notes)


def test_what_was_not_a_number_is_told_of_what_the_network_sees() -> None:
    image = np.stack([picture(solid_cells(120, 30, seed=1))] * 3)
    image[2, 3, 4] = np.nan
    found = oracle().segment(image, axes="CYX", channels=(2, 0), diameter=30)
    assert found.channels.startswith("cytoplasm <- channel 2")
    assert found.notes[0].startswith("input 0 of the network: 1 NaN")


def test_a_network_without_names_takes_channels_as_cellpose_gives_them(tmp_path: Path) -> None:
    shape = Architecture(widths=(4, 6), channels=3)
    checkpoint.write_flowseg(tmp_path / "model", ModelConfig(architecture=shape), scrambled(shape).state_dict())
    model = load_model(str(tmp_path / "model"), device="cpu", precision="fp32")
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3))
    found = model.segment(rgb, diameter=30)
    assert found.channels.startswith("input 0 <- channel 0 'red'")
    turned = model.segment(rgb[..., ::-1], diameter=30, channels="b,g,r")
    np.testing.assert_allclose(turned.flows, found.flows, atol=1e-5)
    padded = model.segment(rgb[..., 0], diameter=30)
    with_zeros = model.segment(np.dstack([rgb[..., 0], np.zeros((40, 50, 2))]), diameter=30)
    np.testing.assert_allclose(padded.flows, with_zeros.flows, atol=1e-5)


def test_options_that_no_image_could_have_are_told_at_once() -> None:
    model = oracle()
    model.check(SegmentOptions(channels="1,0"))
    for wrong, message in (({"channels": "1,0,2"}, "3 channels are chosen"), ({"group": "x"}, "no thresholds for")):
        with pytest.raises(FlowsegError, match=message):
            model.check(SegmentOptions(**wrong))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="options is 30; wanted SegmentOptions, or settings by name"):
        model.segment(np.eye(40), 30)  # type: ignore[arg-type]


def test_a_tile_that_the_network_cannot_halve_is_refused() -> None:
    """One of 100 pixels is halved to 50, 25 and 12: what the network made of it was nonsense, without a word."""
    model = oracle()
    assert model.segment(np.eye(40), tile=34).labels.shape == (40, 40)
    for refused in (lambda: model.segment(np.eye(40), tile=33), lambda: model.check(SegmentOptions(tile=33))):
        with pytest.raises(OptionError, match="tile is 33; wanted a multiple of 2, such as 34"):
            refused()


def test_images_suit_networks_of_any_depth() -> None:
    deep = Architecture(widths=(2,) * 6)
    weights = scrambled(deep).state_dict()
    made = Checkpoint(ModelConfig(architecture=deep), weights, "0" * 64, "flowseg")
    model = Model([made], [TorchEngine(deep, weights)], ["deep"])
    assert model.segment(np.eye(90, 130), diameter=30).flows.shape == (2, 90, 130)


def test_flows_that_meet_nowhere_are_said_so() -> None:
    away = oracle()
    away._engines[0]._maps = lambda plane: np.stack([0 * plane, 0 * plane, 0 * plane + 9])  # type: ignore[attr-defined]
    found = away.segment(picture(solid_cells(120, 30, seed=1)), diameter=30, tile=224)
    assert found.labels.max() == 0
    assert re.match(r"\d+ pixels are above the probability threshold, but their flows meet nowhere", found.notes[0])


def test_what_filters_took_is_said_where_it_is_most() -> None:
    cells = solid_cells(220, 30, seed=1)
    some = oracle().segment(picture(cells), diameter=30)
    areas = np.sort(np.bincount(some.labels.ravel())[1:])
    few = oracle().segment(picture(cells), diameter=30, min_size=int(areas[-2]))
    assert some.notes == []
    assert re.match(rf"of \d+ candidates {few.labels.max()} (is|are) left: .*too small \(min_size\): \d+", few.notes[0])


def test_models_come_from_files(tmp_path: Path) -> None:
    paths = []
    for seed, kind in enumerate(("first", "second")):
        paths.append(str(tmp_path / f"{kind}.model"))
        config, weights = (
            ModelConfig(architecture=Architecture(widths=(4, 6))),
            scrambled(Architecture(widths=(4, 6)), seed).state_dict(),
        )
        checkpoint.write_flowseg(paths[-1], config, weights)
    image = np.random.default_rng(0).integers(0, 99, (40, 50))
    first, second, both = (load_model(each, device="cpu", precision="fp32") for each in (paths[0], paths[1], paths))
    flows = [model.segment(image, diameter=30).flows for model in (first, second, both)]
    np.testing.assert_allclose(flows[2], (flows[0] + flows[1]) / 2, atol=1e-5)
    assert both.digest == f"{first.digest}+{second.digest}"
    assert both.description["precision"] == "fp32"
    assert both.estimate_bytes((5000, 5000)) > first.estimate_bytes((500, 500))


def test_models_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FlowsegError, match="no such file"):
        load_model(str(tmp_path / "none"))
    with pytest.raises(FlowsegError, match="at least one"):
        load_model([])
    paths = []
    for channels in (1, 2):
        architecture = Architecture(widths=(4, 6), channels=channels)
        paths.append(str(tmp_path / str(channels)))
        checkpoint.write_flowseg(
            paths[-1], ModelConfig(architecture=architecture), scrambled(architecture).state_dict()
        )
    with pytest.raises(FlowsegError, match="another number of channels"):
        load_model(paths, device="cpu")
    restoration = Architecture(widths=(4, 6), channels=1, outputs=1)
    checkpoint.write_flowseg(paths[0], ModelConfig(architecture=restoration), scrambled(restoration).state_dict())
    with pytest.raises(FlowsegError, match=rf"{paths[0]}: the network gives 1 map; wanted 3.*restoration"):
        load_model(paths[0], device="cpu")


def test_a_notebook_shows_what_was_found() -> None:
    cells = solid_cells(120, 30, seed=1)
    found = oracle().segment(picture(cells), diameter=30)
    text = found._repr_html_()
    assert f">instances</div>{found.labels.max()}<" in text
    assert text.count("data:image/jpeg") == 1
    assert "<script" not in text
    assert repr(found) == f"Segmentation({found.labels.max()} instances, 120 x 120 pixels, diameter 30.0)"
    assert [axis.get_title() for axis in found.plot(truth=cells).axes][2:] == ["labels", "flows", "probability"]
    nothing = oracle().segment(np.zeros((5, 7)), diameter=30)
    assert "instances</div>0<" in nothing._repr_html_()
    assert len(nothing.plot().axes) == 5


def test_what_was_found_outlives_the_array_it_was_found_in() -> None:
    frame = picture(solid_cells(120, 30, seed=1))
    found = oracle().segment(frame, diameter=30)
    before = found.to_table()["mean_intensity_0"].tolist()
    frame[:] = 0  # the next image of a camera
    assert found.to_table()["mean_intensity_0"].tolist() == before


def test_a_model_says_what_it_is() -> None:
    assert repr(load_model("nuclei", device="cpu", precision="fp32")) == "Model(nuclei; fp32 on cpu)"
