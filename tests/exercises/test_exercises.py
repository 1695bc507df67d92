"""Right answers pass all three checks; each known mistake is found by the right ones, and named in both languages."""

import re
import string

import numpy as np
import pytest

from exercises import solutions
from xpcnn.commands.exercise import main
from xpcnn.errors import ExerciseError
from xpcnn.exercises import EXERCISES, LANGUAGES, check, load, text, write
from xpcnn.exercises.report import WORDS


def judged(name, **replaced):
    return check(EXERCISES[name], {**vars(solutions), **replaced})


def failing(report):
    return {name for name, mistake in report.mistakes.items() if mistake}


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_passes(name):
    report = judged(name)
    assert report.passed, text(report, EXERCISES[name])


def scaled(function, factor):
    """Return the function with its first result multiplied."""

    def changed(*args, **kwargs):
        results = function(*args, **kwargs)
        return (factor * results[0], *results[1:]) if isinstance(results, tuple) else factor * results

    return changed


@pytest.mark.parametrize("name", EXERCISES)
def test_a_wrong_backward_fails_in_the_textbook_and_in_differences(name):
    exercise = EXERCISES[name]
    report = judged(name, **{exercise.backward: scaled(getattr(solutions, exercise.backward), 2)})
    sums_of_zero = name in ("softmax", "batch_norm")  # twice zero is zero
    assert failing(report) == {"textbook", "differences"} | (set() if sums_of_zero else {"identity"})
    said = text(report, exercise)
    assert f"{exercise.backward}: dx[" in said
    assert "every element is 2 times" in said
    assert "The mistake is in backward." in said


@pytest.mark.parametrize("name", EXERCISES)
def test_a_wrong_forward_whose_backward_fits_fails_in_the_textbook_alone(name):
    exercise = EXERCISES[name]
    pair = (exercise.forward, exercise.backward)
    report = judged(name, **{f: scaled(getattr(solutions, f), 3) for f in pair[: 2 if name != "conv" else 0]}, **(
        {} if name != "conv" else {"conv": flipped, "conv_backward": flipped_backward}
    ))  # fmt: skip
    if name in ("affine", "batch_norm"):  # their dweight was not multiplied
        assert "textbook" in failing(report)
    else:
        assert failing(report) == {"textbook"}
        assert "It is forward that differs from the textbook." in text(report, exercise)


def flipped(x, weight, bias, stride, padding):
    return solutions.conv(x, weight[:, :, ::-1, ::-1], bias, stride, padding)


def flipped_backward(dy, x, weight, stride, padding):
    dx, dweight, dbias = solutions.conv_backward(dy, x, weight[:, :, ::-1, ::-1], stride, padding)
    return dx, dweight[:, :, ::-1, ::-1], dbias


def without_bias(x, weight, bias, stride, padding):
    return solutions.conv(x, weight, 0 * bias, stride, padding)


def reshaped(x, weight, bias, stride, padding):
    y = solutions.conv(x, weight, bias, stride, padding)
    return y.transpose(0, 2, 3, 1).reshape(y.shape)  # the transpose back is forgotten


def unbiased(x, gamma, beta, eps):
    M = x[:, 0].size
    return solutions.batch_norm(x, gamma, beta, eps) if M < 2 else (
        gamma[:, None, None] * (x - x.mean(axis=(0, 2, 3), keepdims=True))
        / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True, ddof=1) + eps) + beta[:, None, None]
    )  # fmt: skip


def unstable(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def assigned(dcols, x_shape, KH, KW, stride, padding):
    return np.where(solutions.col2im(0 * dcols + 1, x_shape, KH, KW, stride, padding) > 0, 1.0, 0.0)


def no_overlap(dy, x, size, stride):
    return solutions.max_pool_backward(dy, x, size, stride).clip(-1, 1)


def constant_statistics(dy, x, gamma, eps):
    deviation = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + eps)
    return (dy * gamma[:, None, None] / deviation, *solutions.batch_norm_backward(dy, x, gamma, eps)[1:])


