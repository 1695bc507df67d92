"""The documents: their code runs from top to bottom, prints what they say, and their links lead somewhere."""

import ast
import io
import re
import runpy
import sys
import tokenize
import types
from pathlib import Path

import pytest

import xpcnn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = runpy.run_path(str(DOCS / "conf.py"))["PAGES"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def blocks(file, language="python"):
    """Yield the code blocks of a document, each moved down to its own lines."""
    text = file.read_text(encoding="utf-8")
    for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield "\n" * text.count("\n", 0, block.start(1)) + block[1]


def promises(source):
    """Return by line what print calls are said to print: the comment behind them."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT
    }
    return {
        node.lineno: comments[node.end_lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "print"
        and node.end_lineno in comments
    }


def run(file, monkeypatch):
    """Run the code of a page as one module; return what it was said to print, and what it printed."""
    module = types.ModuleType("page")  # a real one, so that its classes can be pickled
    monkeypatch.setitem(sys.modules, "page", module)
    printed = []

    def record(*values, **options):
        print(*values, **options)
        printed.append((sys._getframe(1).f_lineno, " ".join(map(str, values))))

    module.print, said = record, {}
    for source in blocks(file):
        said |= promises(source)
        exec(compile(source, str(file), "exec"), vars(module))
    return said, printed


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said, printed = run(DOCS / page, monkeypatch)
    assert printed
    assert [(line, text) for line, text in printed if said.get(line, text) != text] == []
    assert said.keys() <= {line for line, _ in printed}


def test_a_wrong_promise_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nprint(\n    1 + 1\n)  # 3\nprint(2)\n```\n")
    assert run(page, monkeypatch) == ({4: "3"}, [(4, "2"), (7, "2")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    lost = []
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def anchors(file):
    """Return the anchors of a document's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_public_module_has_a_page():
    pages = {file.stem for file in (DOCS / "api").glob("*.md")} - {"index"}
    assert pages == xpcnn._ROOMS | {"xpcnn"}


def test_a_docstring_keeps_its_formula_and_its_signs():
    lines = [
        "Return |x| of a_ * b.",
        "",
        "    y = |x| * w",
        "",
        "* ``a * b`` stays",
        "",
        "Notes",
        "-----",
        "Text.",
    ]
    runpy.run_path(str(DOCS / "conf.py"))["as_restructured_text"](None, "", "", None, None, lines)
    assert lines == [
        r"Return \|x\| of a\_ \* b.", "", "::", "", "    y = |x| * w", "", "* ``a * b`` stays", "",
        "Notes", "-----", "Text.",
    ]  # fmt: skip


def test_a_network_of_pytorch_and_ours_side_by_side_compute_the_same(torch):
    """docs/from-keras-or-pytorch.md: from the same weights, three steps of each have the same losses."""
    import numpy as np

    from xpcnn.interop import torch as interop

    page = DOCS / "from-keras-or-pytorch.md"
    theirs, ours = {}, {}
    (source,) = [block for block in blocks(page, "py") if "import torch\n" in block]
    exec(compile(source, str(page), "exec"), theirs)
    exec(compile(next(blocks(page)), str(page), "exec"), ours)
    interop.load(ours["model"], theirs["net"].state_dict())

    rng = np.random.default_rng(0)
    for _ in range(3):
        images, labels = rng.random((20, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, 20)
        expected = theirs["step"](torch.from_numpy(images), torch.from_numpy(labels)).item()
        assert float(ours["step"](images, labels)) == pytest.approx(expected, rel=1e-4)
