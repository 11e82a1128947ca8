"""A training from nothing to a model file: what it learns, writes and refuses."""

import csv
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from flowseg import checkpoint
from flowseg.augment import AugmentOptions
from flowseg.channels import ChannelChoice
from flowseg.dataset import Batch, CropOptions
from flowseg.dynamics import find_masks
from flowseg.errors import InputError, ModelError, OptionError, TrainingError
from flowseg.instances import Instances
from flowseg.model_config import Thresholds
from flowseg.options import MaskOptions
from flowseg.segment import load_model
from flowseg.training import Asked, NewModel, Split, run
from flowseg.training.ahead import Ahead
from flowseg.training.loop import Progress
from flowseg.training.step import Losses, Stepper
from flowseg.training.waiting import Watch
from tests.training.data import OPTIONS, TINY, assert_same, items, weights


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_training_learns_and_its_folder_tells_of_it(tmp_path: Path) -> None:
    split = Split(items(tmp_path / "train", 6), items(tmp_path / "val", 3))
    told: list[Progress] = []
    options = replace(OPTIONS, crops=400, reports=4, crop=CropOptions(size=32, augment=AugmentOptions(rotate=False)))
    done = run(split, tmp_path / "run", options, TINY, tell=told.append)
    assert [report.crops for report in done.history] == [100, 200, 300, 400]
    assert done.history[-1].validation_loss < 0.6 * done.history[0].validation_loss
    assert done.history[-1].ap50 > 0.5
    assert told[-1].crops == told[-1].total == 400
    with (tmp_path / "run/history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["crops"]) for row in rows] == [100, 200, 300, 400]
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["train"] == [f"{number:03d}" for number in range(6)]
    assert size_of(tmp_path / "run/curves.png")[0] > 500
    samples = sorted((tmp_path / "run/samples").glob("*.png"))
    assert len(samples) == 3 * 4
    assert size_of(samples[0]) == (64 * 3 + 8, 64)
    model = load_model(str(done.model), device="cpu")
    image = split.validation[0].image()
    found = model.segment(image, diameter=16)
    assert found.labels.max() > 0.6 * len(split.validation[0].instances())


def test_a_seed_repeats_for_any_number_of_workers(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 4)
    first = run(data, tmp_path / "a", OPTIONS, TINY)
    second = run(data, tmp_path / "b", replace(OPTIONS, workers=4), TINY)
    other = run(data, tmp_path / "c", replace(OPTIONS, seed=1), TINY)
    assert_same(first.model, second.model)
    with pytest.raises(AssertionError):
        assert_same(first.model, other.model)


def test_samples_of_huge_images_show_their_middle(tmp_path: Path) -> None:
    small = items(tmp_path / "train", 2)
    large = items(tmp_path / "val", 1, side=900, diameter=120)
    run(Split(small, large), tmp_path / "run", replace(OPTIONS, crops=8, reports=1), TINY)
    assert size_of(next((tmp_path / "run/samples").glob("*.png"))) == (768 * 3 + 8, 768)


def test_a_pretrained_network_goes_on_at_its_own_diameter(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 4)
    first = run(data, tmp_path / "a", OPTIONS, replace(TINY, licence="CC0-1.0"))
    asked = Asked(pretrained=str(first.model))
    tuned = run(data, tmp_path / "b", replace(OPTIONS, freeze="all-but-output", crops=8), asked)
    assert checkpoint.read(first.model).config.licence == "CC0-1.0"
    config = checkpoint.read(tuned.model).config
    assert (config.diameter_mean, config.licence) == (16, "")
    assert config.diameter_labels == pytest.approx(16, rel=0.25)
    old, new = weights(first.model), weights(tuned.model)
    different = {name.split(".")[0] for name in old if not old[name].equal(new[name])}
    assert different == {"output"}


def test_of_equal_scores_the_last_is_kept(tmp_path: Path) -> None:
    """Where nothing is found yet, the first report is no better than the last, which has learned more."""
    split = Split(items(tmp_path / "data", 2), items(tmp_path / "val", 1))
    done = run(split, tmp_path / "run", replace(OPTIONS, crops=12, lr=1e-4), TINY)
    assert [report.map for report in done.history] == [0, 0, 0]
    assert_same(done.model, done.folder / "last.safetensors")


def test_what_was_chosen_on_other_data_does_not_outlive_them(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 2)
    options = replace(OPTIONS, crops=4, reports=1)
    first = checkpoint.read(run(data, tmp_path / "a", options, TINY).model)
    chosen = replace(first.config, diameter=99.0, group_thresholds={"even": Thresholds(min_size=60, diameter=99.0)})
    checkpoint.write_flowseg(tmp_path / "chosen.safetensors", chosen, first.arrays)
    config = checkpoint.read(
        run(data, tmp_path / "b", options, Asked(pretrained=str(tmp_path / "chosen.safetensors"))).model
    ).config
    assert (config.diameter, dict(config.group_thresholds)) == (None, {})


def test_what_cannot_be_trained_is_told_before_it_starts(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 2)
    with pytest.raises(InputError, match="no images"):
        run([], tmp_path / "a", OPTIONS, TINY)
    run(data, tmp_path / "b", replace(OPTIONS, crops=4, reports=1), TINY)
    with pytest.raises(InputError, match="holds a training already: continue it with --resume"):
        run(data, tmp_path / "b", OPTIONS, TINY)
    with pytest.raises(OptionError, match="began with another crops"):
        run(data, tmp_path / "b", OPTIONS, TINY, resume=True)
    fewer = replace(OPTIONS, crops=4, reports=1, workers=1, save_seconds=9.0, crop=CropOptions(size=32, cache_bytes=1))
    assert run(data, tmp_path / "b", fewer, TINY, resume=True).history
    with pytest.raises(OptionError, match="began with another crop;"):
        run(data, tmp_path / "b", replace(fewer, crop=CropOptions(size=48)), TINY, resume=True)
    with pytest.raises(InputError, match="began with other images"):
        run(data[:1], tmp_path / "b", replace(OPTIONS, crops=4, reports=1), TINY, resume=True)
    with pytest.raises(InputError, match=r"is not the folder of a training: .*config\.json: No such file"):
        run(data, tmp_path / "none", OPTIONS, TINY, resume=True)
    (tmp_path / "b/state.pt").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"cannot be gone on from: it is damaged.*--pretrained"):
        run(data, tmp_path / "b", replace(OPTIONS, crops=4, reports=1), TINY, resume=True)


