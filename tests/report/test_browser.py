"""The page in a real browser: nothing fails, everything switches, cells answer to the pointer."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowseg import files, flows, measure
from flowseg.instances import Instances
from flowseg.report import page, view
from tests.shapes import solid_cells

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
COUNT = 500


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of many images, two of them with views."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "views").mkdir()
    rows: list[dict[str, Any]] = []
    for number in range(2):
        labels = solid_cells(120, 20, seed=number)
        truth = Instances.from_labels(labels) if number else None  # the second image misses a cell
        true_kinds = ["missed", *["true"] * (labels.max() - 1)] if number else []
        labels = labels if truth is None else np.where(labels == 1, 0, labels)
        cellprob = np.where(labels > 0, 4.0, -4.0).astype(np.float32)
        planes = (labels > 0).astype(np.uint8)[None] * 200
        table = measure.measure(labels, planes, cellprob)
        cells = Instances.from_labels(labels)
        field, kinds = flows.masks_to_flows(labels), ["found"] * len(cells) if number else []
        shown = view.View(f"image {number}", planes, cells, table, field, cellprob, kinds, truth, true_kinds)
        data = view.encode(shown)
        files.write_whole(folder / f"views/v{number} #.js", data)
        rows.append(view.listed(data) | {"name": shown.name, "view": f"views/v{number} #.js", "group": "ab"[number]})
    rows += [
        {"name": f"more {n}", "count": n, "thumb": rows[0]["thumb"], "bins": rows[0]["bins"]} for n in range(COUNT)
    ]
    rows.append({"name": "bad <b>one</b>", "status": "failed", "error": "cut short"})
    files.write_whole(folder / "report.html", page.document("A <run>", {"images": "many"}, rows))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Any]:
    said: list[str] = []
    shown = browser.new_page(viewport={"width": 1200, "height": 800})
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.goto(report.as_uri())
    yield shown
    shown.close()
    assert said == []


def open_first(opened: Any) -> None:
    opened.locator(".card").first.click()
    opened.wait_for_selector("#cells path", state="attached")


def test_the_list_filters_and_sorts(opened: Any) -> None:
    assert opened.locator(".card").count() == COUNT + 3
    assert opened.locator("h1").inner_text() == "A <run>"
    opened.fill("#find", "more 49")
    assert opened.locator(".card b").all_text_contents() == ["more 49", *[f"more 49{n}" for n in range(10)]]
    opened.select_option("#order", "most")
    assert opened.locator(".card b").first.text_content() == "more 499"
    opened.fill("#find", "")
    opened.select_option("#order", "fewest")
    assert opened.locator(".card b").first.text_content() == "more 0"
    assert opened.locator(".card b").last.text_content() == "bad <b>one</b>"
    opened.select_option("#show", "failed")
    assert opened.locator(".card b").all_text_contents() == ["bad <b>one</b>"]
    assert "cut short" in opened.locator(".card").text_content()
    opened.select_option("#show", "all")
    opened.select_option("#group", "b")
    assert opened.locator(".card b").all_text_contents() == ["image 1"]


def test_layers_switch_by_button_and_key(opened: Any) -> None:
    open_first(opened)
    shown = "name => getComputedStyle(document.getElementById('layer-' + name)).display !== 'none'"
    assert opened.evaluate(f"['image', 'flows', 'probability'].map({shown})") == [True, False, False]
    opened.keyboard.press("f")
    assert opened.evaluate(f"['image', 'flows', 'probability'].map({shown})") == [False, True, False]
    assert opened.locator("#wheel").is_visible()
    opened.locator("[data-layer=probability]").click()
    assert opened.evaluate(f"['image', 'flows', 'probability'].map({shown})") == [False, False, True]
    assert "lines" in opened.locator("#cells").get_attribute("class")
    opened.keyboard.press("o")
    opened.keyboard.press("l")
    assert opened.locator("#cells").get_attribute("class").split() == ["filled"]


def test_a_cell_tells_its_measurements(opened: Any) -> None:
    open_first(opened)
    box = opened.locator("#cells path").nth(3).bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    rows = dict(line.split("\t") for line in opened.locator("#tip").inner_text().splitlines())
    area = np.bincount(solid_cells(120, 20, seed=0).ravel())[int(rows["label"])]
    assert int(float(rows["area"])) == area
    opened.mouse.move(600, 30)
    assert not opened.locator("#tip").is_visible()


def test_what_was_missed_is_told(opened: Any) -> None:
    opened.fill("#find", "image 1")
    open_first(opened)
    box = opened.locator("#truth path").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert opened.locator("#tip").inner_text().split() == ["missed", "true", "cell", "1"]
    assert "missed (1)" in opened.locator("#kinds").inner_text()
    opened.keyboard.press("t")
    opened.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 2)
    assert not opened.locator("#tip").is_visible()


def test_keys_walk_through_images_and_zoom(opened: Any) -> None:
    open_first(opened)
    before = opened.locator("#picture").get_attribute("viewBox")
    opened.keyboard.press("+")
    wide, closer = (float(text.split()[2]) for text in (before, opened.locator("#picture").get_attribute("viewBox")))
    assert closer == pytest.approx(wide / 1.5)
    opened.keyboard.press("0")
    assert opened.locator("#picture").get_attribute("viewBox") == before
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("document.getElementById('picture').getAttribute('aria-label')?.startsWith('image 1')")
    opened.keyboard.press("ArrowRight")
    assert "nothing to show" in opened.locator("#wait").inner_text()
    opened.keyboard.press("Escape")
    assert not opened.locator("#viewer").is_visible()


def test_histograms_are_by_group(opened: Any) -> None:
    said = opened.locator("#groups li").all_text_contents()
    count = int(solid_cells(120, 20, seed=0).max())
    assert said[0].startswith(f"without a group: {COUNT + 1} images, ")
    assert said[1].startswith(f"a: 1 image, {count} cells, median ")
    titles = opened.locator("#diameters title").all_text_contents()
    assert sum(int(text.split(": ")[1]) for text in titles if text.startswith("a, ")) == count
    opened.select_option("#group", "a")
    assert not opened.locator("#groups").is_visible()
    titles = opened.locator("#diameters title").all_text_contents()
    assert sum(int(text.split(": ")[1]) for text in titles) == count


def test_keys_walk_through_cells(opened: Any) -> None:
    open_first(opened)

    def label(key: str) -> int:
        opened.keyboard.press(key)
        return int(dict(line.split("\t") for line in opened.locator("#tip").inner_text().splitlines())["label"])

    count = int(solid_cells(120, 20, seed=0).max())
    assert [label(key) for key in ("n", "n", "Shift+N", "Shift+N", "n")] == [1, 2, 1, count, 1]
    for _ in range(8):
        opened.keyboard.press("+")
    assert label("n") == 2
    cell, stage = (opened.locator(each).bounding_box() for each in ("#cells path.here", "#stage"))
    assert stage["x"] < cell["x"] + cell["width"] / 2 < stage["x"] + stage["width"]
    assert stage["y"] < cell["y"] + cell["height"] / 2 < stage["y"] + stage["height"]


def test_a_button_that_is_pressed_keeps_the_focus(opened: Any) -> None:
    open_first(opened)
    opened.locator("[data-layer=flows]").focus()
    opened.keyboard.press("Space")
    assert opened.locator("[data-layer=flows]").get_attribute("aria-pressed") == "true"
    assert opened.evaluate("document.activeElement.dataset.layer") == "flows"


def test_a_window_that_changes_shows_the_same_part(opened: Any) -> None:
    open_first(opened)
    for _ in range(3):
        opened.keyboard.press("+")
    x, y, w, h = map(float, opened.locator("#picture").get_attribute("viewBox").split())
    opened.set_viewport_size({"width": 1200, "height": 700})
    opened.wait_for_function(f"document.getElementById('picture').viewBox.baseVal.height < {h} - 1")
    after = list(map(float, opened.locator("#picture").get_attribute("viewBox").split()))
    assert after[2] == pytest.approx(w)
    assert after[0] + after[2] / 2 == pytest.approx(x + w / 2)
    assert after[1] + after[3] / 2 == pytest.approx(y + h / 2)


def test_the_way_back_leads_to_the_list_and_links_to_an_image(opened: Any) -> None:
    open_first(opened)
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("location.hash === '#image%201'")
    opened.go_back()
    opened.wait_for_function("!document.getElementById('viewer').open")
    assert "#" not in opened.url
    open_first(opened)
    opened.keyboard.press("Escape")
    opened.wait_for_function("location.hash === ''")
    opened.goto(opened.url + "#image%201")
    opened.reload()
    opened.wait_for_selector("#cells path", state="attached")
    assert opened.locator("#name").inner_text() == "image 1"
    opened.locator("#back").click()
    assert not opened.locator("#viewer").is_visible()


def test_a_finger_asks_a_cell(browser: Any, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    shown = context.new_page()
    shown.goto(report.as_uri())
    open_first(shown)
    box = shown.locator("#cells path").nth(3).bounding_box()
    shown.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "area" in shown.locator("#tip").inner_text()
    tip = shown.locator("#tip").bounding_box()
    assert tip["x"] >= 0
    assert tip["x"] + tip["width"] <= 390
    shown.touchscreen.tap(box["x"], shown.locator("#stage").bounding_box()["y"] + 3)
    assert not shown.locator("#tip").is_visible()
    context.close()


def test_dark_and_narrow(browser: Any, report: Path) -> None:
    shown = browser.new_page(viewport={"width": 380, "height": 700}, color_scheme="dark")
    shown.goto(report.as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = shown.evaluate(colour)
    shown.click("#theme")
    assert shown.evaluate(colour) != dark
    assert shown.evaluate("document.documentElement.scrollWidth") <= 380
    open_first(shown)
    assert shown.evaluate("document.getElementById('stage').clientHeight") > 250
    assert shown.evaluate("document.getElementById('viewer').scrollWidth") <= 380
    shown.close()


def test_long_names_leave_a_narrow_page_as_wide_as_it_is(browser: Any, tmp_path: Path) -> None:
    name = "20260115_experiment12_plate3_wellA01_site1_channelDAPI_z001_projection.tif"
    rows: list[dict[str, Any]] = [
        {"name": name, "group": f"{number}_{name}", "status": "failed", "error": f"{name} is cut short"}
        for number in range(2)
    ]
    files.write_whole(tmp_path / "r.html", page.document(name, {"model": name}, rows, [f"{name} is cut short"]))
    shown = browser.new_page(viewport={"width": 360, "height": 700})
    shown.goto((tmp_path / "r.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    shown.locator(".card").first.click()
    for part in ("viewer", "notes", "wait"):
        assert shown.evaluate(f"document.getElementById('{part}').scrollWidth") <= 360, part
    shown.close()


def test_a_view_that_is_gone_is_said(browser: Any, report: Path) -> None:
    path = report.parent / "views/v1 #.js"
    kept = path.read_bytes()
    path.unlink()
    shown = browser.new_page()
    shown.goto(report.as_uri())
    shown.locator(".card").nth(1).click()
    shown.wait_for_function("document.getElementById('wait').textContent.includes('not beside this page')")
    shown.close()
    path.write_bytes(kept)
