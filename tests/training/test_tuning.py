"""Diameters are chosen on the images held back, where they gain more than luck, and `segment` uses them."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from flowseg import checkpoint, metrics
from flowseg.instances import Instances
from flowseg.model_config import Architecture, ModelConfig, Thresholds
from flowseg.network import Network
from flowseg.options import SegmentOptions
from flowseg.segment import Model
from flowseg.training import split, tuning, validation
from flowseg.training.tuning import DiameterChoice
from tests.shapes import solid_cells


class Pretended:
    """A model that finds all where it is run at the right diameter, and less the further from it."""

    right: ClassVar = {"a": 10.0, "b": 20.0}
    estimate = 15.0
    runs = 0

    def segment(self, image: Any, options: SegmentOptions) -> Any:
        diameter = options.diameter or self.estimate
        Pretended.runs += 1
        off = abs(np.log(diameter / self.right[image.group]))
        labels = image.labels * (np.random.default_rng(image.number).random(image.labels.max() + 1) > off)[image.labels]
        return SimpleNamespace(labels=labels, diameter=diameter)


def items(count: int, sizes: dict[str, float]) -> list[Any]:
    made = []
    for number in range(count):
        group = list(sizes)[number % len(sizes)]
        labels = solid_cells(120, round(sizes[group]), seed=number)
        image = SimpleNamespace(group=group, labels=labels, number=number)
        made.append(
            SimpleNamespace(
                columns={"kind": group},
                name=str(number),
                instances=lambda labels=labels: Instances.from_labels(labels),
                sample=lambda _axes=None, image=image, labels=labels: (image, Instances.from_labels(labels)),
            )
        )
    return made


def chosen(monkeypatch: pytest.MonkeyPatch, sizes: dict[str, float]) -> dict[str, DiameterChoice]:
    monkeypatch.setattr(tuning.validation, "model_of", lambda *_: Pretended())
    options = SimpleNamespace(crop=SimpleNamespace(balance=""), validation_images=64, device="cpu")
    both = items(16, sizes)
    task = SimpleNamespace(split=split.Split(both[:8], both[8:]), options=options, axes=None, choice=None, by="")
    kept = SimpleNamespace(network=lambda: None, config=ModelConfig())
    return tuning.choose_diameters(task, kept)  # type: ignore[arg-type]


def test_groups_get_the_diameter_that_is_right_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(monkeypatch, {"a": 10, "b": 20})
    assert found["a"].diameter == pytest.approx(10, rel=0.15)
    assert found["b"].diameter == pytest.approx(20, rel=0.15)
    assert found["a"].score > found["a"].estimated_score
    assert found["a"].images == found["b"].images == 4


def test_what_is_no_better_than_the_estimate_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretended, "right", {"a": 15.0})
    found = chosen(monkeypatch, {"a": 15})
    assert found[""].diameter is None
    assert found[""].score == found[""].estimated_score


def test_no_image_is_segmented_twice_at_one_diameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one group wants what all want; and here the estimate is the median diameter of what was trained on."""
    typical = tuning._typical([""] * 8, map(tuning._measured, items(16, {"a": 15})[:8]), set())[""]
    for name, value in {"right": {"a": 15.0}, "estimate": typical, "runs": 0}.items():
        monkeypatch.setattr(Pretended, name, value)
    monkeypatch.setattr(tuning, "GROUP_COLUMNS", ("kind",))
    assert set(chosen(monkeypatch, {"a": 15})) == {"", "a"}
    assert Pretended.runs == 8 * len(tuning._FACTORS)


@pytest.mark.parametrize(("images", "diameter"), [(2, None), (3, 20.0)])
def test_fewer_than_three_images_say_nothing_about_a_diameter(images: int, diameter: float | None) -> None:
    estimated = np.linspace(0.5, 0.52, images)
    assert tuning._best([(20.0, estimated + 0.1)], estimated).diameter == diameter


def test_a_group_keeps_its_thresholds_beside_its_diameter() -> None:
    config = ModelConfig(min_size=20, group_thresholds={"a": Thresholds(-1.0, 0.4, 30)})
    choices = {name: DiameterChoice(to, 0.5, 0.5, 3) for name, to in (("", None), ("a", 8.0), ("b", 9.0), ("c", None))}
    tuned = tuning._with_diameters(config, choices)
    assert tuned.diameter is None
    assert tuned.group_thresholds == {"a": Thresholds(-1.0, 0.4, 30, 8.0), "b": Thresholds(0.0, 0.4, 20, 9.0)}
    assert ModelConfig.from_dict(json.loads(json.dumps(tuned.to_dict()))) == tuned


def test_a_group_too_small_to_choose_a_diameter_has_that_of_all() -> None:
    config = ModelConfig(group_thresholds={"few": Thresholds(-1.0, 0.4, 30)})
    tuned = tuning._with_diameters(config, {"": DiameterChoice(12.0, 0.6, 0.5, 9)})
    assert tuned.group_thresholds == {"few": Thresholds(-1.0, 0.4, 30, 12.0)}


def test_a_model_is_run_at_the_diameter_it_was_tuned_to(tmp_path: Path) -> None:
    shape = Architecture(channels=1, widths=(2, 3))
    config = ModelConfig(architecture=shape, diameter=12.0, group_thresholds={"b": Thresholds(diameter=7.0)})
    model = validation.model_of(Network(shape), config, "cpu")
    image = np.random.default_rng(0).random((40, 40))
    assert isinstance(model, Model)
    assert model.segment(image, cellprob_threshold=99).diameter == 12
    assert model.segment(image, cellprob_threshold=99, group="b").diameter == 7
    assert model.segment(image, cellprob_threshold=99, diameter=9).diameter == 9
    path = tmp_path / "model.safetensors"
    checkpoint.write_flowseg(path, config, Network(shape).state_dict())
    assert checkpoint.read(path).config == replace(config, flowseg_version=checkpoint.read(path).config.flowseg_version)


def test_scores_are_those_of_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(monkeypatch, {"a": 10, "b": 20})
    expected = []
    for item in items(16, {"a": 10, "b": 20})[8:]:
        image, truth = item.sample()
        labels = Pretended().segment(image, SegmentOptions()).labels
        expected.append(metrics.average_precision(truth, labels, validation.THRESHOLDS).ap.mean())
    assert found[""].estimated_score == pytest.approx(np.mean(expected))
