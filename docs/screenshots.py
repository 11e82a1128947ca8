"""Take the pictures of README and docs that show what `nuclei` finds in the examples: python docs/screenshots.py.

Needs Chromium, and the extra [browser] to steer it. Run it when the model or the pages of reports have changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SHOWN = ("1609b1b8480e", "3f9fc8e63f87", "0bf33d3db428", "1a1155256916")
HEIGHT, GAP = 360, 8  # of the row of overlays, pixels


def main() -> None:
    """Segment and score the examples, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        flowseg("segment", EXAMPLES / "data", "-o", place / "results", "--save", "labels,overlay,report")
        compared = ("--images", EXAMPLES / "data", "--report", place / "scores.html")
        flowseg("evaluate", place / "results", EXAMPLES / "masks", *compared)
        overlays = [Image.open(place / f"results/{name}_overlay.png").convert("RGB") for name in SHOWN]
        side_by_side(overlays).save(EXAMPLES / "overlay.jpg", quality=90)
        pictures = ROOT / "docs/images"
        take(place / "results/report.html", "#cells path", pictures / "report.jpg", find=SHOWN[0])
        take(place / "scores.html", "#truth path", pictures / "scores.jpg")


def flowseg(*arguments: str | Path) -> None:
    """Run a command of this clone."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "flowseg", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": paths})


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Put pictures into a row, all of one height."""
    pictures = [one.resize((round(one.width * HEIGHT / one.height), HEIGHT), Image.LANCZOS) for one in pictures]
    row = Image.new("RGB", (sum(one.width + GAP for one in pictures) - GAP, HEIGHT), "white")
    left = 0
    for one in pictures:
        row.paste(one, (left, 0))
        left += one.width + GAP
    return row


def take(page: Path, waited: str, path: Path, find: str = "") -> None:
    """Take a picture of the first image of a page, opened, or of the one that is searched for."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as run:
        started: Any = run.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = started.new_page(viewport={"width": 1280, "height": 760})
        shown.goto(page.as_uri())
        shown.fill("#find", find)
        shown.locator(".card").first.click()
        shown.wait_for_selector(waited, state="attached")
        if find:
            point_at_middle(shown)
        shown.wait_for_timeout(500)
        shown.screenshot(path=path, type="jpeg", quality=90)
        started.close()


def point_at_middle(shown: Any) -> None:
    """Point at the cell nearest to the middle of the image, so that its measurements appear."""
    boxes = [one.bounding_box() for one in shown.locator("#cells path").all()]
    middles = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    shown.mouse.move(*min(middles, key=lambda at: (at[0] - 480) ** 2 + (at[1] - 400) ** 2))


if __name__ == "__main__":
    main()
