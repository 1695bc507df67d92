"""What the READMEs show is what the package does."""

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import xpcnn
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
def test_the_code_runs_from_top_to_bottom(readme, monkeypatch, capsys):
    """As one program, on a few images; the first program prints an epoch a line."""
    (images, labels), (test_images, test_labels) = data.mnist()
    few = data.Dataset(
        data.Split(images[:300], labels[:300]), data.Split(test_images[:100], test_labels[:100])
    )
    monkeypatch.setattr(data, "mnist", lambda: few)
    names = {}
    for block in code_blocks(readme):
        exec(compile(block, readme, "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert "433,890" in "".join(lines)
    losses = [float(line.split()[1]) for line in lines[-3:]]
    assert losses == sorted(losses, reverse=True)
    assert names["model"].output_shape((1, 28, 28)) == (10,)
    assert names["optimizer"].steps == 3


@pytest.mark.parametrize("readme", READMES)
def test_the_step_is_that_of_training(readme):
    from xpcnn.training import step as of_training

    loop = inspect.getsource(of_training)
    step = [line.strip() for line in code_blocks(readme)[-1].splitlines()[-5:]]
    assert [line for line in step if line not in loop] == []


@pytest.mark.parametrize("readme", READMES)
def test_commands_name_what_is_there(readme):
    """Scripts and their options, make's targets, the extras of the package."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    commands = [line.partition("  #")[0].strip() for line in re.findall("^    (.*)$", text, re.MULTILINE)]
    commands += re.findall("`((?:make|python|xpcnn) [^`]+)`", text)
    targets = re.findall("^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for command in commands:
        if target := re.fullmatch("make ([a-z-]+)", command):
            assert target[1] in targets
        for name in re.findall(r"\.\[([\w,]+)\]", command):
            assert set(name.split(",")) <= extras.keys()
        if ours := re.search(r"xpcnn ([a-z]+)( .*--.*)$", command.partition("  ")[0]):
            module = importlib.import_module(f"xpcnn.commands.{ours[1]}")
            options = module.parser().format_help()
            assert [flag for flag in re.findall(r"--[\w-]+", ours[2]) if flag not in options] == []
        if script := re.search(r"python (scripts/\w+\.py)(.*)", command):
            source = (ROOT / script[1]).read_text(encoding="utf-8")
            assert [flag for flag in re.findall(r"--[\w-]+", script[2]) if f'"{flag}"' not in source] == []
    assert set(re.findall(r"dist/xpcnn-([\d.]+)-py3", text)) == {xpcnn.__version__}
    table = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    assert set(re.findall("`([^`]+)`", "".join(table))) == extras.keys()


@pytest.mark.parametrize("readme", READMES)
def test_nothing_is_installed_by_a_name_that_no_index_has(readme):
    """Not before it is installed: after that, pip only adds what an extra needs."""
    commands = re.findall("^    (.*)$", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)
    assert [line for line in commands if re.search(r"install .*\bxpcnn(\[|\s|$)", line)] == []
