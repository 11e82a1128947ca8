"""What commands take for the name of a folder."""

import os
from pathlib import Path

import click


class _Folder(click.Path):
    """A folder, which an empty text does not name: ``-o "$UNSET"`` would mean the current one."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("an empty text; wanted the name of a folder (this one is '.')", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(file_okay=False, path_type=Path)
