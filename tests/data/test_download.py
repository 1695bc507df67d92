"""Every way in which a mirror can fail, on loopback."""

import random
import re
import time

import pytest

from xpcnn.data import download as module
from xpcnn.data.download import download
from xpcnn.data.sources import CIFAR10, FASHION_MNIST
from xpcnn.errors import DatasetError

CONTENT = random.Random(0).randbytes(300_000)
FILES = {"a.bin": CONTENT}
DOWN = "http://127.0.0.1:9"  # the discard port: nobody listens


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fetch(source, folder):
    return download(source, folder, quiet=True, timeout=5.0)


def test_all_files_arrive_and_nothing_else(tmp_path, mirror, make_source):
    files = {"a.bin": CONTENT, "b.bin": b"b"}
    only = mirror(files)
    paths = fetch(make_source("test", files, only), tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in paths] == [CONTENT, b"b"]
    assert names(tmp_path / "new" / "folder") == ["a.bin", "b.bin"]
    assert only.asked == [("a.bin", None), ("b.bin", None)]


def test_what_is_there_is_not_asked_for(tmp_path, mirror, make_source):
    only = mirror({"a.bin": CONTENT, "b.bin": b"b"})
    (tmp_path / "a.bin").write_bytes(CONTENT)
    fetch(make_source("test", only.files, only), tmp_path)
    assert only.asked == [("b.bin", None)]


@pytest.mark.parametrize("there", [b"there already", CONTENT[:-1] + b"?", b""], ids=len)
def test_what_is_there_is_checked_and_neither_trusted_nor_lost(tmp_path, mirror, make_source, there):
    only = mirror(FILES)
    (tmp_path / "a.bin").write_bytes(there)
    with pytest.raises(
        DatasetError, match=r"a\.bin: expected the file that test publishes, got .*; delete it"
    ):
        fetch(make_source("test", FILES, only), tmp_path)
    assert only.asked == []
    assert (tmp_path / "a.bin").read_bytes() == there


@pytest.mark.parametrize("lengths", [True, False])
def test_a_broken_transfer_is_resumed_where_it_broke(tmp_path, mirror, make_source, lengths):
    only = mirror(FILES, breaks=[100_000, 50_000], lengths=lengths)
    (path,) = fetch(make_source("test", FILES, only), tmp_path)
    assert path.read_bytes() == CONTENT
    assert only.asked == [("a.bin", None), ("a.bin", "bytes=100000-"), ("a.bin", "bytes=150000-")]


def test_the_part_outlives_a_failure_and_the_next_call_resumes(tmp_path, mirror, make_source):
    only = mirror(FILES, breaks=[1000] * module.ATTEMPTS)
    source = make_source("test", FILES, only)
    with pytest.raises(DatasetError, match="broke off after 3000 of 300000 bytes"):
        fetch(source, tmp_path)
    assert names(tmp_path) == ["a.bin.part"]  # no a.bin before it is whole
    (path,) = fetch(source, tmp_path)
    assert path.read_bytes() == CONTENT
    assert only.asked[-1] == ("a.bin", "bytes=3000-")
    assert names(tmp_path) == ["a.bin"]


def test_the_next_mirror_resumes_what_the_first_began(tmp_path, mirror, make_source):
    first = mirror(FILES, breaks=[1000] * module.ATTEMPTS)
    second = mirror(FILES)
    (path,) = fetch(make_source("test", FILES, first, second), tmp_path)
    assert path.read_bytes() == CONTENT
    assert second.asked == [("a.bin", "bytes=3000-")]


def test_a_server_that_ignores_range_sends_all_of_it_again(tmp_path, mirror, make_source):
    only = mirror(FILES, breaks=[100_000], ranges=False)
    (path,) = fetch(make_source("test", FILES, only), tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_leads_to_the_next_mirror(tmp_path, mirror, make_source, status):
    first, second = mirror(FILES, status=status), mirror(FILES)
    (path,) = fetch(make_source("test", FILES, first, second), tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(first.asked) == 1
    assert len(second.asked) == 1


def test_a_mirror_that_is_down_leads_to_the_next(tmp_path, mirror, make_source):
    (path,) = fetch(make_source("test", FILES, DOWN, mirror(FILES)), tmp_path)
    assert path.read_bytes() == CONTENT


def test_wrong_content_of_the_right_length_never_takes_the_name(tmp_path, mirror, make_source):
    wrong = mirror({"a.bin": CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])})
    with pytest.raises(DatasetError, match="wrong content, SHA-256"):
        fetch(make_source("test", FILES, wrong), tmp_path)
    assert len(wrong.asked) == 1  # it had its chance
    assert names(tmp_path) == []  # nor is there a part to build on

    (path,) = fetch(make_source("test", FILES, wrong, mirror(FILES)), tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 300_000, b"x" * 300_001], ids=len)
