"""Connections that are cut after a given time, whatever the server does.

A timeout is the time between two bytes, so a server that sends one byte at a time never exceeds it. Here a timer
cuts the connection from outside.
"""

import http.client
import socket
import threading
import urllib.request
from types import TracebackType
from typing import Any

REDIRECTIONS = 5


class Deadline:
    """Opens addresses, within a ``with`` block, and cuts their connections after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.passed = seconds, False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(), _Http(self), _Https(self), _Redirects(), urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(),
        ):  # fmt: skip
            self._opener.add_handler(handler)

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def open(self, request: urllib.request.Request, timeout: float) -> Any:
        """Open http or https and nothing else, with at most `timeout` seconds between two bytes."""
        return self._opener.open(request, timeout=timeout)

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection too, by a duplicate of its socket, since TLS closes the first one."""
        with self._lock:
            self._sockets.append(connection.dup())
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        self.passed = True
        with self._lock:
            for connection in self._sockets:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # closed by the other side
                    continue


class _Watched(http.client.HTTPConnection):
    deadline: Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _WatchedTls(http.client.HTTPSConnection, _Watched):
    """TLS begins after `_Watched.connect`, so its handshake is watched too."""


class _Watching(urllib.request.AbstractHTTPHandler):
    """Opens connections of the class `watched` instead of the library's."""

    watched: type[_Watched]

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def do_open(self, http_class: Any, req: Any, **http_conn_args: Any) -> Any:
        def connection(host: str, **options: Any) -> Any:
            made = self.watched(host, **options)
            made.deadline = self.deadline
            return made

        return super().do_open(connection, req, **http_conn_args)


class _Http(_Watching, urllib.request.HTTPHandler):
    watched = _Watched


class _Https(_Watching, urllib.request.HTTPSHandler):
    watched = _WatchedTls


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_repeats, max_redirections = 2, REDIRECTIONS