@pytest.mark.parametrize("rescale", ["image", "none"])
def test_data_without_an_instance_are_refused(tmp_path: Path, rescale: str) -> None:
    empty = partial(Instances.from_labels, np.zeros((64, 64), np.int32))
    data = [replace(item, load=empty) for item in items(tmp_path / "data", 3)]
    options = replace(OPTIONS, crop=CropOptions(size=32, rescale=rescale))
    with pytest.raises(InputError, match="none of the images to train on has an instance"):
        run(data, tmp_path / "run", options, TINY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"crop": CropOptions(size=34)},
            "the crop size is 34; wanted a multiple of 4, for the network halves it 2 times: 32 or 36",
        ),
        ({"crop": CropOptions(size=32, balance="nope")}, "balance is 'nope', which no item has"),
        ({"freeze": "encoder"}, "freeze is 'encoder', and the network begins from nothing"),
    ],
)
def test_what_is_refused_leaves_no_folder(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        run(items(tmp_path / "data", 2), tmp_path / "run", replace(OPTIONS, **changed), TINY)
    assert not (tmp_path / "run").exists()


def test_the_first_step_is_waited_for_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    step = Stepper.step

    @contextmanager
    def note(what: str) -> Iterator[None]:
        told.append(what)
        yield
        told.append("over")

    def counted(self: Stepper, batch: Batch, ahead: Ahead) -> Losses:
        told.append("step")
        return step(self, batch, ahead)

    monkeypatch.setattr(Stepper, "step", counted)
    run(items(tmp_path / "data", 2), tmp_path / "run", replace(OPTIONS, crops=12), TINY, watch=Watch(note=note))
    assert told[0].startswith("getting ready")
    assert told[1:3] == ["step", "over"]
    assert set(told[3:]) == {"step"}


def test_a_loss_that_is_not_finite_keeps_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = items(tmp_path / "data", 2)
    monkeypatch.setattr("flowseg.training.step.loss", lambda output, *_: Losses(*3 * [output.sum() * float("nan")]))
    with pytest.raises(TrainingError, match=r"step 1: the batch is kept in .*bad_batch\.npz.*lower learning rate"):
        run(data, tmp_path / "run", OPTIONS, TINY)
    with np.load(tmp_path / "run/bad_batch.npz") as kept:
        assert kept["images"].shape == (4, 1, 32, 32)


def test_patience_ends_a_training_that_does_not_improve(tmp_path: Path) -> None:
    split = Split(items(tmp_path / "train", 3), items(tmp_path / "val", 2))
    options = replace(OPTIONS, lr=1e-9, crops=400, reports=20, patience=2)
    done = run(split, tmp_path / "run", options, TINY)
    assert len(done.history) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, other allocations: 96.0 KB)."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("could not create a primitive"),
    ],
)
def test_no_memory_names_the_batch_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    real = Stepper.step

    def small_device(self: Stepper, batch: Batch, ahead: Ahead | None = None) -> Losses:
        if len(batch.images) > 1:
            raise error
        return real(self, batch, ahead)

    monkeypatch.setattr(Stepper, "step", small_device)
    with pytest.raises(TrainingError, match=r"batches of 4 crops of 32 pixels.*--batch-size 1"):
        run(items(tmp_path / "data", 2), tmp_path / "run", OPTIONS, TINY)


