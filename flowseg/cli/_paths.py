"""What commands take for the names of files and folders."""

import glob
import os
from collections.abc import Iterable
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


def filled_in(names: Iterable[str]) -> list[str]:
    """Put the files that patterns name in their places: shells of Windows, and quotes in any, leave that to programs.

    A name that exists is no pattern, and a pattern that names nothing stays as it is.
    """
    found: list[str] = []
    for name in names:
        is_pattern = glob.has_magic(name) and not os.path.exists(name)
        found += (sorted(glob.glob(name, recursive=True)) if is_pattern else []) or [name]
    return found


def existing(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the paths of files and folders that are there; patterns are filled in."""
    kind = click.Path(exists=True, path_type=Path)
    return tuple(Path(kind.convert(name, parameter, context)) for name in filled_in(names))
