"""The page of formats names what is in the files."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flowseg import cli
from flowseg.convert import FORMATS
from flowseg.folder import SAVES
from flowseg.sources.data_sets import KINDS
from tests.docs.blocks import ROOT

TEXT = (ROOT / "docs/formats.md").read_text()


def named(section: str) -> set[str]:
    """Return what stands in code between a heading that begins so and the next."""
    part = re.split(rf"(?m)^#+ {re.escape(section)}", TEXT)[1].split("\n#", 1)[0]
    return set(re.findall(r"`([^`\n]+)`", part))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "images").mkdir()
    picture = np.asarray(Image.open(ROOT / "examples/data/1609b1b8480e.png").convert("RGB"))[:96, :96]
    Image.fromarray(picture).save(folder / "images/a.png")
    save = "labels,rle,table,flows,coco,geojson,seg"
    command = ["segment", str(folder / "images"), "-o", str(folder / "out"), "--diameter", "40", "--save", save]
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_each_column_of_measurements_is_named(out: Path) -> None:
    with (out / "measurements.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns[0] == "image"
    assert set(columns) - {"mean_intensity_2"} == {name for name in named("table:") if "." not in name}


def test_each_key_of_the_records_is_named(out: Path) -> None:
    record = json.loads((out / "run.json").read_text())
    words = named("Always:")
    image = record["images"][0]
    for keys in (record, record["model"], image, image["removed"]):
        assert set(keys) <= words, set(keys) - words


def test_each_key_of_json_and_flows_is_named(out: Path) -> None:
    coco = json.loads((out / "annotations.json").read_text())
    assert set(coco["annotations"][0]) | set(coco["images"][0]) <= named("coco:")
    feature = json.loads((out / "a.geojson").read_text())["features"][0]
    assert set(feature["properties"]) <= named("geojson:")
    with np.load(out / "a_flows.npz") as kept:
        assert set(kept) <= named("flows:")
    kept = np.load(out / "a_seg.npy", allow_pickle=True).item()
    assert set(kept) <= named("seg:")
    assert (out / "submission.csv").read_text().splitlines()[0] in named("rle:")


def test_each_kind_of_result_and_of_data_is_named() -> None:
    heads = " ".join(re.findall(r"(?m)^### (.*)$", TEXT))
    for kind in SAVES:
        assert f"{kind}: `" in heads, kind
    for kind in KINDS:
        assert f"| `{kind}` |" in TEXT, kind
    assert set(FORMATS) - set(SAVES) == {"kaggle", "masks"}, "the formats of conversion are those of results"
