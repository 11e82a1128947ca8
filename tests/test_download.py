"""Downloads from a real server on loopback that cuts, stalls, lies and redirects."""

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowseg import connection, download
from flowseg.download import Limits, Wanted
from flowseg.errors import DownloadError, OptionError
from tests.servers import Server, serving

DATA = bytes(range(256)) * 400
SHA = hashlib.sha256(DATA).hexdigest()
QUICK = Limits(timeout=0.3, attempts=3, backoff=0.01, patience=5)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as given:
        yield given


def fetch(server: Server, folder: Path, path: str = "m", limits: Limits = QUICK, **known: Any) -> bytes:
    return download.fetch(Wanted(server.url(path), folder / "m", **known), limits=limits).read_bytes()


def left(folder: Path) -> list[str]:
    """Return what lies in a folder beside locks, which are empty and stay."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA)
    told: list[tuple[int, int | None]] = []
    wanted = Wanted(server.url("m"), tmp_path / "deep" / "er" / "m", SHA, len(DATA))
    for _ in range(2):
        path = download.fetch(wanted, limits=QUICK, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == DATA
    assert len(server.requests) == 1
    assert left(path.parent) == ["m"]
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, len(DATA) - 1), max_size=3),
    ranges=st.booleans(),
    etag=st.sampled_from([None, '"1"', 'W/"1"']),
    known=st.booleans(),
)
def test_cut_connections_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool, etag: str | None, known: bool
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    with serving() as server:
        server.put("m", DATA, cuts=list(cuts), ranges=ranges, etag=etag)
        limits = Limits(timeout=1, attempts=5, backoff=0.001)
        assert fetch(server, folder, limits=limits, sha256=SHA if known else None) == DATA
    assert left(folder) == ["m"]


def test_a_cut_connection_is_resumed_with_a_range(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, cuts=[1000, 500])
    assert fetch(server, tmp_path) == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-", "bytes=1500-"]


def test_what_came_is_kept_when_it_is_given_up(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, cuts=[1000, 0, 0, 0])
    with pytest.raises(DownloadError, match=r"cut after 1000 of 102400 bytes") as caught:
        fetch(server, tmp_path)
    assert f"put it at\n  {tmp_path / 'm'}" in str(caught.value)
    assert left(tmp_path) == ["m.part", "m.part.json"]
    server.files["m"].cuts = []
    assert fetch(server, tmp_path) == DATA
    assert server.requests[-1] == ("m", "bytes=1000-")
    assert left(tmp_path) == ["m"]


def test_another_version_is_not_joined_to_what_came(server: Server, tmp_path: Path) -> None:
    server.put("m", b"x" * 5000, etag='"old"', cuts=[1000, 0, 0, 0])
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    server.put("m", DATA, etag='"new"')
    assert fetch(server, tmp_path) == DATA


@pytest.mark.parametrize("old", [b"rubbish", DATA + b"more", DATA[:-1] + b"x", DATA, b""])
def test_a_part_of_unknown_origin_does_no_harm(server: Server, tmp_path: Path, old: bytes) -> None:
    server.put("m", DATA)
    (tmp_path / "m.part").write_bytes(old)
    assert fetch(server, tmp_path, sha256=SHA) == DATA
    assert left(tmp_path) == ["m"]


@pytest.mark.parametrize("note", [b"", b"{", b"[1]", b'{"url": 1}', b"\xff"])
def test_a_broken_note_does_no_harm(server: Server, tmp_path: Path, note: bytes) -> None:
    server.put("m", DATA)
    (tmp_path / "m.part").write_bytes(b"x" * 100)
    (tmp_path / "m.part.json").write_bytes(note)
    assert fetch(server, tmp_path) == DATA


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"size": 5}, {"sha256": SHA, "size": len(DATA) + 1}])
def test_wrong_bytes_never_get_the_name(server: Server, tmp_path: Path, known: dict[str, Any]) -> None:
    server.put("m", DATA)
    with pytest.raises(DownloadError, match="is not the file it should be"):
        fetch(server, tmp_path, **known)
    assert left(tmp_path) == []


def test_a_missing_file_is_told_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"answers 404 Not Found\nIs the address right\?"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert left(tmp_path) == []


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, failures=2)
    assert fetch(server, tmp_path) == DATA
    server.put("n", DATA, failures=9)
    with pytest.raises(DownloadError, match="answers 503"):
        fetch(server, tmp_path / "n", "n")
    assert [path for path, _ in server.requests].count("n") == QUICK.attempts


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.put("m", status=302, location=server.url("n"))
    server.put("n", DATA, cuts=[100])
    assert fetch(server, tmp_path) == DATA
    assert server.requests[-1] == ("n", "bytes=100-")


def test_redirects_without_end_are_told(server: Server, tmp_path: Path) -> None:
    server.put("m", status=302, location=server.url("n"))
    server.put("n", status=302, location=server.url("m"))
    with pytest.raises(DownloadError, match="infinite loop"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/m", "file:///etc/passwd"])
def test_redirects_to_other_kinds_of_address_are_refused(server: Server, tmp_path: Path, target: str) -> None:
    server.put("m", status=302, location=target)
    with pytest.raises(DownloadError, match=r"not protected|not allowed|answers 302"):
        fetch(server, tmp_path)
    assert left(tmp_path) == []


def test_a_protected_connection_is_never_left() -> None:
    import urllib.request
    from email.message import Message
    from io import BytesIO

    handler, request = connection._SafeRedirects(), urllib.request.Request("https://here/m")
    with pytest.raises(DownloadError, match="not protected"):
        handler.redirect_request(request, BytesIO(), 302, "Found", Message(), "http://here/m")
    assert handler.redirect_request(request, BytesIO(), 302, "Found", Message(), "https://there/m") is not None


def test_certificates_are_verified_whatever_others_did(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    import urllib.request

    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    monkeypatch.setattr(urllib.request, "_opener", None)
    (handler,) = (each for each in connection.opener().handlers if isinstance(each, urllib.request.HTTPSHandler))
    context = handler._context  # type: ignore[attr-defined]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_silent_peer_times_out_and_what_came_is_kept(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, stall=5)
    with pytest.raises(DownloadError, match="the server is silent"):  # and not that it ended early
        fetch(server, tmp_path, limits=Limits(timeout=0.3, attempts=1))
    assert (tmp_path / "m.part").stat().st_size == len(DATA) // 2
    server.files["m"].stall = 0
    assert fetch(server, tmp_path) == DATA
    assert server.requests[-1] == ("m", f"bytes={len(DATA) // 2}-")


def test_no_network_says_which_file_to_put_where(tmp_path: Path) -> None:
    with serving() as server:
        gone = server.url("m")
    with pytest.raises(DownloadError, match="refused") as caught:
        download.fetch(Wanted(gone, tmp_path / "m"), limits=QUICK)
    assert gone in str(caught.value)
    assert str(tmp_path / "m") in str(caught.value)
    with pytest.raises(DownloadError, match="To do it by hand"):
        download.fetch(Wanted("http://no-such-host.invalid/m", tmp_path / "m"), limits=QUICK)


def test_web_pages_and_answers_without_an_end_are_refused(server: Server, tmp_path: Path) -> None:
    server.put("m", b"<html>log in</html>", content_type="text/html")
    with pytest.raises(DownloadError, match="is a web page"):
        fetch(server, tmp_path)
    server.put("m", DATA, says_length=False)
    with pytest.raises(DownloadError, match="does not say how long it is"):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path, sha256=SHA) == DATA


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, pause=0.2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(server, tmp_path, limits=Limits(timeout=2)), range(4)))
    assert found == [DATA] * 4
    assert len(server.requests) == 1


def test_who_cannot_wait_fetches_a_copy_of_its_own(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, pause=0.2)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: fetch(server, tmp_path, limits=Limits(timeout=2, patience=0)), range(3)))
    assert found == [DATA] * 3
    assert len(server.requests) == 3
    assert left(tmp_path) == ["m"]


def _fetch_elsewhere(url: str, target: Path) -> None:
    download.fetch(Wanted(url, target), limits=Limits(timeout=30))


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_a_killed_process_leaves_a_part_that_is_used(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, stall=10)
    other = multiprocessing.get_context("spawn").Process(
        target=_fetch_elsewhere, args=(server.url("m"), tmp_path / "m")
    )
    other.start()
    part, deadline = tmp_path / "m.part", time.monotonic() + 120
    while not (part.exists() and part.stat().st_size == len(DATA) // 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    server.files["m"].stall = 0
    assert fetch(server, tmp_path) == DATA
    assert server.requests[-1] == ("m", f"bytes={len(DATA) // 2}-")


def test_a_disk_without_room_is_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("m", DATA)
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"no room for .*102400 more bytes are needed, 10 are free"):
        fetch(server, tmp_path)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.files, "write_whole", full)
    with pytest.raises(DownloadError, match="the disk is full"):
        fetch(server, tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that may not be written")
def test_a_folder_that_may_not_be_written_is_told(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="FLOWSEG_HOME"):
        fetch(server, tmp_path)


def test_a_file_in_the_way_of_the_folder_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="FLOWSEG_HOME"):
        fetch(server, tmp_path / "file")


@pytest.mark.parametrize("url", ["cyto3", "ftp://host/cyto3", "file:///etc/passwd", "https://", "http://me:pw@host/m"])
def test_addresses_that_are_none_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(OptionError) as caught:
        download.fetch(Wanted(url, tmp_path / "m"))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": float("nan")}, {"attempts": 0}, {"backoff": -1}])
def test_limits_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Limits(**wrong)


def test_the_note_beside_a_part_names_its_version(server: Server, tmp_path: Path) -> None:
    server.put("m", DATA, cuts=[10, 0, 0, 0])
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    assert json.loads((tmp_path / "m.part.json").read_bytes()) == {"url": server.url("m"), "validator": '"1"'}


def test_a_name_that_nobody_knows_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    wanted = Wanted("http://models.invalid/known", tmp_path / "known")
    with pytest.raises(DownloadError, match=r"Name or service not known: is there a network\?\nTo do it by hand"):
        download.fetch(wanted, limits=QUICK)
