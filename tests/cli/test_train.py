"""``flowseg train`` as people use it: from files to a model, stopped, continued, in folds."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from flowseg import checkpoint, rle
from flowseg.cli import main, train
from flowseg.sources.data_sets import open_collection
from flowseg.training import from_settings
from flowseg.training.finish import command_line
from flowseg.training.run_folder import RunFolder
from tests.shapes import solid_cells

SMALL = ["--pretrained", "none", "--inputs", "grey", "--widths", "4,6", "--diameter-mean", "14", "--device", "cpu"]
SMALL += ["--precision", "fp32", "--crop-size", "32", "--batch-size", "4", "--reports", "2", "--workers", "2"]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, words)], catch_exceptions=False)


def scores_of(out: Path) -> dict[str, list[float]]:
    return json.loads((out / "scores.json").read_text())["rows"][0]


def pairs(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for number in range(count):
        labels = solid_cells(48, 14, seed=number)
        noise = np.random.default_rng(number).normal(20, 4, labels.shape)
        tifffile.imwrite(folder / f"c{number}.tif", ((labels > 0) * 90 + noise).astype(np.uint8))
        tifffile.imwrite(folder / f"c{number}_masks.tif", labels.astype(np.uint16))
    return folder


def kaggle(folder: Path, count: int = 6) -> Path:
    (folder / "train").mkdir(parents=True)
    rows = []
    for number in range(count):
        labels = solid_cells(40, 12, seed=number)
        Image.fromarray(((labels > 0) * 90 + 20).astype(np.uint8)).save(folder / f"train/im{number}.png")
        kind = ("cort", "astro")[number % 2]
        rows += [[f"im{number}", text, 40, 40, kind] for text in rle.encode_labels(labels).values()]
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "annotation", "width", "height", "cell_type"], *rows])
    return folder / "train.csv"


def test_from_pairs_to_masks(tmp_path: Path) -> None:
    data, out = pairs(tmp_path / "cells"), tmp_path / "run"
    result = run(data, "-o", out, *SMALL, "--crops", 120, "--lr", 0.01, "--val-part", 0.25, "--licence", "CC0-1.0")
    assert result.exit_code == 0, result.output
    assert f"flowseg segment IMAGES -o OUT --model {out / 'model.safetensors'}" in result.output
    config = json.loads((out / "config.json").read_text())
    assert len(config["validation"]) == 2
    card = (out / "MODEL_CARD.md").read_text()
    assert "| all | 2 |" in card
    assert "CC0-1.0" in card
    chosen = json.loads((out / "thresholds.json").read_text())["overall"]
    config = checkpoint.read(out / "model.safetensors").config
    assert config.flow_threshold == chosen["thresholds"]["flow_threshold"]
    assert chosen["score"] >= chosen["default_score"]
    assert chosen["score"] == pytest.approx(scores_of(out)["map"][0])
    assert "flowseg train" in card
    mean, low, high = scores_of(out)["ap50"]
    assert low <= mean <= high
    segmented = CliRunner().invoke(
        main, ["segment", str(data), "-o", str(tmp_path / "out"), "--model", str(out / "model.safetensors")]
    )
    assert segmented.exit_code == 0, segmented.output
    assert len(open_collection(tmp_path / "out")) == 8


def test_from_a_kaggle_table_in_folds(tmp_path: Path) -> None:
    table = kaggle(tmp_path / "sartorius")
    result = run(table, "-o", tmp_path / "run", *SMALL, "--crops", 8, "--folds", 3, "--fold", "all")
    assert result.exit_code == 0, result.output
    held = [json.loads((tmp_path / f"run/fold{k}/config.json").read_text())["validation"] for k in range(3)]
    assert sorted(name for one in held for name in one) == [f"im{number}" for number in range(6)]
    assert all(len({int(name[2:]) % 2 for name in one}) == 2 for one in held)  # both cell types in each
    before = (tmp_path / "run/fold1/config.json").read_text()
    assert run("--resume", tmp_path / "run/fold1").exit_code == 0
    assert (tmp_path / "run/fold1/config.json").read_text() == before
    assert not (tmp_path / "run/fold1/fold1").exists()
    assert "| astro | 1 |" in (tmp_path / "run/fold0/MODEL_CARD.md").read_text()


def test_folds_go_on_where_they_were_stopped_and_are_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = kaggle(tmp_path / "sartorius")
    out = tmp_path / "run"
    real, begun = RunFolder.begin, []

    def stopped_at_the_second(self: RunFolder, config: dict[str, object], overwrite: bool) -> None:
        begun.append(self.path.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        real(self, config, overwrite)

    monkeypatch.setattr(RunFolder, "begin", stopped_at_the_second)
    result = run(table, "-o", out, *SMALL, "--crops", 8, "--folds", 3, "--fold", "all")
    assert result.exit_code == 130
    assert f"flowseg train --resume {out} goes on from here" in result.output
    monkeypatch.undo()
    assert run(table, "-o", out, *SMALL, "--folds", 3, "--fold", "all").exit_code == 1  # it holds a training
    before = (out / "fold0/model.safetensors").stat().st_mtime_ns
    result = run("--resume", out)
    assert result.exit_code == 0, result.output
    assert "3 folds, 6 images, each scored by the model that had not seen it" in result.output
    assert all(f"--model {out / f'fold{number}' / 'model.safetensors'}" in result.output for number in range(3))
    assert (out / "fold0/model.safetensors").stat().st_mtime_ns == before
    scores = json.loads((out / "folds.json").read_text())["scores"]
    each = [scores_of(out / f"fold{number}")["map"][0] for number in range(3)]
    assert scores["map"] == pytest.approx(np.mean(each))
    assert scores["images"] == 6


def test_validation_data_may_be_of_another_kind(tmp_path: Path) -> None:
    table, val = kaggle(tmp_path / "sartorius"), pairs(tmp_path / "cells", 3)
    words = ["--images", table.parent / "train", "--format", "kaggle", "--val", val]
    result = run(table, "-o", tmp_path / "run", *SMALL, "--crops", 8, *words)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "run/config.json").read_text())["validation"] == ["c0", "c1", "c2"]


def test_data_to_validate_on_are_others(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 3)
    for option, value in (("--folds", 3), ("--group", "plate")):
        result = run(data, "-o", tmp_path / "run", *SMALL, "--crops", 8, "--val", data, option, value)
        assert result.exit_code == 1
        assert f"{option} parts DATA, and --val gives other data" in result.output
    result = run(data, "-o", tmp_path / "run", *SMALL, "--crops", 8, "--val", data)
    assert "note: trained on, too: 3 images to validate on, such as c0; scores will be too good" in result.output


def test_what_is_stratified_by_has_scores_of_each_group(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 8)
    table = tmp_path / "kinds.csv"
    table.write_text("name,tissue\n" + "".join(f"c{number},{'ab'[number % 2]}\n" for number in range(8)))
    words = ["--columns", table, "--stratify", "tissue", "--val-part", 0.5, "--crops", 8]
    assert run(data, "-o", tmp_path / "run", *SMALL, *words).exit_code == 0
    scores = json.loads((tmp_path / "run/scores.json").read_text())["rows"]
    assert [row["group"] for row in scores] == ["all", "a", "b"]


def test_a_table_keeps_its_words_and_may_name_files_with_folders(tmp_path: Path) -> None:
    data = open_collection(pairs(tmp_path / "cells", 2))
    table = tmp_path / "kinds.csv"
    table.write_text("Image;Tissue\nold/place/c0.tif;Liver\nD:\\place\\c1.tif;Skin\n")
    assert [item.columns["Tissue"] for item in from_settings.with_columns(data, table)] == ["Liver", "Skin"]


def test_problems_are_left_out_where_asked(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 5)
    (data / "c0.tif").unlink()
    torn = (data / "c1.tif").read_bytes()
    (data / "c1.tif").write_bytes(torn[: len(torn) // 2])
    result = run(data, "-o", tmp_path / "run", *SMALL, "--crops", 8, "--skip-problems")
    assert result.exit_code == 0, result.output
    assert "left out: c0_masks.tif has no image" in result.output
    assert "left out: " in result.output.split("c0_masks.tif", 1)[1]
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert sorted(config["train"] + config["validation"]) == ["c2", "c3", "c4"]


def test_help_begins_with_what_matters_and_has_a_place_for_every_option() -> None:
    told = run("--help").output
    assert "Other options" not in told
    headings = [line for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "What matters first:"
    assert "The data:" in headings
    first = told.split("What matters first:")[1].split("The data:")[0]
    assert first.count("  --") + first.count("-o, ") <= 8
    every = {name for option in train.command.params for name in option.opts if name.startswith("--")}
    assert all(told.count(f"{name} ") + told.count(f"{name}\n") >= 1 for name in every)


def test_a_table_tells_more_about_images(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 4)
    (tmp_path / "about.csv").write_text("id,kind\n" + "".join(f"c{n},{'ab'[n % 2]}\n" for n in range(4)))
    words = [
        *SMALL,
        "--crops",
        8,
        "--columns",
        tmp_path / "about.csv",
        "--balance",
        "kind",
        "--evenness",
        0.5,
        "--stratify",
        "kind",
    ]
    result = run(data, "-o", tmp_path / "run", *words, "--val-part", 0.5)
    assert result.exit_code == 0, result.output
    assert "| b | 1 |" in (tmp_path / "run/MODEL_CARD.md").read_text()
    (tmp_path / "about.csv").write_text("id,kind\nc0,a\n")
    result = run(data, "-o", tmp_path / "run2", *words)
    assert result.exit_code == 1
    assert "says nothing about 3 images, such as c1" in result.output


def test_all_problems_are_told_before_training(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 3)
    (data / "c0.tif").unlink()
    tifffile.imwrite(data / "c1.tif", np.zeros((9, 9), np.uint8))
    result = run(data, "-o", tmp_path / "run", *SMALL)
    assert result.exit_code == 1
    assert "has 2 problems" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--augment", "shear=1"], "wanted NAME=VALUE with one of rotate"),
        (["--augment", "flip=maybe"], "'maybe' is not a value of flip"),
        (["--widths", "4;6"], "wanted whole numbers"),
        (["--fold", "1"], "--fold was given without --folds"),
        (["--folds", "3", "--val-part", "0.3"], "--folds and --val-part both say what to validate on"),
        (["--batch-size", "0"], "--batch-size is 0; wanted a whole number of at least 1"),
        (["--evenness", "0.5"], "--evenness is 0.5, and nothing is balanced"),
        (["--order", "row"], "(read as pairs) has no use for an order of run lengths"),
        (["--folds", "3", "--fold", "all"], "several processes train one fold at a time"),
        (["--inputs", "blue"], "--inputs is 'blue'; wanted one of grey, two, rgb"),
        (["--target", "edges"], "--target is 'edges'"),
        (["--stratify", "day"], "no column 'day'"),
        (["--pretrained", "cyto9", "--inputs", "two", "--widths", "32,64,128,256"], "no model named 'cyto9'"),
        (["--pretrained", "nuclei"], "inputs and widths shape a network from nothing, and nuclei has its own"),
    ],
)
def test_wrong_words_are_refused_plainly(
    tmp_path: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "all" in words:
        monkeypatch.setenv("WORLD_SIZE", "2")
    result = run(pairs(tmp_path / "cells", 3), "-o", tmp_path / "run", *SMALL, *words)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_resume_needs_nothing_else(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 4)
    assert run(data, "-o", tmp_path / "run", *SMALL, "--crops", 8).exit_code == 0
    before = checkpoint.read(tmp_path / "run/model.safetensors").digest
    assert run("--resume", tmp_path / "run").exit_code == 0
    assert checkpoint.read(tmp_path / "run/model.safetensors").digest == before
    result = run(data, "--resume", tmp_path / "run", "--lr", 0.1, "--batch-size", 2)
    assert result.exit_code == 2
    assert "leave out --batch-size, --lr" in " ".join(result.output.split())
    assert run("-o", tmp_path / "other").exit_code == 2


def test_a_training_goes_on_from_another_folder_and_an_older_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs(tmp_path / "cells", 4)
    monkeypatch.chdir(tmp_path)
    assert run("cells", "-o", "run", *SMALL, "--crops", 8).exit_code == 0
    folder = RunFolder(tmp_path / "run")
    began = folder.read_config()
    del began["command"]["skip_problems"]
    folder.write_json("config.json", began)
    folder.card.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = run("--resume", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert folder.finished


def test_a_training_goes_on_with_data_that_have_moved(tmp_path: Path) -> None:
    data, val = pairs(tmp_path / "cells", 3), pairs(tmp_path / "val", 2)
    out = tmp_path / "run"
    assert run(data, "-o", out, *SMALL, "--crops", 8, "--val", val).exit_code == 0
    (out / "MODEL_CARD.md").unlink()
    data.rename(tmp_path / "moved")
    val.rename(tmp_path / "moved_val")
    result = run("--resume", out)
    assert result.exit_code == 1
    assert f"say where it is: flowseg train DATA --resume {out}" in result.output
    result = run(tmp_path / "moved", "--resume", out)
    assert f"say where it is: flowseg train --val PATH --resume {out}" in result.output
    result = run(tmp_path / "moved", "--val", tmp_path / "moved_val", "--resume", out)
    assert result.exit_code == 0, result.output
    assert RunFolder(out).finished
    (out / "MODEL_CARD.md").unlink()
    other = run(tmp_path / "moved_val", "--val", tmp_path / "moved_val", "--resume", out)
    assert "began with other images: c2 can no longer be used" in other.output


def test_a_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    data = pairs(tmp_path / "cells", 3)
    result = run(data, "-o", data, *SMALL, "--crops", 8)
    assert result.exit_code == 2
    assert "is the folder of the data" in result.output


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_stop_before_the_beginning_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_settings, "splits_of", stopped)
    result = run(pairs(tmp_path / "cells", 3), "-o", tmp_path / "run", *SMALL)
    assert (result.exit_code, "the training had not begun" in result.output) == (130, True)


def test_a_stop_while_a_run_is_opened_again_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = pairs(tmp_path / "cells", 4), tmp_path / "run"
    assert run(data, "-o", out, *SMALL, "--crops", 8).exit_code == 0
    monkeypatch.setattr(RunFolder, "read_config", stopped)
    result = run("--resume", out)
    assert result.exit_code == 130
    assert f"stopped: flowseg train --resume {out} goes on from here" in result.output


def test_the_command_line_is_written_as_it_was() -> None:
    settings = {"data": "my cells", "crops": 5, "lr": None, "augment": ["scale=1"], "compile": True, "format_": "pairs"}
    wanted = "flowseg train 'my cells' -o RUN --crops 5 --augment scale=1 --compile --format pairs"
    assert command_line(settings) == wanted


def test_the_command_line_of_a_card_can_be_given_again() -> None:
    settings = {"data": "cells", "pretrained": "cyto2", "inputs": "two", "widths": "32,64", "crops": 5}
    assert command_line(settings) == "flowseg train cells -o RUN --pretrained cyto2 --crops 5"
    settings |= {"pretrained": "none"}
    assert (
        command_line(settings) == "flowseg train cells -o RUN --pretrained none --inputs two --widths 32,64 --crops 5"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_training_goes_on(tmp_path: Path, kind: signal.Signals) -> None:
    data = pairs(tmp_path / "cells", 4)
    words = [sys.executable, "-m", "flowseg", "train", str(data), "-o", str(tmp_path / "run"), *SMALL]
    words += ["--crops", "4000", "--reports", "40"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    history, until = tmp_path / "run/history.csv", time.monotonic() + 120
    while not (history.exists() and len(history.read_text().splitlines()) > 1) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(kind)
    _, told = process.communicate(timeout=60)
    if kind == signal.SIGINT:
        assert process.returncode == 130
        assert f"flowseg train --resume {tmp_path / 'run'} goes on".encode() in told
    assert 1 < len(history.read_text().splitlines()) < 41
    assert run("--resume", tmp_path / "run").exit_code == 0
    assert len(history.read_text().splitlines()) == 41
