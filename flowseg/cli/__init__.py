"""The command line: thin commands that parse, build options, call the API and report."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from flowseg import __version__
from flowseg.cli import convert, doctor, evaluate, inspect, masks, models, segment, train
from flowseg.cli._options import as_typed
from flowseg.errors import FlowsegError, OptionError


class _Commands(click.Group):
    """A group whose commands show an error of ours, or of the disk, as one plain message, without a traceback."""

    def main(self, args: Sequence[str] | None = None, *given: Any, **settings: Any) -> Any:
        """Run; letters that an older encoding does not have, of a console or a file, are printed as their numbers.

        Shells of Windows leave ``~``, variables and patterns to programs. Patterns are for commands: they leave out
        results of earlier runs, which would be taken for images if click made names of a pattern.
        """
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        if args is None and sys.platform == "win32":
            args = [os.path.expandvars(os.path.expanduser(each)) for each in sys.argv[1:]]
        return super().main(args, *given, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for each in args if sys.platform == "win32" else ():
            if each.count('"') % 2 and ("\\" in each or " -" in each):  # no name has one there, but texts may
                text = f"{each}\nis one argument: a backslash before a quote hides it; leave out such a backslash"
                raise click.UsageError(text, ctx)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            option = error.option_name
            owners = [name for name, each in self.commands.items() if any(option in one.opts for one in each.params)]
            if not owners:
                raise
            text = f"{option} goes behind the command that has it: flowseg {owners[0]} ... {option}"
            raise click.UsageError(text, ctx) from error

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OptionError as error:
            command = self.commands[str(ctx.invoked_subcommand)]
            raise click.ClickException(as_typed(command, str(error))) from error
        except FlowsegError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # whoever read what is printed has gone: click ends without a word
        except OSError as error:
            from flowseg.files import in_words

            raise click.ClickException(in_words(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="flowseg %(version)s")
def main() -> None:
    """Segment cells and nuclei in microscopy images by flow fields.

    \b
    Examples:
      flowseg segment images/ -o results --model cyto3 --diameter 30
      flowseg evaluate results/ data/   how good they are
      flowseg models list     which models there are
      flowseg doctor          what this machine can do, and what is missing
      flowseg doctor --warm   compile everything once, so that later runs start at once
    """


for _module in (segment, masks, train, evaluate, inspect, convert, models, doctor):
    main.add_command(_module.command)
