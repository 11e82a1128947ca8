"""The command line: quick to start, plain in its errors."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from click.testing import CliRunner

from flowseg import cli, doctor, engines, files
from flowseg.cli import segment
from flowseg.errors import InputError, OptionError


def test_help_lists_the_commands_and_an_example() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert set(cli.main.commands) <= set(result.output.split())
    assert "Examples:" in result.output


@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(cli.main, [command, "--help"])
    assert result.exit_code == 0
    assert f"flowseg {command}" in result.output.split("Examples:")[1]


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from flowseg.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(sorted({'torch', 'numba', 'numpy', 'scipy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("the image has no pixels"), "the image has no pixels"),
        (OptionError("batch_size is 0; wanted at least 1"), "--batch-size is 0; wanted at least 1"),
        (OptionError("format is 'x'; wanted y"), "--format is 'x'; wanted y"),
        (OptionError("the crop size is 8"), "the crop size is 8"),
        (InputError("format is a word of a file"), "format is a word of a file"),
        (FileNotFoundError(2, "No such file or directory", "/out"), "/out: No such file or directory"),
        (
            OSError(28, "No space left on device"),
            "the disk is full (No space left on device): make room and run the same command again",
        ),
    ],
)
def test_errors_are_one_plain_message(error: Exception, message: str) -> None:
    @click.command()
    @click.option("-b", "--batch-size")
    @click.option("--format", "format_")
    def fails(**_: object) -> None:
        raise error

    group = type(cli.main)("group", commands={"fails": fails})
    result = CliRunner().invoke(group, ["fails"])
    assert result.exit_code == 1
    assert result.output == f"Error: {message}\n"


def test_patterns_reach_commands_as_they_are_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose shells leave all to programs; click would put results of earlier runs in the place of a pattern."""
    seen: list[tuple[str, ...]] = []

    def note(inputs: tuple[str, ...], *_: object) -> SimpleNamespace:
        seen.append(inputs)
        return SimpleNamespace(problem=None, stopped=False, count=lambda _: 0)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(segment, "_run", note)
    for name, value in {"HOME": "home", "USERPROFILE": "home", "PLATE": "plate1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["flowseg", "segment", "tests/*.py", "~/b.tif", "$PLATE/c.tif", "-o", "out"])
    cli.main.main(standalone_mode=False)
    assert seen == [("tests/*.py", "home/b.tif", "plate1/c.tif")]


def test_options_before_the_command_are_sent_behind_it() -> None:
    result = CliRunner().invoke(cli.main, ["--model", "cyto3", "segment", "images", "-o", "out"])
    assert result.exit_code == 2
    assert "--model goes behind the command that has it: flowseg segment ... --model" in result.output
    assert "No such option '--nothing'" in CliRunner().invoke(cli.main, ["--nothing"]).output


@pytest.mark.parametrize("command", ["segment", "masks", "train"])
def test_an_empty_name_is_not_the_current_folder(command: str) -> None:
    result = CliRunner().invoke(cli.main, [command, ".", "-o", ""])
    assert result.exit_code == 2
    assert "'-o' / '--out': an empty text; wanted the name of a folder" in result.output


def test_a_backslash_that_hides_a_quote_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    r"""Of ``"C:\my images\" -o out``, Windows makes one argument."""
    words = ["segment", 'C:\\my images" -o out']
    assert "backslash" not in CliRunner().invoke(cli.main, words).output
    monkeypatch.setattr(sys, "platform", "win32")
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2
    assert 'C:\\my images" -o out\nis one argument: a backslash before a quote hides it' in result.output
    for fine in ('gone "a" b', '5" disc'):
        assert "backslash" not in CliRunner().invoke(cli.main, ["convert", fine, "x.csv"]).output


@pytest.mark.parametrize("arguments", [["models", "list"], ["models", "list", "--json"], ["evaluate", "--help"]])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "flowseg", *arguments], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_doctor_tells_what_is_there() -> None:
    result = CliRunner().invoke(cli.main, ["doctor", "--json", "--warm"])
    assert result.exit_code == 0, result.output
    findings = {finding["what"]: finding for finding in json.loads(result.output)}
    assert {"flowseg", "torch", "accelerator", "kernel cache", "kernels", "openvino"} <= set(findings)
    for finding in findings.values():
        assert finding["ok"] or finding["advice"], finding


def test_doctor_tells_of_a_torch_that_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the usual one for Windows, which is built for processors alone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(engines, "has_nvidia_driver", lambda: True)
    found = doctor._accelerator()
    assert not found.ok
    assert "NVIDIA" in found.found
    assert "pytorch.org" in found.advice
    monkeypatch.setattr(engines, "has_nvidia_driver", lambda: False)
    assert doctor._accelerator().ok


def test_doctor_prints_a_line_for_each_finding() -> None:
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 0
    assert "torch" in result.output


def test_doctor_advises_extras_that_bring_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for package, (extra, _) in doctor._OPTIONAL.items():
        wanted = project["optional-dependencies"][extra]
        assert any(each.startswith(f"{package}>=") for each in wanted), (package, extra)


@pytest.mark.parametrize(("precision", "advice"), [("bf16", "--precision fp32"), ("fp32", "")])
def test_doctor_says_how_to_keep_float32(precision: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = engines.Choice("openvino", "cpu", precision, "it is fast")
    monkeypatch.setattr(engines, "choose", lambda: chosen)
    found = next(each for each in doctor.examine() if each.what == "network runs on")
    assert found.ok
    assert found.advice.endswith("computes in float32") == bool(advice)
    assert advice in found.advice


@pytest.mark.parametrize(
    ("name", "begins"), [("sheet.jpg", files.PNG), ("page.txt", files.HTML), ("page.png", files.HTML)]
)
def test_an_ending_that_says_another_kind_is_refused(name: str, begins: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{name} ends in \{name[-4:]}; wanted a name that ends in"):
        files.check_output(tmp_path / name, begins, [])
    with pytest.raises(InputError, match=r"a has no ending; wanted a name that ends in"):
        files.check_output(tmp_path / "a", begins, [])
    for fine in ("a.PNG",) if begins == files.PNG else ("a.html", "a.HTM"):
        files.check_output(tmp_path / fine, begins, [])
