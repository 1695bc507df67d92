"""What every script does with numbers, with errors and with a terminal."""

import argparse
import io
import signal
import sys
import warnings

import numpy as np
import pytest

from xpcnn.commands.command_line import Terminated, counted, image_bar, not_negative, positive, run, whole
from xpcnn.errors import DatasetError, LockedError


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What run() sets for the whole process is set back."""
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
        yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [(whole(0), "0", 0), (whole(1), "12", 12), (positive, "3e-3", 0.003), (not_negative, "0", 0.0)],
)
def test_numbers_are_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [(whole(0), "-1"), (whole(1), "0"), (whole(1), "1.0"), (whole(1), ""), (positive, "0"), (positive, "nan"),
     (positive, "inf"), (positive, "much"), (not_negative, "-1e-9")],
)  # fmt: skip
def test_other_numbers_are_refused_with_what_is_wanted(read, text):
    with pytest.raises(argparse.ArgumentTypeError, match=rf"expected a .*number .*, got {text!r}"):
        read(text)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (DatasetError("no images"), "script.py: no images", ""),
        (PermissionError(13, "Permission denied", "there"), "script.py: there: Permission denied; ", ""),
        (KeyboardInterrupt(), "130", "script.py: interrupted\n"),
        (Terminated(), "143", "script.py: ended by SIGTERM\n"),
        (OSError(28, "No space left on device"), "script.py: No space left on device; make room", ""),
        (OSError("the tape is torn"), "script.py: the tape is torn; make room", ""),
        (OSError(), "script.py: OSError; make room", ""),
        (
            OSError(18, "Cross-device link", "a", None, "b"),
            "script.py: a: b: Cross-device link; make room",
            "",
        ),
        (LockedError("run: process 3 writes there"), "script.py: run: process 3 writes there", ""),
    ],
)
def test_an_error_ends_in_one_sentence(monkeypatch, capfd, error, code, sentence):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["somewhere/script.py"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert str(ended.value.code).startswith(code)
    assert "None" not in str(ended.value.code)
    assert capfd.readouterr().err == sentence


def test_a_package_is_called_by_its_own_name(monkeypatch, capfd):
    def main():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["somewhere/xpcnn/__main__.py"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit):
        run(main)
    assert capfd.readouterr().err == "xpcnn: interrupted\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_counts_images_on_a_terminal_and_vanishes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    feed = [(np.zeros(n), np.zeros(n)) for n in (100, 100, 50)]
    with image_bar(250) as bar:
        assert list(counted(bar, feed, "training")) == feed
        assert bar.n == 250
    shown = terminal.getvalue()
    assert "training" in shown
    assert "images/s" in shown
    assert shown.endswith("\r")  # blank again, and the cursor where it was


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_there_is_no_bar_without_a_terminal_or_when_quiet(monkeypatch, stream, quiet):
    monkeypatch.setattr(sys, "stderr", stream)
    with image_bar(2, quiet) as bar:
        assert len(list(counted(bar, [([0], [0])] * 2, "training"))) == 2
    assert stream.getvalue() == ""
