"""What results are called: after their images, with no two alike."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from flowseg.names import below_common_folder


def named(paths: Sequence[Path], drop: str = "") -> dict[str, Path]:
    """Give each file the name of its results: its own, below the folder that all share, and its suffix on a clash.

    ``drop`` is an ending, before the suffix, that is no part of the name. Names that differ in case alone clash too,
    as many disks do not tell them apart, unless files differ in no more: their disk does.
    """
    full = below_common_folder(paths)
    names = [_bare(text).removesuffix(drop) for text in full]
    while clashing := {place for place in _clashes(names, full) if names[place] != full[place]}:
        names = [full[place] if place in clashing else name for place, name in enumerate(names)]
    return dict(zip(names, paths, strict=True))


def last_parts(names: Sequence[str]) -> dict[str, str]:
    """Return for each name its last part, as tables want it, or the whole where several images share the last part."""
    short = [name.rsplit("/", 1)[-1] for name in names]
    seen = Counter(short)
    return {name: last if seen[last] == 1 else name for name, last in zip(names, short, strict=True)}


def _bare(text: str) -> str:
    return Path(text).with_suffix("").as_posix()


def _clashes(names: Sequence[str], full: Sequence[str]) -> set[int]:
    seen = Counter(names)
    owners: dict[str, set[str]] = {}
    for name, text in zip(names, full, strict=True):
        owners.setdefault(name.casefold(), set()).add(text.casefold())
    return {place for place, name in enumerate(names) if seen[name] > 1 or len(owners[name.casefold()]) > 1}
