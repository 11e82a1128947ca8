"""A folder run with a model that thresholds: order, resuming, faults of one image, tables, memory, other runs."""

import csv
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from flowseg import files, machine, rle
from flowseg.errors import InputError, OptionError
from flowseg.folder import STATE, Job, Line, _results, run
from flowseg.images import Image
from flowseg.options import SegmentOptions
from tests.folder.fakes import FakeModel, save

OPTIONS = SegmentOptions(diameter=8.0)


def go(model: FakeModel, paths: list[Path], job: Job, options: SegmentOptions = OPTIONS) -> list[Line]:
    summary = run(model, paths, job, options)  # type: ignore[arg-type]
    assert summary.problem is None
    return summary.lines


def statuses(lines: list[Line]) -> list[str]:
    return [line["status"] for line in lines]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_no_image_is_lost_to_a_clash_of_names(tmp_path: Path) -> None:
    paths = [tmp_path / "in" / name for name in ("a.tif", "a.png", "a.tif.png")]
    for number, path in enumerate(paths):
        save(path, number + 1)
    lines = go(FakeModel(), paths, Job(tmp_path / "out"))
    assert [line["instances"] for line in lines] == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "out").glob("*_labels.tif")) == [
        "a.png_labels.tif",
        "a.tif.png_labels.tif",
        "a.tif_labels.tif",
    ]


@pytest.mark.parametrize(("order", "columns"), [("row", ("id", "predicted")), ("column", ("ImageId", "EncodedPixels"))])
def test_the_submission_decodes_to_the_labels(tmp_path: Path, order: rle.Order, columns: tuple[str, str]) -> None:
    paths = [save(tmp_path / "in" / name, count) for name, count in (("x/a.tif", 3), ("y/a.tif", 5), ("y/b,1.tif", 0))]
    out = tmp_path / "out"
    go(FakeModel(), paths, Job(out, ("labels", "rle"), order))
    found = rows(out / "submission.csv")
    assert tuple(found[0]) == columns
    assert [row[columns[0]] for row in found] == ["x/a"] * 3 + ["y/a"] * 5 + ["b,1"]
    assert found[-1][columns[1]] == ""
    for name in ("x/a", "y/a"):
        labels = tifffile.imread(out / f"{name}_labels.tif")
        texts = [row[columns[1]] for row in found if row[columns[0]] == name]
        assert (rle.decode_labels(texts, labels.shape, order) == labels).all()


def test_measurements_of_images_with_different_channels_stay_in_their_columns(tmp_path: Path) -> None:
    paths = [save(tmp_path / "in" / f"{name}.tif", 2, channels=count) for name, count in (("a", 1), ("b", 3), ("c", 1))]
    out = tmp_path / "out"
    go(FakeModel(), paths, Job(out, ("table",)))
    found = rows(out / "measurements.csv")
    assert [row["image"] for row in found] == ["a", "a", "b", "b", "c", "c"]
    for row in found:
        assert float(row["mean_intensity_0"]) == 200
        assert (row["mean_intensity_2"] != "") == (row["image"] == "b")
        assert float(row["mean_probability"]) == pytest.approx(1 / (1 + np.exp(-5)), rel=1e-4)
        assert float(row["flow_error"]) < 1e-6


