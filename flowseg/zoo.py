"""Models by name: from a name to a file that is here and is the one it should be.

Names, digests, licences and citations stand in ``models/registry.toml``. Files are looked for in flowseg's own folder
(`folder`), then in Cellpose's, where they are used in place; one that is in neither is fetched. A file is checked
against the digest in the registry, or else against that of the first such file seen, kept in ``digests.json``. A model
that was named and cannot be had is an error, never replaced by another.
"""

import errno
import json
import os
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowseg import download, files, registry
from flowseg.errors import DownloadError, ModelError, OptionError
from flowseg.filelock import hold
from flowseg.registry import Entry, File, entries, find

if TYPE_CHECKING:
    from flowseg.checkpoint import Checkpoint

__all__ = [
    "RECORD",
    "URL",
    "Entry",
    "File",
    "Located",
    "Progress",
    "Verified",
    "cellpose_folder",
    "entries",
    "existing",
    "fetch",
    "find",
    "folder",
    "read",
    "resolve",
    "verify",
    "verify_file",
    "where",
]

URL = "https://www.cellpose.org/models/"
"""Where models of Cellpose are fetched from, unless a parameter or ``FLOWSEG_MODELS_URL`` says otherwise."""

RECORD = "digests.json"
"""The file in `folder` with the digest of each file that was first seen without one in the registry."""

Progress = Callable[[str, int, int | None], object]
"""Called with a file's name, its bytes that are here, and the bytes there will be (None: not known)."""

_PATIENCE = 10.0  # seconds for another process to write its line in the record


@dataclass(frozen=True)
class Located:
    """A model on this machine: its file, what the registry says of it, and its size model where that is here too."""

    path: Path
    entry: Entry | None = None
    size_model_path: Path | None = None


class Verified(NamedTuple):
    """A file that was checked: where it is, its digest, and against what.

    That is "registry", "first seen", "nothing", or "its header" where it was read as a whole.
    """

    path: Path
    sha256: str
    against: Literal["registry", "first seen", "nothing", "its header"]


# ---------------------------------------------------------------------------------------------------- the folders


def folder() -> Path:
    """Return the folder that models are fetched to: ``$FLOWSEG_HOME/models``, or one in the user's cache."""
    home = os.environ.get("FLOWSEG_HOME")
    return (Path(home).expanduser() if home else _user_cache(sys.platform)) / "models"


def _user_cache(platform: str) -> Path:
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "flowseg"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "flowseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowseg"


def cellpose_folder() -> Path:
    """Return the folder that Cellpose keeps models in."""
    given = os.environ.get("CELLPOSE_LOCAL_MODELS_PATH")
    return Path(given) if given else Path.home() / ".cellpose" / "models"


def where(entry: Entry) -> Path | None:
    """Return the path of a model's file where it is here; nothing is fetched or checked."""
    return _where(entry.file.name, entry.kind)


def _where(name: str, kind: str = "cellpose") -> Path | None:
    homes = [registry.folder()] if kind == "shipped" else [folder(), cellpose_folder()]
    return next((home / name for home in homes if (home / name).is_file()), None)


# ------------------------------------------------------------------------------------------------ names to files


def resolve(
    name: str | os.PathLike[str],
    *,
    url: str | None = None,
    limits: download.Limits | None = None,
    progress: Progress | None = None,
) -> Located:
    """Return the file of a model, given its name or its path; fetch it where it is not here yet.

    Parameters
    ----------
    name
        A path of a file that exists, or a name of the registry.
    url
        Base address of models, in place of ``FLOWSEG_MODELS_URL`` and `URL`.
    limits
        Timeouts and attempts.
    progress
        Called after each piece that was fetched.

    Raises
    ------
    ModelError
        No such file or name, or a file that is not the one it should be.
    DownloadError
        The model cannot be fetched; the message says which file to put where.

    Examples
    --------
    >>> resolve("nuclei").entry.name
    'nuclei'
    """
    text = os.fspath(name)
    path, entry = existing(text), registry.named(text)
    if path is not None:
        return _of_path(path)
    if entry is None:
        raise ModelError(_unknown(text))
    if where(entry) is None:
        return fetch(entry.name, url=url, limits=limits, progress=progress)
    return _checked(entry)


def existing(name: str) -> Path | None:
    """Return the file that a name is the path of, if there is one: it wins over a model of that name."""
    if not name.strip() or "\0" in name:
        raise OptionError(f"the model's name is {name!r}; wanted a name or the path of a file")
    path = Path(name).expanduser()
    if path.is_dir() and registry.named(name):  # a folder of results may be called nuclei
        return None
    return path if path.exists() else None


def fetch(
    name: str, *, url: str | None = None, limits: download.Limits | None = None, progress: Progress | None = None
) -> Located:
    """Fetch a model and its size model, unless they are here; parameters and errors are those of `resolve`.

    >>> fetch("cyto3").path  # doctest: +SKIP
    PosixPath('/home/me/.cache/flowseg/models/cyto3')
    """
    entry = find(name)
    if entry.kind == "shipped":
        _refuse_missing(entry)
    base = url or os.environ.get("FLOWSEG_MODELS_URL") or URL
    missing = [_wanted(file, base) for file in entry.files if _where(file.name, entry.kind) is None]
    for number, wanted in enumerate(missing):
        tell = partial(progress, wanted.target.name) if progress else None
        try:
            download.fetch(wanted, limits=limits, progress=tell)
        except DownloadError as error:
            rest = "".join(f"\nIt goes with\n  {each.url}\nat\n  {each.target}" for each in missing[number + 1 :])
            raise DownloadError(f"{error}{rest}") from error
    return _checked(entry)


