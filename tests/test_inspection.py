"""What inspect says of a data set."""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from flowseg import cli, contact_sheet, inspection, plots
from flowseg.errors import InputError, OptionError
from flowseg.instances import Instances
from flowseg.sources.collection import Collection, Item
from flowseg.sources.data_sets import open_collection


def given(instances: Instances) -> Instances:
    return instances


def broken() -> Instances:
    raise InputError("it cannot be read")


def item(name: str, masks: Iterable[np.ndarray], shape: tuple[int, int] = (20, 30), **columns: str) -> Item:
    return Item(name, None, partial(given, Instances.from_masks(masks, shape)), columns)


def box(y: int, x: int, height: int, width: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def collection(*items: Item, problems: tuple[str, ...] = ()) -> Collection:
    return Collection(Path("data"), "pairs", items, problems)


def test_suspicious_masks_are_named() -> None:
    ring = box(5, 5, 5, 5) & ~box(7, 7, 1, 1)
    pieces = box(12, 5, 4, 4) | box(12, 20, 4, 4) | box(17, 12, 2, 2)
    one = item("a", [ring, pieces, box(0, 20, 4, 5), box(10, 12, 2, 2)])
    two = item("b", [box(1, 1, 18, 28), box(3, 3, 5, 5), box(3, 3, 5, 5)])
    report = inspection.inspect(collection(one, two, item("c", [])))
    found = {
        name: [(who.image, who.instance, round(who.value, 2)) for who in suspicion.worst]
        for name, suspicion in report.suspicions.items()
    }
    assert found == {
        "pieces": [("a", 2, 3.0)],
        "holes": [("a", 1, 1.0)],
        "tiny": [("a", 4, 4.0)],
        "border": [("a", 3, 5.0)],
        "large": [("b", 1, 0.84)],
        "hidden": [("b", 2, 25.0), ("b", 3, 25.0)],
        "twice": [("b", 3, 25.0)],
    }
    assert report.empty == ("c",)
    assert (report.whole.images, report.whole.instances, report.whole.overlapping) == (3, 7, 3)
    assert report.whole.shared == pytest.approx(25 / (24 + 36 + 20 + 4 + 18 * 28))
    assert report.whole.diameter.median == pytest.approx(2 * np.sqrt(25 / np.pi))
    (note,) = report.notes
    assert note == "3 items have instances but no image: these can be evaluated and converted, not trained on"


def test_masks_of_label_images_have_their_own_numbers(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:8, 5:8], labels[10:18, 10:18], labels[2, 25] = 40, 7, 90
    Image.fromarray(labels).save(tmp_path / "a_masks.png")
    found = inspection.inspect(open_collection(tmp_path)).suspicions["tiny"]
    assert [(one.instance, one.value) for one in found.worst] == [(90, 1), (40, 9)]


def test_axes_that_a_file_does_not_say_are_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30, 2), np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "a_masks.tif", np.ones((20, 30), np.uint16))
    assert inspection.inspect(open_collection(tmp_path)).types == {"uint16, 20 x 30 x 2, axes not said (--axes)": 1}


def test_groups_are_columns_of_a_few_words() -> None:
    items = [
        item(f"{number}", [box(1, 1, 4 + number % 2, 4)], kind=["cort", "astro"][number % 2], day=str(number), n="1")
        for number in range(8)
    ]
    report = inspection.inspect(collection(*items))
    assert list(report.groups) == ["kind"]
    assert [(name, group.images, group.instances) for name, group in report.groups["kind"].items()] == [
        ("astro", 4, 4),
        ("cort", 4, 4),
    ]
    assert report.groups["kind"]["cort"].diameter.median < report.groups["kind"]["astro"].diameter.median
    assert report.shapes == {"20 x 30": 8}


def test_what_cannot_be_read_is_a_problem() -> None:
    bad = Item("bad", None, broken)
    report = inspection.inspect(collection(item("a", []), bad, problems=("x has no image",)))
    assert report.problems == ("x has no image", "bad: it cannot be read")
    assert (report.images, report.looked_at) == (2, 1)
    empty = inspection.inspect(collection())
    assert json.loads(json.dumps(empty.to_dict(), allow_nan=False))["whole"]["diameter"]["median"] is None


def test_tables_whose_masks_are_torn_to_strips_are_noted() -> None:
    masks = [box(3 * n, 2, 2, 4) | box(3 * n, 12, 2, 4) for n in range(5)]
    data = collection(item("a", masks))
    assert inspection.inspect(data).notes[:-1] == ()
    assert "--order column" in inspection.inspect(replace(data, format="kaggle")).notes[0]


