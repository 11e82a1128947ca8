"""Fetch one file over HTTP: resumed where it was cut, verified, then moved into place whole, or not at all.

The bytes go to ``NAME.part`` beside the target, with a note of the address and version they came from. A cut
connection, Ctrl-C or a killed process leaves them there, and the next call goes on from them. Only a file that is the
one wanted takes the target's name. Processes that want the same file wait for each other.
"""

import errno
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import uuid4

from flowseg import connection, files
from flowseg.errors import DownloadError, OptionError
from flowseg.filelock import hold

Progress = Callable[[int, int | None], object]
"""Called with the bytes that are here and the bytes there will be (None: the server does not say)."""

_CHUNK = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Limits:
    """How long to wait, and how often to try.

    Parameters
    ----------
    timeout
        Seconds without a connection, or without a byte on one, after which the peer counts as stalled.
    attempts
        Failures in a row, with no byte gained in between, after which a download is given up.
    backoff
        Seconds before the second attempt; doubled for each further one.
    patience
        Seconds to wait for another process that fetches the same file, before fetching a copy of one's own.
    """

    timeout: float = 20.0
    attempts: int = 4
    backoff: float = 0.5
    patience: float = 600.0

    def __post_init__(self) -> None:
        for name in ("timeout", "backoff", "patience"):
            value = getattr(self, name)
            if not (0 <= value < float("inf")) or (name == "timeout" and value == 0):
                raise OptionError(f"{name} is {value!r}; wanted a number of seconds")
        if self.attempts < 1:
            raise OptionError(f"attempts is {self.attempts!r}; wanted at least 1")


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: from where, to where, and how it is known to be the right one.

    Parameters
    ----------
    url
        Its address, ``http`` or ``https``.
    target
        The path it gets.
    sha256, size
        Its digest (lower-case hex) and length in bytes, where they are known.
    basis
        Where the digest comes from, for the message where another comes.
    """

    url: str
    target: Path
    sha256: str | None = None
    size: int | None = None
    basis: str = ""

    def by_hand(self) -> str:
        """Return how a person gets the file where this machine cannot."""
        return f"To do it by hand, fetch\n  {self.url}\non another machine and put it at\n  {self.target}"


def fetch(wanted: Wanted, *, limits: Limits | None = None, progress: Progress | None = None) -> Path:
    """Fetch a file unless it is there already.

    Parameters
    ----------
    wanted
        What to fetch. A file that already has the target's name is left alone, and not looked into.
    limits
        Timeouts and attempts.
    progress
        Called after each piece.

    Returns
    -------
    Path
        ``wanted.target``, which now exists, whole and verified.

    Raises
    ------
    DownloadError
        The file cannot be had, or is not the one wanted. Nothing has the target's name then.
    """
    limits = limits or Limits()
    connection.check_address(wanted.url)
    with _writing(wanted.target):
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
    lock = wanted.target.with_name(f".{wanted.target.name}.lock")
    with hold(lock, patience=limits.patience) as alone:
        if not wanted.target.exists():
            with _part_for(wanted, alone) as part:
                _fetch_into(part, wanted, limits, progress)
    return wanted.target


class _CutError(ConnectionError):
    """The connection ended before the file did, or the server sent another piece than was asked for."""


class _Part:
    """The beginning of a file, and the note of where it came from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def drop(self) -> None:
        with _writing(self.path):
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)

    def begin(self, url: str, validator: str | None) -> None:
        with _writing(self.path):
            files.write_whole(self.note, json.dumps({"url": url, "validator": validator}).encode())

    def validator(self, url: str) -> str | None:
        """Return what names the version that the beginning belongs to, where that is known."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        value = note.get("validator") if isinstance(note, dict) and note.get("url") == url else None
        return value if isinstance(value, str) else None

    def headers(self, wanted: Wanted) -> dict[str, str]:
        """Return the headers that ask for the rest, or none where the rest might be of another version."""
        length = self.length()
        validator = self.validator(wanted.url)
        if not length or not (validator or wanted.sha256):
            return {}
        ask = {"Range": f"bytes={length}-"}
        return ask | ({"If-Range": validator} if validator else {})


@contextmanager
def _part_for(wanted: Wanted, alone: bool) -> Iterator[_Part]:
    """Give the part to fill: the shared one, which stays for the next run, or one of our own, which does not."""
    target = wanted.target
    if alone:
        yield _Part(target.with_name(target.name + ".part"))
        return
    part = _Part(target.with_name(f"{target.name}.{uuid4().hex}.part"))
    try:
        yield part
    finally:
        part.drop()


def _fetch_into(part: _Part, wanted: Wanted, limits: Limits, progress: Progress | None) -> None:
    resumed = part.length() > 0
    _fill(part, wanted, limits, progress)
    fault = _fault(part, wanted)
    if fault and resumed:  # the beginning that was found here may be what is wrong
        part.drop()
        _fill(part, wanted, limits, progress)
        fault = _fault(part, wanted)
    if fault:
        part.drop()
        raise DownloadError(f"{wanted.url} is not the file it should be: {fault}. It was thrown away")
    _publish(part, wanted.target)


def _fault(part: _Part, wanted: Wanted) -> str | None:
    if wanted.size is not None and part.length() != wanted.size:
        return f"{part.length()} bytes came, wanted {wanted.size}"
    if wanted.sha256 is not None and (found := files.digest(part.path)) != wanted.sha256:
        return f"its sha256 is {found}, wanted {wanted.sha256}{wanted.basis}"
    return None


def _publish(part: _Part, target: Path) -> None:
    with _writing(target):
        with part.path.open("rb+") as file:
            os.fsync(file.fileno())
        files.move(part.path, target)
        part.note.unlink(missing_ok=True)


def _fill(part: _Part, wanted: Wanted, limits: Limits, progress: Progress | None) -> None:
    """Transfer until all is here; attempts are counted from the last byte gained."""
    failures, most = 0, part.length()
    while True:
        try:
            return _transfer(part, wanted, limits, progress)
        except DownloadError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if part.length() > most:
                failures, most = 0, part.length()
            failures += 1
            if failures >= limits.attempts or not _is_passing(error):
                raise DownloadError(f"cannot fetch {_reason(error, wanted)}\n{_advice(error, wanted)}") from error
            time.sleep(limits.backoff * 2 ** (failures - 1))


def _is_passing(error: Exception) -> bool:
    """Tell whether the same request may go well in a moment."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _PASSING
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return cause.errno == socket.EAI_AGAIN
    return not isinstance(cause, ssl.SSLCertVerificationError | http.client.InvalidURL | str)


