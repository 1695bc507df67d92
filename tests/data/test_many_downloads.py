"""Several processes, planted names, and servers that are slow or lie: what a download must live through."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import xpcnn
from xpcnn.data import download as module
from xpcnn.data.download import download
from xpcnn.data.part import Part
from xpcnn.errors import DatasetError

CONTENT = bytes(range(256)) * 1000
FILES = {"a.bin": CONTENT}
posix = pytest.mark.skipif(os.name != "posix", reason="links and locks as POSIX has them")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def serve(monkeypatch):
    """Return a function that starts a server whose answer is a function of the request; it returns the address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with contextlib.suppress(ConnectionError, TimeoutError):
                    answer(self)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


# ---------------------------------------------------------------- several processes

PROGRAM = """
import hashlib, sys
from pathlib import Path
from xpcnn.data.download import RemoteFile, Source, download
url, folder, size, sha256, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
source = Source("test", (RemoteFile("a.bin", size, sha256),), (url,))
for number in range(rounds):
    (path,) = download(source, folder / str(number), quiet=True, timeout=20.0)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, number
"""


def test_processes_that_fetch_one_file_do_not_meet(tmp_path, mirror, make_source):
    """Every round begins together, and every fourth transfer breaks off in the middle."""
    together, processes, rounds, asked = threading.Barrier(3), 3, 12, iter(range(10**6))
    only = mirror(FILES)
    answer = only.answer

    def breaking(request):
        try:
            together.wait(timeout=0.3)
        except threading.BrokenBarrierError:
            together.reset()
        if next(asked) % 4 == 3:
            only.breaks.append(100_000)
        answer(request)

    only.answer = breaking
    (file,) = make_source("test", FILES, only).files
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        only.url,
        str(tmp_path),
        str(file.size),
        file.sha256,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(xpcnn.__file__).parents[1])}
    started = [
        subprocess.Popen([*command, str(rounds)], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * processes, said
    assert len(only.asked) > rounds * 2  # they did fetch side by side
    for number in range(rounds):
        assert names(tmp_path / str(number)) == ["a.bin"]
        assert (tmp_path / str(number) / "a.bin").read_bytes() == CONTENT


def test_two_at_once_in_one_process_have_a_file_each(tmp_path):
    with Part(tmp_path / "a.bin") as one, Part(tmp_path / "a.bin") as two:
        one.append(b"one")
        two.append(b"other")
        assert (one.size, two.size) == (3, 5)
    assert names(tmp_path) == ["a.bin.part"]
    assert (tmp_path / "a.bin.part").read_bytes() == b"other"  # the longer one
    with Part(tmp_path / "a.bin") as one, Part(tmp_path / "a.bin") as two:
        assert sorted((one.size, two.size)) == [0, 5]  # one of them goes on with it


@posix
def test_what_a_killed_process_left_is_gone_on_with(tmp_path, mirror, make_source):
    abandoned = tmp_path / ".a.bin.0123456789abcdef.part"
    abandoned.write_bytes(CONTENT[:1000])
    only = mirror(FILES)
    download(make_source("test", FILES, only), tmp_path, quiet=True)
    assert only.asked == [("a.bin", "bytes=1000-")]
    assert names(tmp_path) == ["a.bin"]


@posix
def test_what_a_live_process_writes_to_is_left_alone(tmp_path, mirror, make_source):
    import fcntl

    taken = tmp_path / ".a.bin.0123456789abcdef.part"
    with open(taken, "wb") as file:
        file.write(CONTENT[:1000])
        file.flush()
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        only = mirror(FILES)
        download(make_source("test", FILES, only), tmp_path, quiet=True)
    assert only.asked == [("a.bin", None)]
    assert taken.read_bytes() == CONTENT[:1000]


# ---------------------------------------------------------------- planted names


@posix
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("name", ["a.bin.part", ".a.bin.0123456789abcdef.part"])
def test_what_somebody_planted_is_neither_followed_nor_written_to(tmp_path, mirror, make_source, kind, name):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_bytes(CONTENT[:500])
    folder.mkdir()
    match kind:
        case "link":
            (folder / name).symlink_to(victim)
        case "dangling link":
            (folder / name).symlink_to(tmp_path / "new")
        case "hard link":
            os.link(victim, folder / name)
        case "pipe":
            os.mkfifo(folder / name)
        case "folder":
            (folder / name).mkdir()
    only = mirror(FILES, breaks=[1000])
    (path,) = download(make_source("test", FILES, only), folder, quiet=True)
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert victim.read_bytes() == CONTENT[:500]
    assert not (tmp_path / "new").exists()
    with pytest.raises(DatasetError):  # a failure leaves its part without following the name either
        download(make_source("test", {"a.bin": b"x"}, mirror({}, status=404)), folder / "b", quiet=True)
    assert victim.read_bytes() == CONTENT[:500]


@posix
def test_a_part_left_by_a_failure_replaces_a_link_and_does_not_follow_it(tmp_path, mirror, make_source):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "a.bin.part").symlink_to(victim)
    with pytest.raises(DatasetError):
        download(make_source("test", FILES, mirror(FILES, breaks=[10] * 9)), tmp_path, quiet=True)
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "a.bin.part").is_symlink()
    assert (tmp_path / "a.bin.part").stat().st_size == 30


