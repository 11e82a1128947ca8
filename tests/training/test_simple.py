"""Training in one call: from a folder, from arrays, with settings by name."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

import flowseg
from flowseg import checkpoint
from flowseg.errors import InputError, ModelError, OptionError
from flowseg.sources import memory
from flowseg.training.run_folder import RunFolder
from tests.shapes import solid_cells
from tests.training.data import items

TINY = {
    "pretrained": None, "inputs": "grey", "widths": (4, 6), "diameter_mean": 16.0, "crops": 16, "batch_size": 4,
    "size": 32, "reports": 2, "device": "cpu", "precision": "fp32",
}  # fmt: skip


def pairs(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    made = [solid_cells(64, 16, seed=number) for number in range(count)]
    return [((labels > 0) * 200 + 20, labels) for labels in made]


def test_arrays_become_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    done = flowseg.train(pairs(4), tmp_path / "run", val_part=0.25, tell=told.append, augment={"scale": 0.5}, **TINY)
    assert [now.crops for now in told] == [4, 8, 12, 16]
    reports = [line for line in capsys.readouterr().out.splitlines() if "loss" in line]  # what takes long is told, too
    assert len(reports) == len(done.history) == 2
    config = checkpoint.read(done.model).config
    assert config.diameter_mean == 16
    assert config.architecture.widths == (4, 6)
    assert config.training_data == "4 images given as arrays"
    found = flowseg.load_model(done.model, device="cpu").segment(pairs(1)[0][0])
    assert found.labels.shape == (64, 64)
    shown = done._repr_html_()
    assert "best mean AP" in shown
    assert repr(done) == f"Trained({done.model}, 2 reports)"
    assert "data:image/png" in shown
    assert len(done.plot().axes) == 3
    again = flowseg.train(
        pairs(4), tmp_path / "run", val_part=0.25, augment={"scale": 0.5}, resume=True, quiet=True, **TINY
    )
    assert again.history == done.history
    assert capsys.readouterr().out == ""


def test_a_training_is_begun_anew_where_that_is_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flowseg.train(pairs(2), out, val_part=0, quiet=True, **TINY)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="overwrite=True"):
        flowseg.train(pairs(2), out, val_part=0, quiet=True, **TINY)
    done = flowseg.train(pairs(2), out, val_part=0, quiet=True, overwrite=True, **TINY | {"crops": 24})
    assert [report.crops for report in done.history] == [12, 24]
    assert (out / "notes.txt").read_text() == "mine"
    assert "best" not in done._repr_html_()
    with pytest.raises(OptionError, match="one of them"):
        flowseg.train(pairs(2), out, overwrite=True, resume=True, **TINY)


def test_an_earlier_training_is_lost_only_when_the_new_one_begins(tmp_path: Path) -> None:
    out = tmp_path / "run"
    earlier = flowseg.train(pairs(2), out, val_part=0, quiet=True, **TINY).model
    weights = earlier.read_bytes()
    anew = {name: value for name, value in TINY.items() if name not in ("pretrained", "inputs", "widths")}
    with pytest.raises(ModelError, match="no model named"):
        flowseg.train(pairs(2), out, pretrained="typo", val_part=0, quiet=True, overwrite=True, **anew)
    with RunFolder(out).mine(), pytest.raises(InputError, match="another run is writing"):
        flowseg.train(pairs(2), out, val_part=0, quiet=True, overwrite=True, **TINY)
    assert earlier.read_bytes() == weights
    done = flowseg.train(pairs(2), out, pretrained=str(earlier), val_part=0, quiet=True, overwrite=True, **anew)
    assert done.model.read_bytes() != weights


def test_no_folder_of_others_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="wanted the options of a training"):
        flowseg.train(pairs(2), tmp_path, val_part=0, quiet=True, overwrite=True, **TINY)


def test_a_folder_and_items_give_the_same(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 4)
    from_items = flowseg.train(data, tmp_path / "a", quiet=True, **TINY)
    from_again = flowseg.train(list(data), tmp_path / "b", quiet=True, **TINY)
    assert [one[:8] for one in from_items.history] == [one[:8] for one in from_again.history]


def test_images_validated_on_that_are_trained_on_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = items(tmp_path / "data", 2)
    flowseg.train(data, tmp_path / "run", val=data[:1], **TINY | {"crops": 4})
    assert "trained on, too: 1 image to validate on, such as 000; scores will be too good" in capsys.readouterr().out


def test_masks_in_memory_are_what_they_were() -> None:
    labels = solid_cells(40, 12, seed=1)
    stack = np.stack([labels == value for value in range(1, labels.max() + 1)])
    stack[0] |= stack[1]
    first, second, third = memory.items(
        [(labels, labels), (labels, stack), (labels, memory.Instances.from_masks(stack, (40, 40)))]
    )
    assert (first.instances().to_labels() == labels).all()
    for item in (second, third):
        assert [item.instances().mask(k).tolist() for k in range(len(stack))] == stack.tolist()
    assert (first.image().pixels[0] == labels).all()


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no setting 'crop_size'; there are .*size"):
        flowseg.train(pairs(2), tmp_path / "run", crop_size=3)
    with pytest.raises(OptionError, match=r"no setting of augment 'zoom'; there are rotate"):
        flowseg.train(pairs(2), tmp_path / "run", augment={"zoom": 2.0})
    with pytest.raises(OptionError, match="what is given has no use for an order of run lengths"):
        flowseg.train(pairs(2), tmp_path / "run", order="row", **TINY)
    with pytest.raises(OptionError, match="group and val_part part the data, and val gives other data"):
        flowseg.train(pairs(2), tmp_path / "run", val=pairs(2), group="plate", **TINY)
    with pytest.raises(OptionError, match=r"patience is 3, .* nothing is held back"):
        flowseg.train(pairs(2), tmp_path / "run", patience=3, **{**TINY, "val_part": 0})
    with pytest.raises(OptionError, match="export is 'Cellpose'; wanted 'cellpose'"):
        flowseg.train(pairs(2), tmp_path / "run", export="Cellpose", **TINY)
    with pytest.raises(OptionError, match="the part held back is 'half'; wanted a number"):
        flowseg.train(pairs(2), tmp_path / "run", **{**TINY, "val_part": "half"})
    with pytest.raises(OptionError, match="out is an empty text"):
        flowseg.train(pairs(2), "", **TINY)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="wanted a pair"):
        flowseg.train([np.zeros((4, 4))], tmp_path / "run", **TINY)
    with pytest.raises(InputError, match=r"image 0 is str; wanted a pair.*a DataFrame becomes one with to_csv"):
        flowseg.train({"id": ["a"], "annotation": ["1 2"]}, tmp_path / "run", **TINY)  # iterated as a DataFrame is
    with pytest.raises(InputError, match=r"image000.*|.*shape"):
        flowseg.train([(np.zeros((40, 40)), np.ones((41, 40), int))] * 2, tmp_path / "run", quiet=True, **TINY)
    with pytest.raises(InputError):
        flowseg.train(tmp_path / "nothing", tmp_path / "run")


def test_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    settings = {**TINY, "lr": np.float32(0.002), "seed": np.int64(3), "diameter_mean": np.float32(12)}
    done = flowseg.train(pairs(3), tmp_path / "run", augment={"scale": np.float32(0.5)}, quiet=True, **settings)
    assert len(done.history) == 2


def test_problems_are_left_out_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    for number, (image, labels) in enumerate(pairs(3)):
        tifffile.imwrite(folder / f"{number}.tif", image.astype(np.uint8))
        tifffile.imwrite(folder / f"{number}_masks.tif", labels.astype(np.uint16) if number else labels / 2)
    tifffile.imwrite(folder / "alone.tif", pairs(1)[0][0].astype(np.uint8))
    with pytest.raises(InputError, match=r"2 problems:\n  - alone.tif has no masks.*\n.*fraction"):
        flowseg.train(folder, tmp_path / "run", **TINY)
    done = flowseg.train(folder, tmp_path / "run", skip_problems=True, val_part=0.34, **TINY)
    said = capsys.readouterr().out
    assert said.count("left out: ") == 2
    assert "fraction" in said
    assert len(done.history) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("crops", 8.0), ("crops", "8"), ("batch_size", True), ("lr", "fast"), ("compile", "no")]
)
def test_values_of_another_kind_are_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{name} is .*; wanted"):
        flowseg.train(pairs(2), tmp_path / "run", **{**TINY, name: value})
    assert not (tmp_path / "run").exists()
