"""README.ko.md and docs/ko say what README.md and docs say: section by section, in Korean."""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [f"docs/{page}" for page in runpy.run_path(str(ROOT / "docs" / "conf.py"))["PAGES"]]
PAIRS = {"README.md": "README.ko.md"} | {page: page.replace("docs/", "docs/ko/") for page in PAGES}
both = pytest.mark.parametrize(("english", "korean"), PAIRS.items(), ids=PAIRS)


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def sections(page):
    """Return the text of each section, without its code blocks."""
    return re.split(
        "^#+ .*$", re.sub("^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )


def found(pattern, page):
    return [sorted(re.findall(pattern, section, re.MULTILINE)) for section in sections(page)]


@both
@pytest.mark.parametrize("language", ["python", "py"])
def test_both_have_the_same_code(english, korean, language):
    """But for comments."""
    ours, theirs = (
        [
            ast.dump(ast.parse(block))
            for block in re.findall(rf"^```{language}\n(.*?)^```", text(page), re.S | re.M)
        ]
        for page in (english, korean)
    )
    assert ours == theirs


@both
@pytest.mark.parametrize(
    "pattern",
    [r"\d[\d,.]*\d%?|\d%?", r"`[^`]+`", r"^    [^#\n]*"],
    ids=["figures", "code", "commands"],
)
def test_both_have_the_same(english, korean, pattern):
    assert found(pattern, korean) == found(pattern, english)


@both
@pytest.mark.parametrize("pattern", [r"^[^|\n]*\|", r"^\* ", "^$"], ids=["rows", "points", "paragraphs"])
def test_both_have_as_many(english, korean, pattern):
    ours, theirs = ([len(lines) for lines in found(pattern, page)] for page in (english, korean))
    assert ours == theirs


@both
def test_both_link_to_the_same(english, korean):
    """The Korean page links to the Korean page, where there is one; so what both link to is told by its own address."""

    def links(page):
        targets = found(r"\]\(([^)#\s]+)", page)
        files = [
            [(ROOT / page).parent / link for link in section if "://" not in link] for section in targets
        ]
        names = [sorted(str(file.resolve().relative_to(ROOT)) for file in section) for section in files]
        return [[PAIRS.get(name, name) for name in section] for section in names]

    ours, theirs = ([sorted(section) for section in links(page)] for page in (english, korean))
    ours[1] = [link for link in ours[1] if link != PAIRS["README.md"]]  # each README's link to the other
    theirs[1] = [link for link in theirs[1] if link != PAIRS["README.md"]]
    assert theirs == ours
