"""A real HTTP server over a folder: ranges, validators, folder pages, and knobs for everything that goes wrong."""

from __future__ import annotations

import hashlib
import html
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Knobs:
    """What the server does wrong; counts go down to 0 with each time."""

    errors: int = 0  # answers with `status` this often; -1 for ever
    status: int = 503
    drops: int = 0  # closes the connection in the middle of a body this often
    truncations: int = 0  # announces all and sends half, then ends well
    silent: int = 0  # sends nothing for `seconds`
    seconds: float = 0.0  # before each answer
    ranges: bool = True
    announced: int | None = None  # a Content-Length, or a size in Content-Range, that is not true
    wrong_range: bool = False
    compressed: bool = False
    weak: bool = False  # weak ETags
    untagged: bool = False  # neither ETag nor Last-Modified
    links: tuple[str, ...] = ()  # more of them on every folder's page
    page: Callable[[], bytes] | None = None
    before: Callable[[str, int], None] | None = None  # called with path and number of the request before it is answered


@dataclass
class Seen:
    """What was asked for."""

    requests: int = 0
    sent: int = 0
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        knobs, seen = self.server.knobs, self.server.seen
        with seen.lock:
            seen.requests += 1
            number = seen.requests
            seen.paths.append(self.path)
            seen.headers.append(dict(self.headers))
            fail, knobs.errors = knobs.errors != 0, knobs.errors - (knobs.errors > 0)
        if self.path == "/__seen__":
            return self._answer(200, f"{seen.requests - 1} {seen.sent}".encode())
        if knobs.before:
            knobs.before(self.path, number)
        time.sleep(knobs.seconds)
        if fail:
            return self._answer(knobs.status, b"no")
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if path.is_dir():
            return self._folder(path)
        if not path.is_file():
            return self._answer(404, b"not here")
        return self._file(path)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _folder(self, path: Path) -> None:
        if not urlsplit(self.path).path.endswith("/"):
            return self._answer(301, b"", Location=urlsplit(self.path).path + "/")
        if self.server.knobs.page:
            return self._answer(200, self.server.knobs.page(), Content_Type="text/html")
        names = [quote(entry.name) + "/" * entry.is_dir() for entry in sorted(path.iterdir())]
        links = "".join(f'<a href="{html.escape(name)}">x</a>\n' for name in [*names, *self.server.knobs.links])
        return self._answer(
            200, f"<html><body><a href='../'>up</a>{links}</body></html>".encode(), Content_Type="text/html"
        )

    def _file(self, path: Path) -> None:
        knobs = self.server.knobs
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            state = f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"
            tag = f'"{hashlib.md5(state.encode()).hexdigest()}"'
            if knobs.weak:
                tag = f"W/{tag}"
            size = found.st_size
            wanted = self.headers.get("If-Match")
            if wanted and wanted != tag:
                self._answer(412, b"")
                return
            asked = _RANGE.fullmatch(self.headers.get("Range", "")) if knobs.ranges else None
            if asked and int(asked[1]) >= size:
                self._answer(416, b"", Content_Range=f"bytes */{size}")
                return
            start = int(asked[1]) if asked else 0
            stop = min(int(asked[2]) + 1, size) if asked and asked[2] else size
            self.send_response(206 if asked else 200)
            if not knobs.untagged:
                self.send_header("ETag", tag)
            if knobs.compressed:
                self.send_header("Content-Encoding", "gzip")
            if asked:
                shift = 1 if knobs.wrong_range else 0
                self.send_header("Content-Range", f"bytes {start + shift}-{stop - 1 + shift}/{knobs.announced or size}")
                self.send_header("Content-Length", str(stop - start))
            else:
                self.send_header("Content-Length", str(knobs.announced or size))
            self.end_headers()
            self._send(file.fileno(), start, stop)

    def _send(self, descriptor: int, start: int, stop: int) -> None:
        knobs, seen = self.server.knobs, self.server.seen
        with seen.lock:
            cut = knobs.drops > 0 or knobs.truncations > 0
            reset, knobs.drops = knobs.drops > 0, max(0, knobs.drops - 1)
            if not reset:
                knobs.truncations = max(0, knobs.truncations - 1)
            still, knobs.silent = knobs.silent > 0, max(0, knobs.silent - 1)
        if cut:
            stop = start + (stop - start) // 2
        self.wfile.flush()
        while start < stop:
            count = os.sendfile(self.connection.fileno(), descriptor, start, stop - start)
            start += count
            with seen.lock:
                seen.sent += count
        if still:
            time.sleep(knobs.seconds or 5)
        if cut:
            self.close_connection = True
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class RangeServer(ThreadingHTTPServer):
    """Serves `folder` on a port of the loopback; `knobs` may be turned while it runs."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.knobs = Knobs()
        self.seen = Seen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away in the middle; that is what is tested."""

    def reset(self) -> None:
        self.knobs, self.seen = Knobs(), Seen()

    def __enter__(self) -> RangeServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    with RangeServer(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()
