"""Text tables: sides, rules, and a last column that wraps."""

from xpcnn._table import text_table


def test_columns_line_up():
    lines = text_table([("name", "count"), ("a", "1"), ("longer", "1,234,567")]).splitlines()
    assert lines == [
        "name        count",
        "-----------------",
        "a               1",
        "longer  1,234,567",
    ]


def test_sides_are_given_by_column_and_the_last_one_holds_for_the_rest():
    rows = [("a", "b", "c", "d"), ("1111", "2222", "3333", "4444")]
    assert text_table(rows, "<").splitlines()[0] == "a     b     c     d"
    assert text_table(rows, "><<").splitlines()[0] == "   a  b     c     d"
    assert text_table(rows, "<>").splitlines()[0] == "a        b     c     d"


def test_a_total_has_a_rule_of_its_own():
    assert text_table([("x", "n"), ("a", "10"), ("all", "10")], total=True).splitlines() == [
        "x     n",
        "-------",
        "a    10",
        "-------",
        "all  10",
    ]


def test_the_last_column_wraps_below_itself_and_no_line_is_longer():
    text = text_table([("a", "b", "c"), ("one", "two", "word " * 30), ("three", "four", "")], "<", width=50)
    lines = text.splitlines()
    assert lines[1] == "-" * 50
    column = lines[2].index("word")
    assert all(line[:column].strip() == "" for line in lines[3:-1])
    assert sum(line.count("word") for line in lines) == 30
    assert max(map(len, lines)) <= 50
    assert lines[-1].split() == ["three", "four"]


def test_paragraphs_begin_a_new_line_and_least_widths_hold():
    text = text_table([("a", "b"), ("x", "first\nsecond")], "<", width=40, least=(5,))
    assert text.splitlines()[2:] == ["x      first", "       second"]
