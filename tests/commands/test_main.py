"""The program `xpcnn`: it names commands that its reader has, and says what is wrong with what was typed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from xpcnn.commands.command_line import called, speaker
from xpcnn.commands.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("program", "train", "predict", "who"),
    [
        ("/usr/bin/xpcnn", "xpcnn train", "xpcnn predict", "xpcnn train"),
        ("C:/Scripts/xpcnn.exe", "xpcnn train", "xpcnn predict", "xpcnn train"),
        ("/lib/xpcnn/__main__.py", "python -m xpcnn train", "python -m xpcnn predict", "xpcnn train"),
        ("scripts/train.py", "python scripts/train.py", "python -m xpcnn predict", "train.py"),
    ],
)
def test_a_message_names_the_command_as_its_reader_calls_it(monkeypatch, program, train, predict, who):
    monkeypatch.setattr(sys, "argv", [program, "train"])
    assert (called("train"), called("predict"), speaker()) == (train, predict, who)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_that_fits_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["xpcnn", command])
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: xpcnn {command}")
    assert "scripts/" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_list_of_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(what in text for what in COMMANDS.values())
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    assert "invalid choice: 'trian' (choose from" in capsys.readouterr().err


def test_the_wheel_has_the_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["xpcnn"].partition(":")
    code = f"import sys; sys.argv = ['xpcnn', '--version']; from {module} import {function}; {function}()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.startswith("xpcnn ")


@pytest.mark.parametrize("script", ["train", "evaluate", "benchmark", "export"])
def test_each_script_is_a_door(script):
    source = (ROOT / "scripts" / f"{script}.py").read_text()
    assert f'script("{script}")' in source
    assert len(source.splitlines()) <= 6
