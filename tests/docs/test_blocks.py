"""Every command and every piece of Python in README and docs runs, on small data, page by page."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from flowseg import registry, tune
from flowseg.training import options as training_options
from flowseg.training import tuning
from tests.docs import blocks, world
from tests.docs.blocks import PAGES, ROOT, Block, Shell

RUN = ("bash", "python")
SHOWN = ("text", "json", "csv", "math", "dot")  # nothing to run
#: Blocks that cannot run here: the network, several GPUs, packages. Kept short.
MOST_PARSED = 14


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "work").mkdir()
    world.build(folder / "work")
    world.cellpose_folder(folder / "cellpose")
    world.registry_without_digests(folder / "registry")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a reader who follows one page, on a machine where Cellpose was used before."""
    place = tmp_path / "work"
    shutil.copytree(made / "work", place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FLOWSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOWSEG_MODELS_URL", "http://127.0.0.1:9/")
    monkeypatch.delenv("CELLPOSE_LOCAL_MODELS_PATH", raising=False)
    (tmp_path / ".cellpose").mkdir()
    (tmp_path / ".cellpose/models").symlink_to(made / "cellpose")
    monkeypatch.setattr(registry, "folder", lambda: made / "registry")
    registry._registry.cache_clear()
    _shorten_trainings(monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on crops this small they wait for one another
    yield place
    torch.set_num_threads(threads)
    registry._registry.cache_clear()


def _shorten_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training have one step of two small crops, and try few thresholds, whatever it is asked for."""
    check = training_options.TrainOptions.__post_init__

    def shortened(self: training_options.TrainOptions) -> None:
        check(self)
        small: dict[str, Any] = {"crops": 2, "batch_size": 2, "reports": 1, "crop": replace(self.crop, size=64)}
        for name, value in small.items():
            object.__setattr__(self, name, value)

    monkeypatch.setattr(training_options.TrainOptions, "__post_init__", shortened)
    for place in (tune, tuning):
        monkeypatch.setattr(place, "tune", partial(tune.tune, cellprobs=(0.0, 1.0)))


def found(page: Path) -> list[Block]:
    return list(blocks.read(page))


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_marks(page: Path) -> Any:
    """Return a page as a parameter: one that trains takes long."""
    trains = re.search(r"^flowseg train |flowseg\.train\(", page.read_text(), re.MULTILINE)
    return pytest.param(page, id=named(page), marks=[pytest.mark.slow] if trains else [])


@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES if any(b.language in RUN for b in found(page))])
def test_the_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    shell, names = Shell(folder), {"__name__": "__main__"}
    for block in found(page):
        if block.why:
            blocks.parse(block)
        elif block.language == "bash":
            shell.run(block)
        elif block.language == "python":
            text = "\n" * block.line + block.text
            exec(compile(text, str(block.page), "exec"), names)


def test_few_blocks_are_only_parsed() -> None:
    parsed = [block for page in PAGES for block in found(page) if block.why]
    assert parsed
    assert len(parsed) <= MOST_PARSED, [blocks.place(block) for block in parsed]
    for block in parsed:
        assert block.language in RUN, f"{blocks.place(block)}: a mark without a command"
        assert blocks.parse(block), f"{blocks.place(block)} has nothing to check"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_command_hides_in_a_block_that_is_not_run(page: Path) -> None:
    for block in found(page):
        known = block.language in (*RUN, *SHOWN) or block.language.startswith("{")
        assert known, f"{blocks.place(block)}: language {block.language!r}; wanted one of {RUN + SHOWN}"
        if block.language in SHOWN:
            for line in block.text.splitlines():
                assert not line.lstrip("$ ").startswith(("flowseg ", "import flowseg")), blocks.place(block)


@pytest.mark.parametrize(
    "wrong",
    [
        "flowseg segmnt images",
        "flowseg segment images -o out --diametre 3",
        "flowseg segment images --out",
        'pip install "flowseg[gpu]"',
    ],
)
def test_what_is_wrong_in_a_parsed_block_is_seen(wrong: str) -> None:
    with pytest.raises(AssertionError):
        blocks.parse(Block(ROOT / "README.md", 1, "bash", wrong, "a test"))


def test_what_is_wrong_in_a_run_block_is_seen(folder: Path) -> None:
    shell = Shell(folder)
    shell.run(Block(ROOT / "README.md", 1, "bash", "flowseg models list  # all of them\n# nothing", ""))
    for wrong in ("flowseg models list --all", "false", "flowseg models show nothing"):
        with pytest.raises(AssertionError, match=r"README.md:1"):
            shell.run(Block(ROOT / "README.md", 1, "bash", wrong, ""))