def test_masks_of_all_cells_together_are_noted() -> None:
    together = sum((box(y, x, 2, 2) for y in (1, 8, 15) for x in (1, 12)), np.zeros((20, 30), bool))
    assert "label each piece first" in inspection.inspect(collection(item("a", [together]))).notes[0]


def test_samples_are_spread_evenly() -> None:
    items = [item(str(number), []) for number in range(10)]
    assert [one.name for one in inspection.sampled(collection(*items), 4)] == ["0", "3", "6", "9"]
    assert len(inspection.sampled(collection(*items), 99)) == 10
    with pytest.raises(OptionError, match="limit is 0"):
        inspection.sampled(collection(*items), 0)


def test_a_sheet_shows_overlapping_outlines_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(tmp_path / "a.png")
    masks = Instances.from_masks([box(2, 2, 10, 10), box(6, 6, 10, 12)], (20, 30))
    items = [Item("a", tmp_path / "a.png", partial(given, masks)), item("é" * 99, [], (9, 9)), Item("x", None, broken)]
    tile = 60
    sheet = contact_sheet.draw(items, tile)
    assert sheet.dtype == np.uint8
    picture = sheet[6 : 6 + tile, 6 : 6 + tile][10:50].astype(int)  # 40 x 60, twice as large as the image
    boxes = [(2, 2, 12, 12), (6, 6, 16, 18)]
    for colour, (y0, x0, y1, x1) in zip(plots.distinct_colours(2, darkest=64), boxes, strict=True):
        drawn = np.argwhere((picture == colour).all(axis=2))
        assert np.abs(drawn.min(axis=0) - (2 * y0, 2 * x0)).max() <= 1
        assert np.abs(drawn.max(axis=0) - (2 * y1, 2 * x1)).max() <= 1
    other = item("b", [box(0, 0, 5, 5)])
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "b.png")
    wrong = Item("b", tmp_path / "b.png", other.load)
    assert (contact_sheet.draw([wrong], tile)[10:60, 10:60] == (60, 0, 0)).all()  # told, not raised


def data_set(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = np.zeros((40, 50), np.uint16)
        labels[5:15, 5:20], labels[20:36, 10:30] = 1, 2
        Image.fromarray(rng.integers(0, 255, (40, 50)).astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(labels).save(folder / f"{number}_masks.png")
    return folder


def test_the_command_prints_tables_and_draws(tmp_path: Path) -> None:
    sheet = tmp_path / "out/sheet.png"
    (tmp_path / "data").mkdir()
    result = CliRunner().invoke(cli.main, ["inspect", str(data_set(tmp_path / "data")), "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    assert "4 images, 8 instances" in result.output
    assert "uint8, 1 channel (4)" in result.output
    assert "no mask looks suspicious" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines() if str(tmp_path) not in line)
    with Image.open(sheet) as picture:
        assert picture.width > 600


def test_the_command_prints_json_and_fails_on_problems(tmp_path: Path) -> None:
    data_set(tmp_path)
    (tmp_path / "3.png").unlink()
    result = CliRunner().invoke(cli.main, ["inspect", str(tmp_path), "--json", "--limit", "2"])
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert (report["images"], report["looked_at"], report["problems"]) == (3, 2, ["3_masks.png has no image 3"])
    assert report["suspicions"]["holes"] == {"count": 0, "worst": []}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--axes", "YX"), "--axes is for --sheet or --report"),
        (("--tiles", "24"), "--tiles is for --sheet"),
        (("--order", "row"), "(read as pairs) has no use for an order of run lengths"),
    ],
)
def test_what_nothing_would_read_is_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(cli.main, ["inspect", str(data_set(tmp_path)), *words])
    assert result.exit_code != 0
    assert message in result.output


def test_what_a_limit_limits_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    root, page = data_set(tmp_path / "data"), tmp_path / "data.html"
    result = CliRunner().invoke(cli.main, ["inspect", str(root), "--limit", "3", "--report", str(page)])
    assert "3 of 4 images, 6 instances" in result.output
    assert "a page of 3 images" in result.output
    assert "3 of 4" in page.read_text()
    assert len(list((tmp_path / "data_files").iterdir())) == 3


def test_a_true_mask_is_not_drawn_over(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    root = data_set(tmp_path / "data")
    mask = next(path for path in sorted(root.rglob("*.png")))
    before = mask.read_bytes()
    for option in ("--sheet", "--report"):
        result = CliRunner().invoke(cli.main, ["inspect", str(root), option, str(mask)])
        assert result.exit_code == 1
        assert mask.read_bytes() == before


def test_a_table_without_rows_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,annotation,width,height\n")
    result = CliRunner().invoke(cli.main, ["inspect", str(tmp_path / "t.csv")])
    assert result.exit_code == 1
    assert "has no image with masks" in result.output
