"""Options of a command under headings, what matters first at the top."""

from collections.abc import Mapping, Sequence

import click

REST = "Other options"


class Sectioned(click.Command):
    """A command whose help lists its options under headings, in the order of ``sections``.

    The parameter ``sections`` gives, for each heading, names of options without their dashes: ``{"Data": ["images"]}``.
    """

    def __init__(self, *given: object, sections: Mapping[str, Sequence[str]], **settings: object) -> None:
        super().__init__(*given, **settings)  # type: ignore[arg-type]
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; those that no heading names come last."""
        records = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                records[max(parameter.opts, key=len).lstrip("-")] = record
        widest = min(30, max(len(first) for first, _ in records.values()))
        named = {name for names in self.sections.values() for name in names}
        rest = [name for name in records if name not in named]
        for heading, names in {**self.sections, REST: rest}.items():
            rows = [(records[name][0].ljust(widest), records[name][1]) for name in names if name in records]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows, col_max=widest)
