"""An HTTP server on loopback that misbehaves as it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What lies at a path, and how it is given."""

    data: bytes = b""
    etag: str | None = '"1"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # so many bytes of the next answers, then the connection ends
    status: int = 200
    failures: int = 0  # so many answers of 503 first
    location: str | None = None
    stall: float = 0.0  # seconds of silence after half of the body
    says_length: bool = True
    content_type: str = "application/octet-stream"
    pause: float = 0.0  # seconds before the answer


class Server:
    """Files by path, and the requests that came: (path, Range header)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def put(self, path: str, data: bytes = b"", **how: object) -> Served:
        self.files[path] = Served(data, **how)  # type: ignore[arg-type]
        return self.files[path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path.lstrip("/")
        self.server_.requests.append((path, self.headers.get("Range")))
        served = self.server_.files.get(path)
        if served is None:
            self.send_error(404)
            return
        time.sleep(served.pause)
        if served.failures:
            served.failures -= 1
            self.send_error(503)
        elif served.location is not None:
            self.send_response(served.status)
            self.send_header("Location", served.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(served)

    def _send(self, served: Served) -> None:
        start, whole = self._start(served), len(served.data)
        if start is not None and start >= whole:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{whole}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = served.data[start or 0 :]
        self.send_response(served.status if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if served.says_length:
            self.send_header("Content-Length", str(len(body)))
        if served.etag:
            self.send_header("ETag", served.etag)
        self.send_header("Content-Type", served.content_type)
        self.end_headers()
        self._body(served, body)

    def _start(self, served: Served) -> int | None:
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if not served.ranges or asked is None or (condition is not None and condition != served.etag):
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _body(self, served: Served, body: bytes) -> None:
        try:
            if served.cuts:
                self.wfile.write(body[: served.cuts.pop(0)])
            elif served.stall:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(served.stall)
            else:
                self.wfile.write(body)
        except OSError:
            pass  # the other side has had enough


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port of loopback while the block runs."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        Handler.server_ = Server(f"http://127.0.0.1:{httpd.server_port}")
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield Handler.server_
        finally:
            httpd.shutdown()
            thread.join()
