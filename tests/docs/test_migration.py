"""The tables of migration: what they name exists in flowseg, and nothing of Cellpose is left out."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click
import pytest

import flowseg
from flowseg import cli
from flowseg.dataset import CropOptions
from flowseg.options import SegmentOptions
from flowseg.segment import Model
from flowseg.training import TrainOptions
from tests.docs.blocks import ROOT

TEXT = (ROOT / "docs/migration.md").read_text()


def rows(section: str) -> list[list[str]]:
    """Return the cells of the tables of a section, without their heads."""
    part = TEXT.split(f"\n## {section}", 1)[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    heads = {number for number, line in enumerate(lines) if line.startswith("|---")}
    kept = [line for number, line in enumerate(lines) if number not in heads and number + 1 not in heads]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def options_of(*names: str) -> set[str]:
    commands: list[Any] = [cli.main, *(cli.main.commands[name] for name in names)]
    of_click = {"--help", "--version"}
    options = [param for one in commands for param in one.params if isinstance(param, click.Option)]
    return of_click | {each for option in options for each in option.opts}


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("Command line: segmenting", "segment"),
        ("Command line: what is saved", "segment"),
        ("Command line: training", "train"),
    ],
)
def test_options_of_the_tables_exist(section: str, command: str) -> None:
    known = options_of(command)
    named = [word for row in rows(section) for text in coded(row[1]) for word in text.split() if word.startswith("--")]
    assert len(named) > 5
    assert set(named) <= known
    mentioned = {word for row in rows(section) for word in re.findall(r"--[a-z][a-z-]+", row[2])}
    assert mentioned <= options_of("segment", "train", "models")


def parameters(call: Callable[..., object]) -> set[str]:
    return set(inspect.signature(call).parameters) - {"self", "kwargs", "settings"}


def test_names_of_python_in_the_tables_exist() -> None:
    of_segment = parameters(Model.segment) | {item.name for item in fields(SegmentOptions)}
    of_train = parameters(flowseg.train) | {item.name for item in (*fields(TrainOptions), *fields(CropOptions))}
    known = of_segment | parameters(flowseg.load_model)
    evaluated = [name for row in rows("Python: `CellposeModel.eval`") for name in coded(row[1])]
    trained = [name for row in rows("Python: `train.train_seg`") for name in coded(row[1])]
    assert len(evaluated) > 10
    assert set(evaluated) <= known
    assert len(trained) > 10
    assert set(trained) <= of_train
    for row in rows("Python: the core"):
        for name in re.findall(r"flowseg\.[\w.]+", row[1]):
            found: Any = flowseg
            for part in name.split(".")[1:]:
                found = getattr(found, part)
            assert callable(found)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_every_argument_of_cellpose_is_in_the_tables() -> None:
    theirs = pytest.importorskip("cellpose.cli", reason="cellpose is not installed")
    from cellpose import models, train

    sections = ("Command line: segmenting", "Command line: what is saved", "Command line: training")
    named = {name for section in sections for row in rows(section) for name in coded(row[0])}
    wanted = {action.option_strings[-1] for action in theirs.get_arg_parser()._actions}
    assert wanted == named

    evaluated = [name for row in rows("Python: `CellposeModel.eval`") for name in coded(row[0])]
    calls = (models.CellposeModel.eval, models.Cellpose.eval, models.CellposeModel.__init__, models.Cellpose.__init__)
    assert set().union(*map(parameters, calls)) == set(evaluated)
    trained = {name for row in rows("Python: `train.train_seg`") for name in coded(row[0])}
    assert parameters(train.train_seg) == trained
