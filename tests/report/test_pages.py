"""Pages of runs, of scores and of data sets, as the commands write them."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from flowseg import checkpoint, cli
from flowseg.model_config import Architecture, ModelConfig
from flowseg.report import page
from flowseg.synthetic import write_sartorius
from tests.networks import scrambled
from tests.shapes import solid_cells

SMALL = Architecture(widths=(4, 6))


def rows_of(page: Path) -> list[dict[str, Any]]:
    text = page.read_text()
    found = json.loads("[" + text[text.index("const ROWS = [") + 14 : text.index("\n];")] + "]")
    for row in found:
        assert "view" not in row or (page.parent / unquote(row["view"])).is_file()
    return list(found)


def flowseg(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli.main, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done.output


def shown_in(view: Path) -> dict[str, Any]:
    text = view.read_text().split("\n", 1)[1]
    return dict(json.loads(text.removeprefix("flowseg.view(").rstrip().removesuffix(");")))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    config = ModelConfig(architecture=SMALL, flow_threshold=0.0, min_size=1, diameter=30.0)
    checkpoint.write_flowseg(path, config, scrambled(SMALL).state_dict())
    return path


def test_the_page_of_a_run_shows_all_images_after_a_resume_too(model: Path, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50), np.uint8)
        Image.fromarray(pixels).save(images / f"image {number}#.png")
    (images / "broken.tif").write_bytes(b"II*\0")
    command = ("segment", images, "-o", out, "--model", model, "--save", "labels,report", "--device", "cpu")
    flowseg(*command, code=1)
    first = rows_of(out / "report.html")
    assert [row["status"] for row in first] == ["failed", "done", "done", "done"]
    assert [row.get("count") for row in first[1:]] == [
        int(tifffile.imread(out / f"image {number}#_labels.tif").max()) for number in range(3)
    ]
    flowseg(*command, code=1)
    again = rows_of(out / "report.html")
    assert [row["status"] for row in again] == ["failed", "kept", "kept", "kept"]
    assert [row.get("thumb") for row in again] == [row.get("thumb") for row in first]
    assert re.search(r"<dt>failed</dt><dd>1</dd>", (out / "report.html").read_text())


def test_the_page_of_scores_begins_with_the_worst(tmp_path: Path) -> None:
    for number in range(3):
        labels = solid_cells(80, 16, seed=number).astype(np.uint16)
        for folder, keep in (("pred", 1 - 0.3 * number), ("truth/masks", 1.0)):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            kept = labels * (np.arange(labels.max() + 1) <= keep * labels.max())[labels]
            tifffile.imwrite(tmp_path / folder / f"i{number}{'_labels' if folder == 'pred' else ''}.tif", kept)
        (tmp_path / "truth/images").mkdir(exist_ok=True)
        Image.fromarray((labels > 0).astype(np.uint8) * 200).save(tmp_path / f"truth/images/i{number}.png")
    output = flowseg(
        "evaluate", tmp_path / "pred", tmp_path / "truth", "--report", tmp_path / "s.html", "--json", "--resamples", 0
    )
    scores = json.loads(output)
    rows = rows_of(tmp_path / "s.html")
    assert [row["name"] for row in rows] == ["i2", "i1", "i0"]
    assert [row["score"] for row in rows] == [image["map"] for image in scores["images"]]
    shown = shown_in(tmp_path / rows[0]["view"])
    assert shown["truth"]["kinds"].count("missed") == scores["images"][0]["fn"][0] > 0
    assert len(shown["cells"]["kinds"]) == scores["images"][0]["predicted"]


def test_the_page_of_scores_shows_images_and_flows_that_a_run_kept(model: Path, tmp_path: Path) -> None:
    truth, images, out = tmp_path / "truth", tmp_path / "images", tmp_path / "out"
    for folder in (truth, images):
        folder.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 50), np.uint8)).save(images / f"{name}.png")
        Image.fromarray(np.eye(40, 50, dtype=np.uint8)).save(truth / f"{name}.png")
    command = ("segment", images, "-o", out, "--model", model, "--device", "cpu", "--save")
    flowseg(*command, "labels,flows,coco,report")
    (out / "b_flows.npz").unlink()
    (images / "c.png").unlink()
    flowseg("evaluate", out, truth, "--truth-format", "labels", "--report", out / "scores.html")
    rows = {row["name"]: row for row in rows_of(out / "scores.html")}
    layers = {name: set(shown_in(out / row["view"])["layers"]) for name, row in rows.items()}
    assert layers == {"a": {"image", "flows", "probability"}, "b": {"image"}, "c": {"image", "flows", "probability"}}
    assert [rows[name]["notes"] for name in "abc"] == [
        [],
        [],
        ["where the image lies is not known: say so with --images"],
    ]
    table = out / "annotations.json"  # which has scores, too
    flowseg("evaluate", table, truth, "--truth-format", "labels", "--report", tmp_path / "coco.html")
    shown = [shown_in(tmp_path / row["view"])["layers"] for row in rows_of(tmp_path / "coco.html")]
    assert ["flows" in layers for layers in shown] == [row["name"] != "b" for row in rows_of(tmp_path / "coco.html")]


def test_cells_of_the_page_of_scores_are_counted_and_the_longest_names_are_taken(tmp_path: Path) -> None:
    name = "x" * 250
    for folder in ("pred", "truth"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([[0, 5, 0, 9]], np.uint8)).save(tmp_path / folder / f"{name}.png")
    flowseg("evaluate", tmp_path / "pred", tmp_path / "truth", "--report", tmp_path / "s.html")
    shown = shown_in(tmp_path / rows_of(tmp_path / "s.html")[0]["view"])
    assert (shown["columns"][0], [row[0] for row in shown["rows"]]) == ("cell", [1, 2])  # not as labels 5 and 9


def test_the_page_of_a_data_set_shows_masks_and_crops(tmp_path: Path) -> None:
    written = write_sartorius(tmp_path / "data", 6, test=0, shape=(96, 128))
    (tmp_path / "data/train").joinpath("extra.txt").touch()
    flowseg("inspect", written.train, "--report", tmp_path / "page.html")
    rows = rows_of(tmp_path / "page.html")
    assert {row["group"] for row in rows} == {"cort", "shsy5y", "astro"}
    shown = (tmp_path / rows[0]["view"]).read_text()
    assert "Crops as in training" in shown


def test_the_page_of_a_data_set_says_what_looks_wrong_and_shows_masks_as_they_are(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("good", "bad"):
        (data / name / "images").mkdir(parents=True)
        (data / name / "masks").mkdir()
        Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30)).save(data / name / f"images/{name}.png")
    discs = np.zeros((3, 30, 30), np.uint8)
    discs[0, 2:12, 2:12], discs[1, 8:20, 8:20], discs[2, 25, 25:28] = 255, 255, 255
    for number, mask in enumerate(discs):
        Image.fromarray(mask).save(data / f"bad/masks/{number}.png")
    Image.fromarray(discs[0]).save(data / "good/masks/0.png")
    (data / "torn").mkdir()
    (data / "torn/images").mkdir()
    (data / "torn/masks").mkdir()
    (data / "torn/images/torn.png").write_bytes(b"not a picture")
    flowseg("inspect", data, "--report", tmp_path / "data.html", code=1)
    assert sorted(each.name for each in data.iterdir()) == ["bad", "good", "torn"]  # views are not put among data
    bad, good = rows_of(tmp_path / "data.html")[:2]
    assert good["notes"] == []
    assert bad["notes"] == ["1 mask of fewer than 15 pixels"]
    shown = shown_in(tmp_path / bad["view"])
    table = [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]]
    assert [row["shared pixels"] for row in table] == [16, 16, 0]
    assert [row["area"] for row in table] == [100, 144, 3]
    assert "<li>" in (tmp_path / "data.html").read_text().split('id="problems">')[1].split("</ul>")[0]


def test_a_page_that_is_written_again_leaves_no_views_of_the_old_one(tmp_path: Path) -> None:
    folder = page.folder_of_views(tmp_path / "new/x.html")
    assert folder == tmp_path / "new/x_files"
    for name in ("00000.js", "00001.js", "mine.js"):
        (folder / name).touch()
    assert [each.name for each in page.folder_of_views(tmp_path / "new/x.html").iterdir()] == ["mine.js"]
    assert page.folder_of_views(tmp_path / "page") != tmp_path / "page"


def test_folders_are_groups_of_a_run(model: Path, tmp_path: Path) -> None:
    for folder in ("plate #1", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.fromarray(np.eye(20, dtype=np.uint8) * 200).save(tmp_path / "in" / folder / "x?.png")
    out = tmp_path / "out"
    flowseg(
        "segment", tmp_path / "in", "--recursive", "-o", out, "--model", model, "--save", "report", "--device", "cpu"
    )
    assert [(row["name"], row["group"]) for row in rows_of(out / "report.html")] == [
        ("b/x?", "b"),
        ("plate #1/x?", "plate #1"),
    ]