@pytest.mark.parametrize(
    ("name", "function", "wrong", "checks", "words"),
    [
        ("conv", "conv", flipped, {"textbook", "identity", "differences"}, "the filter is flipped"),
        ("conv", "conv", without_bias, {"textbook", "differences"}, "look at the bias"),
        ("conv", "conv", reshaped, {"textbook", "identity", "differences"}, "look at reshape and transpose"),
        ("batch_norm", "batch_norm", unbiased, {"textbook", "differences"}, "divide by M"),
        ("batch_norm", "batch_norm_backward", constant_statistics, {"textbook", "identity", "differences"}, "dx["),
        ("softmax", "softmax", unstable, {"textbook"}, "subtract the largest element before exp"),
        ("im2col", "col2im", assigned, {"textbook", "identity", "differences"}, "col2im: dx["),
        ("pooling", "max_pool_backward", no_overlap, {"textbook", "identity", "differences"}, "max_pool_backward"),
    ],
)  # fmt: skip
def test_known_mistakes_are_found_and_explained(name, function, wrong, checks, words):
    report = judged(name, **{function: wrong})
    assert failing(report) == checks
    assert words in text(report, EXERCISES[name])


def raising(x, weight, bias):
    return np.nonsense(x)


def changing(x, weight, bias):
    x += 1
    return solutions.affine(x, weight, bias)


@pytest.mark.parametrize(
    ("function", "wrong", "words"),
    [
        ("affine", None, "there is no function affine"),
        ("affine", lambda x, weight, bias: None, "affine returns None where y is expected"),
        ("affine", raising, "affine raises AttributeError: module 'numpy' has no attribute 'nonsense' (line"),
        ("affine", changing, "affine changes its argument number 1"),
        ("affine", lambda x, weight, bias: "y", "affine returns str where the array y is expected"),
        ("affine", lambda x, weight, bias: x[0], "y has the shape (3,), expected (2, 4)"),
        ("affine", lambda x, weight, bias: np.nan * (x @ weight.T), "infinite or NaN"),
        ("affine_backward", lambda dy, x, weight: (dy, x), "2 results where these are expected: dx, dweight, dbias"),
        ("affine_backward", lambda dy, x, weight: (dy @ weight, dy.T @ x, None), "None where dbias is expected"),
    ],
)  # fmt: skip
def test_what_is_not_even_a_result_is_named_once(function, wrong, words):
    said = text(judged("affine", **{function: wrong}), EXERCISES["affine"])
    assert said.count(words) == 1, said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", EXERCISES)
def test_a_new_file_runs_and_has_every_function_to_write(tmp_path, name, language):
    exercise, path = EXERCISES[name], tmp_path / "mine.py"
    write(exercise, path, language)
    functions = load(path)
    report = check(exercise, functions)
    assert failing(report) == {"textbook", "identity", "differences"}
    assert {mistake.kind for mistake in report.mistakes.values()} == {"unwritten"}
    for function in exercise.functions:
        assert functions[function].__doc__, function
    content = path.read_text()
    with pytest.raises(ExerciseError, match="exists"):
        write(exercise, path, language)
    assert path.read_text() == content


def test_both_languages_say_the_same():
    def fields(words):
        return {
            key: {name for _, name, _, _ in string.Formatter().parse(text) if name}
            for key, text in words.items()
        }

    assert fields(WORDS["en"]) == fields(WORDS["ko"])


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def affine(x:\n", r"mine\.py, line 1: "),
        ("import numpy\n\n1 / 0\n", r"mine\.py, line 3: ZeroDivisionError"),
        ("import no_such_module\n", r"mine\.py, line 1: ModuleNotFoundError"),
        ("\0", r"mine\.py: is no Python file|mine\.py, line"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path, program, words):
    path = tmp_path / "mine.py"
    path.write_text(program)
    with pytest.raises(ExerciseError, match=words):
        load(path)


def test_the_command_writes_checks_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["affine"]) == 0
    assert capsys.readouterr().out.startswith(
        "exercise_affine.py is written. Fill in affine, affine_backward"
    )
    assert main(["affine"]) == 1
    assert "affine is not written yet" in capsys.readouterr().out
    (tmp_path / "mine.py").write_text(
        "def affine(x, weight, bias):\n    return x @ weight.T + bias\n\n\n"
        "def affine_backward(dy, x, weight):\n    return dy @ weight, dy.T @ x, dy.sum(0)\n"
    )
    assert main(["affine", "mine.py"]) == 0
    assert capsys.readouterr().out.endswith("Well done: all three checks pass.\n")
    assert main(["affine", "mine.py", "--language", "ko"]) == 0
    assert re.search("세 가지 검사를 모두 통과", capsys.readouterr().out)


def test_the_same_answer_gets_the_same_report():
    wrong = {"affine": lambda x, weight, bias: x @ weight.T}
    assert judged("affine", **wrong) == judged("affine", **wrong)
