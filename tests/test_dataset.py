"""Crops by number: the same whoever makes them, with targets of their own labels."""

import os
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from flowseg import channels, machine
from flowseg.augment import NOTHING, AugmentOptions, Crop
from flowseg.channels import ChannelChoice
from flowseg.dataset import CropOptions, Crops
from flowseg.errors import FlowsegError, InputError, OptionError
from flowseg.flows import masks_to_directions, masks_to_flows
from flowseg.instances import Instances
from flowseg.model_config import Architecture, ModelConfig
from flowseg.sources.collection import Item
from flowseg.training.validation import median_diameter
from tests.shapes import solid_cells

ONE = ModelConfig(architecture=Architecture(channels=1), diameter_mean=20)


def items(folder: Path, count: int = 5, side: int = 90) -> list[Item]:
    made = []
    for number in range(count):
        labels = solid_cells(side, 12 + 2 * number, seed=number)
        image = (labels > 0) * 100 + np.random.default_rng(number).integers(0, 50, labels.shape)
        tifffile.imwrite(folder / f"{number}.tif", image.astype(np.uint8))
        columns = {"kind": "rare" if number == 0 else "common"}
        made.append(Item(str(number), folder / f"{number}.tif", partial(Instances.from_labels, labels), columns))
    return made


def test_a_crop_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    numbers = [range(start, start + 4) for start in range(0, 24, 4)]
    options = CropOptions(size=32, augment=AugmentOptions(elastic=1, drop=0.2))
    alone = list(Crops(items(tmp_path), ONE, options, seed=3).batches(numbers, workers=1))
    many = list(Crops(items(tmp_path), ONE, options, seed=3).batches(numbers, workers=5))
    assert len(alone) == len(many) == 6
    for first, second in zip(alone, many, strict=True):
        assert (first.images == second.images).all()
        assert (first.targets == second.targets).all()
    late = next(Crops(items(tmp_path), ONE, options, seed=3).batches(numbers[4:], workers=2))
    assert (late.images == alone[4].images).all()
    other = Crops(items(tmp_path), ONE, options, seed=4).batch(numbers[0])
    assert (other.images != alone[0].images).any()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
@pytest.mark.parametrize("give_way", [True, False])
def test_workers_give_way_to_the_network(tmp_path: Path, give_way: bool) -> None:
    seen = set()

    class Noted(Crops):
        def crop(self, *given: Any) -> Crop:
            seen.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().crop(*given)

    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())  # 19 is the least there is
    list(Noted(items(tmp_path), ONE, CropOptions(size=16)).batches([range(4)] * 3, workers=3, give_way=give_way))
    assert seen == {min(19, here + 10) if give_way else here}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here


@pytest.mark.parametrize(("name", "field"), [("diffusion", masks_to_flows), ("distance", masks_to_directions)])
def test_targets_are_flows_of_the_crop(tmp_path: Path, name: str, field: object) -> None:
    crops = Crops(items(tmp_path), ONE, CropOptions(size=48, target=name))
    labels, target = crops.crop(7).labels, crops.batch([3, 7]).targets[1]
    np.testing.assert_allclose(target[:2], 5 * field(labels), atol=1e-6)
    assert (target[2] == (labels > 0)).all()


def test_specks_do_not_say_how_far_an_image_is_enlarged(tmp_path: Path) -> None:
    labels = np.zeros((8, 8), np.int32)
    labels[3:5, 3:5] = 1  # 2.3 pixels across, and 5 are the least that is believed
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(np.uint8))
    speck = Item("a", tmp_path / "a.tif", partial(Instances.from_labels, labels), {})
    made = Crops([speck], ONE, CropOptions(size=32, augment=NOTHING)).crop(0)
    assert np.count_nonzero(made.labels) == 4 * (20 / 5) ** 2
    assert median_diameter(speck.instances()) == 5


