"""Tables of run lengths that do not say how they count pixels are trained on as is asked for."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import flowseg
from flowseg import rle
from flowseg.cli import main, train
from flowseg.labels import relabel
from flowseg.sources.collection import Item
from flowseg.training import Split, simple
from flowseg.training.from_settings import splits_of
from tests.shapes import solid_cells

LABELS = {f"im{number}": relabel(solid_cells(40, 12, seed=number)[:30]) for number in range(4)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table down columns that is called for neither order."""
    (tmp_path / "train").mkdir()
    for name, labels in LABELS.items():
        Image.fromarray(((labels > 0) * 90 + 20).astype(np.uint8)).save(tmp_path / f"train/{name}.png")
    texts = {name: rle.encode_labels(labels, order="column").values() for name, labels in LABELS.items()}
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "rle"], *([name, text] for name in texts for text in texts[name])])
    return tmp_path / "train.csv"


def right(items: list[Item]) -> bool:
    return all(np.array_equal(item.instances().to_labels(), LABELS[item.name]) for item in items)


@pytest.mark.parametrize("val", [[], ["--val"]])
def test_the_command_reads_tables_in_the_order_that_is_said(table: Path, val: list[str]) -> None:
    def split(*order: str) -> Split:
        words = [str(table), "-o", "run", *order, *(word for name in val for word in (name, str(table)))]
        return splits_of(train.command.make_context("train", words).params)[""]

    found = split("--order", "column")
    assert found.train
    assert found.validation
    assert right([*found.train, *found.validation])
    assert not right(split("--order", "row").train)
    assert not right(split().validation)


def test_python_reads_tables_in_the_order_that_is_said(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Split] = []
    monkeypatch.setattr(simple, "run", lambda split, *_, **__: seen.append(split))
    flowseg.train(table, "run", order="column", val=table, quiet=True)
    assert right([*seen[0].train, *seen[0].validation])


def test_the_note_names_the_option(table: Path) -> None:
    note = CliRunner().invoke(main, ["inspect", str(table)]).output
    assert "say --order column" in note
    assert "convert it first" not in note
    assert "does not say how pixels are counted" not in (
        CliRunner().invoke(main, ["inspect", str(table), "--order", "column"]).output
    )