# ---------------------------------------------------------------- slow servers


def drip(request, pieces, stop):
    """Send a byte at a time, for as long as somebody listens."""
    for piece in pieces:
        if stop.wait(0.02):
            return
        request.wfile.write(piece)
        request.wfile.flush()


@pytest.mark.parametrize("part", ["status", "header", "body", "chunks"])
def test_a_byte_at_a_time_is_given_up_after_the_limit(tmp_path, serve, mirror, make_source, part):
    stop = threading.Event()

    def slow(request):
        endless = (b"x" for _ in range(100_000))
        match part:
            case "status":
                drip(request, endless, stop)
            case "header":
                request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                drip(request, endless, stop)
            case "body":
                request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
                drip(request, endless, stop)
            case "chunks":
                request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                drip(request, (b"1\r\nx\r\n" for _ in range(100_000)), stop)

    source = make_source("test", FILES, serve(slow), mirror(FILES))
    try:
        with pytest.raises(DatasetError, match=r"too slow: \d+ of 256000 bytes in 0 seconds"):
            download(make_source("test", FILES, source.mirrors[0]), tmp_path / "alone", quiet=True, limit=0.3)
        if part == "body":  # the next mirror has its own time
            (path,) = download(source, tmp_path, quiet=True, limit=3.0)
            assert path.read_bytes() == CONTENT
    finally:
        stop.set()


def test_the_limit_without_a_word_grows_with_the_file(tmp_path, monkeypatch, make_source, mirror):
    seen = []
    Deadline = module.Deadline
    monkeypatch.setattr(module, "Deadline", lambda seconds: (seen.append(seconds), Deadline(seconds))[1])
    download(make_source("test", FILES, mirror(FILES)), tmp_path, quiet=True)
    assert seen == [module.PATIENCE + len(CONTENT) / module.SLOWEST]


# ---------------------------------------------------------------- servers that redirect or lie


def redirecting(where):
    def answer(request):
        request.send_response(302)
        request.send_header("Location", where(request) if callable(where) else where)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


@pytest.mark.parametrize(
    "where",
    [
        lambda request: request.path,
        lambda request: request.path + "x",
        "file:///etc/passwd",
        "ftp://127.0.0.1:9/a.bin",
        "http://[::1/a.bin",
        "http://127.0.0.1:port/a.bin",
        "http://a..b/a.bin",
        "http://127.0.0.1:99999/",
        "http:///",
        "http://%00/",
        "data:,x",
        "gopher://127.0.0.1/",
        "javascript:1",
        "//",
        "",
    ],
    ids=lambda where: where if isinstance(where, str) else "loop",
)
def test_a_redirection_into_nowhere_is_a_sentence_and_the_next_mirror(
    tmp_path, serve, mirror, make_source, where
):
    bad = serve(redirecting(where))
    with pytest.raises(DatasetError, match=r"from one of 1 mirrors, got"):
        download(make_source("test", FILES, bad), tmp_path / "alone", quiet=True, timeout=2.0)
    (path,) = download(make_source("test", FILES, bad, mirror(FILES)), tmp_path, quiet=True, timeout=2.0)
    assert path.read_bytes() == CONTENT


def test_a_redirection_to_the_file_is_followed(tmp_path, serve, mirror, make_source):
    good = mirror(FILES)
    first = serve(redirecting(lambda request: good.url + request.path))
    (path,) = download(make_source("test", FILES, first), tmp_path, quiet=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + CONTENT,
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-10/11\r\n\r\n" + CONTENT,
        b"HTTP/1.1 206 Partial\r\n\r\n" + CONTENT[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + CONTENT[:-1] + b"?",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n",
    ],
    ids=lambda answer: answer[9:60],
)
def test_a_server_that_lies_is_a_sentence_and_nothing_takes_the_name(tmp_path, serve, make_source, answer):
    def lie(request):
        request.wfile.write(answer)
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_WR)

    url = serve(lie)
    with pytest.raises(DatasetError, match=r"from one of 1 mirrors, got"):
        download(make_source("test", FILES, url), tmp_path, quiet=True, timeout=2.0)
    assert "a.bin" not in names(tmp_path)


def test_an_endless_answer_is_read_no_further_than_the_file(tmp_path, serve, make_source):
    sent = []

    def endless(request):
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while len(sent) < 10_000:
            request.wfile.write(bytes(65536))
            sent.append(1)

    with pytest.raises(DatasetError):
        download(make_source("test", FILES, serve(endless)), tmp_path, quiet=True)
    time.sleep(0.05)
    assert len(sent) * 65536 < 100 * len(CONTENT)


# ---------------------------------------------------------------- the disk


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("half a write"), "half a write"),
        (OSError(), "OSError"),
    ],
)
def test_a_full_disk_is_a_sentence(tmp_path, mirror, make_source, monkeypatch, error, words):
    def full(self, chunk):
        raise error

    monkeypatch.setattr(Part, "append", full)
    with pytest.raises(DatasetError, match=rf"cannot write .*a\.bin \({words}\); make room"):
        download(make_source("test", FILES, mirror(FILES)), tmp_path, quiet=True)
    assert names(tmp_path) == []