def test_a_part_that_is_not_the_files_beginning_is_started_over(tmp_path, mirror, make_source, part):
    (tmp_path / "a.bin.part").write_bytes(part)
    only = mirror(FILES)
    (path,) = fetch(make_source("test", FILES, only), tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]
    assert only.asked == ([("a.bin", "bytes=1000-")] if len(part) == 1000 else []) + [("a.bin", None)]


def test_a_whole_part_is_not_fetched_again(tmp_path, mirror, make_source):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    only = mirror(FILES)
    (path,) = fetch(make_source("test", FILES, only), tmp_path)
    assert path.read_bytes() == CONTENT
    assert only.asked == []


@pytest.mark.parametrize("came", [CONTENT[:1000], CONTENT + b"more", b"<html>log in</html>"])
def test_a_wrong_size_is_refused_before_the_part_is_lost(tmp_path, mirror, make_source, came):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:500])
    wrong = mirror({"a.bin": came}, ranges=False)
    with pytest.raises(DatasetError, match=f"expected 300000 bytes, got {len(came)}"):
        fetch(make_source("test", FILES, wrong), tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:500]


def test_a_wrong_size_without_a_length_is_noticed_too(tmp_path, mirror, make_source):
    endless = mirror({"a.bin": CONTENT * 3}, lengths=False)
    with pytest.raises(DatasetError, match=r"a\.bin"):
        fetch(make_source("test", FILES, endless), tmp_path)
    assert names(tmp_path) == ["a.bin.part"]
    assert (tmp_path / "a.bin.part").stat().st_size <= 300_000 + module.CHUNK  # it stopped reading


def test_416_starts_over(tmp_path, mirror, make_source):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:200_000])
    short = mirror({"a.bin": CONTENT[:1000]})  # answers 416 to bytes=200000-
    second = mirror(FILES)
    (path,) = fetch(make_source("test", FILES, short, second), tmp_path)
    assert path.read_bytes() == CONTENT
    assert short.asked == [("a.bin", "bytes=200000-"), ("a.bin", None)]
    assert second.asked == [("a.bin", None)]


def test_when_all_fail_the_error_lists_each_answer_and_the_repair(tmp_path, mirror, make_source):
    files = {"a.bin": CONTENT, "b.bin": b"b"}
    refusing, wrong = mirror(files, status=403), mirror({"a.bin": bytes(300_000)})
    with pytest.raises(DatasetError) as caught:
        fetch(make_source("test", files, refusing, wrong, DOWN), tmp_path)
    message = str(caught.value)
    assert re.search(rf"{refusing.url}/a\.bin: HTTP 403 Forbidden", message)
    assert re.search(rf"{wrong.url}/a\.bin: wrong content, SHA-256 [0-9a-f]{{64}} in place of", message)
    assert re.search(rf"{DOWN}/a\.bin: no connection", message)
    assert f"by hand into {tmp_path}" in message
    assert f"{refusing.url}/b.bin" in message  # all that is wanted, not only what failed first


def test_a_server_that_falls_silent_does_not_hang(tmp_path, make_source, mirror, monkeypatch):
    only = mirror(FILES)
    monkeypatch.setattr(only, "answer", lambda request: time.sleep(1.0))
    with pytest.raises(DatasetError, match=r"no answer|no connection"):
        download(make_source("test", FILES, only), tmp_path, quiet=True, timeout=0.1)


def test_a_folder_that_cannot_be_is_an_error_with_the_fix(tmp_path, mirror, make_source):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"cannot write .*; make room, or name another folder with data_dir"
    ):
        fetch(make_source("test", FILES, mirror(FILES)), tmp_path / "file" / "folder")


def test_the_progress_bar_and_its_absence(tmp_path, mirror, make_source, capsys):
    source = make_source("test", FILES, mirror(FILES))
    download(source, tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")
    download(source, tmp_path / "loud")
    output = capsys.readouterr()
    assert output.out == ""
    assert "a.bin" in output.err
    assert "100%" in output.err


@pytest.mark.parametrize("source", [FASHION_MNIST, CIFAR10], ids=lambda source: source.name)
def test_the_published_sources_are_well_formed(source):
    assert len(source.mirrors) >= 2
    assert all(re.fullmatch(r"https://\S+[^/]", mirror) for mirror in source.mirrors)
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.size > 0 for file in source.files)
    assert len({file.sha256 for file in source.files}) == len(source.files)