def test_no_memory_to_make_a_batch_in_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: Stepper, shape: tuple[int, ...]) -> None:
        raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory for {shape}")

    monkeypatch.setattr(Stepper, "_empty", none)
    with pytest.raises(TrainingError, match=r"batches of 4 crops of 32 pixels.*--batch-size 2"):
        run(items(tmp_path / "data", 2), tmp_path / "run", OPTIONS, TINY)


def test_what_a_step_had_made_is_freed_before_smaller_batches_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = Stepper.step, []

    def full(self: Stepper, batch: Batch, ahead: Ahead | None = None) -> Losses:
        if len(batch.images) == 4:
            held = torch.ones(8)
            made.append(weakref.ref(held))
            raise torch.OutOfMemoryError("no memory")
        assert made[0]() is None
        return real(self, batch, ahead)

    monkeypatch.setattr(Stepper, "step", full)
    with pytest.raises(TrainingError, match="--batch-size 2"):
        run(items(tmp_path / "data", 2), tmp_path / "run", OPTIONS, TINY)


SEVERAL = """
import os
import sys
from pathlib import Path

import torch

from flowseg.dataset import Crops
from flowseg.errors import TrainingError
from flowseg.training import run
from flowseg.training.step import Stepper
from tests.training.data import OPTIONS, TINY, items

path, what = Path(sys.argv[1]), sys.argv[2]
data, fill, step = items(path / os.environ["RANK"], 2), Crops._fill, Stepper.step

def with_nan(self, batch, place, number):
    fill(self, batch, place, number)
    if number == 3:  # which is not of the first process
        batch.images[place, 0, 0, 0] = torch.nan

def small(self, batch, ahead=None):
    if len(batch.images) > 1:
        raise torch.OutOfMemoryError("no memory")
    return step(self, batch, ahead)

if what == "nan":
    Crops._fill = with_nan
else:
    Stepper.step = small
try:
    run(data, path / "run", OPTIONS, TINY)
except TrainingError as error:
    (path / os.environ["RANK"] / "error.txt").write_text(str(error))
"""


@pytest.mark.parametrize(
    ("what", "told"), [("nan", "the loss is nan at step 1"), ("memory", "batches of 4 crops.*--batch-size 2")]
)
def test_several_processes_tell_of_the_whole_batch(tmp_path: Path, what: str, told: str) -> None:
    (tmp_path / "process.py").write_text(SEVERAL)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29578"]
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, tmp_path / "process.py", tmp_path, what], check=True, env=settings, capture_output=True, timeout=120
    )
    for rank in ("0", "1"):
        assert re.search(told, (tmp_path / rank / "error.txt").read_text())
    if what == "nan":
        with np.load(tmp_path / "run/bad_batch.npz") as kept:
            assert np.isnan(kept["images"]).any(axis=(1, 2, 3)).tolist() == [False, False, False, True]


def test_other_errors_of_a_device_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Stepper, batch: Batch, ahead: Ahead) -> Losses:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Stepper, "step", broken)
    with pytest.raises(RuntimeError, match=r"^the device is gone$"):
        run(items(tmp_path / "data", 2), tmp_path / "run", OPTIONS, TINY)


def test_channels_are_those_chosen(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 2)
    with pytest.raises(InputError, match="no channel 3"):
        run(data, tmp_path / "run", OPTIONS, replace(TINY, choice=ChannelChoice(3)))


