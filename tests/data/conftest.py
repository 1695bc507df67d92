"""A mirror on loopback that can fail in every way a mirror does."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xpcnn.data.download import RemoteFile, Source


@dataclass
class Mirror:
    """What it serves, how it fails, and what it was asked for."""

    files: dict[str, bytes]
    status: int = 200  # any other is its only answer
    ranges: bool = True  # whether it honours Range
    breaks: list[int] = field(default_factory=list)  # bytes after which each answer in turn breaks off
    lengths: bool = True  # whether it sends Content-Length
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def answer(self, request):
        name, span = request.path.lstrip("/"), request.headers["Range"]
        self.asked.append((name, span))
        content = self.files.get(name)
        if self.status != 200 or content is None:
            request.send_error(self.status if self.status != 200 else 404)
            return
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span and self.ranges else 0
        if start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.lengths:
            request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        rest = content[start:]
        request.wfile.write(rest[: self.breaks.pop(0)] if self.breaks else rest)


@pytest.fixture
def mirror(monkeypatch):
    """Return a function that starts a Mirror."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(files, **behaviour):
        this = Mirror(files, **behaviour)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                this.answer(self)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        this.url = f"http://127.0.0.1:{server.server_port}"
        return this

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def make_source():
    """Return a function that describes files, true sums included, and the mirrors that should have them."""

    def make(name, files, *mirrors):
        remote = tuple(RemoteFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in files.items())
        return Source(name, remote, tuple(getattr(mirror, "url", mirror) for mirror in mirrors))

    return make