def verify(name: str) -> list[Verified]:
    """Check the files of a model that is here against their digests.

    Raises
    ------
    ModelError
        It is not here, or a file is not the one it should be.
    """
    entry = find(name)
    _refuse_missing(entry)
    paths = [(file, _where(file.name, entry.kind)) for file in entry.files]
    return [_verified(file, path) for file, path in paths if path is not None]


def verify_file(path: Path) -> Verified:
    """Check a model file against the registry, which may know it by its name, and read it as a whole.

    Raises
    ------
    ModelError
        It is no model, or damaged.
    """
    located = _of_path(path)
    return Verified(path, read(located).digest, "registry" if located.entry else "its header")


def read(located: Located) -> "Checkpoint":
    """Read a model's file, and complete what it says about itself by what the registry knows.

    Files of Cellpose 1 do not say which diameter they want, and none says its licence or whom to cite.
    """
    from flowseg import checkpoint

    found, entry = checkpoint.read(located.path), located.entry
    if entry is None or found.source == "flowseg":
        return found
    config = replace(
        found.config,
        name=entry.name,
        diameter_mean=found.config.diameter_mean if found.diameter_known else entry.diameter_mean,
        channel_names=entry.channels if len(entry.channels) == found.config.architecture.channels else (),
        training_data=entry.data,
        licence=entry.licence,
        citation="\n".join(entry.citations),
    )
    return replace(found, config=config, diameter_known=True)


def _unknown(text: str) -> str:
    if _looks_like_a_path(text):
        return f"{text}: there is no such file"
    own = cellpose_folder() / text
    return f"{text} has to be named with its path: {own}" if own.is_file() else registry.unknown(text)


def _looks_like_a_path(text: str) -> bool:
    return any(mark in text for mark in ("/", "\\")) or text[0] in ".~" or bool(Path(text).suffix)


def _of_path(path: Path) -> Located:
    """Return a file as the model it is: one of the registry by its name and digest, or a user's own."""
    entry = next((each for each in entries() if each.file.name == path.name and each.file.sha256), None)
    if entry is not None and not (path.is_file() and files.digest(path) == entry.file.sha256):
        entry = None
    beside = path.with_name(path.name + "_size.npy")  # what Cellpose calls the size model of a user's own
    if entry is not None and entry.size_model is not None:
        beside = path.with_name(entry.size_model.name)
    return Located(path, entry, beside if beside.is_file() else None)


def _refuse_missing(entry: Entry) -> None:
    if where(entry) is not None:
        return
    if entry.kind == "shipped":
        raise ModelError(
            f"this build of flowseg ships no model named {entry.name}: take another by name (--model cyto3), "
            f"or a model file (--model FILE); 'flowseg models list' shows what there is"
        )
    raise ModelError(f"{entry.name} is not here: 'flowseg models fetch {entry.name}' fetches it to {folder()}")


# ------------------------------------------------------------------------------------------------------- digests


def _checked(entry: Entry) -> Located:
    """Check the files of a model that are here; return where they are."""
    _refuse_missing(entry)
    found = {}
    for file in entry.files:
        path = _where(file.name, entry.kind)
        if path is not None:
            found[file] = _verified(file, path).path
    return Located(found[entry.file], entry, found.get(entry.size_model) if entry.size_model else None)


def _verified(file: File, path: Path) -> Verified:
    digest = files.digest(path)
    known, basis = _known(file)
    if known is None:
        # Cellpose's own is used as it is, and so is one in a folder that others keep.
        kept = path.parent == folder() and _remember(file.name, digest, path.stat().st_size)
        return Verified(path, digest, "first seen" if kept else "nothing")
    if digest != known:
        raise ModelError(
            f"{path} is not the file it should be: its sha256 is {digest}, wanted {known}{basis}. "
            f"Remove it; 'flowseg models fetch' fetches it anew"
        )
    return Verified(path, digest, "registry" if file.sha256 else "first seen")


def _known(file: File) -> tuple[str | None, str]:
    """Return the digest that a file must have, and a text on where that comes from."""
    if file.sha256:
        return file.sha256, ""
    digest = _recorded().get(file.name, {}).get("sha256")
    return digest, f" (that of the first one seen, kept in {folder() / RECORD}: to accept another, take it out there)"


def _wanted(file: File, base: str) -> download.Wanted:
    url = f"{base.rstrip('/')}/{urllib.parse.quote(file.name)}"
    digest, basis = _known(file)
    return download.Wanted(url, folder() / file.name, digest, file.size, basis if digest else "")


def _recorded() -> dict[str, dict[str, Any]]:
    path = folder() / RECORD
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): repair or remove it") from error
    if not isinstance(content, dict) or not all(isinstance(each, dict) for each in content.values()):
        raise ModelError(f"{path} does not hold digests: repair or remove it")
    return content


def _remember(name: str, digest: str, size: int) -> bool:
    """Add the digest of a file that is seen for the first time to the record, where that may be written."""
    path = folder() / RECORD
    with hold(path.with_name(f".{RECORD}.lock"), patience=_PATIENCE):
        line = {"sha256": digest, "size": size, "seen": datetime.now(UTC).isoformat(timespec="seconds")}
        data = json.dumps({name: line, **_recorded()}, indent=1, sort_keys=True)
        try:
            files.write_whole(path, data.encode())
        except PermissionError:
            return False
        except OSError as error:
            if error.errno == errno.EROFS:
                return False
            raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error
    return True