def _reason(error: Exception, wanted: Wanted) -> str:
    name = wanted.target.name
    if isinstance(error, urllib.error.HTTPError):
        where = f" (redirected to {error.url})" if error.url != wanted.url else ""
        return f"{name}: {wanted.url}{where} answers {error.code} {str(error.reason).partition(chr(10))[0]}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        trust = "an institute's own authority is trusted by SSL_CERT_FILE=its.pem"
        return f"{name}: {wanted.url} has no certificate that this machine trusts ({cause.verify_message}); {trust}"
    if isinstance(cause, TimeoutError):
        cause = "the server is silent"
    if isinstance(cause, socket.gaierror):
        cause = f"{cause.strerror}: is there a network?"
    return f"{name} from {wanted.url}: {cause or type(cause).__name__}"


def _advice(error: Exception, wanted: Wanted) -> str:
    if isinstance(error, urllib.error.HTTPError) and error.code in {404, 410}:
        return f"Is the address right? A file from elsewhere goes to\n  {wanted.target}"
    return wanted.by_hand()


def _transfer(part: _Part, wanted: Wanted, limits: Limits, progress: Progress | None) -> None:
    """Make one request and write what comes; an error where the file is not whole after it."""
    headers = part.headers(wanted)
    try:
        response = connection.opener().open(urllib.request.Request(wanted.url, headers=headers), timeout=limits.timeout)
    except urllib.error.HTTPError as error:
        with error:
            if not (error.code == 416 and headers):
                raise
            if _whole_length(error.headers) == part.length():
                return  # all of it was here
            part.drop()
            raise _CutError("the server has no such piece of the file") from error
    with response:
        offset, total = _place(response, part, asked=bool(headers))
        _check_answer(response, total, wanted, part)
        _check_room(part, offset, total)
        if not offset:
            part.begin(wanted.url, _validator(response.headers))
        position = _copy(response, part, offset, total, progress)
    if total is not None and position != total:
        if position > total:
            part.drop()
        raise _CutError(f"the connection was cut after {position} of {total} bytes")


def _copy(response: Any, part: _Part, offset: int, total: int | None, progress: Progress | None) -> int:
    """Write the body behind the first ``offset`` bytes of the part, piece by piece as it comes."""
    position = offset
    with _writing(part.path):
        file = part.path.open("r+b" if offset else "wb", buffering=0)
    with file:
        file.seek(offset)
        while chunk := response.read1(_CHUNK):
            with _writing(part.path):
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            position += len(chunk)
            if progress:
                progress(position, total)
    return position


def _place(response: Any, part: _Part, *, asked: bool) -> tuple[int, int | None]:
    """Return where the body belongs in the file, and how long the whole file will be."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if response.status != 206 or not asked:
        raise _CutError(f"the server answers {response.status} {response.reason}")
    if not found or int(found[1]) != part.length():
        part.drop()
        raise _CutError("the server sent another piece than was asked for")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _check_answer(response: Any, total: int | None, wanted: Wanted, part: _Part) -> None:
    """Refuse before the transfer what cannot be the file that is wanted."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise DownloadError(f"{wanted.url} comes encoded as {coding!r}, which was not asked for")
    if total is not None and wanted.size is not None and total != wanted.size:
        part.drop()
        raise DownloadError(f"{wanted.url} is not the file it should be: it has {total} bytes, wanted {wanted.size}")
    if wanted.sha256 is not None:
        return
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{response.url} is a web page, not a model. {wanted.by_hand()}")
    if total is None and not response.chunked:
        raise DownloadError(
            f"{response.url} does not say how long it is: a cut file could not be told from a whole one"
        )


def _check_room(part: _Part, offset: int, total: int | None) -> None:
    with _writing(part.path):
        free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - offset > free:
        raise DownloadError(f"no room for {part.path}: {total - offset} more bytes are needed, {free} are free")


def _whole_length(headers: Message) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _validator(headers: Message) -> str | None:
    """Return what names this version; not a weak ETag, which may stand for different bytes."""
    tag: str | None = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a disk says into what a person can do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DownloadError(f"the disk is full: cannot write {path}. What came so far is kept") from error
        way_out = "FLOWSEG_HOME names another folder"
        raise DownloadError(f"cannot write {path}: {error.strerror or error}. {way_out}") from error
