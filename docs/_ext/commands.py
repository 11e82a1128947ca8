"""The command line as pages, made of click itself: ``{command} segment`` writes what ``flowseg segment --help`` says.

`written` makes Markdown of a command and needs no Sphinx; the directive puts it where it stands.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import click
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flowseg.cli import main

_KEPT = "\b"  # a paragraph of click that begins so keeps its lines


def find(path: str) -> click.Command:
    """Return a command by its name: ``segment``, ``models list``."""
    command: Any = main
    for name in path.split():
        command = command.commands[name]
    return command


def written(path: str, level: int = 2) -> str:
    """Return a command and those below it as Markdown; headings begin at ``level``."""
    command = find(path)
    lines = list(_described(command, f"flowseg {path}", level))
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            lines += [written(f"{path} {name}", level + 1)]
    return "\n".join(lines) + "\n"


def _described(command: click.Command, name: str, level: int) -> Iterator[str]:
    yield f"({name.replace(' ', '-')})="
    yield f"{'#' * level} {name}"
    yield ""
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{name} {usage}\n```"
    yield ""
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        yield "| option | what | default |"
        yield "|---|---|---|"
        yield from (_row(option, context) for option in options)
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; those that keep their lines become blocks under their first line."""
    for paragraph in re.split(r"\n\s*\n", text):
        if not paragraph.lstrip(" ").startswith(_KEPT):
            yield _plain(paragraph.replace("``", "`"))
        else:
            title, *lines = paragraph.lstrip(" ").removeprefix(_KEPT).strip("\n").splitlines()
            block = inspect.cleandoc("\n".join(["", *lines]))
            language = "bash" if title.startswith("Example") else "text"
            yield f"{_plain(title)}\n\n```{language}\n{_with_comments(block) if language == 'bash' else block}\n```"
        yield ""


def _with_comments(block: str) -> str:
    """Put a # before what an example says about itself, after several blanks."""
    return re.sub(r"(?m)^(\S.*?\S)( {3,})(\S.*)$", r"\1  # \3", block)


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    names = ", ".join(f"`{each}`" for each in sorted([*option.opts, *option.secondary_opts], key=len))
    kind = "" if option.is_flag else f" `{option.make_metavar(context)}`".replace("|", r"\|")
    what = re.sub(r"\s*\[[^\]]*\]$", "", record[1])
    return f"| {names}{kind} | {_plain(what)} | {_default(option)} |"


def _plain(text: str) -> str:
    """Escape what Markdown would take for more than text; options become code."""
    return re.sub(r"(?<![`\w-])--[a-z][a-z-]*", r"`\g<0>`", re.sub(r"[<>*_|]", r"\\\g<0>", text))


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return f"`{option.show_default}`"
    value = option.default
    if option.is_flag or not option.show_default or value in (None, "", ()):
        return ""
    return f"`{value}`"


class Command(SphinxDirective):
    """Puts a command and those below it in a page."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"level": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        return self.parse_text_to_nodes(
            written(self.arguments[0], self.options.get("level", 2)), allow_section_headings=True
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
