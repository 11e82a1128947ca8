"""Cellpose's files: what all its versions wrote is read, and nothing of it is run."""

import io
import os
import pickle
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from flowseg.cli import main
from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources.data_sets import open_collection
from tests.shapes import solid_cells

LABELS = solid_cells(32, 9, seed=3)


def content(**change: Any) -> dict[str, Any]:
    """What Cellpose's user interface keeps."""
    cells = int(LABELS.max())
    kept = {
        "outlines": LABELS.astype(np.uint16),
        "masks": LABELS.astype(np.uint16),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(cells, bool),
        "filename": PureWindowsPath("C:/Users/me/a.tif"),
        "flows": [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32)), [-1], [], np.zeros((3, 32, 32), np.float32)],
        "est_diam": np.float32(17.5),
        "diameter": float("nan"),
        "img": np.zeros((32, 32), np.float64),
        "colors": np.zeros((0, 3), np.uint8),
        "manual_changes": [["01/01/26 10:00", "added mask", [3, 5]]],
        "model_path": 0,
        "zdraw": [None] * cells,
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0], "invert": False},
        "notes": np.array(["x", None], object),
    }
    return kept | change


def write(path: Path, kept: object, protocol: int = 3, numpy_1: bool = False) -> Path:
    boxed = np.empty((), object)
    boxed[()] = kept
    data = pickle.dumps(boxed, protocol)
    if numpy_1:
        assert b"numpy._core" in data
        data = data.replace(b"numpy._core", b"numpy.core")
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(file.getvalue() + data)
    return path


def test_beside_images(tmp_path: Path) -> None:
    for name in ("a", "b.2"):
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / f"{name}.png")
        np.save(tmp_path / f"{name}_seg.npy", content(), allow_pickle=True)  # type: ignore[arg-type]
    data = open_collection(tmp_path)
    data.require_sound()
    assert data.format == "cellpose"
    assert [(item.name, item.path) for item in data] == [(n, tmp_path / f"{n}.png") for n in ("a", "b.2")]
    assert (data[0].sample()[1].to_labels() == Instances.from_labels(LABELS).to_labels()).all()
    (tmp_path / "a.png").unlink()
    assert open_collection(tmp_path).problems == (f"a_seg.npy has no image: looked for a in {tmp_path}",)
    one = open_collection(tmp_path / "b.2_seg.npy")
    assert [item.path for item in one] == [tmp_path / "b.2.png"]
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a_masks.png")
    with pytest.raises(InputError, match="could be pairs or cellpose"):
        open_collection(tmp_path)
    assert open_collection(tmp_path, mask_suffix="_seg.npy").format == "cellpose"


@pytest.mark.parametrize("numpy_1", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int32, np.int64, ">u2", np.float32])
def test_types_of_masks_and_of_pickles(tmp_path: Path, kind: Any, numpy_1: bool) -> None:
    path = write(tmp_path / "x_seg.npy", content(masks=LABELS.astype(kind)), numpy_1=numpy_1)
    assert (open_collection(path)[0].instances().to_labels() == Instances.from_labels(LABELS).to_labels()).all()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_order(tmp_path: Path, protocol: int) -> None:
    if protocol == 5:  # NumPy gives such arrays to a function that makes them of a buffer; Cellpose never asks for it
        pytest.skip("not written by np.save")
    path = write(tmp_path / "x_seg.npy", content(masks=np.asfortranarray(LABELS)), protocol)
    assert (open_collection(path)[0].instances().to_labels() == Instances.from_labels(LABELS).to_labels()).all()


def test_the_first_versions_counted_from_minus_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x_seg.npy", content(masks=LABELS - 1))
    assert (open_collection(path)[0].instances().to_labels() == Instances.from_labels(LABELS).to_labels()).all()


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.folder}/ran",)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([1, 2], "holds a list without 'masks'"),
        ({"flows": []}, "without 'masks'"),
        (content(masks="text"), "without 'masks'"),
        (content(masks=np.zeros((2, 4, 4), np.uint16)), r"shape \(2, 4, 4\)"),
        (content(masks=np.array([["a"]])), "wanted numbers"),
        (content(masks=np.full((4, 4), 0.5)), "fraction"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, kept: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        open_collection(write(tmp_path / "x_seg.npy", kept))[0].instances()
    assert "x_seg.npy" in str(error.value)


def test_code_is_not_run(tmp_path: Path) -> None:
    path = write(tmp_path / "x_seg.npy", content(notes=Evil(tmp_path)))
    with pytest.raises(InputError, match=r"asks to run \w+\.system"):
        open_collection(path)[0].instances()
    assert not (tmp_path / "ran").exists()


def test_damage_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x_seg.npy", content())
    whole = path.read_bytes()
    for size in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="x_seg"):
            open_collection(path)[0].instances()


def test_images_without_masks_are_noted(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / f"{name}.png")
    write(tmp_path / "a_seg.npy", content())
    data = open_collection(tmp_path)
    assert data.notes == (f"2 images in {tmp_path} left out, without *_seg.npy: b.png, c.png",)
    assert open_collection(tmp_path / "a_seg.npy").notes == ()


def test_masks_of_another_size_than_the_image_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, size in (("a", (32, 32)), ("b", (20, 31))):
        Image.fromarray(np.zeros(size, np.uint8)).save(data / f"{name}.png")
        write(data / f"{name}_seg.npy", content())
    wanted = "b_seg.npy has masks of 32 x 32 pixels (height x width), its image b.png has 20 x 31; wanted the same"
    run = CliRunner().invoke
    for command in (["inspect", data], ["convert", data, tmp_path / "out.csv"], ["evaluate", data, data]):
        result = run(main, list(map(str, command)))
        assert result.exit_code == 1
        assert wanted in result.output
    result = run(main, ["convert", str(data), str(tmp_path / "out.csv"), "--skip-problems"])
    assert (result.exit_code, wanted in result.output) == (0, True)
    tifffile.imwrite(data / "b.tif", np.zeros((32, 32, 5), np.uint16), photometric="minisblack")
    (data / "b.png").unlink()
    assert len(open_collection(data)[1].sample("YXC")[1]) == LABELS.max()  # its axes are said only here
