"""Every kind of result of a run, read by what it is for; and again from kept flows."""

import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO
from roifile import roiread
from shapely.geometry import shape as geometry_of

from flowseg import cli
from flowseg.errors import InputError, MissingExtra, OptionError
from flowseg.exports import parquet
from flowseg.folder import SAVES, STATE, Job, from_flows, run
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.options import SegmentOptions
from tests.filling import filled
from tests.folder.fakes import FakeModel, save

OPTIONS = SegmentOptions(diameter=8.0)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = {"x/a.tif": 3, "x/a.png": 2, "b.tif": 0}


def go(folder: Path, out: Path, **settings: Any) -> list[str]:
    paths = [save(folder / name, count) for name, count in NAMES.items()]
    job = Job(out, settings.pop("save", SAVES), **settings)
    summary = run(FakeModel(), paths, job, OPTIONS)  # type: ignore[arg-type]
    assert summary.problem is None
    return [line["status"] for line in summary.lines]


def stems(out: Path) -> dict[str, npt.NDArray[np.int32]]:
    """Return the label images by name of results."""
    return {
        path.relative_to(out).as_posix().removesuffix("_labels.tif"): tifffile.imread(path).astype(np.int32)
        for path in sorted(out.rglob("*_labels.tif"))
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert go(folder / "in", folder / "out") == ["done"] * 3
    return folder / "out"


def test_names(results: Path) -> None:
    assert list(stems(results)) == ["b", "x/a.png", "x/a.tif"]
    for name in stems(results):
        for ending in (
            "_flows.npz",
            "_rois.zip",
            ".geojson",
            "_seg.npy",
            "_cp_outlines.txt",
            "_overlay.png",
            "_overlay.jpg",
        ):
            assert (results / f"{name}{ending}").is_file()


def test_coco_holds_all_images(results: Path) -> None:
    coco = COCO(str(results / "annotations.json"))
    files = {image["file_name"]: key for key, image in coco.imgs.items()}
    assert list(files) == list(NAMES)
    for name, labels in stems(results).items():
        file_name = "b.tif" if name == "b" else name
        found = coco.loadAnns(coco.getAnnIds(imgIds=files[file_name]))
        assert len(found) == NAMES[file_name]
        for one in found:
            assert (coco.annToMask(one) == (labels == one["label"])).all()
            assert one["score"] == pytest.approx(1 / (1 + np.exp(-5)), rel=1e-5)


def test_coco_as_polygons(results: Path, tmp_path: Path) -> None:
    for out in ("again", "run"):
        if out == "run":
            go(tmp_path / "in", tmp_path / out, save=("labels", "coco"), coco_form="polygons")
        else:
            from_flows.remake(sorted(results.rglob("*_flows.npz")), tmp_path / out, ("coco",), coco_form="polygons")
        coco = COCO(str(tmp_path / out / "annotations.json"))
        assert {type(one["segmentation"]) for one in coco.anns.values()} == {list}
        image = next(key for key, image in coco.imgs.items() if image["file_name"] == "x/a.tif")
        for one in coco.loadAnns(coco.getAnnIds(imgIds=image)):
            assert (coco.annToMask(one) == (stems(results)["x/a.tif"] == one["label"])).all()
    with pytest.raises(OptionError, match="wanted rle or polygons"):
        Job(tmp_path, coco_form="points")  # type: ignore[arg-type]


def test_forms_of_what_is_not_saved_are_refused(tmp_path: Path) -> None:
    for form, message in (({"rle_order": "column"}, "rle is not saved"), ({"coco_form": "polygons"}, "are of coco")):
        with pytest.raises(OptionError, match=message):
            Job(tmp_path, ("labels",), **form)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match=message):
            from_flows.remake([], tmp_path / "out", ("labels",), **form)  # type: ignore[arg-type]


def test_geojson_has_the_group_of_the_images(tmp_path: Path) -> None:
    model, paths = FakeModel(), [save(tmp_path / "a.tif", 3)]
    model.config = ModelConfig(flow_threshold=0.0, group_thresholds={"cort": Thresholds(0.0, 0.0, 1)})
    for group, named in (("", []), ("cort", ["cort"] * 3)):
        options = SegmentOptions(diameter=8.0, group=group)
        job = Job(tmp_path / "out", ("geojson", "flows"))
        assert run(model, paths, job, options).problem is None  # type: ignore[arg-type]
        from_flows.remake([tmp_path / "out/a_flows.npz"], tmp_path / "again", ("geojson",))
        for out in ("out", "again"):
            features = json.loads((tmp_path / out / "a.geojson").read_text())["features"]
            classes = [one["properties"].get("classification") for one in features]
            assert [one["name"] for one in classes if one] == named


def test_rois_and_geojson_are_the_labels(results: Path) -> None:
    for name, labels in stems(results).items():
        with zipfile.ZipFile(results / f"{name}_rois.zip") as archive:
            assert len(archive.namelist()) == labels.max()
        rois = roiread(results / f"{name}_rois.zip") if labels.any() else []
        features = json.loads((results / f"{name}.geojson").read_text())["features"]
        assert len(rois) == len(features) == labels.max()
        for roi, feature in zip(rois, features, strict=True):
            mask = labels == int(roi.name)
            assert (filled(roi.coordinates(multi=True), mask.shape) == mask).all()
            assert feature["properties"]["name"] == str(int(roi.name))
            assert geometry_of(feature["geometry"]).area == mask.sum()
            assert feature["properties"]["measurements"]["mean_intensity_0"] == 200


