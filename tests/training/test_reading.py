"""What is wrong with images is told before a training begins, all of it."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

import flowseg
from flowseg import checkpoint
from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources import label_images
from flowseg.sources.collection import Item
from flowseg.training import Asked, NewModel, Split, run
from flowseg.training.reading import read
from flowseg.training.waiting import Watch, silent
from flowseg.words import many
from tests.training.data import OPTIONS, TINY, items

CONFIG = TINY.new.config()


def broken(folder: Path) -> list[Item]:
    """Return items that are each wrong in their own way, which headers do not tell."""
    good = items(folder, 6)
    fractions = folder / "fractions.tif"
    tifffile.imwrite(fractions, np.full((64, 64), 0.5, np.float32))
    whole = good[1].path.read_bytes()  # type: ignore[union-attr]
    good[1].path.write_bytes(whole[: len(whole) // 2])  # type: ignore[union-attr]
    tifffile.imwrite(good[2].path, np.zeros((3, 64, 64), np.uint16), photometric="minisblack", metadata={"axes": "CYX"})
    return [
        good[0],
        good[1],
        good[2],
        replace(good[3], load=partial(label_images.load, fractions)),
        replace(good[4], load=partial(Instances.from_labels, np.ones((9, 9), int))),
        good[5],
    ]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    data = broken(tmp_path / "data")
    with pytest.raises(InputError) as told:
        run(Split(data[:3], data[3:]), tmp_path / "run", OPTIONS, TINY)
    text = str(told.value)
    assert "has 4 problems" in text
    for part in ("001.tif", "002.tif has 3 channels", "fractions.tif: the label image holds 0.5", "the masks of 004"):
        assert part in text
    assert not (tmp_path / "run").exists()


def test_problems_can_be_left_out_and_a_resumed_training_leaves_out_the_same(tmp_path: Path) -> None:
    data = broken(tmp_path / "data")
    said: list[str] = []
    options = replace(OPTIONS, crops=8, reports=1)
    asked = replace(TINY, skip_problems=True)
    run(Split(data[:4], data[4:]), tmp_path / "run", options, asked, watch=Watch(silent, said.append))
    assert len(said) == 4
    assert all(line.startswith("left out: ") for line in said)
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["train"], config["validation"]) == (["000"], ["005"])
    run(Split(data[:4], data[4:]), tmp_path / "run", options, asked, resume=True)
    assert json.loads((tmp_path / "run/config.json").read_text()) == config
    with pytest.raises(InputError, match="none of the images to validate on can be used"):
        run(Split(data[:4], data[4:5]), tmp_path / "other", options, asked)


def test_a_resumed_training_reads_nothing_before(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    options = replace(OPTIONS, crops=8, reports=1)
    run(data, tmp_path / "run", options, TINY)
    shown: list[str] = []
    steps: Counter[str] = Counter()

    @contextmanager
    def bar(what: str, total: int) -> Iterator[object]:
        shown.append(f"{what} {total}")
        yield lambda _: steps.update([what])

    run(data, tmp_path / "run", options, TINY, resume=True, watch=Watch(bar))  # type: ignore[arg-type]
    assert shown == []
    run(Split(data[:2], data[2:]), tmp_path / "other", options, TINY, watch=Watch(bar))  # type: ignore[arg-type]
    wanted = ["reading images 3", "measuring the validation loss 4", "validating 1"]
    wanted += ["choosing thresholds 1", "measuring 2", "trying diameters 4"]
    assert shown == [*wanted, "scoring 1"]  # each is one bar, however many rounds it goes
    assert [f"{what} {count}" for what, count in steps.items()] == shown


def test_masks_of_all_cells_together_are_refused(tmp_path: Path) -> None:
    data = [
        replace(item, load=partial(Instances.from_labels, item.instances().to_labels() > 0))
        for item in items(tmp_path / "data", 2)
    ]
    empty = replace(data[0], name="empty", load=partial(Instances.from_masks, [], (64, 64)))
    with pytest.raises(InputError, match=r"all 2 images.*all cells together.*flowseg convert DATA OUT.*--pieces"):
        run([*data, empty], tmp_path / "run", OPTIONS, TINY)
    found = read(Split([data[0], items(tmp_path / "more", 1)[0]], []), CONFIG, silent)
    assert not found.problems  # one such image may be what it is


@pytest.mark.parametrize(
    ("together", "single", "apart", "refused"),
    [(2, 1, 0, True), (9, 0, 1, True), (1, 1, 0, False), (2, 3, 0, False), (3, 0, 1, False)],
)
def test_an_image_of_one_cell_does_not_hide_cells_together(
    tmp_path: Path, together: int, single: int, apart: int, refused: bool
) -> None:
    item = items(tmp_path / "data", 1)[0]
    spots = np.zeros((64, 64), np.int32)
    spots[4::12, 4::12] = 255
    numbers = spots.copy()
    numbers[4, 4] = 254
    masks = [spots] * together + [(np.arange(64 * 64).reshape(64, 64) == 99) * 255] * single + [numbers] * apart
    data = [replace(item, name=str(n), load=partial(Instances.from_labels, mask)) for n, mask in enumerate(masks)]
    if refused:
        with pytest.raises(InputError, match=rf"{together} of {len(data)} images .*: masks of all cells together"):
            read(Split(data, []), CONFIG, silent)
    else:
        found = read(Split(data, []), CONFIG, silent)
        assert not found.problems
        assert found.notes[0].startswith(f"{many(together, 'image has', 'images have')} one instance in 5 or more")


def test_images_in_which_the_network_sees_nothing_of_the_masks_are_told(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 4)
    for item in data[:2]:
        few = np.zeros((64, 64), np.uint16)
        few[:5, :5] = 900  # less than the hundredth that percentiles leave out
        tifffile.imwrite(item.path, few)  # type: ignore[arg-type]
    empty = replace(data[1], load=partial(Instances.from_masks, [], (64, 64)))
    found = read(Split([data[0], empty, *data[2:]], []), CONFIG, silent)
    assert not found.problems
    (note,) = found.notes
    assert note.startswith(f"1 image with masks has no contrast between percentiles, such as {data[0].name}")
    slight = np.linspace(0, 1e-4, 64 * 64, dtype=np.float32).reshape(64, 64) + 1  # what normalising makes zeros
    tifffile.imwrite(data[2].path, slight)  # type: ignore[arg-type]
    (note,) = read(Split(data, []), CONFIG, silent).notes
    assert note.startswith("3 images with masks have no contrast")


def test_images_without_instances_are_trained_on_beside_others_but_not_alone(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    empty = [replace(item, load=partial(Instances.from_masks, [], (64, 64))) for item in data]
    with pytest.raises(InputError, match="none of the images to train on has an instance"):
        run(empty, tmp_path / "a", OPTIONS, TINY)
    done = run(Split([*empty[:2], data[2]], [empty[0], data[1]]), tmp_path / "b", replace(OPTIONS, crops=16), TINY)
    assert done.history[-1].train_loss > 0
    assert not np.isnan(done.history[-1].map)


def test_images_held_back_have_something_to_find(tmp_path: Path) -> None:
    """Else the score is 1 from the first report on, and what has learned least is kept."""
    data = items(tmp_path / "data", 3)
    empty = [replace(item, load=partial(Instances.from_masks, [], (64, 64))) for item in data]
    with pytest.raises(InputError, match=r"none of the images to validate on has an instance.*--val-part 0"):
        run(Split(data[:2], [empty[2]]), tmp_path / "a", OPTIONS, TINY)
    with pytest.raises(InputError, match=r"none of the images to train on has .*; some of those held back have: give"):
        run(Split(empty[:2], [data[2]]), tmp_path / "a", OPTIONS, TINY)
    assert not (tmp_path / "a").exists()


def test_masks_without_pixels_say_nothing_about_diameters(tmp_path: Path) -> None:
    """COCO polygons too thin to hold a pixel are such."""
    item = items(tmp_path / "data", 1)[0]
    none, cell = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    cell[5:25, 5:25] = True
    thin = replace(item, load=partial(Instances.from_masks, [none, none, cell], (64, 64)))
    empty = replace(item, load=partial(Instances.from_masks, [none], (64, 64)))
    found = read(Split([thin], [empty]), CONFIG, silent)
    assert found.diameter == pytest.approx(2 * (400 / np.pi) ** 0.5)
    assert not found.to_find


def test_colours_are_wanted_or_not_as_the_network_says(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 2)
    tifffile.imwrite(data[0].path, np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    asked = Asked(new=NewModel("rgb", (4, 6)), diameter=16.0)
    assert not read(Split(data, []), asked.new.config(), silent).problems
    assert not read(Split(data, []), CONFIG, silent).problems


def test_an_image_without_a_number_is_a_problem(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    tifffile.imwrite(data[1].path, np.full((64, 64), np.nan, np.float32))  # type: ignore[arg-type]
    found = read(Split(data, []), CONFIG, silent)
    assert (found.train, found.problems) == ((0, 2), ("001: none of its pixels is a number: all are NaN or infinite",))


def test_missing_files_and_those_that_cannot_be_read_are_told_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((20, 20), np.uint8))
        tifffile.imwrite(tmp_path / f"{name}_masks.tif", np.ones((20, 20), np.uint8))
    (tmp_path / "a_masks.tif").unlink()
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[: len(whole) - 100])
    with pytest.raises(InputError, match=r"2 problems:\n(.|\n)*a\.tif has no masks(.|\n)*b\.tif is cut short"):
        flowseg.train(tmp_path, tmp_path / "run", pretrained=None, quiet=True)


@pytest.mark.parametrize(("diameter", "least", "most"), [(4, 1, 13), (16, 15, 15)])
def test_what_is_learned_is_not_too_small_to_be_kept(tmp_path: Path, diameter: int, least: int, most: int) -> None:
    """Cells of 4 pixels have 12; a model keeps what has 15, unless it is told otherwise."""
    data = items(tmp_path / "data", 2, diameter=diameter)
    config = checkpoint.read(run(data, tmp_path / "run", replace(OPTIONS, crops=4, reports=1), TINY).model).config
    assert least <= config.min_size <= most
