"""What is neither file nor folder is told, and never waited for."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from flowseg import evaluate, files
from flowseg.convert import Conversion, convert
from flowseg.errors import InputError
from flowseg.evaluate.given import opened
from flowseg.exports import flows_file
from flowseg.folder import Job, run
from flowseg.options import SegmentOptions
from flowseg.sources import coco_json, image_files
from flowseg.sources.data_sets import open_collection, side_table
from tests.folder.fakes import FakeModel, save

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """Return a pipe that nobody writes to; who waits for it finds it empty after some seconds, so that tests end."""
    path, done = tmp_path / "pipe.png", threading.Event()
    os.mkfifo(path)

    def let_go() -> None:
        while not done.wait(3):
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    thread = threading.Thread(target=let_go)
    thread.start()
    yield path
    done.set()
    thread.join()


READERS: list[Callable[[Path], object]] = [
    files.digest,
    flows_file.read,
    image_files.read,
    image_files.probe,
    open_collection,
    partial(open_collection, format="kaggle"),
    partial(open_collection, format="coco"),
    side_table,
    lambda path: files.check_output(path, files.PNG, []),
    lambda path: evaluate.compare(path, path),
]


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_is_no_file(pipe: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"pipe\.png is not a file: it is a named pipe"):
        read(pipe)


def test_a_pipe_is_no_list_of_results_and_names_no_images(pipe: Path) -> None:
    assert not coco_json.is_results(pipe)
    results = pipe.with_name("results.json")
    results.write_text("[]")
    with pytest.raises(InputError, match="it is a named pipe"):
        open_collection(results, images=pipe)


def test_a_pipe_is_not_replaced(pipe: Path) -> None:
    with pytest.raises(InputError, match="it is a named pipe"):
        convert(opened({"a": np.eye(3, dtype=int)}), Conversion(pipe, "overlay", overwrite=True))


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.png").symlink_to(place)
    with pytest.raises(InputError, match=r"a\.png is not a file: it is a device"):
        image_files.read(tmp_path / "a.png")


def test_links_that_lead_round_and_round_are_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    given = opened({"a": np.eye(3, dtype=int)})
    for out in (tmp_path / "loop", tmp_path / "loop" / "x.json"):
        with pytest.raises(OSError, match=r"File exists|Not a directory|Too many levels"):
            convert(given, Conversion(out, "" if out.suffix else "labels"))


def test_what_is_no_file_is_one_failure_of_a_run(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pipe.parent
    monkeypatch.chdir(folder)  # names of sockets are short
    save(folder / "a.tif", 2)
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    paths = image_files.find(folder)
    assert [path.name for path in paths] == ["a.tif", "pipe.png", "plug.png", "zero.png"]
    assert image_files.find(paths) == paths
    assert image_files.find(f"{folder}/*") == paths
    lines = run(FakeModel(), paths, Job(folder / "out"), SegmentOptions(diameter=8.0)).lines  # type: ignore[arg-type]
    assert [line["status"] for line in lines] == ["done", *["failed"] * 3]
    kinds = ["a named pipe", "a socket", "a device"]
    assert [line["error"].rpartition(": it is ")[2] for line in lines[1:]] == kinds


def test_an_image_that_became_a_pipe_is_one_failure_too(pipe: Path) -> None:
    path, options = save(pipe.with_name("a.tif"), 2), SegmentOptions(diameter=8.0)
    job = Job(pipe.parent / "out")
    run(FakeModel(), [path], job, options)  # type: ignore[arg-type]
    path.unlink()
    path.symlink_to(pipe)
    (line,) = run(FakeModel(), [path], job, options).lines  # type: ignore[arg-type]
    assert line["error"].endswith("it is a named pipe")
