"""A folder segmented by one call."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

import flowseg
from flowseg import checkpoint
from flowseg.errors import OptionError
from flowseg.model_config import Architecture, ModelConfig
from tests.folder.fakes import save
from tests.networks import scrambled


@pytest.fixture
def model(tmp_path: Path) -> Path:
    architecture = Architecture(widths=(4, 6), channels=1)
    config = ModelConfig(architecture=architecture, diameter_mean=8.0)
    checkpoint.write_flowseg(tmp_path / "tiny", config, scrambled(architecture).state_dict())
    return tmp_path / "tiny"


def test_a_folder_gives_what_single_images_give(tmp_path: Path, model: Path) -> None:
    paths = [save(tmp_path / "in" / f"{name}.tif", count) for name, count in (("a", 3), ("b", 5))]
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\0")
    summary = flowseg.segment_folder(tmp_path / "in", tmp_path / "out", model=model, save="labels, table", diameter=8)
    assert [line["status"] for line in summary.lines] == ["done", "done", "failed"]
    loaded = flowseg.load_model(model)
    for path in paths:
        alone = loaded.segment(flowseg.read_image(path), diameter=8)
        assert np.array_equal(tifffile.imread(tmp_path / "out" / f"{path.stem}_labels.tif"), alone.labels)
    assert (tmp_path / "out/measurements.csv").is_file()
    shown = summary._repr_html_()
    assert shown.count("<tr") == 1 + 1 + 3
    assert "broken" in shown.split("</table>")[-1]
    again = flowseg.segment_folder(paths, tmp_path / "out", model=loaded, save=["labels", "table"], diameter=8)
    assert again.count("kept") == 2
    assert (repr(summary), repr(again)) == ("Summary(2 done, 1 failed)", "Summary(2 kept)")


def test_what_is_wrong_is_said(tmp_path: Path, model: Path) -> None:
    with pytest.raises(OptionError, match=r"no option 'diametre'; there are diameter"):
        flowseg.segment_folder(tmp_path, tmp_path / "out", model=model, diametre=8)
    with pytest.raises(OptionError, match="out is an empty text"):
        flowseg.segment_folder(tmp_path, "", model=model)
    with pytest.raises(OptionError, match="save is labls"):
        flowseg.segment_folder(tmp_path, tmp_path / "out", model=model, save="labls")


def test_numbers_of_numpy_are_taken(tmp_path: Path, model: Path) -> None:
    image = save(tmp_path / "in" / "a.tif", 3)
    options = {"diameter": np.float32(8), "min_size": np.int64(3), "tta": np.bool_(False)}
    options["percentiles"] = np.float32(1), np.float32(99)
    told = flowseg.segment_folder(image, tmp_path / "out", model=model, **options)
    again = flowseg.segment_folder(
        image, tmp_path / "out", model=model, diameter=8.0, min_size=3, tta=False, percentiles=(1.0, 99.0)
    )
    assert (told.count("done"), again.count("kept")) == (1, 1)