def test_each_image_comes_once_a_round(tmp_path: Path) -> None:
    crops = Crops(items(tmp_path), ONE, CropOptions(size=16))
    rng = np.random.default_rng(0)
    rounds = [[crops._drawn_item(5 * turn + place, rng) for place in range(5)] for turn in range(4)]
    assert all(sorted(one) == list(range(5)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_balance_draws_groups_equally_often(tmp_path: Path) -> None:
    crops = Crops(items(tmp_path), ONE, CropOptions(size=16, balance="kind"))
    drawn = [crops._drawn_item(number, np.random.default_rng(number)) for number in range(400)]
    assert 150 < drawn.count(0) < 250
    uneven = Crops(items(tmp_path), ONE, CropOptions(size=16, balance="kind", evenness=0))
    drawn = [uneven._drawn_item(number, np.random.default_rng(number)) for number in range(400)]
    assert 50 < drawn.count(0) < 110
    with pytest.raises(OptionError, match="there are kind"):
        Crops(items(tmp_path), ONE, CropOptions(balance="type"))


def test_images_are_resized_to_the_diameter_of_the_model(tmp_path: Path) -> None:
    side = 200
    rows, columns = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    for number in range(16):
        centre = np.array(divmod(number, 4)) * 50 + 25
        labels[np.hypot(rows - centre[0], columns - centre[1]) < 20] = number + 1  # 40 pixels across
    tifffile.imwrite(tmp_path / "a.tif", (labels > 0).astype(np.uint8))
    item = Item("a", tmp_path / "a.tif", partial(Instances.from_labels, labels))

    def diameter(rescale: str, given: float | None = None) -> float:
        options = CropOptions(size=96, rescale=rescale, augment=NOTHING)
        made = Crops([item], ONE, options, diameter=given).crop(0)
        areas = np.bincount(made.labels.ravel())[1:]
        return float(2 * np.sqrt(areas.max() / np.pi))

    assert diameter("image") == pytest.approx(20, rel=0.05)
    assert diameter("data", 80.0) == pytest.approx(10, rel=0.1)
    assert diameter("none") == pytest.approx(40, rel=0.05)


def test_area_weights_favour_small_instances(tmp_path: Path) -> None:
    crops = Crops(items(tmp_path), ONE, CropOptions(size=64, weight="area"))
    batch = crops.batch(range(3))
    assert batch.weights is not None
    for number, weights in enumerate(batch.weights):
        labels = crops.crop(number).labels
        areas = np.bincount(labels.ravel())
        expected = np.sqrt(np.median(areas[1:][areas[1:] > 0]) / areas[labels])
        assert weights[labels == 0].tolist() == [1.0] * int((labels == 0).sum())
        np.testing.assert_allclose(weights[labels > 0], expected[labels > 0], rtol=1e-5)
    assert Crops(items(tmp_path), ONE, CropOptions(size=64)).batch([0]).weights is None


def test_few_bytes_give_the_same_crops(tmp_path: Path) -> None:
    wide = Crops(items(tmp_path), ONE, CropOptions(size=32))
    tight = Crops(items(tmp_path), ONE, CropOptions(size=32, cache_bytes=0))
    assert (wide.batch(range(12)).images == tight.batch(range(12)).images).all()
    assert len(wide._kept._sources) == 5
    assert len(tight._kept._sources) == 1


def test_a_quarter_of_the_memory_at_hand_is_for_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(64 << 30, 8 << 30))
    assert Crops(items(tmp_path), ONE, CropOptions())._kept._most == 2 << 30
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # processes of torchrun on this machine
    assert Crops(items(tmp_path), ONE, CropOptions())._kept._most == 1 << 29
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(0, 0))
    assert Crops(items(tmp_path), ONE, CropOptions())._kept._most == 3 << 28


def test_grey_for_a_network_of_colours_is_kept_once(tmp_path: Path) -> None:
    """It makes the crops of a colour image of which all three colours are alike."""
    rng, kinds = np.random.default_rng(3), (np.uint8, np.uint16, np.float32)
    options = CropOptions(size=48, augment=AugmentOptions(colour=0.5, noise=0.2, blur=1, invert=0.5, elastic=2))
    colours = replace(ONE, architecture=replace(ONE.architecture, channels=3), channel_names=channels.COLORS)
    for kind in kinds:
        grey = (rng.random((60, 70)) * 200).astype(kind)
        made = []
        for name, pixels in (("grey", grey), ("colour", np.stack([grey] * 3, axis=-1))):
            file = tmp_path / f"{name}-{np.dtype(kind)}.tif"
            tifffile.imwrite(file, pixels, photometric="minisblack" if pixels.ndim == 2 else "rgb")
            load = partial(Instances.from_labels, np.kron(np.arange(4).reshape(2, 2), np.ones((30, 35), np.int32)))
            crops = Crops([Item("a", file, load)], colours, options)
            made.append(crops.batch(range(12)))
            kept = crops._kept.get(0, crops._read)[0]
            assert len(kept.planes) == (1 if name == "grey" else 3)
        np.testing.assert_array_equal(made[0].images, made[1].images)
        np.testing.assert_array_equal(made[0].targets, made[1].targets)


