"""The models that have names, as ``models/registry.toml`` knows them: files, digests, licences, whom to cite."""

import difflib
import fnmatch
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from flowseg.errors import ModelError


@dataclass(frozen=True)
class File:
    """A file of a model: its name on the server and on disk, and its digest and bytes where the registry knows them."""

    name: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """A model of the registry.

    Attributes
    ----------
    name, aliases
        What people call it.
    kind
        ``"cellpose"`` (fetched from a server) or ``"shipped"`` (comes with flowseg).
    file
        The model's file.
    size_model
        The file that predicts the diameter of cells, where there is one.
    diameter_mean
        Pixels that cells are resized to for the network.
    channels
        Roles of the network's inputs.
    description, data, licence, licence_note, citations
        What it is for, what it was trained on, under which terms it stands, and what to cite.
    """

    name: str
    kind: Literal["cellpose", "shipped"]
    file: File
    description: str
    data: str
    licence: str
    licence_note: str
    citations: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    size_model: File | None = None
    diameter_mean: float = 30.0
    channels: tuple[str, ...] = ("cytoplasm", "nucleus")

    @property
    def files(self) -> tuple[File, ...]:
        """All its files. The small one is first: where the model is here, all of it is."""
        return (self.size_model, self.file) if self.size_model else (self.file,)


def entries() -> tuple[Entry, ...]:
    """Return every model that has a name.

    >>> [entry.name for entry in entries()][:3]
    ['nuclei', 'cyto3', 'cyto2']
    """
    return _registry()[0]


def find(name: str) -> Entry:
    """Return the model of a name or alias; an unknown name is an error with those that are close.

    >>> find("cyto2torch_0").name
    'cyto2'
    """
    found = named(name)
    if found is None:
        raise ModelError(unknown(name))
    return found


@cache
def _registry() -> tuple[tuple[Entry, ...], dict[str, str]]:
    """Return the models, and why some names of others are refused."""
    with (folder() / "registry.toml").open("rb") as file:
        content = tomllib.load(file)
    return tuple(_entry(dict(each), content) for each in content["model"]), content["refused"]


def folder() -> Path:
    """Return the folder of the registry and of the models that come with flowseg."""
    package = Path(__file__).parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"  # a source checkout


def _entry(values: dict[str, Any], content: dict[str, Any]) -> Entry:
    licence = content["licences"][values.pop("licence", values["kind"])]
    size_model = values.pop("size_model", None)
    size_digest = values.pop("size_model_sha256", None)
    file = File(values.pop("file"), values.pop("sha256", None), values.pop("size", None))
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    given |= {"data": content["data"][given["data"]], "licence": licence["name"], "licence_note": licence["note"]}
    given["citations"] = tuple(content["citations"][key] for key in given.pop("cite"))
    entry = Entry(file=file, size_model=File(size_model, size_digest) if size_model else None, **given)
    for each in entry.files:
        _check_file_name(each.name, entry.kind)
    return entry


def _check_file_name(name: str, kind: str) -> None:
    """Refuse what would leave the folder that models lie in."""
    parts = name.split("/")
    odd = any(part in {"", ".", ".."} or "\\" in part or ":" in part for part in parts)
    if odd or (kind != "shipped" and len(parts) > 1):
        raise ModelError(f"the registry has a file named {name!r}; wanted a plain name")


def named(name: str) -> Entry | None:
    """Return the model of a name or alias, if there is one."""
    for entry in entries():
        others = {f"cellpose/{entry.name}"} if entry.kind == "cellpose" else set()
        if name in {entry.name, *entry.aliases, *others}:
            return entry
    return None


def unknown(name: str) -> str:
    """Return what to say of a name that no model has."""
    models, refused = _registry()
    for pattern, why in refused.items():
        if fnmatch.fnmatchcase(name, pattern):
            return f"{name} is {why}"
    names = [entry.name for entry in models]
    every = {each.lower(): each for entry in models for each in (*entry.aliases, entry.name)}
    close = [every[each] for each in difflib.get_close_matches(name.lower(), every)]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    besides = "" if Path(name).exists() else ", and no such file"
    return f"there is no model named {name!r}{besides}{hint}\nThere are: {', '.join(names)}"