def test_an_aborted_run_with_other_options_does_not_pass_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of the second settings are there, its line is not: the first settings must not keep them."""
    paths, job = [save(tmp_path / "in" / "a.tif", 3)], Job(tmp_path / "out", ("labels", "flows"))
    go(FakeModel(), paths, job)
    whole = files.write_whole

    def full(path: Path, data: Any) -> str:
        if path.name.endswith(".npz"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", full)
        assert statuses(go(FakeModel(), paths, job, SegmentOptions(diameter=9.0))) == ["failed"]
    assert statuses(go(FakeModel(), paths, job)) == ["done"]
    assert statuses(go(FakeModel(), paths, job)) == ["kept"]


@pytest.mark.parametrize("junk", ['{"name": "b", "inpu', '{"name": "b"}\n', '[1]\n{"name": 3}\nnull\n', "\xff\n"])
def test_a_damaged_record_costs_at_most_the_images_it_names(tmp_path: Path, junk: str) -> None:
    paths, job = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "ab"], Job(tmp_path / "out")
    go(FakeModel(), paths[:1], job)
    with (job.out / STATE).open("a", encoding="latin-1") as state:
        state.write(junk)
    assert statuses(go(FakeModel(), paths, job)) == ["kept", "done"]
    assert statuses(go(FakeModel(), paths, job)) == ["kept", "kept"]


def test_what_is_wanted_has_no_order(tmp_path: Path) -> None:
    paths = [save(tmp_path / "in" / "a.tif", 2)]
    go(FakeModel(), paths, Job(tmp_path / "out", ("labels", "rle")))
    assert statuses(go(FakeModel(), paths, Job(tmp_path / "out", ("rle", "labels", "rle")))) == ["kept"]


def test_results_of_other_options_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    paths, out = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "ab"], tmp_path / "out"
    go(FakeModel(), paths, Job(out, ("labels", "rle", "table", "flows")))
    go(FakeModel(), paths, Job(out, ("labels",)))  # the same instances: all of it is still right
    assert {"a_flows.npz", "submission.csv", "measurements.csv"} <= {path.name for path in out.iterdir()}
    go(FakeModel(), paths, Job(out, ("labels", "table")), SegmentOptions(diameter=9.0))
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {
        *("a_labels.tif", "b_labels.tif", "measurements.csv", "run.json", STATE, files._LOCK),
        *(".parts/a.table.csv", ".parts/b.table.csv"),
    }


def test_files_of_the_user_are_not_taken_for_results_of_other_options(tmp_path: Path) -> None:
    paths, out = [save(tmp_path / "in" / "a.tif", 2)], tmp_path / "out"
    go(FakeModel(), paths, Job(out))
    for name in ("a_flows.npz", "submission.csv", "a.geojson"):
        (out / name).write_text("mine")
    go(FakeModel(), paths, Job(out), SegmentOptions(diameter=9.0))
    assert all((out / name).read_text() == "mine" for name in ("a_flows.npz", "submission.csv", "a.geojson"))


def test_what_the_disk_says_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / "in" / "a.tif", 2), tmp_path / "in" / "gone.tif"]
    lines = go(FakeModel(), paths, Job(tmp_path / "out"))
    assert lines[1]["error"] == f"{paths[1]}: No such file or directory"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(_results, "write", full)
        lines = go(FakeModel(), paths[:1], Job(tmp_path / "out", overwrite=True))
    assert lines[0]["error"].startswith("the disk is full (No space left on device): make room")
    beside = tmp_path / f".0{files.PART}"
    assert files.in_words(OSError(errno.EACCES, "Denied", str(beside))) == f"{tmp_path} cannot be written to: Denied"


def test_a_folder_that_could_not_be_looked_into_is_one_failure(tmp_path: Path) -> None:
    paths = [save(tmp_path / "in" / "a.tif", 2), tmp_path / "in" / "closed", save(tmp_path / "in" / "open/b.tif", 3)]
    paths[1].mkdir()
    lines = go(FakeModel(), paths, Job(tmp_path / "out"))
    assert statuses(lines) == ["done", "failed", "done"]
    assert lines[1]["error"].startswith(f"{paths[1]} cannot be looked into")


def test_folders_of_results_that_cannot_be_written_to_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, out = [save(tmp_path / "in" / "a.tif", 2)], tmp_path / "out"
    with pytest.raises(InputError, match=rf"the folder {paths[0]}/out cannot be made: .*Not a directory"):
        run(FakeModel(), paths, Job(paths[0] / "out"), OPTIONS)  # type: ignore[arg-type]
    locked = PermissionError(errno.EACCES, "Permission denied", str(out / files._LOCK))
    assert files.in_words(locked) == f"{out} cannot be written to: Permission denied"


def test_axes_and_planes_of_no_image_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="axes 'ZZZ'; wanted Y, X"):
        Job(tmp_path, axes="ZZZ")
    with pytest.raises(OptionError, match="plane 'Q=1'; wanted axes"):
        Job(tmp_path, plane="Q=1")


@pytest.mark.parametrize("most", [0, -1])
def test_memory_that_cannot_be_is_refused(tmp_path: Path, most: int) -> None:
    with pytest.raises(OptionError, match="above 0"):
        Job(tmp_path, max_bytes=most)


def test_lines_come_in_the_order_of_the_images(tmp_path: Path) -> None:
    paths, job = [save(tmp_path / "in" / f"{number:02}.tif", 2) for number in range(12)], Job(tmp_path / "out")
    go(FakeModel(), paths[1::2], job)
    paths[4].write_bytes(b"broken")
    told: list[Line] = []
    summary = run(FakeModel(0.01), paths, job, OPTIONS, told.append)  # type: ignore[arg-type]
    assert told == summary.lines
    assert [line["name"] for line in told] == [f"{number:02}" for number in range(12)]
    assert statuses(told) == ["done", "kept", "done", "kept", "failed", "kept"] + ["done", "kept"] * 3


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), InputError("no")])
def test_a_model_that_fails_on_one_image_goes_on_with_the_next(tmp_path: Path, error: Exception) -> None:
    def fail(image: Image) -> None:
        if image.path is not None and image.path.stem == "b":
            raise error

    paths = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "abc"]
    assert statuses(go(FakeModel(before=fail), paths, Job(tmp_path / "out"))) == ["done", "failed", "done"]


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    def stop(image: Image) -> None:
        if image.path is not None and image.path.stem == "c":
            raise KeyboardInterrupt

    paths, job = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "abcd"], Job(tmp_path / "out", ("labels", "rle"))
    summary = run(FakeModel(before=stop), paths, job, OPTIONS)  # type: ignore[arg-type]
    assert summary.stopped
    assert statuses(summary.lines) == ["done", "done"]
    assert json.loads((job.out / "run.json").read_text())["stopped"]
    assert not (job.out / "submission.csv").exists()
    assert statuses(go(FakeModel(), paths, job)) == ["kept", "kept", "done", "done"]
    assert len(rows(job.out / "submission.csv")) == 8


@pytest.mark.parametrize("earlier", [False, True])
def test_a_listener_that_has_gone_ends_the_run(tmp_path: Path, earlier: bool) -> None:
    """As with ``--json | head -1``: no image is called failed for it, and what is done stays done."""

    def gone(line: Line) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    paths, job = [save(tmp_path / "in" / f"{number:02}.tif", 2) for number in range(20)], Job(tmp_path / "out")
    if earlier:
        go(FakeModel(), paths, job)
    model = FakeModel()
    with pytest.raises(BrokenPipeError):
        run(model, paths, job, OPTIONS, gone)  # type: ignore[arg-type]
    assert len(model.seen) < 10
    assert statuses(go(FakeModel(), paths, job))[0] == "kept"


def test_an_image_that_finds_no_room_beside_others_gets_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is taken while another image is predicted; alone, the image fits."""
    model, running = FakeModel(0.05), threading.Event()
    model.needs = 10**9
    model.before = lambda image: running.set()

    def memory() -> machine.Memory:
        alone = threading.current_thread() is threading.main_thread()
        return machine.Memory(8 * 10**9, 2 * 10**9 if alone else 10**6)

    monkeypatch.setattr(machine, "memory", memory)
    paths = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "abc"]
    assert statuses(go(model, paths, Job(tmp_path / "out"))) == ["done"] * 3
    model.needs = 3 * 10**9
    lines = go(model, paths, Job(tmp_path / "out", overwrite=True))
    assert statuses(lines) == ["failed"] * 3
    assert "24 x 40 pixels at a diameter of 8 would take about 2.79 GiB of memory, 1.86 can be had" in lines[0]["error"]


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    paths, job = [save(tmp_path / "in" / "a.tif", 2)], Job(tmp_path / "out")
    job.out.mkdir()
    with files.only_writer(job.out), pytest.raises(InputError, match="another run is writing"):
        run(FakeModel(), paths, job, OPTIONS)  # type: ignore[arg-type]
    assert statuses(go(FakeModel(), paths, job)) == ["done"]