def test_what_there_are_bytes_for_is_read_once(tmp_path: Path) -> None:
    """Of a data set twice as large, half is in memory at every round; with the latest kept, it was a sixth."""
    reads: list[str] = []
    count = 40

    def load(name: str) -> Instances:
        reads.append(name)
        return Instances.from_labels(np.ones((8, 8), np.int32))

    tifffile.imwrite(tmp_path / "a.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    same = [Item(str(number), tmp_path / "a.tif", partial(load, str(number))) for number in range(count)]
    bytes_of_one = 8 * 8 * (1 + 2) + 4 * 64
    crops = Crops(same, ONE, CropOptions(size=16, cache_bytes=bytes_of_one * count // 2))
    crops.batch(range(3 * count))
    assert len(reads) == count + 2 * count // 2


def test_overlapping_instances_become_labels(tmp_path: Path) -> None:
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 5:35, 5:35] = masks[1, 10:20, 10:20] = True
    tifffile.imwrite(tmp_path / "a.tif", masks[0].astype(np.uint8))
    item = Item("a", tmp_path / "a.tif", partial(Instances.from_masks, masks, (40, 40)))
    made = Crops([item], ONE, CropOptions(size=40, rescale="none", augment=NOTHING)).crop(0)
    assert np.unique(made.labels[10:20, 10:20]).tolist() == [2]
    assert np.unique(made.labels[22:35, 5:35]).tolist() == [1]


def test_colours_reach_a_network_of_colours(tmp_path: Path) -> None:
    labels = solid_cells(40, 3, seed=0)
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", image, photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", image[..., 0])
    config = ModelConfig(architecture=Architecture(channels=3), channel_names=("red", "green", "blue"))
    made = {}
    for name in ("rgb", "grey"):
        item = Item(name, tmp_path / f"{name}.tif", partial(Instances.from_labels, labels))
        made[name] = Crops([item], config, CropOptions(size=40, rescale="none", augment=NOTHING)).crop(0).image
    assert (made["grey"][0] == made["grey"][1]).all()
    assert (made["rgb"][0] != made["rgb"][1]).any()
    np.testing.assert_allclose(made["grey"][0], made["rgb"][0], atol=1e-6)


def test_an_unreadable_image_stops_at_its_batch(tmp_path: Path) -> None:
    broken = items(tmp_path)
    (tmp_path / "3.tif").write_bytes(b"II*\0 not a tiff")
    with pytest.raises(FlowsegError, match=r"3\.tif"):
        list(Crops(broken, ONE, CropOptions(size=16)).batches([range(5)], workers=3))
    labels = np.ones((4, 4), np.int32)
    small = Item("0", tmp_path / "0.tif", partial(Instances.from_labels, labels))
    with pytest.raises(InputError, match="the masks of 0 and its image"):
        Crops([small], ONE).crop(0)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"evenness is 0\.5, and nothing is balanced"):
        CropOptions(evenness=0.5)
    for name, wrong in (
        *(("size", 3), ("size", 100.5), ("size", "128"), ("rescale", "no"), ("target", "edges"), ("weight", "size")),
        *(("evenness", 2), ("evenness", "much"), ("balance", None)),
    ):
        with pytest.raises(OptionError, match=rf"{name} is {wrong!r}; wanted"):
            CropOptions(**{name: wrong})
    with pytest.raises(OptionError, match="no images"):
        Crops([], ONE)
    two = Crops(items(tmp_path), ModelConfig(), choice=ChannelChoice(4))
    with pytest.raises(InputError, match="no channel 4"):
        two.crop(0)
