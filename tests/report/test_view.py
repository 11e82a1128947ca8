"""The file of an image holds its cells exactly, and nothing in it can leave its script."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import polygon

from flowseg.instances import Instances
from flowseg.report import page, view
from tests.shapes import solid_cells


def parsed(data: bytes) -> dict[str, Any]:
    text = data.decode().split("\n", 1)[1]
    assert text.startswith("flowseg.view(")
    return dict(json.loads(text.removeprefix("flowseg.view(").rstrip().removesuffix(");")))


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of an SVG path of steps, by its even-odd rule, with scikit-image's polygons."""
    mask = np.zeros(shape, bool)
    for ring in re.findall(r"M[^z]+z", path):
        x, y = map(int, re.match(r"M(-?\d+) (-?\d+)", ring).groups())  # type: ignore[union-attr]
        corners = [(y, x)]
        for way, step in re.findall(r"([hv])(-?\d+)", ring):
            y, x = (y, x + int(step)) if way == "h" else (y + int(step), x)
            corners.append((y, x))
        rows, columns = polygon(*(np.array(corners).T - 0.5), shape)
        mask[rows, columns] ^= True
    return mask


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 1))
def test_outlines_are_the_cells(seed: int, holes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (5, 6)), np.ones((3, 4), np.int32)) * (rng.random((15, 24)) > 0.1 * holes)
    cells = Instances.from_labels(labels)
    shapes = parsed(view.encode(view.View("a", None, cells)))["cells"]
    assert shapes["all"] == len(shapes["paths"]) == len(cells)
    for index, path in enumerate(shapes["paths"]):
        assert (filled(path, (15, 24)) == cells.mask(index)).all()


def test_what_the_list_shows_stands_in_the_first_line() -> None:
    labels = solid_cells(200, 30, seed=1)
    data = view.encode(view.View("a", (labels[None] * 9).astype(np.uint16), Instances.from_labels(labels)))
    listed = view.listed(data)
    assert listed["size"] == [200, 200]
    assert listed["count"] == labels.max() == sum(listed["bins"])
    areas = np.bincount(labels.ravel())[1:]
    for bin_number, count in enumerate(listed["bins"]):
        low, high = (np.pi / 4 * 2 ** (2 * edge / 4) for edge in (bin_number, bin_number + 1))
        assert count == ((areas >= low) & (areas < high)).sum() or bin_number == 0
    picture = Image.open(io.BytesIO(base64.b64decode(listed["thumb"].split(",")[1])))
    assert picture.size == (176, 176)


def test_measurements_are_short_and_finite() -> None:
    cells = Instances.from_labels([[1, 2], [1, 0]])
    table = {"label": np.array([1, 2]), "mean": np.array([0.123456, np.nan])}
    found = parsed(view.encode(view.View("a", None, cells, table)))
    assert found["columns"] == ["label", "mean"]
    assert found["rows"] == [[1, 0.1235], [2, None]]


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<img onerror=x>", "a\u2028b", 'q"\\'])
def test_names_stay_names(name: str) -> None:
    data = view.encode(view.View(name, None, Instances.from_labels([[1]])))
    assert parsed(data)["name"] == name
    assert data.count(b"\n") == 2
    row = {"name": name, "notes": [name], "error": name, "group": name}
    whole = b"".join(page.document(name, {name: name}, [row])).decode()
    assert whole.count("<script") == 2
    assert whole.count("</script>") == 2
    assert "<img" not in whole
    rows = whole[whole.index("const ROWS = [") + 14 : whole.index("\n];")]
    assert json.loads(f"[{rows}]") == [row]


def test_braces_in_names_are_not_filled() -> None:
    whole = b"".join(page.document("{{script}}", {}, [{"name": "{{style}}"}])).decode()
    assert "<h1>{{script}}</h1>" in whole
    assert '"name":"{{style}}"' in whole


def test_an_image_without_pixels_or_cells_has_a_view() -> None:
    for shape in ((0, 0), (1, 5), (4, 0)):
        data = view.encode(view.View("a", np.zeros((1, *shape)), Instances.from_masks([], shape)))
        assert view.listed(data)["count"] == 0