def test_only_our_own_leavings_are_swept(tmp_path: Path) -> None:
    paths, job = [save(tmp_path / "in" / "a.tif", 2)], Job(tmp_path / "out")
    (job.out / "sub").mkdir(parents=True)
    foreign, ours = job.out / ".film.mp4.part", job.out / "sub" / ".0123.flowseg.part"
    foreign.touch()
    ours.touch()
    go(FakeModel(), paths, job)
    assert foreign.exists()
    assert not ours.exists()


def test_results_of_another_image_of_that_name_are_not_replaced_unasked(tmp_path: Path) -> None:
    one, two = (save(tmp_path / plate / "a.tif", count) for plate, count in (("p1", 1), ("p2", 2)))
    job = Job(tmp_path / "out")
    go(FakeModel(), [one], job)
    lines = go(FakeModel(), [two], job)
    assert statuses(lines) == ["failed"]
    assert f"are those of {one}" in lines[0]["error"]
    assert tifffile.imread(job.out / "a_labels.tif").max() == 1
    one.unlink()
    assert statuses(go(FakeModel(), [two], job)) == ["done"]


@pytest.mark.parametrize(("kind", "file"), [("seg", "a_seg.npy"), ("labels", "a_labels.tif")])
def test_files_that_no_run_made_are_not_replaced_unasked(tmp_path: Path, kind: str, file: str) -> None:
    """Masks drawn by hand lie beside their images, and are called as results are."""
    paths = [save(tmp_path / name, 2) for name in ("a.tif", "b.tif")]
    (tmp_path / file).write_text("by hand")
    lines = go(FakeModel(), paths, Job(tmp_path, (kind,)))
    assert statuses(lines) == ["failed", "done"]
    assert f"{tmp_path / file} is there already, and no run in its folder made it" in lines[0]["error"]
    assert (tmp_path / file).read_text() == "by hand"
    other = SegmentOptions(diameter=9.0)
    assert statuses(go(FakeModel(), paths, Job(tmp_path, (kind,)), other)) == ["failed", "done"]
    assert statuses(go(FakeModel(), paths, Job(tmp_path, (kind,), overwrite=True))) == ["done", "done"]
    assert statuses(go(FakeModel(), paths, Job(tmp_path, (kind,)), other)) == ["done", "done"]


