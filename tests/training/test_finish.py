"""What a model card says is what was done."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowseg.checkpoint import Checkpoint
from flowseg.dataset import CropOptions
from flowseg.instances import Instances
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.segment import Model, load_model
from flowseg.sources.collection import Item
from flowseg.training import Report, Split, TrainOptions, run, tuning, validation
from flowseg.training.finish import Looked, card, summary
from flowseg.training.loop import Task
from flowseg.training.validation import THRESHOLDS
from tests.training.data import OPTIONS, TINY, items

CONFIG = ModelConfig(name="mine", diameter_labels=16.0)


def card_of(folder: Path, config: ModelConfig = CONFIG, rescale: str = "image", seconds: float = 60.0) -> str:
    made = items(folder, 4)
    task = Task(Split(made[:1], made[1:]), CONFIG, TrainOptions(crop=CropOptions(rescale=rescale)))
    groups = ("a", "a", "b")
    looked = [
        Looked(item.name, group, 3, (0.5 + number / 10,) * 9)
        for number, (item, group) in enumerate(zip(made[1:], groups, strict=True))
    ]
    history = [Report(1, 8, 8.0, 1.0, 1.0, 0.5, 0.5, 1e-3, 8.0, seconds)]
    return card(Checkpoint(config, {}, "", "flowseg"), task, summary(looked, 0), looked, history, {})


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    lines = card_of(tmp_path / "data").splitlines()
    assert "| b | 1 | 3 | 0.700 | 0.700 | 0.700 |" in lines
    assert any(line.startswith("| a | 2 | 6 | 0.550 (0.500 to 0.600) |") for line in lines)


def test_intervals_are_as_wide_as_theory_says() -> None:
    """Half of the images score 1 and half 0: the mean of n has a standard error of 0.5 / sqrt(n)."""
    (row,) = summary([Looked(str(k), "", 1, (float(k % 2),) * len(THRESHOLDS)) for k in range(400)], seed=0)
    for score in (row.ap50, row.ap75, row.map):
        assert score == pytest.approx((0.5, 0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_thresholds_of_groups_are_told(tmp_path: Path) -> None:
    assert "--group" not in card_of(tmp_path / "data")
    groups = {"b": Thresholds(-1.0, 0.6, 1, 12.0), "a": Thresholds(0.0, 0.4, 15)}
    lines = card_of(tmp_path / "data", replace(CONFIG, group_thresholds=groups)).splitlines()
    first = lines.index(
        "  - of `--group a`: probability 0, flow error 0.4, at least 15 pixels; diameter estimated from each image"
    )
    assert (
        lines[first + 1] == "  - of `--group b`: probability -1, flow error 0.6, at least 1 pixel; diameter 12 pixels"
    )


@pytest.mark.parametrize(
    ("rescale", "diameter", "scored"),
    [
        ("image", "30 pixels at the network; 16.0 in the data", "each image at its own diameter."),
        ("data", "30 pixels at the network; 16.0 in the data", "all images at the diameter of the data."),
        ("none", "30 pixels at the network; images were not resized to it", "images as they are, not resized."),
    ],
)
def test_how_images_were_resized_is_told(tmp_path: Path, rescale: str, diameter: str, scored: str) -> None:
    text = card_of(tmp_path / "data", rescale=rescale)
    assert f"- Diameter: {diameter}\n" in text
    assert f"redrawn; {scored}\n" in text


def test_one_minute_is_told_as_one(tmp_path: Path) -> None:
    assert ", 1 minute\n" in card_of(tmp_path / "data")
    assert ", 2 minutes\n" in card_of(tmp_path / "data", seconds=120.0)


def test_scores_are_those_of_masks_of_the_model_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images without instances, too; the others are not segmented again."""
    made = items(tmp_path / "data", 7)
    empty = replace(made[6], load=partial(Instances.from_masks, [], (64, 64)))
    again: list[str] = []
    real = validation.look

    def look(model: Model, some: list[Item], *how: Any) -> Iterator[validation.Seen]:
        again.extend(item.name for item in some)
        return real(model, some, *how)

    choose = tuning.choose
    monkeypatch.setattr(validation, "look", look)
    monkeypatch.setattr(tuning, "choose", lambda *asked: (choose(*asked), again.clear())[0])
    done = run(Split(made[:3], [*made[3:6], empty]), tmp_path / "run", replace(OPTIONS, crops=120), TINY)
    assert again == [empty.name]
    found = {one["name"]: one["map"] for one in json.loads((tmp_path / "run/scores.json").read_text())["worst"]}
    seen = real(load_model(done.model, device="cpu"), [*made[3:6], empty], validation.median_diameter)
    assert found == {one.item.name: float(np.mean(validation.precisions(one))) for one in seen}
    assert max(found.values()) > 0
