"""The fenced blocks of README and docs, and how they are run.

A block that cannot run where there is no network and no second GPU has a line before it in the source,
``<!-- only parsed: why -->``; then its commands must still be ones that exist, with options that exist.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.testing import CliRunner

from flowseg import cli

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>.*)$")
_MARK = re.compile(r"^<!-- only parsed: (?P<why>.+) -->$")
_TEST_LINE = "<!-- test line -->"  # CI reads it from the README and runs it itself
_SHELL = re.compile(r"[|<;&$`]")
_SET = re.compile(r"[A-Z_]+=")


class Block(NamedTuple):
    """A fenced block: where it stands, its language, its text, and why it is only parsed ("": it is run)."""

    page: Path
    line: int
    language: str
    text: str
    why: str


def read(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    lines = page.read_text().splitlines()
    number, mark = 0, ""
    while number < len(lines):
        found = _FENCE.match(lines[number])
        if found is None:
            said = _MARK.match(lines[number])
            if said or lines[number].strip():
                mark = said["why"] if said else "CI runs it" if lines[number] == _TEST_LINE else ""
            number += 1
            continue
        begin, indent = number, len(found["indent"])
        number += 1
        while lines[number].strip() != found["fence"]:
            number += 1
        text = "\n".join(line[indent:] for line in lines[begin + 1 : number])
        yield Block(page, begin + 1, found["language"].strip(), text, mark)
        number, mark = number + 1, ""


def commands(text: str) -> list[str]:
    """Return the commands of a bash block: a line each, comments left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]


class Shell:
    """Runs the commands of a page in its folder: those of flowseg in this process, all others in bash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        binaries = folder / ".bin"
        binaries.mkdir()
        (binaries / "flowseg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flowseg "$@"\n')
        (binaries / "flowseg").chmod(0o755)
        (binaries / "python").symlink_to(sys.executable)
        self.environment = os.environ | {
            "PATH": f"{binaries}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def run(self, block: Block) -> None:
        """Run a block; what does not end with 0 fails."""
        for line in commands(block.text):
            words = shlex.split(line, comments=True)
            settings = [words.pop(0) for _ in range(len(words)) if _SET.match(words[0])]
            here = words[0] == "flowseg" and not _SHELL.search(line.split("#")[0])
            code, output = self._here(words[1:], settings) if here else self._in_bash(line)
            assert code == 0, f"{place(block)}: {line}\n{output}"

    def _here(self, words: list[str], settings: list[str]) -> tuple[int, str]:
        """Run a command of flowseg in this process, which need not start; its output may go to a file."""
        target = None
        if words[-2:-1] == [">"]:
            *words, _, target = words
        done = CliRunner(env=dict(each.split("=", 1) for each in settings)).invoke(cli.main, words)
        if target is not None:
            (self.folder / target).write_text(done.stdout)
        return done.exit_code, done.output + (repr(done.exception) if done.exception else "")

    def _in_bash(self, line: str) -> tuple[int, str]:
        command = ["bash", "-c", line]
        ran = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout + ran.stderr


def place(block: Block) -> str:
    """Say where a block stands."""
    return f"{block.page.relative_to(ROOT)}:{block.line}"


def parse(block: Block) -> int:
    """Check that the commands of flowseg in a block, and the extras it installs, exist; return how many there were."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    checked = 0
    for line in commands(block.text):
        words = shlex.split(line, comments=True)
        for wanted in re.findall(r"(?:flowseg|\.)\[([a-z,]+)\]", line):
            assert set(wanted.split(",")) <= set(extras), f"{place(block)}: there is no extra {wanted}"
            checked += 1
        if "flowseg" in words and words[0] != "git":
            _require_command(words[words.index("flowseg") + 1 :], place(block))
            checked += 1
    return checked


def _require_command(words: list[str], where: str) -> None:
    """Let click parse a command, with its types and its choices, without running it."""
    command: Any = cli.main
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    assert not isinstance(command, click.Group) or not words, f"{where}: there is no command {words[0]}"
    try:
        command.make_context(command.name, list(words))
    except click.UsageError as error:
        raise AssertionError(f"{where}: {error.format_message()}") from error
