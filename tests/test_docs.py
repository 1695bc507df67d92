"""The code blocks of the pages run, from top to bottom, as a reader would run them."""

import re
import sys
import types
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("your-own-layer.md", "your-own-data.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    module = types.ModuleType("page")  # a real one, so that its classes can be pickled
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks:
        exec(compile(block, page, "exec"), vars(module))


def test_the_page_on_layers_shows_the_message_that_is_printed(tmp_path, monkeypatch, capsys):
    test_the_code_of_a_page_runs("your-own-layer.md", tmp_path, monkeypatch, capsys)
    assert (
        re.search(r"# (Forgets.*)", (DOCS / "your-own-layer.md").read_text(encoding="utf-8"))[1]
        in capsys.readouterr().out
    )