def test_a_model_of_distances_says_so_and_is_followed_so(tmp_path: Path) -> None:
    given = items(tmp_path, 4)
    how = replace(OPTIONS, crop=replace(OPTIONS.crop, target="distance"))
    done = run(Split(given[:3], given[3:]), tmp_path / "run", how, TINY)
    assert checkpoint.read(done.model).config.target == "distance"
    model = load_model(done.model, device="cpu", precision="fp32")
    image, _ = given[3].sample()
    found = model.segment(image, diameter=16, cellprob_threshold=-100, flow_threshold=0, min_size=0)
    again = find_masks(
        found.flows,
        found.cellprob,
        MaskOptions(-100, 0, niter=200, min_size=0, max_size_fraction=0.4, target="distance"),
    )
    assert found.target == "distance"
    assert (found.labels == again.labels).all()
    on = run(Split(given, []), tmp_path / "on", replace(OPTIONS, crops=4, reports=1), Asked(pretrained=str(done.model)))
    assert checkpoint.read(on.model).config.target == "diffusion"
    with pytest.raises(ModelError, match="no ensemble"):
        load_model([str(done.model), str(on.model)], device="cpu")


def test_what_cellpose_cannot_follow_is_told_before_the_training(tmp_path: Path) -> None:
    how = replace(OPTIONS, crop=replace(OPTIONS.crop, target="distance"))
    asked = Asked(new=NewModel("two"), export="cellpose")
    with pytest.raises(ModelError, match="Cellpose follows flows of heat"):
        run(Split(items(tmp_path, 2), []), tmp_path / "run", how, asked)
    with pytest.raises(ModelError, match="Cellpose 3 cannot run"):
        run(Split(items(tmp_path / "more", 2), []), tmp_path / "run", OPTIONS, replace(TINY, export="cellpose"))
    assert not (tmp_path / "run").exists()


def test_a_training_keeps_to_the_threads_that_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "1")
    used = set()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        split, part = Split(items(tmp_path / "data", 2), []), replace(OPTIONS, crops=8, reports=1)
        run(split, tmp_path / "run", part, TINY, tell=lambda _: used.add(torch.get_num_threads()))
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (used, after) == ({1}, 2)


def test_what_a_training_begins_with_is_scored_too(tmp_path: Path) -> None:
    split = Split(items(tmp_path / "train", 4), items(tmp_path / "val", 2))
    first = run(split, tmp_path / "a", replace(OPTIONS, crops=200), TINY)
    said: list[str] = []
    asked = Asked(pretrained=str(first.model))
    watch = Watch(lambda *_: nullcontext(lambda _: None), said.append, lambda _: nullcontext())
    worse = run(split, tmp_path / "b", replace(OPTIONS, crops=12, lr=1.0), asked, watch=watch)
    start = worse.history[0]
    assert (start.step, start.crops) == (0, 0)
    assert start.map == max(report.map for report in worse.history) > 0.3
    assert np.isnan(start.train_loss)
    assert start.text().startswith("        0 crops  validation ")
    assert [report.step for report in worse.history] == [0, 1, 2, 3]
    assert_same(first.model, worse.model)
    assert len(list((tmp_path / "b/samples").glob("*_000000.png"))) == 2
    sentence = f"Mean AP on 2 images held back: {start.map:.3f} before the training, and nothing learned was better: "
    assert said == [f"{sentence}the weights are those that it began with."]
    assert said[0] in (tmp_path / "b/MODEL_CARD.md").read_text()


def test_without_images_to_validate_on_nothing_is_scored_before(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 2)
    first = run(data, tmp_path / "a", replace(OPTIONS, crops=4, reports=1), TINY)
    done = run(data, tmp_path / "b", replace(OPTIONS, crops=4, reports=1), Asked(pretrained=str(first.model)))
    assert [report.step for report in done.history] == [1]


def test_the_validation_loss_is_of_all_of_an_image(tmp_path: Path) -> None:
    """Of the middle alone, which may be empty, it said nothing."""
    (wide,) = items(tmp_path / "val", 1, side=192)
    truth = wide.instances().to_labels()
    truth[64:128, 64:128] = 0
    pixels = np.where(truth > 0, 120, 20).astype(np.uint8)
    tifffile.imwrite(wide.path, pixels)
    hollow = replace(wide, load=partial(Instances.from_labels, truth))
    data = items(tmp_path / "train", 2)
    options = replace(OPTIONS, crops=120, reports=2, crop=CropOptions(size=32, rescale="none"))
    with_it = run(Split(data, [hollow]), tmp_path / "a", options, TINY).history[-1]
    assert with_it.validation_loss > 0.5 * with_it.train_loss
    again = run(Split(data, [hollow]), tmp_path / "b", options, TINY).history[-1]
    assert again.validation_loss == with_it.validation_loss