def test_cellpose_files_name_the_image(results: Path) -> None:
    for name, labels in stems(results).items():
        kept = np.load(results / f"{name}_seg.npy", allow_pickle=True).item()
        assert (kept["masks"] == labels).all()
        assert Path(kept["filename"]).is_file()
        assert kept["flows"][4].shape == (3, *labels.shape)


def test_outlines_and_overlays(results: Path) -> None:
    for name, labels in stems(results).items():
        lines = (results / f"{name}_cp_outlines.txt").read_text().splitlines()
        assert len(lines) == labels.max()
        with Image.open(results / f"{name}_overlay.png") as picture:
            assert picture.size == labels.shape[::-1]
            colours = np.asarray(picture).reshape(-1, 3)
        assert len(np.unique(colours[np.ptp(colours, axis=1) > 0], axis=0)) == labels.max()


def test_both_tables_hold_the_same(results: Path) -> None:
    read = pyarrow.parquet.read_table(results / "measurements.parquet").to_pydict()
    lines = (results / "measurements.csv").read_text().splitlines()
    assert lines[0].split(",") == list(read)
    assert read["image"] == [line.split(",")[0] for line in lines[1:]] == ["x/a.tif"] * 3 + ["x/a.png"] * 2
    assert [float(line.split(",")[4]) for line in lines[1:]] == read["area"] == [16] * 5


def test_a_run_goes_on_with_all_kinds_of_results(tmp_path: Path) -> None:
    assert go(tmp_path / "in", tmp_path / "out") == ["done"] * 3
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("annotations.json", "measurements.parquet")}
    for part in before:
        (tmp_path / "out" / part).unlink()
    assert go(tmp_path / "in", tmp_path / "out") == ["kept"] * 3
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in before}
    (tmp_path / "out/.parts/x/a.png.coco.json").unlink()
    (tmp_path / "out/b_rois.zip").unlink()
    assert go(tmp_path / "in", tmp_path / "out") == ["kept", "done", "done"]
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in before}


def test_a_missing_library_is_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="pip install"):
        Job(tmp_path, ("labels", "parquet"))
    assert Job(tmp_path, ("labels", "table")).save == ("labels", "table")


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(OptionError, match=r"save is labels, omero; wanted some of labels, .*parquet"):
        Job(Path(), ("labels", "omero"))


def test_help_names_every_kind() -> None:
    text = " ".join(CliRunner().invoke(cli.main, ["masks", "--help"]).output.split())
    assert f"Some of {', '.join(from_flows.SAVES)}, with commas." in text
    listed = (
        CliRunner().invoke(cli.main, ["segment", "--help"]).output.split("What --save makes:")[1].split("Options:")[0]
    )
    named = {
        word for line in listed.splitlines() for part in line.split(";") for word in part.split(":")[0].split()[:1]
    }
    assert set(SAVES) <= named


def test_results_from_flows_are_those_of_the_run(results: Path, tmp_path: Path) -> None:
    paths = sorted(results.rglob("*_flows.npz"))
    lines = from_flows.remake(paths, tmp_path, from_flows.SAVES, thresholds={"flow_threshold": 0.0, "min_size": 1})
    assert [line["status"] for line in lines] == ["done"] * 3
    for name in ("x/a.tif_rois.zip", "x/a.png_labels.tif", "b_cp_outlines.txt", "b_seg.npy"):
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes()

    def images(out: Path) -> dict[str, int]:
        found = json.loads((out / "annotations.json").read_text())
        return {
            image["file_name"]: sum(one["image_id"] == image["id"] for one in found["annotations"])
            for image in found["images"]
        }

    assert images(tmp_path) == images(results) == NAMES
    read = pyarrow.parquet.read_table(io.BytesIO((tmp_path / "measurements.parquet").read_bytes()))
    assert read.num_rows == sum(NAMES.values())
    assert set(parquet.columns_of((tmp_path / "measurements.parquet").read_bytes())) >= {"area", "flow_error"}
    assert (tmp_path / "submission.csv").read_text().count("\n") == 1 + 3 + 2 + 1


def test_flows_are_not_made_over_into_the_folder_of_their_run(results: Path) -> None:
    assert (results / STATE).exists()
    with pytest.raises(InputError, match="choose another folder"):
        from_flows.remake(sorted(results.rglob("*_flows.npz")), results)


@pytest.mark.parametrize("kind", ["flows", "overlay"])
def test_what_needs_the_image_is_not_made_from_flows(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OptionError, match=f"save is {kind}; wanted some of labels"):
        from_flows.remake([], tmp_path, (kind,))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names in Unicode")
def test_a_name_that_is_not_unicode_fails_alone(tmp_path: Path) -> None:
    good = save(tmp_path / "good.tif", 2)
    bad = tmp_path / os.fsdecode(b"latin\xff.tif")
    shutil.copy(good, bad)
    summary = run(FakeModel(), [bad, good], Job(tmp_path / "out", SAVES), OPTIONS)  # type: ignore[arg-type]
    assert summary.problem is None
    assert [line["status"] for line in summary.lines] == ["failed", "done"]
    assert "not in UTF-8: rename" in summary.lines[0]["error"]
    assert "latin" in (tmp_path / "out/report.html").read_text()
