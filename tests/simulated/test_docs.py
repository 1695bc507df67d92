"""docs/simulated.md says what is true."""

import re
from pathlib import Path

import pytest

from xpcnn import models
from xpcnn.simulated import judge

PAGE = (Path(__file__).parents[2] / "docs" / "simulated.md").read_text(encoding="utf-8")
EXAMPLE, TABLE = re.search(r"```python\n(import numpy.*?)```\n\n```\n(line .*?)```", PAGE, re.DOTALL).groups()


def test_the_example_of_the_ledger_gives_what_the_page_shows(capsys):
    exec(compile(EXAMPLE, "examples/step.py", "exec"), {})
    printed = capsys.readouterr().out
    for table in (TABLE, printed):  # launches depend on whether there is a compiler; crossings do not
        *_, uploads, downloads, waits = re.search(r"total +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)", table).groups()
        assert (uploads, downloads, waits) == ("2", "1", "1")
        (curious,) = [line for line in table.splitlines() if "bool(), less" in line]
        assert curious.startswith("examples/step.py:18 ")


def example(first_line):
    return PAGE[PAGE.index(f"```python\n{first_line}") + len("```python\n") :].partition("```")[0]


def test_the_example_of_a_race_prints_what_the_page_shows(capsys):
    exec(
        compile(
            example("from xpcnn.backend import to_device, use_backend, xp"), "examples/streams.py", "exec"
        ),
        {},
    )
    printed = re.sub(r"stream \d+", "stream 1", capsys.readouterr().out)
    assert printed.strip() == " ".join(
        PAGE[PAGE.index("multiply at examples") :].partition("\n```")[0].split()
    )


def test_the_example_of_memory_prints_what_the_page_shows(capsys):
    exec(example("from xpcnn.backend import to_device, use_backend\n"), {})
    assert capsys.readouterr().out == "32 48\n"
    assert "# 32 48" in PAGE


def test_the_example_of_a_capture_finds_the_products_only(capsys):
    names = {}
    exec(compile(EXAMPLE, "examples/step.py", "exec"), names)
    exec(compile(example("from xpcnn.backend import synchronize"), "examples/capture.py", "exec"), names)
    assert {found.call for found in names["forbidden"]} == {"matmul"}


def test_the_lines_of_the_table_are_of_files_that_exist():
    package = Path(__file__).parents[2] / "xpcnn"
    files = {line.partition(":")[0] for line in TABLE.splitlines() if ".py:" in line} - {"examples/step.py"}
    assert files
    assert all((package / file).is_file() for file in files)


def test_names_said_to_be_missing_in_cupy_are():
    for name in re.findall(r"`xp\.(\w+)`", PAGE.partition("fail here as they fail there")[0]):
        assert not hasattr(judge.cupy(), name)


@pytest.mark.parametrize(
    "name", ["simple", "deep", "lenet5", "lenet5_1998", "googlenet", "googlenet_torchvision", "resnet110"]
)
def test_networks_named_exist(name):
    assert f"`{name}`" in PAGE
    assert name in models.BY_NAME
