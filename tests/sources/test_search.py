import glob
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from flowseg.errors import InputError
from flowseg.sources import image_files
from flowseg.sources._search import natural_key, part_key

Closing = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = ["cell10.tif", "cell2.TIF", "a.png", "a.tif", "B.jpeg", "notes.txt", ".hidden.tif", "deep/x.bmp"]
    names += ["a_labels.tif", "a.png_labels.tif", "a_masks.tif", "a_cp_masks.png", "a_flows.tif", "a_cellprob.tif"]
    names += [".secret/y.tif", "deep/deeper/z.tiff", "odd[1].tif", "a_overlay.png", "a_outlines.png", "seg.npy"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Closing:
    """Return what keeps a folder from being listed, also by root, who lists every folder."""
    scandir, those = os.scandir, set[str]()

    def refuse(path: str) -> "os._ScandirIterator[str]":
        if os.fspath(path) in those:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return lambda path: those.add(str(path))


def names(found: list[Path]) -> list[str]:
    return [path.as_posix() for path in found]


ALL = ["a.png", "a.tif", "B.jpeg", "cell2.TIF", "cell10.tif", "odd[1].tif"]


def test_a_folder(folder: Path) -> None:
    assert names(image_files.find(".")) == ALL
    assert names(image_files.find(folder)) == [f"{folder.as_posix()}/{name}" for name in ALL]


def test_folders_below(folder: Path) -> None:
    assert names(image_files.find([folder], recursive=True)) == [
        f"{folder.as_posix()}/{name}"
        for name in [*ALL[:3], "cell2.TIF", "cell10.tif", "deep/deeper/z.tiff", "deep/x.bmp", "odd[1].tif"]
    ]


def test_masks_beside_images_are_none(folder: Path) -> None:
    """As data to train on lie, those of the Data Science Bowl with a folder an image."""
    for name in ("n1/Images/a.png", "n1/Masks/m.png", "n2/labels/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    found = names(image_files.find(folder, recursive=True))
    assert [name for name in found if "/n" in name] == [f"{folder}/n1/Images/a.png", f"{folder}/n2/labels/b.png"]


def test_a_folder_below_that_cannot_be_looked_into_is_listed(folder: Path, closed: Closing) -> None:
    closed(folder / "deep")
    found = names(image_files.find([folder], recursive=True))
    assert found == [f"{folder.as_posix()}/{name}" for name in [*ALL[:5], "deep", ALL[5]]]
    assert names(image_files.find([folder])) == [f"{folder.as_posix()}/{name}" for name in ALL]
    closed(folder)
    with pytest.raises(InputError, match=rf"{folder} cannot be looked into: Permission denied"):
        image_files.find([folder], recursive=True)


def test_links_to_folders_above_have_an_end(folder: Path) -> None:
    before = names(image_files.find(".", recursive=True))
    for name in ("deep/above", "deep/deeper/here"):
        (folder / name).symlink_to(folder, target_is_directory=True)
    assert names(image_files.find(".", recursive=True)) == before


def test_patterns(folder: Path) -> None:
    assert names(image_files.find("cell*")) == ["cell2.TIF", "cell10.tif"]
    assert names(image_files.find("**/*.tif*")) == ["a.tif", "cell10.tif", "deep/deeper/z.tiff", "odd[1].tif"]
    assert names(image_files.find("odd[1].tif")) == ["odd[1].tif"]


@pytest.mark.parametrize("above", ["", "./", "/"])
@pytest.mark.parametrize("pattern", ["**/*", "**/**/*", "**/**/deeper/**", "deep/**/*", "d*/**", "deep**/*", "**"])
def test_patterns_find_what_glob_does(folder: Path, pattern: str, above: str) -> None:
    pattern = f"{folder}/{pattern}" if above == "/" else above + pattern
    every = {Path(found) for found in glob.glob(pattern, recursive=True) if "_" not in Path(found).stem}
    assert set(image_files.find(pattern)) == {path for path in every if path.suffix.lower() in image_files.EXTENSIONS}


def test_patterns_do_not_go_round_and_round(folder: Path) -> None:
    before = names(image_files.find("**/*.tif*"))
    for name in ("above", "here", "deep/above", "deep/deeper/here"):  # glob would find more than it can count
        (folder / name).symlink_to(folder, target_is_directory=True)
    assert names(image_files.find("**/*.tif*")) == before
    assert names(image_files.find("deep/**/**/*.tif*")) == ["deep/deeper/z.tiff"]
    assert names(image_files.find("above/**/z.*")) == ["above/deep/deeper/z.tiff"]
    assert len(image_files.find(["**", "*/**/*", "above/*"])) == len(image_files.find(".", recursive=True))


def test_what_cannot_be_looked_at_stands_in_a_pattern(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refuse(path: str, **how: bool) -> os.stat_result:
        if os.fspath(path).endswith("cell2.TIF") and how.get("follow_symlinks", True):
            raise PermissionError(13, "Permission denied", path)  # a link into a folder that is closed
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", refuse)
    assert names(image_files.find("cell*")) == ["cell2.TIF", "cell10.tif"]


def test_inputs_keep_their_order_and_come_once(folder: Path) -> None:
    found = image_files.find(["cell10.tif", ".", str(folder / "a.png"), "deep/x.bmp"])
    assert names(found) == ["cell10.tif", "a.png", "a.tif", "B.jpeg", "cell2.TIF", "odd[1].tif", "deep/x.bmp"]


def test_masks_beside_images_are_passed_over(folder: Path) -> None:
    for name in ("a_mask.tif", "a_LABEL.png", "mask.png"):
        (folder / name).write_bytes(b"x")
    assert names(image_files.find("*a*")) == ["a.png", "a.tif", "mask.png"]


def test_a_name_with_spaces_that_came_in_pieces(folder: Path) -> None:
    (folder / "my cells 2").mkdir()
    with pytest.raises(InputError, match=r'my does not exist; a name with spaces stands in quotes: "my cells 2"$'):
        image_files.find(["my", "cells", "2"])


def test_what_is_named_outright_is_taken(folder: Path) -> None:
    assert names(image_files.find(["a_labels.tif", "notes.txt", ".hidden.tif"])) == [
        "a_labels.tif",
        "notes.txt",
        ".hidden.tif",
    ]


def test_files_of_microscopes_alone_are_told(folder: Path) -> None:
    (folder / "scope").mkdir()
    for name in ("a.czi", "b.CZI", "c.nd2", "notes"):
        (folder / "scope" / name).touch()
    with pytest.raises(InputError, match=r"passed over: 4 other files \(\.czi, \.nd2; Fiji saves .* as TIFF\)"):
        image_files.find("scope")


def test_nothing_found(folder: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tif does not exist"):
        image_files.find("none.tif")
    with pytest.raises(InputError, match=r"no image in pattern none\*"):
        image_files.find(["a.tif", "none*"])
    with pytest.raises(
        InputError, match=r"pattern \*_labels.tif.*passed over: 2 files named as masks and results are$"
    ):
        image_files.find("*_labels.tif")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"no image in folder empty: looked for \*.tif.*--recursive"):
        image_files.find("empty")
    with pytest.raises(InputError, match="1 other file"):
        image_files.find("*.txt")
    with pytest.raises(InputError, match="no input"):
        image_files.find([])


def test_numbers_sort_by_value() -> None:
    wanted = ["a1", "a2", "a10", "A10b", "b", "b1x2", "b1x10", "b01y"]
    shuffled = [Path(name) for name in wanted]
    random.Random(0).shuffle(shuffled)
    assert [path.name for path in sorted(shuffled, key=natural_key)] == wanted


def test_folders_are_taken_apart_once_not_for_each_file(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c/d"
    deep.mkdir(parents=True)
    for number in range(30):
        (deep / f"{number}.png").touch()
    part_key.cache_clear()
    assert [path.stem for path in image_files.find(deep)] == [str(number) for number in range(30)]
    assert part_key.cache_info().misses == 30 + len(deep.parts)


def test_an_input_without_a_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="an input has no name"):
        image_files.find([""])