def test_tables_that_no_run_made_are_not_replaced_unasked(tmp_path: Path) -> None:
    paths, table = [save(tmp_path / "a.tif", 2)], tmp_path / "annotations.json"
    table.write_text("by hand")
    with pytest.raises(InputError, match=r"annotations.json is there already, and no run in its folder made it"):
        run(FakeModel(), paths, Job(tmp_path, ("coco",)), OPTIONS)  # type: ignore[arg-type]
    assert table.read_text() == "by hand"
    assert statuses(go(FakeModel(), paths, Job(tmp_path, ("coco",), overwrite=True))) == ["done"]
    assert statuses(go(FakeModel(), paths, Job(tmp_path, ("coco",)), SegmentOptions(diameter=9.0))) == ["done"]


def test_what_a_run_wrote_before_it_was_killed_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, job = [save(tmp_path / "in" / "a.tif", 2)], Job(tmp_path / "out", ("labels", "flows"))
    whole = files.write_whole

    def killed(path: Path, data: Any) -> str:
        if path.name.endswith(".npz"):
            raise SystemExit
        return whole(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", killed)
        with pytest.raises(SystemExit):
            go(FakeModel(), paths, job)
    assert (job.out / "a_labels.tif").exists()
    assert statuses(go(FakeModel(), paths, job)) == ["done"]


def test_a_result_never_replaces_an_image(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, 2) for name in ("a.tif", "a_labels.tif")]
    before = paths[1].read_bytes()
    with pytest.raises(InputError, match="would replace the image"):
        run(FakeModel(), paths, Job(tmp_path), OPTIONS)  # type: ignore[arg-type]
    assert paths[1].read_bytes() == before


def test_a_name_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len("_labels.tif")
    path = save(tmp_path / "in" / ("x" * longest + ".tif"), 1)
    assert statuses(go(FakeModel(), [path], Job(tmp_path / "out"))) == ["done"]


def test_a_record_that_cannot_be_written_is_told_beside_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_results, "write_tables", full)
    summary = run(
        FakeModel(),  # type: ignore[arg-type]
        [save(tmp_path / "in" / "a.tif", 2)],
        Job(tmp_path / "out", ("labels", "rle")),
        OPTIONS,
    )
    assert statuses(summary.lines) == ["done"]
    assert summary.problem is not None
    assert "No space left" in summary.problem


def test_a_number_of_threads_that_is_none_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / "in" / f"{name}.tif", 2) for name in "ab"]
    monkeypatch.setenv("FLOWSEG_THREADS", "many")
    with pytest.raises(OptionError, match="FLOWSEG_THREADS is 'many'"):
        go(FakeModel(), paths, Job(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
