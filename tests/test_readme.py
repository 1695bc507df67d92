"""What the READMEs show is what the package does."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from xpcnn import data

ROOT = Path(__file__).parent.parent
READMES = ["README.md", "README.ko.md"]


def code_blocks(readme):
    return re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.S)


def bare(source):
    """The functions of a module without decorators, annotations and docstrings."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        function.decorator_list, function.returns = [], None
        for argument in function.args.args:
            argument.annotation = None
        if ast.get_docstring(function) is not None:
            del function.body[0]
    return [ast.unparse(function) for function in functions]


@pytest.mark.parametrize("readme", READMES)
def test_the_layer_on_one_screen_is_the_one_in_the_package(readme):
    shown = bare(code_blocks(readme)[0])
    assert len(shown) == 2
    assert shown == bare((ROOT / "xpcnn" / "ops" / "conv.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("readme", READMES)
def test_the_program_trains_and_prints_an_epoch_a_line(readme, monkeypatch, capsys):
    (images, labels), (test_images, test_labels) = data.mnist()
    few = data.Dataset(
        data.Split(images[:300], labels[:300]), data.Split(test_images[:100], test_labels[:100])
    )
    monkeypatch.setattr(data, "mnist", lambda: few)
    exec(code_blocks(readme)[1], {})
    lines = capsys.readouterr().out.splitlines()
    assert "433,890" in "".join(lines)
    losses = [float(line.split()[1]) for line in lines[-3:]]
    assert losses == sorted(losses, reverse=True)


def test_the_composed_network_runs():
    names = {}
    exec(code_blocks("README.md")[2], names)
    assert names["model"].output_shape((1, 28, 28)) == (10,)


@pytest.mark.parametrize("readme", READMES)
def test_the_step_is_the_one_of_training(readme):
    from xpcnn.training import step

    shown = inspect.getsource(step)
    for line in code_blocks(readme)[-1].splitlines():
        assert line.strip() in shown


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
